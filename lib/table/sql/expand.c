/* expand - keys into queries and values into results; contract in expand.h */
#include "table/sql/expand.h"

#include "table/sql/question.h"

enum { LABELS_MAX = 9 };
enum { KEY_USER = 1, KEY_DOMAIN = 2, VALUE_USER = 4, VALUE_DOMAIN = 8 };

struct parts {
    struct slice whole, user, domain; /* domain.p NULL: no "@" */
    struct slice label[LABELS_MAX];   /* the last one first */
    size_t labels;
};

/* "query" templates know the key only; in result formats small letters are the value's. */
static int check(struct sql_template *t, const char *text, bool query)
{
    unsigned user = query ? KEY_USER : VALUE_USER, domain = query ? KEY_DOMAIN : VALUE_DOMAIN;

    for (; *text; text++) {
        if (*text != '%')
            continue;
        switch (*++text) {
        case '%':
        case 's':
        case 'S': break;
        case 'u': t->uses |= user; break;
        case 'd': t->uses |= domain; break;
        case 'U': t->uses |= KEY_USER; break;
        case 'D': t->uses |= KEY_DOMAIN; break;
        default:
            if (*text < '1' || *text > '9')
                return -1;
            t->uses |= KEY_DOMAIN;
            if (t->labels < (size_t) (*text - '0'))
                t->labels = (size_t) (*text - '0');
        }
    }
    return 0;
}

const char *sql_template_check(struct sql_template *t)
{
    t->uses = 0;
    t->labels = 0;
    if (check(t, t->query, true) < 0)
        return t->query;
    return check(t, t->result_format, false) < 0 ? t->result_format : NULL;
}

static void split(struct slice s, struct parts *out)
{
    ptrdiff_t at = slice_rfind(s, '@');
    struct slice rest, label;

    *out = (struct parts){ .whole = s, .user = slice_sub(s, 0, at < 0 ? s.len : (size_t) at) };
    if (at < 0)
        return;
    out->domain = slice_sub(s, (size_t) at + 1, s.len);
    rest = out->domain;
    while (slice_word(&rest, ".", &label))
        out->labels++;
    rest = out->domain;
    for (size_t i = out->labels; slice_word(&rest, ".", &label);)
        if (--i < LABELS_MAX)
            out->label[i] = label;
}

static bool has(const struct parts *p, unsigned uses, unsigned user, unsigned domain)
{
    return !((uses & domain) && p->domain.len == 0) && !((uses & user) && p->user.len == 0);
}

static struct slice escape(const struct parts *key, const struct parts *value, char letter)
{
    switch (letter) {
    case 's': return value->whole;
    case 'u': return value->user;
    case 'd': return value->domain;
    case 'S': return key->whole;
    case 'U': return key->user;
    case 'D': return key->domain;
    default: return key->label[letter - '1'];
    }
}

enum lookup sql_template_query(const struct sql_template *t, const char *key, struct arena *arena,
                               struct sql_question *out, struct err *err)
{
    struct parts parts;
    struct sql_mix mix;

    split(slice_of(key), &parts);
    if (*key == 0 || !has(&parts, t->uses, KEY_USER, KEY_DOMAIN) || parts.labels < t->labels)
        return LOOKUP_NONE;
    sql_mix_init(&mix, arena);
    for (const char *at = t->query; *at; at++) {
        size_t plain = strcspn(at, "%");

        str_add(&mix.text, at, plain);
        at += plain;
        if (*at == '\0')
            break;
        if (*++at == '%')
            str_addc(&mix.text, '%');
        else
            sql_mix_value(&mix, escape(&parts, &parts, *at));
    }
    return sql_mix_finish(&mix, out, err) < 0 ? LOOKUP_RETRY : LOOKUP_FOUND;
}

bool sql_template_result(const struct sql_template *t, const char *key, struct slice value, struct str *out)
{
    struct parts k, v;

    split(slice_of(key), &k);
    split(value, &v);
    if (value.len == 0 || !has(&v, t->uses, VALUE_USER, VALUE_DOMAIN))
        return false;
    if (out->len)
        str_addc(out, ',');
    for (const char *at = t->result_format; *at; at++)
        if (*at != '%')
            str_addc(out, *at);
        else if (*++at == '%')
            str_addc(out, '%');
        else
            str_addslice(out, escape(&k, &v, *at));
    return true;
}
