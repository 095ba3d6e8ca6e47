/*
 * addr quote - internal form to external and back
 *
 * Callers     everybody who writes or reads an address for the outside
 * Invariants  pure; addr_unquote(addr_quote(x)) is x for every x without CR, LF and NUL
 * Errors      addr_unquote: -1 for an open quote, a lone backslash, a bare special; *internal is cut back
 * Source      RFC 5321 4.1.2 (Local-part), RFC 6531 3.3
 */
#include "proto/addr/addr.h"
#include "proto/addr/internal.h"

bool addr_is_atext(unsigned char c)
{
    return c >= 0x80 || ascii_isalnum((char) c) || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

bool addr_split(struct slice internal, struct slice *local, struct slice *domain)
{
    ptrdiff_t at = slice_rfind(internal, '@');

    if (at < 0) {
        *local = internal;
        *domain = slice_make("", 0);
        return false;
    }
    *local = slice_sub(internal, 0, (size_t) at);
    *domain = slice_sub(internal, (size_t) at + 1, internal.len);
    return true;
}

static bool is_dot_string(struct slice s)
{
    bool after_dot = true;

    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '.') {
            if (after_dot)
                return false;
            after_dot = true;
        } else if (!addr_is_atext((unsigned char) s.p[i])) {
            return false;
        } else {
            after_dot = false;
        }
    }
    return !after_dot;
}

void addr_quote_local(struct str *external, struct slice local)
{
    if (is_dot_string(local)) {
        str_addslice(external, local);
        return;
    }
    str_addc(external, '"');
    for (size_t i = 0; i < local.len; i++) {
        char c = local.p[i];

        /* CR and LF cannot be written in any quoting: one blank keeps the line whole. */
        if (c == '\r' || c == '\n' || c == 0)
            c = ' ';
        if (c == '"' || c == '\\')
            str_addc(external, '\\');
        str_addc(external, c);
    }
    str_addc(external, '"');
}

void addr_quote(struct str *external, struct slice internal)
{
    struct slice local, domain;
    bool has_domain = addr_split(internal, &local, &domain);

    if (internal.len == 0)
        return;
    addr_quote_local(external, local);
    if (has_domain) {
        str_addc(external, '@');
        str_addslice(external, domain);
    }
}

ptrdiff_t addr_quoted_string(struct slice in, struct str *text)
{
    for (size_t i = 1; i < in.len; i++) {
        unsigned char c = (unsigned char) in.p[i];

        if (c == '"')
            return (ptrdiff_t) i + 1;
        if (c == '\\' && ++i >= in.len)
            return -1;
        c = (unsigned char) in.p[i];
        if (c < ' ' || c == 127)
            return -1;
        str_addc(text, (char) c);
    }
    return -1;
}

int addr_unquote(struct str *internal, struct slice external)
{
    size_t used, before = internal->len;

    if (external.len == 0)
        return 0;
    if (addr_spec_parse(external, false, internal, &used) == 0 && used == external.len && !str_over(internal))
        return 0;
    str_cut(internal, before);
    return -1;
}
