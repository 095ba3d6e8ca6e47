/*
 * lex - see lex.h
 *
 * Callers     mime/field.c, mime/address.c
 * Invariants  pure; forward only
 * Source      RFC 5322 3.2.1 to 3.2.5, 3.4.1, 4.1; RFC 2045 5.1
 */
#include "proto/mime/lex.h"

void lex_init(struct lex *lx, struct slice value)
{
    *lx = (struct lex){ .p = value.p, .end = value.p + value.len };
    if (value.len == 0)
        lx->p = lx->end = "";
}

bool lex_is_atext(char c)
{
    static const bool yes[128] = {
        ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true,
        ['+'] = true, ['-'] = true, ['/'] = true, ['='] = true, ['?'] = true, ['^'] = true,  ['_'] = true,
        ['`'] = true, ['{'] = true, ['|'] = true, ['}'] = true, ['~'] = true,
    };

    return ascii_isalnum(c) || (unsigned char) c > 127 || yes[(unsigned char) c];
}

static bool is_token(char c)
{
    static const bool no[128] = {
        ['('] = true, [')'] = true, ['<'] = true,  ['>'] = true, ['@'] = true, [','] = true,
        [';'] = true, [':'] = true, ['\\'] = true, ['"'] = true, ['/'] = true, ['['] = true,
        [']'] = true, ['?'] = true, ['='] = true,  [127] = true,
    };

    return (unsigned char) c > 127 || (c > ' ' && !no[(unsigned char) c]);
}

/* Text between "from" and "to" of a quoted string or comment: escapes and line ends removed, NULs replaced. */
static void unescape(struct str *out, const char *from, const char *to)
{
    for (; from < to; from++) {
        if (*from == '\n' || (*from == '\r' && from + 1 < to && from[1] == '\n'))
            continue;
        if (*from == '\\' && from + 1 < to && from[1] != '\r' && from[1] != '\n')
            from++;
        if (*from)
            str_addc(out, *from);
        else
            str_adds(out, "\xef\xbf\xbd");
    }
}

static int skip_comment(struct lex *lx)
{
    const char *from = lx->p + 1, *escape = from;
    size_t depth = 0;

    if (lx->comment)
        str_reset(lx->comment);
    for (; lx->p < lx->end; lx->p++) {
        if (*lx->p == '(') {
            depth++;
        } else if (*lx->p == ')' && --depth == 0) {
            if (lx->comment)
                unescape(lx->comment, from, lx->p);
            lx->p++;
            return 1;
        } else if (*lx->p == '\\') {
            if (++lx->p >= lx->end)
                break;
            escape = lx->p - 1;
        }
    }
    if (lx->comment) /* not closed: what stood before the last escape is all that Dovecot shows */
        unescape(lx->comment, from, escape);
    lx->p = lx->end;
    return -1;
}

int lex_skip(struct lex *lx)
{
    while (lx->p < lx->end) {
        if (*lx->p == ' ' || *lx->p == '\t' || *lx->p == '\r' || *lx->p == '\n') {
            lx->p++;
        } else if (*lx->p != '(') {
            return 1;
        } else if (skip_comment(lx) < 0) {
            return -1;
        }
    }
    return 0;
}

int lex_token(struct lex *lx, struct str *out)
{
    const char *from = lx->p;

    while (lx->p < lx->end && is_token(*lx->p))
        lx->p++;
    str_add(out, from, (size_t) (lx->p - from));
    return lx->p < lx->end ? lex_skip(lx) : 0;
}

int lex_atom(struct lex *lx, struct str *out)
{
    const char *from = lx->p;

    if (lx->p >= lx->end || !lex_is_atext(*lx->p))
        return -1;
    while (lx->p < lx->end && lex_is_atext(*lx->p))
        lx->p++;
    str_add(out, from, (size_t) (lx->p - from));
    return lex_skip(lx);
}

int lex_atom_or_dot(struct lex *lx, struct str *out)
{
    const char *from = lx->p;

    while (lx->p < lx->end && (lex_is_atext(*lx->p) || *lx->p == '.'))
        lx->p++;
    str_add(out, from, (size_t) (lx->p - from));
    return lex_skip(lx);
}

int lex_quoted(struct lex *lx, struct str *out)
{
    const char *from = ++lx->p;

    for (; lx->p < lx->end; lx->p++) {
        if (*lx->p == '"') {
            unescape(out, from, lx->p);
            lx->p++;
            return lex_skip(lx);
        }
        if (*lx->p == '\\' && ++lx->p >= lx->end)
            break;
    }
    lx->p = lx->end;
    return -1;
}

int lex_phrase(struct lex *lx, struct str *out)
{
    int ret;

    if (lx->p >= lx->end)
        return 0;
    if (*lx->p == '.')
        return -1;
    for (;;) {
        ret = *lx->p == '"' ? lex_quoted(lx, out) : lex_atom_or_dot(lx, out);
        if (ret <= 0)
            return ret;
        if (!lex_is_atext(*lx->p) && *lx->p != '"' && *lx->p != '.')
            return lex_skip(lx);
        str_addc(out, ' ');
    }
}

int lex_dot_atom(struct lex *lx, struct str *out)
{
    int ret;

    for (;;) {
        if ((ret = lex_atom(lx, out)) <= 0)
            return ret;
        if (*lx->p != '.')
            return 1;
        lx->p++;
        str_addc(out, '.');
        if (lex_skip(lx) <= 0)
            return -1;
    }
}

/* "[...]" as it stands. */
static int domain_literal(struct lex *lx, struct str *out)
{
    const char *from = lx->p;

    for (; lx->p < lx->end; lx->p++) {
        if (*lx->p == '\\') {
            if (++lx->p >= lx->end)
                break;
        } else if (*lx->p == ']') {
            lx->p++;
            str_add(out, from, (size_t) (lx->p - from));
            return lex_skip(lx);
        }
    }
    lx->p = lx->end;
    return -1;
}

int lex_domain(struct lex *lx, struct str *out)
{
    lx->p++;
    if (lex_skip(lx) <= 0)
        return -1;
    return *lx->p == '[' ? domain_literal(lx, out) : lex_dot_atom(lx, out);
}
