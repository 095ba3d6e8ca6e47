/*
 * addr path - the reverse-path and forward-path of MAIL and RCPT
 *
 * Callers     smtpd/cmd, lmtp/cmd, sendmail -bs; addr_spec_parse also quote.c
 * Invariants  pure; reads at most ADDR_BYTES of address
 * Errors      -1: not a path; *internal is cut back
 * Source      RFC 5321 4.1.2; the lenient forms are those Postfix accepts without strict_rfc821_envelopes
 */
#include "proto/addr/addr.h"
#include "proto/addr/internal.h"

static size_t skip_blanks(struct slice in, size_t at)
{
    while (at < in.len && (in.p[at] == ' ' || in.p[at] == '\t'))
        at++;
    return at;
}

/* Words and dots up to the "@" or the end; quoted and plain words may be mixed, as RFC 5322's obsolete form does. */
static int local_part(struct slice in, bool strict, struct str *out, size_t *used)
{
    size_t at = 0;
    bool word = false, dot = false, any = false;

    while (at < in.len) {
        unsigned char c = (unsigned char) in.p[at];

        if (c == '"' && !word) {
            ptrdiff_t len = addr_quoted_string(slice_sub(in, at, in.len), out);

            if (len < 0 || (strict && any))
                return -1;
            at += (size_t) len;
            word = true;
            dot = false;
        } else if (addr_is_atext(c)) {
            str_addc(out, (char) c);
            at++;
            word = true;
            dot = false;
        } else if (c == '\\' && !strict && at + 1 < in.len && (unsigned char) in.p[at + 1] >= ' ' &&
                   in.p[at + 1] != 127) {
            str_addc(out, in.p[at + 1]); /* RFC 821 let any character of a dot-string be escaped */
            at += 2;
            word = true;
            dot = false;
        } else if (c == '.') {
            if (strict && !word)
                return -1;
            str_addc(out, '.');
            at++;
            word = false;
            dot = true;
        } else {
            break;
        }
        any = true;
    }
    *used = at;
    return !any || (strict && dot) ? -1 : 0;
}

static int domain_part(struct slice in, bool strict, struct str *out, size_t *used)
{
    size_t at = 0;
    struct slice text;

    if (in.len && in.p[0] == '[') {
        ptrdiff_t end = slice_find(in, ']');

        if (end < 0)
            return -1;
        for (at = 0; at <= (size_t) end; at++)
            if ((unsigned char) in.p[at] <= ' ' || in.p[at] == 127 || in.p[at] == '\\' || in.p[at] == '@' ||
                (at && in.p[at] == '['))
                return -1;
    } else {
        while (at < in.len && (addr_is_atext((unsigned char) in.p[at]) || in.p[at] == '.'))
            at++;
    }
    text = slice_sub(in, 0, at);
    if (at == 0 || (text.p[0] != '[' && at > ADDR_DOMAIN_BYTES))
        return -1;
    if (strict && !addr_literal_valid(text) && !addr_domain_utf8_valid(text))
        return -1;
    str_addslice(out, text);
    *used = at;
    return 0;
}

int addr_spec_parse(struct slice in, bool strict, struct str *internal, size_t *used)
{
    size_t at, more, before = internal->len;

    if (local_part(in, strict, internal, &at))
        return -1;
    if (at < in.len && in.p[at] == '@') {
        str_addc(internal, '@');
        if (domain_part(slice_sub(in, at + 1, in.len), strict, internal, &more))
            return -1;
        at += 1 + more;
    } else if (memchr(internal->p + before, '@', internal->len - before)) {
        return -1; /* "a@b" in quotes and no domain: its internal form would be another address */
    }
    *used = at;
    return internal->len > before ? 0 : -1; /* a lone "" is not the null address */
}

/* "@a,@b:" before the mailbox: read over (RFC 5321 appendix C). Answers its length, 0 when there is none, -1. */
static ptrdiff_t source_route(struct slice in)
{
    struct str ignored;
    size_t at = 0, more;
    int failed = 0;

    if (in.len == 0 || in.p[0] != '@')
        return 0;
    str_init(&ignored, ADDR_BYTES);
    for (;;) {
        if (at >= in.len || in.p[at] != '@' || domain_part(slice_sub(in, at + 1, in.len), false, &ignored, &more)) {
            failed = 1;
            break;
        }
        at += 1 + more;
        if (at < in.len && in.p[at] == ':')
            break;
        if (at >= in.len || in.p[at] != ',') {
            failed = 1;
            break;
        }
        at++;
    }
    str_free(&ignored);
    return failed ? -1 : (ptrdiff_t) at + 1;
}

/* From "<" to ">". */
static int angle(struct slice in, unsigned flags, struct str *out, size_t *used)
{
    bool strict = flags & ADDR_PATH_STRICT;
    size_t at = strict ? 1 : skip_blanks(in, 1), more;
    ptrdiff_t route;

    if (at < in.len && in.p[at] == '>') {
        *used = at + 1;
        return flags & ADDR_PATH_EMPTY ? 0 : -1;
    }
    route = source_route(slice_sub(in, at, in.len));
    if (route < 0)
        return -1;
    at += (size_t) route;
    if (addr_spec_parse(slice_sub(in, at, in.len), strict, out, &more))
        return -1;
    at += more;
    if (!strict)
        at = skip_blanks(in, at);
    if (at >= in.len || in.p[at] != '>')
        return -1;
    *used = at + 1;
    return 0;
}

int addr_path_parse(struct slice in, unsigned flags, struct str *internal, size_t *used)
{
    size_t at = flags & ADDR_PATH_STRICT ? 0 : skip_blanks(in, 0), before = internal->len, more = 0;
    struct slice rest = slice_sub(in, at, in.len);
    int failed;

    if (rest.len && rest.p[0] == '<')
        failed = angle(rest, flags, internal, &more);
    else
        failed = flags & ADDR_PATH_STRICT ? -1 : addr_spec_parse(rest, false, internal, &more);
    at += more;
    /* What follows must be set off: "<a@b>SIZE=1" is not a path and a parameter. */
    if (!failed && at < in.len && in.p[at] != ' ' && in.p[at] != '\t')
        failed = -1;
    if (!failed && (internal->len - before > ADDR_BYTES || str_over(internal) ||
                    !utf8_valid(slice_make(internal->p + before, internal->len - before))))
        failed = -1;
    if (failed) {
        str_cut(internal, before);
        return -1;
    }
    *used = at;
    return 0;
}
