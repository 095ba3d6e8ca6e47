/* str, slice, UTF-8 */
#include "base/str.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void grows_to_its_limit(void)
{
    struct str s;
    char *taken;

    str_init(&s, 10);
    assert(s.len == 0 && strcmp(s.p, "") == 0 && s.cap == 0);
    str_adds(&s, "12345");
    str_addc(&s, '6');
    str_add(&s, "", 0);
    assert(slice_eq(str_slice(&s), "123456") && !str_over(&s));
    str_adds(&s, "78901"); /* would be 11 */
    assert(str_over(&s) && slice_eq(str_slice(&s), "123456"));
    str_addc(&s, 'x'); /* ignored once it is over */
    assert(s.len == 6);
    str_reset(&s);
    str_printf(&s, "%s-%d", "ab", 12345);
    assert(!str_over(&s) && strcmp(s.p, "ab-12345") == 0);
    str_printf(&s, "%d", 123);
    assert(str_over(&s) && s.len == 8);
    str_reset(&s);
    str_adds(&s, "0123456789");
    assert(!str_over(&s) && s.len == 10);
    str_cut(&s, 20);
    str_cut(&s, 8);
    str_drop(&s, 3);
    assert(strcmp(s.p, "34567") == 0);
    str_drop(&s, 50);
    assert(s.len == 0 && *s.p == 0);
    str_add(&s, "a\0b", 3);
    assert(s.len == 3 && s.p[3] == 0);
    taken = str_take(&s);
    assert(memcmp(taken, "a\0b", 4) == 0 && s.len == 0 && s.max == 10);
    free(taken);
    taken = str_take(&s);
    assert(strcmp(taken, "") == 0);
    free(taken);
    str_free(&s);
    str_init(&s, 1000);
    str_addu(&s, UINT64_MAX);
    str_printf(&s, "%0*d", 300, 7); /* longer than what is reserved at first */
    assert(s.len == 320 && strncmp(s.p, "184467440737095516150", 21) == 0 && s.p[319] == '7' && s.p[320] == 0);
    str_set(&s, "x");
    str_free(&s);
    assert(s.len == 0 && strcmp(s.p, "") == 0);
}

static void slices(void)
{
    struct slice rest = SLICE("a,,b"), part;
    const char *parts[] = { "a", "", "b" };
    size_t n = 0;

    while (slice_split(&rest, ',', &part))
        assert(n < 3 && slice_eq(part, parts[n++]));
    assert(n == 3 && rest.p == NULL);
    rest = SLICE("");
    assert(slice_split(&rest, ',', &part) && part.len == 0 && !slice_split(&rest, ',', &part));
    rest = SLICE("  one two ");
    assert(slice_word(&rest, " ", &part) && slice_eq(part, "one"));
    assert(slice_word(&rest, " ", &part) && slice_eq(part, "two") && !slice_word(&rest, " ", &part));
    assert(slice_eq(slice_trim(SLICE(" \t a b\r\n")), "a b") && slice_trim(SLICE(" \n")).len == 0);
    assert(slice_caseeq(SLICE("AbC"), "aBc") && !slice_caseeq(SLICE("AbC"), "aB") && !slice_caseeq(SLICE("a"), "aB"));
    assert(slice_starts(SLICE("abc"), "ab") && !slice_starts(SLICE("a"), "ab") && slice_starts(SLICE("a"), ""));
    assert(slice_casestarts(SLICE("ABc"), "ab") && slice_caseends(SLICE("x.TEST"), ".test"));
    assert(slice_find(SLICE("a@b@c"), '@') == 1 && slice_rfind(SLICE("a@b@c"), '@') == 3);
    assert(slice_find((struct slice){ NULL, 0 }, '@') == -1 && slice_rfind(SLICE(""), '@') == -1);
    assert(slice_eq(slice_sub(SLICE("hello"), 1, 3), "ell") && slice_sub(SLICE("hello"), 9, 3).len == 0 &&
           slice_eq(slice_sub(SLICE("hello"), 3, 99), "lo"));
    assert(slice_is_ascii(SLICE("abc\n")) && !slice_is_ascii(SLICE("a\xc3\xa9")));
}

static const struct {
    const char *text;
    uint64_t max;
    int rc;
    uint64_t value;
} numbers[] = {
    { "0", 10, 0, 0 },
    { "10", 10, 0, 10 },
    { "11", 10, -1, 0 },
    { "", 10, -1, 0 },
    { "-1", 10, -1, 0 },
    { "1 ", 10, -1, 0 },
    { "007", 10, 0, 7 },
    { "9", 8, -1, 0 },
    { "+1", 10, -1, 0 },
    { "0x1", 10, -1, 0 },
    { "1", 0, -1, 0 },
    { "0", 0, 0, 0 },
    { "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
    { "18446744073709551616", UINT64_MAX, -1, 0 },
};
static const struct {
    const char *text;
    int64_t min, max;
    int rc;
    int64_t value;
} signed_numbers[] = {
    { "-5", -5, 5, 0, -5 },
    { "-6", -5, 5, -1, 0 },
    { "+5", -5, 5, 0, 5 },
    { "-", -5, 5, -1, 0 },
    { "--1", -5, 5, -1, 0 },
    { "9223372036854775807", 0, INT64_MAX, 0, INT64_MAX },
    { "9223372036854775808", 0, INT64_MAX, -1, 0 },
};

static const struct {
    const char *text;
    bool valid;
} utf8[] = {
    { "", true },
    { "plain", true },
    { "\xc3\xa9", true },
    { "\xe2\x82\xac", true },
    { "\xf0\x9f\x98\x80", true },
    { "\xf4\x8f\xbf\xbf", true },
    { "\xf4\x90\x80\x80", false }, /* past U+10FFFF */
    { "\xed\xa0\x80", false },     /* surrogate */
    { "\xed\x9f\xbf", true },
    { "\xc0\xaf", false }, /* overlong */
    { "\xe0\x80\xaf", false },
    { "\xf0\x80\x80\xaf", false },
    { "\x80", false },
    { "\xc3", false },
    { "\xe2\x82", false },
    { "\xc3(", false },
    { "a\xff", false },
};

int main(void)
{
    grows_to_its_limit();
    slices();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint64_t n = 0;
        assert(slice_u64(slice_of(numbers[i].text), numbers[i].max, &n) == numbers[i].rc && n == numbers[i].value);
    }
    for (size_t i = 0; i < sizeof signed_numbers / sizeof *signed_numbers; i++) {
        int64_t n = 0;
        assert(slice_i64(slice_of(signed_numbers[i].text), signed_numbers[i].min, signed_numbers[i].max, &n) ==
                   signed_numbers[i].rc &&
               n == signed_numbers[i].value);
    }
    for (size_t i = 0; i < sizeof utf8 / sizeof *utf8; i++)
        if (utf8_valid(slice_of(utf8[i].text)) != utf8[i].valid) {
            printf("row %zu of utf8\n", i);
            return 1;
        }
    return 0;
}
