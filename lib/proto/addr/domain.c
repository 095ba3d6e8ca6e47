/*
 * addr domain - host names, literals, internationalised names
 *
 * Callers     smtpd/check, rewrite, smtp, lib/table
 * Invariants  pure
 * Source      RFC 1123 2.1, RFC 5321 4.1.3, UTS 46 by ICU (non-transitional, as Postfix's default is since 3.4)
 */
#include "proto/addr/addr.h"

#include <arpa/inet.h>
#include <unicode/uidna.h>

enum { IP_TEXT_BYTES = 64, IDNA_BYTES = 1024 };

bool addr_domain_valid(struct slice name)
{
    size_t label = 0;
    bool non_numeric = false, hyphen = false;

    if (name.len == 0 || name.len > ADDR_DOMAIN_BYTES)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];

        if (c == '.') {
            if (label == 0 || hyphen || i + 1 == name.len)
                return false;
            label = 0;
            continue;
        }
        if (!ascii_isalnum(c) && c != '_' && c != '-')
            return false;
        if (c == '-' && label == 0)
            return false;
        if (!ascii_isdigit(c))
            non_numeric = true;
        hyphen = c == '-';
        if (++label > ADDR_LABEL_BYTES)
            return false;
    }
    return non_numeric && !hyphen && label > 0;
}

bool addr_domain_utf8_valid(struct slice name)
{
    struct str ascii;
    bool valid;

    if (slice_is_ascii(name))
        return addr_domain_valid(name);
    str_init(&ascii, IDNA_BYTES);
    valid = addr_domain_to_ascii(&ascii, name) == 0 && addr_domain_valid(str_slice(&ascii));
    str_free(&ascii);
    return valid;
}

static bool ip_valid(int family, struct slice s)
{
    char text[IP_TEXT_BYTES];
    unsigned char bytes[16];

    if (s.len == 0 || s.len >= sizeof text || memchr(s.p, 0, s.len))
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    return inet_pton(family, text, bytes) == 1;
}

bool addr_ip_valid(struct slice s) { return ip_valid(AF_INET, s) || ip_valid(AF_INET6, s); }

int addr_literal_text(struct str *out, struct slice literal)
{
    struct slice inner;

    if (literal.len < 3 || literal.p[0] != '[' || literal.p[literal.len - 1] != ']')
        return -1;
    inner = slice_sub(literal, 1, literal.len - 2);
    if (slice_casestarts(inner, "IPv6:")) {
        inner = slice_sub(inner, 5, inner.len);
        if (!ip_valid(AF_INET6, inner))
            return -1;
    } else if (!ip_valid(AF_INET, inner)) {
        return -1;
    }
    str_addslice(out, inner);
    return 0;
}

bool addr_literal_valid(struct slice literal)
{
    struct str text;
    bool valid;

    str_init(&text, IP_TEXT_BYTES);
    valid = addr_literal_text(&text, literal) == 0;
    str_free(&text);
    return valid;
}

bool addr_domain_qualified(struct slice name)
{
    ptrdiff_t dot = slice_find(name, '.');

    return (name.len && name.p[0] == '[') || (dot > 0 && (size_t) dot + 1 < name.len);
}

static int idna(struct str *out, struct slice name, bool to_ascii)
{
    UErrorCode err = U_ZERO_ERROR;
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    UIDNA *converter;
    char buf[IDNA_BYTES];
    int32_t len;

    if (name.len == 0 || name.len > IDNA_BYTES / 2)
        return -1;
    converter = uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_NONTRANSITIONAL_TO_UNICODE | UIDNA_CHECK_BIDI,
                                &err);
    if (U_FAILURE(err))
        return -1;
    len = to_ascii ? uidna_nameToASCII_UTF8(converter, name.p, (int32_t) name.len, buf, sizeof buf, &info, &err)
                   : uidna_nameToUnicodeUTF8(converter, name.p, (int32_t) name.len, buf, sizeof buf, &info, &err);
    uidna_close(converter);
    /* A hyphen in places 3 and 4 is common in plain names ("r3---sn"), and a leading or trailing one is judged by
     * addr_domain_valid. */
    info.errors &= ~(uint32_t) (UIDNA_ERROR_HYPHEN_3_4 | UIDNA_ERROR_LEADING_HYPHEN | UIDNA_ERROR_TRAILING_HYPHEN);
    if (U_FAILURE(err) || info.errors || len <= 0 || len >= IDNA_BYTES)
        return -1;
    str_add(out, buf, (size_t) len);
    return 0;
}

int addr_domain_to_ascii(struct str *out, struct slice name)
{
    if (!slice_is_ascii(name))
        return utf8_valid(name) ? idna(out, name, true) : -1;
    for (size_t i = 0; i < name.len; i++)
        str_addc(out, ascii_lower(name.p[i]));
    return name.len ? 0 : -1;
}

static bool has_a_label(struct slice name)
{
    struct slice rest = name, label;

    while (slice_split(&rest, '.', &label))
        if (slice_casestarts(label, "xn--"))
            return true;
    return false;
}

int addr_domain_to_utf8(struct str *out, struct slice name)
{
    if (slice_is_ascii(name) && !has_a_label(name))
        return addr_domain_to_ascii(out, name);
    return utf8_valid(name) ? idna(out, name, false) : -1;
}

bool addr_domain_same(struct slice a, struct slice b)
{
    struct str x, y;
    bool same;

    if (slice_is_ascii(a) && slice_is_ascii(b))
        return addr_same(a, b);
    str_init(&x, IDNA_BYTES);
    str_init(&y, IDNA_BYTES);
    same = addr_domain_to_ascii(&x, a) == 0 && addr_domain_to_ascii(&y, b) == 0 &&
           slice_same(str_slice(&x), str_slice(&y));
    str_free(&x);
    str_free(&y);
    return same;
}
