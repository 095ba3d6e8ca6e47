/* codec - base64, hex; contract in codec.h */
#include "base/codec.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_digits[] = "0123456789abcdef";

void base64_encode(struct str *out, struct slice in)
{
    const unsigned char *p = (const unsigned char *) in.p;

    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t) p[i] << 16 | (n > 1 ? (uint32_t) p[i + 1] << 8 : 0) |
                     (n > 2 ? (uint32_t) p[i + 2] : 0);
        char four[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63], n > 1 ? alphabet[v >> 6 & 63] : '=',
                         n > 2 ? alphabet[v & 63] : '=' };
        str_add(out, four, 4);
    }
}

int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct str *out, struct slice in)
{
    size_t start = out->len;

    if (in.len % 4)
        return -1;
    for (size_t i = 0; i < in.len; i += 4) {
        bool last = i + 4 == in.len;
        int pad = last && in.p[i + 3] == '=' ? (in.p[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t v = 0;
        for (int k = 0; k < 4; k++) {
            int d = k >= 4 - pad ? 0 : base64_value(in.p[i + (size_t) k]);
            if (d < 0) {
                str_cut(out, start);
                return -1;
            }
            v = v << 6 | (uint32_t) d;
        }
        char three[3] = { (char) (v >> 16), (char) (v >> 8), (char) v };
        str_add(out, three, (size_t) (3 - pad));
    }
    return 0;
}

void hex_encode(struct str *out, struct slice in)
{
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char) in.p[i];
        str_addc(out, hex_digits[c >> 4]);
        str_addc(out, hex_digits[c & 15]);
    }
}

static int value16(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct str *out, struct slice in)
{
    size_t start = out->len;

    if (in.len % 2)
        return -1;
    for (size_t i = 0; i < in.len; i += 2) {
        int high = value16(in.p[i]), low = value16(in.p[i + 1]);
        if (high < 0 || low < 0) {
            str_cut(out, start);
            return -1;
        }
        str_addc(out, (char) (high << 4 | low));
    }
    return 0;
}
