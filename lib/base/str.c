/* str, slice - strings that grow to a limit, and views; contract in str.h */
#include "base/str.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { FIRST_BYTES = 64 };

static char nothing[1]; /* what an empty str points at; never written to but with NUL */

void str_init(struct str *s, size_t max) { *s = (struct str){ .p = nothing, .max = max ? max : SIZE_MAX / 4 }; }

void str_free(struct str *s)
{
    if (s->cap)
        free(s->p);
    *s = (struct str){ .p = nothing, .max = s->max };
}

void str_reset(struct str *s)
{
    s->len = 0;
    s->over = false;
    if (s->cap)
        s->p[0] = 0;
}

void str_cut(struct str *s, size_t len)
{
    if (len < s->len) {
        s->len = len;
        s->p[len] = 0;
    }
}

void str_drop(struct str *s, size_t len)
{
    if (len >= s->len) {
        s->len = 0;
        if (s->cap)
            s->p[0] = 0;
    } else if (len) {
        memmove(s->p, s->p + len, s->len - len + 1);
        s->len -= len;
    }
}

void str_reserve(struct str *s, size_t more)
{
    size_t want, cap;

    if (s->p == NULL)
        log_panic("str_reserve: the string was never initialised");
    if (more > s->max - s->len)
        more = s->max - s->len;
    want = s->len + more + 1;
    if (want <= s->cap)
        return;
    cap = s->cap ? s->cap : FIRST_BYTES;
    while (cap < want)
        cap *= 2;
    if (cap > s->max + 1)
        cap = s->max + 1;
    s->p = mem_grow(s->cap ? s->p : NULL, cap, 1);
    s->cap = cap;
    s->p[s->len] = 0;
}

void str_add(struct str *s, const void *p, size_t len)
{
    if (s->over || len == 0)
        return;
    if (len > s->max - s->len) {
        s->over = true;
        return;
    }
    if (len >= s->cap - s->len)
        str_reserve(s, len);
    memcpy(s->p + s->len, p, len);
    s->len += len;
    s->p[s->len] = 0;
}

void str_adds(struct str *s, const char *t) { str_add(s, t, strlen(t)); }
void str_addslice(struct str *s, struct slice t) { str_add(s, t.p, t.len); }

void str_addu(struct str *s, uint64_t n)
{
    char digits[20], *p = digits + sizeof digits;

    do
        *--p = (char) ('0' + n % 10);
    while (n /= 10);
    str_add(s, p, (size_t) (digits + sizeof digits - p));
}

void str_set(struct str *s, const char *t)
{
    str_reset(s);
    str_adds(s, t);
}

void str_vprintf(struct str *s, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    if (!s->over)
        str_reserve(s, FIRST_BYTES); /* what is short, as most is, is formatted once */
    size_t room = s->cap - s->len;
    n = vsnprintf(room ? s->p + s->len : NULL, room, fmt, ap);
    if (n < 0)
        log_panic("cannot format \"%s\"", fmt);
    bool fits = !s->over && (size_t) n <= s->max - s->len;
    if (!fits)
        s->over = true;
    if (fits && (size_t) n >= room) {
        str_reserve(s, (size_t) n);
        vsnprintf(s->p + s->len, (size_t) n + 1, fmt, again);
    }
    if (fits)
        s->len += (size_t) n;
    else if (room)
        s->p[s->len] = 0;
    va_end(again);
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    str_vprintf(s, fmt, ap);
    va_end(ap);
}

char *str_take(struct str *s)
{
    char *p = s->cap ? s->p : mem_strdup("");

    *s = (struct str){ .p = nothing, .max = s->max };
    return p;
}

bool slice_same(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
bool slice_eq(struct slice a, const char *s) { return slice_same(a, slice_of(s)); }
bool slice_caseeq(struct slice a, const char *s)
{
    if (a.len && ascii_lower(*a.p) != ascii_lower(*s)) /* most of the names in a table */
        return false;
    return a.len == strlen(s) && slice_casestarts(a, s);
}

bool slice_starts(struct slice a, const char *s)
{
    size_t n = strlen(s);

    return a.len >= n && (n == 0 || memcmp(a.p, s, n) == 0);
}

static bool same_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

bool slice_casestarts(struct slice a, const char *s)
{
    size_t n = strlen(s);

    return a.len >= n && same_nocase(a.p, s, n);
}

bool slice_caseends(struct slice a, const char *s)
{
    size_t n = strlen(s);

    return a.len >= n && same_nocase(a.p + (a.len - n), s, n);
}

struct slice slice_sub(struct slice a, size_t from, size_t len)
{
    if (from > a.len)
        from = a.len;
    if (len > a.len - from)
        len = a.len - from;
    return (struct slice){ a.len ? a.p + from : a.p, len };
}

struct slice slice_trim(struct slice a)
{
    while (a.len && ascii_isspace(a.p[0]))
        a.p++, a.len--;
    while (a.len && ascii_isspace(a.p[a.len - 1]))
        a.len--;
    return a;
}

ptrdiff_t slice_find(struct slice a, char c)
{
    const char *hit = a.len ? memchr(a.p, c, a.len) : NULL;

    return hit ? hit - a.p : -1;
}

ptrdiff_t slice_rfind(struct slice a, char c)
{
    const char *hit = a.len ? memrchr(a.p, c, a.len) : NULL;

    return hit ? hit - a.p : -1;
}

bool slice_split(struct slice *rest, char sep, struct slice *head)
{
    ptrdiff_t at;

    if (rest->p == NULL)
        return false;
    at = slice_find(*rest, sep);
    if (at < 0) {
        *head = *rest;
        *rest = (struct slice){ NULL, 0 };
    } else {
        *head = slice_sub(*rest, 0, (size_t) at);
        *rest = slice_sub(*rest, (size_t) at + 1, rest->len);
    }
    return true;
}

bool slice_word(struct slice *rest, const char *separators, struct slice *word)
{
    size_t n = 0;

    while (rest->len && strchr(separators, rest->p[0]) && rest->p[0])
        rest->p++, rest->len--;
    if (rest->len == 0)
        return false;
    while (n < rest->len && !(rest->p[n] && strchr(separators, rest->p[n])))
        n++;
    *word = slice_sub(*rest, 0, n);
    *rest = slice_sub(*rest, n, rest->len);
    return true;
}

int slice_u64(struct slice a, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (a.len == 0)
        return -1;
    for (size_t i = 0; i < a.len; i++) {
        if (!ascii_isdigit(a.p[i]))
            return -1;
        uint64_t digit = (uint64_t) (a.p[i] - '0');
        if (digit > max || n > (max - digit) / 10)
            return -1;
        n = n * 10 + digit;
    }
    *out = n;
    return 0;
}

int slice_i64(struct slice a, int64_t min, int64_t max, int64_t *out)
{
    bool minus = a.len && a.p[0] == '-';
    uint64_t n;

    if (a.len && (minus || a.p[0] == '+'))
        a.p++, a.len--;
    if (slice_u64(a, INT64_MAX, &n) < 0)
        return -1;
    int64_t v = minus ? -(int64_t) n : (int64_t) n;
    if (v < min || v > max)
        return -1;
    *out = v;
    return 0;
}

void ascii_lowercase(char *s)
{
    for (; *s; s++)
        *s = ascii_lower(*s);
}

bool slice_is_ascii(struct slice a)
{
    for (size_t i = 0; i < a.len; i++)
        if ((unsigned char) a.p[i] >= 0x80)
            return false;
    return true;
}

bool utf8_valid(struct slice a)
{
    const unsigned char *p = (const unsigned char *) a.p, *end = p + a.len;

    while (p < end) {
        unsigned char c = *p++;
        unsigned char low = 0x80, high = 0xbf;
        int more;

        if (c < 0x80)
            continue;
        if (c >= 0xc2 && c <= 0xdf)
            more = 1;
        else if (c >= 0xe0 && c <= 0xef)
            more = 2;
        else if (c >= 0xf0 && c <= 0xf4)
            more = 3;
        else
            return false;
        if (c == 0xe0)
            low = 0xa0;
        else if (c == 0xed)
            high = 0x9f;
        else if (c == 0xf0)
            low = 0x90;
        else if (c == 0xf4)
            high = 0x8f;
        for (; more; more--, low = 0x80, high = 0xbf)
            if (p >= end || *p < low || *p > high)
                return false;
            else
                p++;
    }
    return true;
}
