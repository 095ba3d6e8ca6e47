/* decode_test - transfer encodings, encoded words, charsets, dates, base subjects */
#include "proto/mime/decode.h"
#include "proto/mime/envelope.h"

#include <assert.h>
#include <stdio.h>

static const struct {
    enum mime_encoding encoding;
    const char *in, *out;
} transfers[] = {
    { MIME_BASE64, "aGVsbG8=", "hello" },
    { MIME_BASE64, "aGVs\r\n bG8=\r\n", "hello" },
    { MIME_BASE64, "aGVsbG8", "hello" },
    { MIME_BASE64, "YQ==Yg==", "ab" },
    { MIME_BASE64, "!!YWI*", "ab" },
    { MIME_QP, "a=3Db", "a=b" },
    { MIME_QP, "a=\r\nb", "ab" },
    { MIME_QP, "a = \t\r\nb", "a b" },
    { MIME_QP, "a  \r\nb", "a\r\nb" },
    { MIME_QP, "a=zz", "a=zz" },
    { MIME_QP, "a=3", "a=3" },
    { MIME_QP, "end=", "end=" },
    { MIME_IDENTITY, "x=3D", "x=3D" },
    { MIME_QP, "a b  c", "a b  c" },
};
static const struct {
    const char *in, *out;
} words[] = {
    { "plain", "plain" },
    { "=?utf-8?q?caf=C3=A9?=", "café" },
    { "=?ISO-8859-1?Q?caf=E9_x?= y", "café x y" },
    { "=?utf-8?b?w6k=?= =?utf-8?b?w6k=?=", "éé" },
    { "=?utf-8?b?w6k=?=\r\n =?utf-8?b?w6k=?=", "éé" },
    { "=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é" },
    { "=?utf-8?x?abc?=", "=?utf-8?x?abc?=" },
    { "a =?utf-8?q?b?= c", "a b c" },
    { "=?utf-8*en?q?b?=", "b" },
    { "=?utf-8?q?unended", "=?utf-8?q?unended" },
    { "folded\r\n line", "folded line" },
    { "=?koi8-r?b?8NLJ18XU?=", "Привет" },
    { "=?gb2312?B?xOO6ww==?=", "你好" },
    { "raw caf\xc3\xa9", "raw café" },
    { "bad \xff", "bad \xef\xbf\xbd" },
    { "=?nonesuch?q?a=FF?=", "a\xef\xbf\xbd" },
};
static const struct {
    const char *in;
    int64_t seconds;
    int zone;
} dates[] = {
    { "Thu, 01 Jan 1970 00:00:00 +0000", 0, 0 },
    { "1 Jan 1970 01:00:00 +0100 (CET)", 0, 60 },
    { "Sun, 22 Nov 2026 01:36:00 +0700", 1795286160, 420 },
    { "22 Nov 26 01:36 GMT", 1795311360, 0 },
    { "Sat, 31 Dec 1998 23:59:60 -0000", 915148799, 0 },
    { "1 Jan 1970 00:00:00 EST", 18000, -300 },
};
static const struct {
    const char *in, *out;
    bool reply;
} subjects[] = {
    { "Re: hello", "hello", true },
    { "RE[2]: [list] hello", "hello", true },
    { "[list] hello", "hello", false },
    { "Fwd: Re: a  b", "a b", true },
    { "hello (fwd)", "hello", true },
    { "[fwd: hello]", "hello", true },
    { "[x]", "[x]", false },
    { "Re:", "", true },
    { "Report: x", "Report: x", false },
};

int main(void)
{
    struct str out;
    int64_t seconds;
    int zone;
    bool reply;

    str_init(&out, 0);
    for (size_t i = 0; i < sizeof transfers / sizeof *transfers; i++) {
        for (size_t piece = 1; piece < 12; piece++) {
            struct mime_decoder d;
            struct slice in = slice_of(transfers[i].in);
            str_reset(&out);
            mime_decoder_init(&d, transfers[i].encoding);
            for (size_t at = 0; at < in.len; at += piece)
                mime_decoder_feed(&d, slice_sub(in, at, piece), &out);
            mime_decoder_end(&d, &out);
            assert(strcmp(out.p, transfers[i].out) == 0);
        }
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        str_reset(&out);
        mime_decode_words(slice_of(words[i].in), &out);
        if (strcmp(out.p, words[i].out) != 0)
            fprintf(stderr, "%s: %s\n", words[i].in, out.p);
        assert(strcmp(out.p, words[i].out) == 0);
    }
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        assert(mime_date(slice_of(dates[i].in), &seconds, &zone));
        if (seconds != dates[i].seconds)
            fprintf(stderr, "%s: %lld\n", dates[i].in, (long long) seconds);
        assert(seconds == dates[i].seconds && zone == dates[i].zone);
    }
    assert(!mime_date(slice_of(""), &seconds, &zone) && !mime_date(slice_of("Mon, 40 Jan"), &seconds, &zone));
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        str_reset(&out);
        mime_base_subject(slice_of(subjects[i].in), &out, &reply);
        if (strcmp(out.p, subjects[i].out) != 0)
            fprintf(stderr, "%s: '%s'\n", subjects[i].in, out.p);
        assert(strcmp(out.p, subjects[i].out) == 0 && reply == subjects[i].reply);
    }
    str_reset(&out);
    mime_casemap(slice_of("straße É"), &out);
    assert(strcmp(out.p, "STRASSE E\xcc\x81") == 0);
    str_reset(&out);
    struct mime_charset *cs = mime_charset_open("shift_jis");
    const char sj[] = "\x83\x65\x83\x58\x83\x67";
    for (size_t i = 0; i < 6; i++)
        mime_charset_feed(cs, slice_make(sj + i, 1), i == 5, &out);
    mime_charset_close(&cs);
    assert(strcmp(out.p, "テスト") == 0);
    assert(mime_charset_known("iso-8859-15") && !mime_charset_known("nonesuch"));
    str_free(&out);
    return 0;
}
