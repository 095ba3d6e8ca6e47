/*
 * field - see field.h
 *
 * Callers     mime/part.c, mime/envelope.c, lib/store, imapd, lmtpd
 * Invariants  each loop moves forward in its slice; at most MIME_PARAMS_MAX parameters are kept
 * Errors      what cannot be read is left out, as Dovecot does
 * Source      RFC 5322 2.2; RFC 2045 5.1; RFC 2231
 */
#include "proto/mime/field.h"
#include "base/codec.h"
#include "proto/mime/decode.h"
#include "proto/mime/lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static size_t line_length(struct slice s, size_t *end_bytes)
{
    const char *lf = s.len ? memchr(s.p, '\n', s.len) : NULL;
    size_t len = lf ? (size_t) (lf - s.p) + 1 : s.len;

    *end_bytes = lf ? (len > 1 && s.p[len - 2] == '\r' ? 2 : 1) : 0;
    return len;
}

/* Blanks after the colon go when something follows on the line; of an empty first line only one goes. */
static struct slice skip_lead(struct slice value)
{
    size_t i = 0;

    while (i < value.len && (value.p[i] == ' ' || value.p[i] == '\t'))
        i++;
    if (i == value.len || value.p[i] == '\r' || value.p[i] == '\n')
        i = i > 0;
    return slice_sub(value, i, value.len - i);
}

bool mime_field_next(struct slice *rest, struct mime_field *out)
{
    size_t end, len, more;

    if (rest->p == NULL || rest->len == 0) {
        *rest = (struct slice){ NULL, 0 };
        return false;
    }
    len = line_length(*rest, &end);
    if (len == end && end > 0) {
        *rest = slice_make(rest->p + len, rest->len - len);
        return false;
    }
    while (len < rest->len && (rest->p[len] == ' ' || rest->p[len] == '\t')) {
        more = line_length(slice_make(rest->p + len, rest->len - len), &end);
        len += more;
    }
    out->whole = slice_make(rest->p, len);
    *rest = slice_make(rest->p + len, rest->len - len);

    struct slice body = slice_make(out->whole.p, len - end);
    ptrdiff_t colon = slice_find(body, ':');
    const char *lf = memchr(body.p, '\n', body.len);
    if (colon < 0 || (lf && lf < body.p + colon)) {
        out->name = (struct slice){ "", 0 };
        out->value = body;
        return true;
    }
    out->name = slice_trim(slice_make(body.p, (size_t) colon));
    out->value = skip_lead(slice_sub(body, (size_t) colon + 1, body.len));
    return true;
}

bool mime_field_find(struct slice header, const char *name, struct mime_field *out)
{
    while (mime_field_next(&header, out))
        if (slice_caseeq(out->name, name))
            return true;
    return false;
}

void mime_unfold(struct str *out, struct slice v)
{
    if (v.len == 0)
        return;
    if (!memchr(v.p, '\n', v.len) && !memchr(v.p, '\r', v.len) && !memchr(v.p, '\0', v.len)) {
        str_addslice(out, v);
        return;
    }
    for (size_t i = 0; i < v.len; i++) {
        if (v.p[i] == '\n' || (v.p[i] == '\r' && i + 1 < v.len && v.p[i + 1] == '\n'))
            continue;
        if (v.p[i] == '\0')
            str_adds(out, "\xef\xbf\xbd");
        else
            str_addc(out, v.p[i] == '\r' ? ' ' : v.p[i]);
    }
}

struct piece { /* a parameter in the order and shape it was written */
    const char *name, *value, *key;
    bool rfc2231, extended;
    unsigned index;
    size_t order;
};

/* ";name=value". 1: read; 0: at the end; -1: not a parameter, or an unreadable value. */
static int read_param(struct lex *lx, struct str *name, struct str *value)
{
    int ret = lex_skip(lx);

    if (ret <= 0)
        return ret;
    if (*lx->p != ';')
        return -1;
    lx->p++;
    if ((ret = lex_skip(lx)) <= 0)
        return ret;
    str_reset(name);
    str_reset(value);
    if (lex_token(lx, name) <= 0 || *lx->p != '=')
        return -1;
    lx->p++;
    if ((ret = lex_skip(lx)) < 0)
        return ret;
    if (ret == 0)
        return 1;
    if (*lx->p == '"')
        return lex_quoted(lx, value) < 0 ? -1 : 1;
    if (*lx->p == '=') { /* seen in the wild: name==?utf-8?q?...?= */
        while (lx->p < lx->end && *lx->p != ';' && !ascii_isspace(*lx->p))
            str_addc(value, *lx->p++);
        return 1;
    }
    return lex_token(lx, value) < 0 ? -1 : 1;
}

/* Splits "name*0*" into key, index and whether it is encoded. */
static void classify(struct piece *pc, struct arena *a)
{
    const char *star = strchr(pc->name, '*'), *p = star;
    unsigned index = 0;

    if (star == NULL)
        return;
    for (p++; ascii_isdigit(*p); p++)
        index = index < 100000 ? index * 10 + (unsigned) (*p - '0') : index;
    if (star[1] == '\0' || *p == '*') {
        pc->extended = true;
        p = star[1] == '\0' ? star + 1 : p + 1;
    }
    if (*p != '\0') {
        pc->extended = false;
        return;
    }
    pc->rfc2231 = true;
    pc->index = index;
    pc->key = arena_strndup(a, pc->name, (size_t) (star - pc->name));
}

static int by_key(const void *x, const void *y)
{
    const struct piece *a = x, *b = y;

    if (a->rfc2231 != b->rfc2231)
        return a->rfc2231 ? 1 : -1;
    if (a->rfc2231) {
        int c = strcmp(a->key, b->key);
        if (c != 0)
            return c;
        if (a->index != b->index)
            return a->index < b->index ? -1 : 1;
    }
    return a->order < b->order ? -1 : 1;
}

static void add_param(struct mime_param ***tail, struct arena *a, const char *name, const char *value)
{
    struct mime_param *p = arena_alloc(a, sizeof *p);

    p->name = name;
    p->value = value;
    **tail = p;
    *tail = &p->next;
}

/* Pieces of one name: joined when none is missing, else left as they are. */
static void add_pieces(struct mime_param ***tail, struct arena *a, const struct piece *pc, size_t n)
{
    bool extended = false, whole = true;
    struct str value;

    for (size_t i = 0; i < n; i++) {
        extended |= pc[i].extended;
        whole &= pc[i].index == i;
    }
    if (!whole) {
        for (size_t i = 0; i < n; i++)
            add_param(tail, a, arena_printf(a, "%s*%u%s", pc[i].key, pc[i].index, pc[i].extended ? "*" : ""),
                      pc[i].value);
        return;
    }
    str_init(&value, MIME_VALUE_BYTES);
    if (extended && !pc[0].extended)
        str_adds(&value, "''");
    for (size_t i = 0; i < n; i++) {
        if (pc[i].extended || !extended) {
            str_adds(&value, pc[i].value);
            continue;
        }
        for (const char *p = pc[i].value; *p; p++) {
            str_addc(&value, *p);
            if (*p == '%')
                str_adds(&value, "25");
        }
    }
    add_param(tail, a, extended ? arena_printf(a, "%s*", pc[0].key) : pc[0].key,
              arena_strndup(a, value.p, value.len));
    str_free(&value);
}

static struct mime_param *read_params(struct lex *lx, struct arena *a)
{
    struct piece pc[MIME_PARAMS_MAX];
    struct mime_param *first = NULL, **tail = &first;
    struct str name, value;
    size_t n = 0;
    int ret;

    str_init(&name, MIME_NAME_BYTES);
    str_init(&value, MIME_VALUE_BYTES);
    while (n < MIME_PARAMS_MAX && (ret = read_param(lx, &name, &value)) != 0) {
        if (ret < 0) { /* go on behind what cannot be read */
            if (lx->p >= lx->end)
                break;
            lx->p++;
            continue;
        }
        pc[n] = (struct piece){ .name = arena_strndup(a, name.p, name.len),
                                .value = arena_strndup(a, value.p, value.len),
                                .order = n };
        classify(&pc[n++], a);
    }
    str_free(&name);
    str_free(&value);
    if (n)
        qsort(pc, n, sizeof *pc, by_key);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && pc[i].rfc2231 && strcasecmp(pc[i].key, pc[j].key) == 0; j++)
            ;
        if (pc[i].rfc2231)
            add_pieces(&tail, a, pc + i, j - i);
        else
            add_param(&tail, a, pc[i].name, pc[i].value);
    }
    return first;
}

/* "type/subtype", nothing but parameters behind; a lone "type" is accepted. */
static bool read_type(struct lex *lx, struct str *type, struct str *subtype)
{
    int ret;

    if (lex_skip(lx) <= 0 || (ret = lex_token(lx, type)) < 0 || type->len == 0)
        return false;
    if (ret == 0)
        return true;
    if (*lx->p != '/')
        return false;
    lx->p++;
    if (lex_skip(lx) <= 0 || (ret = lex_token(lx, subtype)) < 0 || subtype->len == 0)
        return false;
    return ret == 0 || *lx->p == ';';
}

bool mime_content_type(struct slice value, struct arena *a, struct mime_typed *out)
{
    struct str type, subtype;
    struct lex lx;
    bool good;

    str_init(&type, MIME_NAME_BYTES);
    str_init(&subtype, MIME_NAME_BYTES);
    lex_init(&lx, value);
    *out = (struct mime_typed){ .type = "", .subtype = "" };
    good = read_type(&lx, &type, &subtype);
    if (good) {
        out->type = arena_strndup(a, type.p, type.len);
        out->subtype = arena_strndup(a, subtype.p, subtype.len);
        out->params = read_params(&lx, a);
    }
    str_free(&type);
    str_free(&subtype);
    return good;
}

bool mime_disposition(struct slice value, struct arena *a, struct mime_typed *out)
{
    struct str type;
    struct lex lx;

    str_init(&type, MIME_NAME_BYTES);
    lex_init(&lx, value);
    if (lex_skip(&lx) > 0)
        (void) lex_token(&lx, &type);
    *out = (struct mime_typed){ .type = arena_strndup(a, type.p, type.len) };
    out->params = read_params(&lx, a);
    str_free(&type);
    return true;
}

/* RFC 2231 section 4: charset'language'percent-encoded. */
static const char *decode_extended(const char *v, struct arena *a)
{
    const char *q1 = strchr(v, '\''), *q2 = q1 ? strchr(q1 + 1, '\'') : NULL;
    char charset[64] = "";
    struct str raw, out;

    str_init(&raw, MIME_VALUE_BYTES);
    str_init(&out, 4 * MIME_VALUE_BYTES);
    if (q2) {
        snprintf(charset, sizeof charset, "%.*s", (int) (q1 - v < 63 ? q1 - v : 63), v);
        v = q2 + 1;
    }
    for (; *v; v++) {
        struct slice two = slice_make(v + 1, 2);
        if (*v == '%' && v[1] && v[2] && hex_decode(&raw, two) == 0)
            v += 2;
        else
            str_addc(&raw, *v);
    }
    struct mime_charset *cs = mime_charset_open(charset);
    mime_charset_feed(cs, str_slice(&raw), true, &out);
    mime_charset_close(&cs);
    const char *text = arena_strndup(a, out.p, out.len);
    str_free(&raw);
    str_free(&out);
    return text;
}

const char *mime_param_get(const struct mime_typed *t, const char *name, struct arena *a)
{
    size_t len = strlen(name);
    const char *plain = NULL;

    for (const struct mime_param *p = t->params; p; p = p->next) {
        if (strncasecmp(p->name, name, len) != 0)
            continue;
        if (p->name[len] == '*' && p->name[len + 1] == '\0')
            return decode_extended(p->value, a);
        if (p->name[len] == '\0' && plain == NULL)
            plain = p->value;
    }
    if (plain == NULL)
        return NULL;
    struct str out;
    str_init(&out, 4 * MIME_VALUE_BYTES);
    mime_decode_words(slice_of(plain), &out);
    plain = arena_strndup(a, out.p, out.len);
    str_free(&out);
    return plain;
}
