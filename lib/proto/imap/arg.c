/* arg - one cursor over the bytes of a command; every reader advances it or fails. Contract: arg.h */
#include "proto/imap/arg.h"
#include "base/time.h"

static const char *const month_name[12] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

void imap_arg_init(struct imap_arg *a, struct slice command, struct arena *arena)
{
    *a = (struct imap_arg){ .p = command.p, .end = command.p + command.len, .arena = arena };
}

int imap_arg_fail(struct imap_arg *a, const char *words)
{
    if (a->error == NULL)
        a->error = words;
    return -1;
}

bool imap_arg_end(const struct imap_arg *a)
{
    const char *p = a->p;

    while (p < a->end && *p == ' ')
        p++;
    return p == a->end;
}

int imap_arg_done(struct imap_arg *a) { return imap_arg_end(a) ? 0 : imap_arg_fail(a, "Too many arguments."); }

char imap_arg_peek(const struct imap_arg *a) { return a->p < a->end ? *a->p : (char) 0; }

int imap_arg_space(struct imap_arg *a)
{
    if (imap_arg_peek(a) != ' ')
        return imap_arg_fail(a, a->p == a->end ? "Missing arguments." : "Invalid arguments.");
    while (imap_arg_peek(a) == ' ')
        a->p++;
    return 0;
}

bool imap_arg_char(struct imap_arg *a, char c)
{
    if (a->p == a->end || *a->p != c)
        return false;
    a->p++;
    return true;
}

bool imap_arg_is_atom_char(char c) { return (unsigned char) c > ' ' && c != 127 && strchr("(){%*\"\\]", c) == NULL; }

bool imap_arg_word(struct imap_arg *a, const char *word)
{
    size_t len = strlen(word);

    if ((size_t) (a->end - a->p) < len || !slice_caseeq(slice_make(a->p, len), word))
        return false;
    if (a->p + len < a->end && (imap_arg_is_atom_char(a->p[len]) && a->p[len] != '['))
        return false;
    a->p += len;
    return true;
}

/* Bytes for which ok() holds, or which are in `also`. 8-bit bytes count: old clients send mailbox names raw. */
static int run(struct imap_arg *a, const char *also, const char *without, struct slice *out)
{
    const char *from = a->p;

    while (a->p < a->end &&
           ((imap_arg_is_atom_char(*a->p) && strchr(without, *a->p) == NULL) || (*a->p && strchr(also, *a->p))))
        a->p++;
    if (a->p == from)
        return imap_arg_fail(a, from == a->end ? "Missing arguments." : "Invalid arguments.");
    *out = slice_make(from, (size_t) (a->p - from));
    return 0;
}

int imap_arg_tag(struct imap_arg *a, struct slice *out)
{
    if (run(a, "]", "+", out) != 0)
        return -1;
    return out->len > IMAP_TAG_BYTES ? imap_arg_fail(a, "Tag too long.") : 0;
}

int imap_arg_atom(struct imap_arg *a, struct slice *out) { return run(a, "", "", out); }

static int quoted(struct imap_arg *a, struct slice *out)
{
    const char *from = ++a->p;
    bool escaped = false;

    for (; a->p < a->end && *a->p != '"'; a->p++) {
        if (*a->p == '\r' || *a->p == '\n' || *a->p == 0)
            return imap_arg_fail(a, "Invalid characters in quoted string.");
        if (*a->p == '\\') {
            escaped = true;
            if (++a->p == a->end || (*a->p != '"' && *a->p != '\\'))
                return imap_arg_fail(a, "Escaped quoted char is invalid.");
        }
    }
    if (a->p == a->end)
        return imap_arg_fail(a, "Missing '\"'.");
    *out = slice_make(from, (size_t) (a->p++ - from));
    if (!escaped)
        return 0;
    char *copy = arena_strndup(a->arena, out->p, out->len);
    size_t len = 0;
    for (size_t i = 0; i < out->len; i++) {
        if (out->p[i] == '\\')
            i++;
        copy[len++] = out->p[i];
    }
    copy[len] = 0;
    *out = slice_make(copy, len);
    return 0;
}

static int literal(struct imap_arg *a, struct slice *out)
{
    const char *close = memchr(a->p, '}', (size_t) (a->end - a->p));
    uint64_t size;
    bool sync;

    if (close == NULL || imap_arg_literal(slice_make(a->p, (size_t) (close + 1 - a->p)), &size, &sync) != 1)
        return imap_arg_fail(a, "Invalid literal size.");
    a->p = close + 1;
    if (!imap_arg_char(a, '\r') || !imap_arg_char(a, '\n') || size > (size_t) (a->end - a->p))
        return imap_arg_fail(a, "Literal is incomplete.");
    *out = slice_make(a->p, (size_t) size);
    if (size && memchr(a->p, 0, (size_t) size))
        return imap_arg_fail(a, "NUL is not allowed in a literal.");
    a->p += size;
    return 0;
}

int imap_arg_string(struct imap_arg *a, struct slice *out)
{
    if (imap_arg_peek(a) == '"')
        return quoted(a, out);
    if (imap_arg_peek(a) == '{')
        return literal(a, out);
    return imap_arg_fail(a, a->p == a->end ? "Missing arguments." : "Invalid arguments.");
}

int imap_arg_astring(struct imap_arg *a, struct slice *out)
{
    if (imap_arg_peek(a) == '"' || imap_arg_peek(a) == '{')
        return imap_arg_string(a, out);
    return run(a, "]", "", out);
}

int imap_arg_pattern(struct imap_arg *a, struct slice *out)
{
    if (imap_arg_peek(a) == '"' || imap_arg_peek(a) == '{')
        return imap_arg_string(a, out);
    return run(a, "]%*", "", out);
}

int imap_arg_nstring(struct imap_arg *a, struct slice *out)
{
    if (imap_arg_word(a, "NIL")) {
        *out = slice_make(NULL, 0);
        return 0;
    }
    return imap_arg_string(a, out);
}

int imap_arg_number(struct imap_arg *a, uint64_t max, uint64_t *out)
{
    const char *from = a->p;

    while (a->p < a->end && ascii_isdigit(*a->p))
        a->p++;
    if (slice_u64(slice_make(from, (size_t) (a->p - from)), max, out) != 0)
        return imap_arg_fail(a, "Invalid number.");
    return 0;
}

/* One or two digits (two when fixed), "-Mon-", four digits. */
static int civil_date(struct imap_arg *a, bool fixed, int *year, int *month, int *day)
{
    uint64_t number;
    const char *from = a->p;

    if (imap_arg_number(a, 31, &number) != 0 || a->p - from > 2 || (fixed && a->p - from > 2))
        return imap_arg_fail(a, "Invalid date.");
    *day = (int) number;
    *month = 0;
    if (!imap_arg_char(a, '-') || a->end - a->p < 3)
        return imap_arg_fail(a, "Invalid date.");
    for (int m = 0; m < 12; m++) {
        if (slice_caseeq(slice_make(a->p, 3), month_name[m]))
            *month = m + 1;
    }
    a->p += 3;
    if (*month == 0 || !imap_arg_char(a, '-'))
        return imap_arg_fail(a, "Invalid date.");
    from = a->p;
    if (imap_arg_number(a, 9999, &number) != 0 || a->p - from != 4)
        return imap_arg_fail(a, "Invalid date.");
    *year = (int) number;
    return 0;
}

int imap_arg_date(struct imap_arg *a, int64_t *day)
{
    bool is_quoted = imap_arg_char(a, '"');
    int year, month, mday;

    if (civil_date(a, false, &year, &month, &mday) != 0)
        return -1;
    if (is_quoted && !imap_arg_char(a, '"'))
        return imap_arg_fail(a, "Invalid date.");
    if (time_from_civil(year, month, mday, 0, 0, 0, 0, day) != 0)
        return imap_arg_fail(a, "Invalid date.");
    return 0;
}

static int two_digits(struct imap_arg *a, int *out)
{
    if (a->end - a->p < 2 || !ascii_isdigit(a->p[0]) || !ascii_isdigit(a->p[1]))
        return imap_arg_fail(a, "Invalid internal date.");
    *out = (a->p[0] - '0') * 10 + (a->p[1] - '0');
    a->p += 2;
    return 0;
}

int imap_arg_date_time(struct imap_arg *a, int64_t *seconds)
{
    int year, month, day, hour, minute, second, zone_hour, zone_minute;

    if (!imap_arg_char(a, '"'))
        return imap_arg_fail(a, "Invalid internal date.");
    imap_arg_char(a, ' '); /* date-day-fixed pads with a blank */
    if (civil_date(a, true, &year, &month, &day) != 0 || !imap_arg_char(a, ' ') || two_digits(a, &hour) != 0 ||
        !imap_arg_char(a, ':') || two_digits(a, &minute) != 0 || !imap_arg_char(a, ':') ||
        two_digits(a, &second) != 0 || !imap_arg_char(a, ' '))
        return imap_arg_fail(a, "Invalid internal date.");
    bool west = imap_arg_peek(a) == '-';
    if (!imap_arg_char(a, west ? '-' : '+') || two_digits(a, &zone_hour) != 0 || two_digits(a, &zone_minute) != 0 ||
        !imap_arg_char(a, '"'))
        return imap_arg_fail(a, "Invalid internal date.");
    int zone = zone_hour * 60 + zone_minute;
    if (zone_minute > 59 ||
        time_from_civil(year, month, day, hour, minute, second, west ? -zone : zone, seconds) != 0)
        return imap_arg_fail(a, "Invalid internal date.");
    return 0;
}

static int system_flag(struct imap_arg *a, unsigned *bits)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {
        { "Answered", IMAP_ANSWERED }, { "Flagged", IMAP_FLAGGED }, { "Deleted", IMAP_DELETED },
        { "Seen", IMAP_SEEN },         { "Draft", IMAP_DRAFT },     { "Recent", IMAP_RECENT },
    };
    struct slice name;

    if (imap_arg_atom(a, &name) != 0)
        return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_caseeq(name, names[i].name)) {
            *bits |= names[i].bit;
            return 0;
        }
    }
    return imap_arg_fail(a, arena_printf(a->arena, "Invalid system flag \\%.*s", (int) name.len, name.p));
}

int imap_arg_flags(struct imap_arg *a, struct imap_flags *out)
{
    bool list = imap_arg_char(a, '(');

    *out = (struct imap_flags){ .keywords = arena_alloc(a->arena, IMAP_KEYWORDS * sizeof *out->keywords) };
    while (imap_arg_peek(a) == ' ')
        a->p++;
    for (;;) {
        struct slice word;

        if (list && imap_arg_char(a, ')'))
            return 0;
        if (!list && imap_arg_end(a))
            return 0;
        if (imap_arg_char(a, '\\')) {
            if (system_flag(a, &out->system) != 0)
                return -1;
        } else {
            if (imap_arg_atom(a, &word) != 0)
                return -1;
            if (word.len > IMAP_KEYWORD_BYTES || out->keyword_count == IMAP_KEYWORDS)
                return imap_arg_fail(a, "Too many or too long keywords.");
            out->keywords[out->keyword_count++] = word;
        }
        if (imap_arg_peek(a) == ' ')
            imap_arg_space(a);
        else if (list ? imap_arg_peek(a) != ')' : !imap_arg_end(a))
            return imap_arg_fail(a, "Invalid flag list.");
    }
}

int imap_arg_skip_list(struct imap_arg *a, unsigned depth_max)
{
    unsigned depth = 0;
    struct slice skipped;

    if (imap_arg_peek(a) != '(')
        return imap_arg_fail(a, "Invalid arguments.");
    do {
        char c = imap_arg_peek(a);
        if (a->p == a->end)
            return imap_arg_fail(a, "Missing ')'.");
        if (c == '(' || c == ')' || c == ' ') {
            a->p++;
            if (c == '(' && ++depth > depth_max)
                return imap_arg_fail(a, "Too many '('.");
            if (c == ')')
                depth--;
        } else if (c == '"' || c == '{') {
            if (imap_arg_string(a, &skipped) != 0)
                return -1;
        } else if (run(a, "]%*\\", "", &skipped) != 0) {
            return -1;
        }
    } while (depth);
    return 0;
}

int imap_arg_literal(struct slice line, uint64_t *size, bool *sync)
{
    ptrdiff_t open;
    struct slice digits;

    if (line.len < 2 || line.p[line.len - 1] != '}' || (open = slice_rfind(line, '{')) < 0)
        return 0;
    digits = slice_sub(line, (size_t) open + 1, line.len - (size_t) open - 2);
    *sync = true;
    if (digits.len && digits.p[digits.len - 1] == '+') {
        *sync = false;
        digits.len--;
    }
    return slice_u64(digits, UINT32_MAX, size) == 0 ? 1 : -1;
}
