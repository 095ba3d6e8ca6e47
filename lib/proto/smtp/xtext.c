/*
 * smtp xtext - the encodings of ENVID, ORCPT and AUTH
 *
 * Callers     smtpd/cmd, smtp (client), bounce
 * Invariants  pure; appends to out
 * Errors      decoders: -1, and out is cut back
 * Source      RFC 3461 section 4 (xtext), RFC 6533 section 3 (utf-8-addr-xtext, utf-8-addr-unitext)
 */
#include "proto/smtp/command.h"

static int hex_digit(char c)
{
    return ascii_isdigit(c)       ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

void smtp_xtext_encode(struct str *out, struct slice in)
{
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char) in.p[i];

        if (c > ' ' && c < 127 && c != '+' && c != '=')
            str_addc(out, (char) c);
        else
            str_printf(out, "+%02X", c);
    }
}

int smtp_xtext_decode(struct str *out, struct slice in)
{
    size_t before = out->len;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];

        if (c == '+') {
            int high = i + 2 < in.len + 0 ? hex_digit(in.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;

            if (low < 0)
                goto bad;
            c = (char) (high * 16 + low);
            i += 2;
        } else if (c <= ' ' || c >= 127) {
            goto bad;
        }
        str_addc(out, c);
    }
    return 0;
bad:
    str_cut(out, before);
    return -1;
}

static void add_utf8(struct str *out, uint32_t c)
{
    if (c < 0x80) {
        str_addc(out, (char) c);
    } else if (c < 0x800) {
        str_addc(out, (char) (0xc0 | c >> 6));
        str_addc(out, (char) (0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        str_addc(out, (char) (0xe0 | c >> 12));
        str_addc(out, (char) (0x80 | (c >> 6 & 0x3f)));
        str_addc(out, (char) (0x80 | (c & 0x3f)));
    } else {
        str_addc(out, (char) (0xf0 | c >> 18));
        str_addc(out, (char) (0x80 | (c >> 12 & 0x3f)));
        str_addc(out, (char) (0x80 | (c >> 6 & 0x3f)));
        str_addc(out, (char) (0x80 | (c & 0x3f)));
    }
}

int smtp_uxtext_decode(struct str *out, struct slice in)
{
    size_t before = out->len;

    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char) in.p[i];
        uint32_t code = 0;
        size_t k, digits = 0;

        if (c != '\\') {
            if (c <= ' ' || c == 127)
                goto bad;
            str_addc(out, (char) c);
            continue;
        }
        if (i + 3 >= in.len || in.p[i + 1] != 'x' || in.p[i + 2] != '{')
            goto bad;
        for (k = i + 3; k < in.len && hex_digit(in.p[k]) >= 0 && digits < 6; k++, digits++)
            code = code * 16 + (uint32_t) hex_digit(in.p[k]);
        if (k >= in.len || in.p[k] != '}' || digits == 0 || code == 0 || code > 0x10ffff ||
            (code >= 0xd800 && code <= 0xdfff))
            goto bad;
        add_utf8(out, code);
        i = k;
    }
    return 0;
bad:
    str_cut(out, before);
    return -1;
}

void smtp_uxtext_encode(struct str *out, struct slice in)
{
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char) in.p[i];
        uint32_t code = c;

        if (c >= 0xc0) {
            size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;

            code = c & (0x3fu >> more);
            for (; more && i + 1 < in.len && ((unsigned char) in.p[i + 1] & 0xc0) == 0x80; more--)
                code = code << 6 | ((unsigned char) in.p[++i] & 0x3f);
        }
        if (c > ' ' && c < 127 && c != '+' && c != '=' && c != '\\')
            str_addc(out, (char) c);
        else
            str_printf(out, "\\x{%02X}", code);
    }
}
