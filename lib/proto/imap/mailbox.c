/* mailbox - modified UTF-7 and the wildcard matcher. Contract: mailbox.h */
#include "proto/imap/mailbox.h"
#include "base/mem.h"

#include <stdlib.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_value(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int) (at - digits) : -1;
}

static void add_utf8(struct str *out, uint32_t c)
{
    if (c < 0x80) {
        str_addc(out, (char) c);
    } else if (c < 0x800) {
        str_addc(out, (char) (0xc0 | c >> 6));
        str_addc(out, (char) (0x80 | (c & 63)));
    } else if (c < 0x10000) {
        str_addc(out, (char) (0xe0 | c >> 12));
        str_addc(out, (char) (0x80 | (c >> 6 & 63)));
        str_addc(out, (char) (0x80 | (c & 63)));
    } else {
        str_addc(out, (char) (0xf0 | c >> 18));
        str_addc(out, (char) (0x80 | (c >> 12 & 63)));
        str_addc(out, (char) (0x80 | (c >> 6 & 63)));
        str_addc(out, (char) (0x80 | (c & 63)));
    }
}

/* The base64 run behind '&': UTF-16BE without anything that could be written plainly. */
static int decode_run(struct slice run, struct str *out)
{
    uint32_t bits = 0, high = 0;
    unsigned have = 0;

    for (size_t i = 0; i < run.len; i++) {
        int value = digit_value(run.p[i]);
        uint32_t unit;

        if (value < 0)
            return -1;
        bits = (bits << 6 | (uint32_t) value) & 0xffffff;
        have += 6;
        if (have < 16)
            continue;
        have -= 16;
        unit = bits >> have & 0xffff;
        if (high) {
            if (unit < 0xdc00 || unit > 0xdfff)
                return -1;
            add_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
            high = 0;
        } else if (unit >= 0xd800 && unit <= 0xdbff) {
            high = unit;
        } else if ((unit >= 0xdc00 && unit <= 0xdfff) || (unit >= 0x20 && unit < 0x7f) || unit == 0) {
            return -1;
        } else {
            add_utf8(out, unit);
        }
    }
    return high || have >= 6 || (bits & ((1u << have) - 1)) ? -1 : 0;
}

int imap_mailbox_decode(struct slice in, struct str *out)
{
    size_t before = out->len;
    bool after_run = false; /* "&..-&..-": two runs side by side would be a second spelling */

    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];
        struct slice rest = slice_sub(in, i + 1, in.len);
        ptrdiff_t close;

        if ((unsigned char) c < 0x20 || (unsigned char) c >= 0x7f)
            goto bad;
        if (c != '&') {
            str_addc(out, c);
            after_run = false;
            continue;
        }
        close = slice_find(rest, '-');
        if (close < 0 || (close > 0 && (after_run || decode_run(slice_sub(rest, 0, (size_t) close), out) != 0)))
            goto bad;
        if (close == 0)
            str_addc(out, '&');
        after_run = close > 0;
        i += (size_t) close + 1;
    }
    return 0;
bad:
    str_cut(out, before);
    return -1;
}

static uint32_t next_utf8(struct slice in, size_t *at)
{
    unsigned char c = (unsigned char) in.p[(*at)++];
    unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    uint32_t value = more == 0 ? c : c & (0x3fu >> more);

    while (more--)
        value = value << 6 | ((unsigned char) in.p[(*at)++] & 63);
    return value;
}

static void add_unit(struct str *out, uint32_t *bits, unsigned *have, uint32_t unit)
{
    *bits = *bits << 16 | unit;
    *have += 16;
    while (*have >= 6) {
        *have -= 6;
        str_addc(out, digits[*bits >> *have & 63]);
    }
    *bits &= (1u << *have) - 1;
}

int imap_mailbox_encode(struct slice in, struct str *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    bool inside = false;

    if (!utf8_valid(in))
        return -1;
    for (size_t i = 0; i < in.len;) {
        uint32_t c = next_utf8(in, &i);
        bool plain = c >= 0x20 && c < 0x7f;

        if (plain == inside) {
            if (inside) {
                if (have)
                    str_addc(out, digits[bits << (6 - have) & 63]);
                str_addc(out, '-');
            } else {
                str_addc(out, '&');
            }
            bits = have = 0;
            inside = !inside;
        }
        if (plain) {
            str_addc(out, (char) c);
            if (c == '&')
                str_addc(out, '-');
        } else if (c < 0x10000) {
            add_unit(out, &bits, &have, c);
        } else {
            add_unit(out, &bits, &have, 0xd800 + ((c - 0x10000) >> 10));
            add_unit(out, &bits, &have, 0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    if (inside) {
        if (have)
            str_addc(out, digits[bits << (6 - have) & 63]);
        str_addc(out, '-');
    }
    return 0;
}

static bool is_inbox(struct slice name, char separator)
{
    return name.len >= 5 && slice_caseeq(slice_sub(name, 0, 5), "INBOX") && (name.len == 5 || name.p[5] == separator);
}

/* The set of pattern positions reachable after `c`; wildcards also stay where they are. */
static void spread(struct slice pattern, bool *at)
{
    for (size_t i = 0; i < pattern.len; i++) {
        if (at[i] && (pattern.p[i] == '*' || pattern.p[i] == '%'))
            at[i + 1] = true;
    }
}

bool imap_mailbox_match(struct slice pattern, struct slice name, char separator)
{
    bool *at = mem_array(pattern.len + 1, 1), *next = mem_array(pattern.len + 1, 1);
    bool inbox = is_inbox(name, separator), answer;

    at[0] = true;
    spread(pattern, at);
    for (size_t n = 0; n < name.len; n++) {
        memset(next, 0, pattern.len + 1);
        for (size_t i = 0; i < pattern.len; i++) {
            char p = pattern.p[i], c = name.p[n];

            if (!at[i])
                continue;
            if (p == '*' || (p == '%' && c != separator))
                next[i] = true;
            else if (p == c || (inbox && n < 5 && ascii_lower(p) == ascii_lower(c)))
                next[i + 1] = true;
        }
        spread(pattern, next);
        bool *swap = at;
        at = next;
        next = swap;
    }
    answer = at[pattern.len];
    free(at);
    free(next);
    return answer;
}
