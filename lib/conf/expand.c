/*
 * expand - a recursive descent over $ expressions; depth and output are bounded, so that no main.cf can hang a daemon
 */
#include "conf/expand.h"
#include "base/mem.h"
#include "conf/lines.h"

#include <stdlib.h>

enum relation { EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER_EQUAL, GREATER };
static const struct {
    const char *text;
    enum relation relation;
    bool level;
} operators[] = {
    /* longest first */
    { "==level", EQUAL, true },
    { "!=level", NOT_EQUAL, true },
    { "<=level", LESS_EQUAL, true },
    { ">=level", GREATER_EQUAL, true },
    { "<level", LESS, true },
    { ">level", GREATER, true },
    { "==", EQUAL, false },
    { "!=", NOT_EQUAL, false },
    { "<=", LESS_EQUAL, false },
    { ">=", GREATER_EQUAL, false },
    { "<", LESS, false },
    { ">", GREATER, false },
};

static int walk(const struct expand *, struct slice, struct str *, struct err *, int depth);

static int complain(struct err *err, const char *what, struct slice at)
{
    return err_set(err, 0, NULL, "%s: \"%.*s\"", what, (int) (at.len > 100 ? 100 : at.len), at.p);
}

int64_t expand_level(struct slice s)
{
    static const uint64_t part_max[3] = { 65535, 65535, 65535 };
    int64_t level = 0;
    struct slice part;

    s = slice_trim(s);
    for (int i = 0; i < 3; i++) {
        uint64_t n = 0;
        if (slice_split(&s, '.', &part) && slice_u64(part, part_max[i], &n) < 0)
            return -1;
        level = level << 16 | (int64_t) n;
    }
    return s.p ? -1 : level;
}

static bool holds(enum relation r, int order)
{
    switch (r) {
    case EQUAL: return order == 0;
    case NOT_EQUAL: return order != 0;
    case LESS: return order < 0;
    case LESS_EQUAL: return order <= 0;
    case GREATER_EQUAL: return order >= 0;
    case GREATER: break;
    }
    return order > 0;
}

static int compare_numbers(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

static int compare(size_t op, struct slice a, struct slice b, bool *yes, struct err *err)
{
    uint64_t x, y;
    int order;

    if (operators[op].level) {
        int64_t left = expand_level(a), right = expand_level(b);
        if (left < 0)
            return complain(err, "bad compatibility level", a);
        if (right < 0)
            return complain(err, "bad compatibility level", b);
        order = compare_numbers(left, right);
    } else if (slice_u64(a, INT64_MAX, &x) == 0 && slice_u64(b, INT64_MAX, &y) == 0) {
        order = compare_numbers((int64_t) x, (int64_t) y);
    } else {
        size_t n = a.len < b.len ? a.len : b.len;
        order = n ? memcmp(a.p, b.p, n) : 0;
        if (order == 0)
            order = compare_numbers((int64_t) a.len, (int64_t) b.len);
    }
    *yes = holds(operators[op].relation, order);
    return 0;
}

/* A braced word at the front of *rest, unbraced; *rest moves behind it and the blanks that follow. */
static int braced(struct slice *rest, struct slice *word, struct err *err)
{
    size_t n = lines_balanced(*rest, '{', '}');

    if (n == 0)
        return complain(err, "missing '}' in macro expression", *rest);
    *word = slice_trim(slice_sub(*rest, 1, n - 2));
    *rest = slice_trim(slice_sub(*rest, n, rest->len));
    return 0;
}

/* {left} operator {right}: *rest moves to the "?" or ":" behind, or to the end. */
static int comparison(const struct expand *e, struct slice *rest, bool *yes, struct err *err, int depth)
{
    struct slice left, right;
    struct str a, b;
    size_t op;
    int rc = -1;

    if (braced(rest, &left, err) < 0)
        return -1;
    for (op = 0; op < sizeof operators / sizeof *operators; op++)
        if (slice_starts(*rest, operators[op].text))
            break;
    if (op == sizeof operators / sizeof *operators)
        return complain(err, "relational operator expected at", *rest);
    *rest = slice_trim(slice_sub(*rest, strlen(operators[op].text), rest->len));
    if (rest->len == 0 || rest->p[0] != '{')
        return complain(err, "\"{expression}\" expected at", *rest);
    if (braced(rest, &right, err) < 0)
        return -1;
    str_init(&a, EXPAND_BYTES);
    str_init(&b, EXPAND_BYTES);
    if (walk(e, left, &a, err, depth + 1) == 0 && walk(e, right, &b, err, depth + 1) == 0)
        rc = compare(op, str_slice(&a), str_slice(&b), yes, err);
    str_free(&a);
    str_free(&b);
    return rc;
}

/* What stands behind "?" or ":": {text}, or the rest as it is. "?" may have a ":{text}" behind it. */
static int branches(struct slice rest, bool yes, struct slice *chosen, struct err *err)
{
    char kind = rest.p[0];
    struct slice first, second = { "", 0 };
    struct slice after = slice_sub(rest, 1, rest.len), trimmed = slice_trim(after);

    if (trimmed.len && trimmed.p[0] == '{') {
        if (braced(&trimmed, &first, err) < 0)
            return -1;
        if (kind == '?' && trimmed.len && trimmed.p[0] == ':') {
            trimmed = slice_trim(slice_sub(trimmed, 1, trimmed.len));
            if (trimmed.len && trimmed.p[0] == '{') {
                if (braced(&trimmed, &second, err) < 0)
                    return -1;
            } else {
                second = trimmed;
                trimmed.len = 0;
            }
        }
        if (trimmed.len)
            return complain(err, "unexpected input at end of", rest);
    } else {
        first = after;
    }
    if (kind == ':')
        yes = !yes;
    *chosen = yes ? first : second;
    return 0;
}

static int name_text(const struct expand *e, struct slice name, struct str *out, struct err *err, int depth)
{
    char *z = mem_strndup(name.p, name.len);
    const char *value = e->lookup(e->ctx, z);
    int rc = 0;

    if (value && e->recursive) {
        if (depth >= EXPAND_DEPTH)
            rc = err_set(err, 0, NULL, "unreasonable macro call nesting: \"%.100s\"", z);
        else
            rc = walk(e, slice_of(value), out, err, depth + 1);
    } else if (value) {
        str_adds(out, value);
    }
    free(z);
    return rc;
}

static struct slice skip_blanks(struct slice s)
{
    while (s.len && ascii_isspace(s.p[0]))
        s.p++, s.len--;
    return s;
}

static bool name_char(char c) { return ascii_isalnum(c) || c == '_'; }

/* What stands between the braces of ${...}. */
static int expression(const struct expand *e, struct slice in, struct str *out, struct err *err, int depth)
{
    struct slice rest = skip_blanks(in), name = { "", 0 }, chosen = name;
    bool yes = false, compared = rest.len && rest.p[0] == '{';
    size_t start = out->len, n = 0;

    if (compared) {
        if (comparison(e, &rest, &yes, err, depth) < 0)
            return -1;
        if (rest.len == 0) {
            str_adds(out, yes ? "bool" : "");
            return 0;
        }
    } else {
        while (n < rest.len && name_char(rest.p[n]))
            n++;
        name = slice_sub(rest, 0, n);
        if (n == 0)
            return complain(err, "empty macro name", in);
        rest = slice_sub(rest, n, rest.len);
        if (name_text(e, name, out, err, depth) < 0)
            return -1;
        if (skip_blanks(rest).len == 0)
            return 0;
        rest = skip_blanks(rest);
        yes = out->len > start;
        str_cut(out, start);
    }
    if (rest.p[0] != '?' && rest.p[0] != ':')
        return complain(err, "unexpected macro expression", in);
    if (branches(rest, yes, &chosen, err) < 0)
        return -1;
    return walk(e, chosen, out, err, depth + 1);
}

static int walk(const struct expand *e, struct slice in, struct str *out, struct err *err, int depth)
{
    if (depth > EXPAND_DEPTH)
        return complain(err, "unreasonable macro call nesting", in);
    while (in.len) {
        ptrdiff_t dollar = slice_find(in, '$');
        struct slice before = slice_sub(in, 0, dollar < 0 ? in.len : (size_t) dollar), whole;
        size_t n = 0;

        str_addslice(out, before);
        if (str_over(out))
            return err_set(err, 0, NULL, "the expanded text is longer than %d bytes", EXPAND_BYTES);
        if (dollar < 0)
            break;
        whole = slice_sub(in, before.len, in.len);
        in = slice_sub(whole, 1, whole.len);
        if (in.len && in.p[0] == '$') {
            str_addc(out, '$');
            in = slice_sub(in, 1, in.len);
            continue;
        }
        if (in.len && (in.p[0] == '{' || in.p[0] == '(')) {
            n = lines_balanced(in, in.p[0], in.p[0] == '{' ? '}' : ')');
            if (n == 0)
                return complain(err, "truncated macro reference", whole);
            if (expression(e, slice_sub(in, 1, n - 2), out, err, depth) < 0)
                return -1;
        } else {
            while (n < in.len && name_char(in.p[n]))
                n++;
            if (n == 0)
                return complain(err, "empty macro name", whole);
            if (name_text(e, slice_sub(in, 0, n), out, err, depth) < 0)
                return -1;
        }
        in = slice_sub(in, n, in.len);
    }
    if (str_over(out))
        return err_set(err, 0, NULL, "the expanded text is longer than %d bytes", EXPAND_BYTES);
    return 0;
}

int expand_text(const struct expand *e, struct slice text, struct str *out, struct err *err)
{
    return walk(e, text, out, err, 0);
}
