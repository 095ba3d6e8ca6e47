/* arg_test - the words of a command: astrings, literals, dates, flag lists */
#include "proto/imap/arg.h"
#include "proto/imap/print.h"

#include <assert.h>
#include <stdio.h>

static struct arena *arena;

static void astrings(void)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } rows[] = {
        { "INBOX", "INBOX" },
        { "a]b rest", "a]b" },
        { "\"two words\"", "two words" },
        { "\"a\\\"b\\\\c\"", "a\"b\\c" },
        { "\"a\\bc\"", NULL },
        { "\"open", NULL },
        { "\"line\nend\"", NULL },
        { "\"end\\", NULL },
        { "{3}\r\nabc rest", "abc" },
        { "{3+}\r\nabc", "abc" },
        { "{0}\r\n", "" },
        { "\"\"", "" },
        { "{4}\r\nabc", NULL },
        { "{3}abc", NULL },
        { "{3}\nabc", NULL },
        { "{99999999999}\r\nabc", NULL },
        { "{-1}\r\nabc", NULL },
        { "{}\r\nabc", NULL },
        { "(x)", NULL },
        { "", NULL },
        { "%", NULL },
        { "caf\xc3\xa9", "caf\xc3\xa9" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_arg a;
        struct slice out = { NULL, 0 };

        imap_arg_init(&a, slice_of(rows[i].in), arena);
        int rc = imap_arg_astring(&a, &out);
        if ((rc == 0) != (rows[i].out != NULL) || (rc == 0 && !slice_eq(out, rows[i].out)))
            fprintf(stderr, "row %zu: %s\n", i, rows[i].in), assert(0);
        assert((rc == 0) == (a.error == NULL));
    }
    struct imap_arg nul;
    struct slice out;
    imap_arg_init(&nul, slice_make("{3}\r\na\0b", 8), arena);
    assert(imap_arg_astring(&nul, &out) == -1);
}

static void literals(void)
{
    static const struct {
        const char *in;
        int rc;
        uint64_t size;
        bool sync;
    } rows[] = {
        { "a APPEND x {310}", 1, 310, true },
        { "a LOGIN {5+}", 1, 5, false },
        { "a NOOP", 0, 0, false },
        { "a {x}", -1, 0, false },
        { "{}", -1, 0, false },
        { "}", 0, 0, false },
        { "a {4294967296}", -1, 0, false },
        { "a {4294967295}", 1, 4294967295u, true },
        { "a {+}", -1, 0, false },
        { "a \"{5}\"", 0, 0, false },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t size = 0;
        bool sync = false;
        int rc = imap_arg_literal(slice_of(rows[i].in), &size, &sync);

        assert(rc == rows[i].rc);
        assert(rc != 1 || (size == rows[i].size && sync == rows[i].sync));
    }
}

static void dates(void)
{
    static const struct {
        const char *in;
        bool with_time;
        int rc;
        int64_t seconds;
    } rows[] = {
        { "17-Jul-1996", false, 0, 837561600 },
        { "\"17-Jul-1996\"", false, 0, 837561600 },
        { "1-jan-1970", false, 0, 0 },
        { "31-Feb-2001", false, -1, 0 },
        { "1-Foo-2001", false, -1, 0 },
        { "001-Jan-2001", false, -1, 0 },
        { "1-Jan-01", false, -1, 0 },
        { "1-Ja", false, -1, 0 },
        { "\"1-Jan-2001", false, -1, 0 },
        { "\"17-Jul-1996 02:44:25 -0700\"", true, 0, 837596665 },
        { "\" 1-Jan-1970 01:00:00 +0100\"", true, 0, 0 },
        { "\"01-Jan-1970 00:00:00 +0000\"", true, 0, 0 },
        { "\"01-Jan-1970 24:00:00 +0000\"", true, -1, 0 },
        { "\"01-Jan-1970 00:00:00\"", true, -1, 0 },
        { "\"01-Jan-1970 00:00:00 +0060\"", true, -1, 0 },
        { "01-Jan-1970 00:00:00 +0000", true, -1, 0 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_arg a;
        int64_t seconds = 0;

        imap_arg_init(&a, slice_of(rows[i].in), arena);
        int rc = rows[i].with_time ? imap_arg_date_time(&a, &seconds) : imap_arg_date(&a, &seconds);
        if (rc != rows[i].rc || (rc == 0 && seconds != rows[i].seconds))
            fprintf(stderr, "row %zu: %s %lld\n", i, rows[i].in, (long long) seconds), assert(0);
    }
}

static void flags(void)
{
    static const struct {
        const char *in, *out; /* as printed again; NULL: refused */
    } rows[] = {
        { "(\\Seen $Kw)", "\\Seen $Kw" },
        { "()", "" },
        { "( \\deleted )", "\\Deleted" },
        { "\\Seen \\Answered", "\\Answered \\Seen" },
        { "one two", "one two" },
        { "(\\Nonsense)", NULL },
        { "(\\Seen", NULL },
        { "(a b", NULL },
        { "(a(b))", NULL },
        { "(\\*)", NULL },
        { "(\"x\")", NULL },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_arg a;
        struct imap_flags f;
        struct str out;

        str_init(&out, 1000);
        imap_arg_init(&a, slice_of(rows[i].in), arena);
        int rc = imap_arg_flags(&a, &f);
        if (rc == 0)
            imap_print_flags(&out, f.system, f.keywords, f.keyword_count);
        if ((rc == 0) != (rows[i].out != NULL) || (rc == 0 && strcmp(out.p, rows[i].out) != 0))
            fprintf(stderr, "row %zu: %s -> %s\n", i, rows[i].in, out.p), assert(0);
        str_free(&out);
    }
    struct imap_arg many;
    struct imap_flags f;
    struct str text;
    str_init(&text, 100000);
    for (int i = 0; i <= IMAP_KEYWORDS; i++)
        str_printf(&text, "k%d ", i);
    imap_arg_init(&many, slice_trim(str_slice(&text)), arena);
    assert(imap_arg_flags(&many, &f) == -1);
    str_free(&text);
}

static void printing(void)
{
    static const struct {
        const char *in, *string, *astring;
    } rows[] = {
        { "INBOX", "\"INBOX\"", "INBOX" },
        { "", "\"\"", "\"\"" },
        { "nil", "\"nil\"", "\"nil\"" },
        { "py two", "\"py two\"", "\"py two\"" },
        { "a\"b\\", "\"a\\\"b\\\\\"", "\"a\\\"b\\\\\"" },
        { "caf\xc3\xa9", "{5}\r\ncaf\xc3\xa9", "{5}\r\ncaf\xc3\xa9" },
        { "a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb" },
        { "a%b", "\"a%b\"", "\"a%b\"" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str out;

        str_init(&out, 1000);
        imap_print_string(&out, slice_of(rows[i].in));
        assert(strcmp(out.p, rows[i].string) == 0);
        str_reset(&out);
        imap_print_astring(&out, slice_of(rows[i].in));
        assert(strcmp(out.p, rows[i].astring) == 0);
        str_free(&out);
    }
}

static void words(void)
{
    struct imap_arg a;

    imap_arg_init(&a, slice_of("UIDS uid BODY[ X"), arena);
    assert(!imap_arg_word(&a, "UID"));
    assert(imap_arg_word(&a, "uids") && imap_arg_space(&a) == 0 && imap_arg_word(&a, "UID"));
    assert(imap_arg_space(&a) == 0 && imap_arg_word(&a, "BODY") && imap_arg_char(&a, '['));
    assert(imap_arg_space(&a) == 0 && imap_arg_done(&a) == -1 && a.error);
    imap_arg_init(&a, slice_of("(a (\"b)\" {1}\r\n) %) c) d"), arena);
    assert(imap_arg_skip_list(&a, 3) == 0 && imap_arg_peek(&a) == ' ');
    imap_arg_init(&a, slice_of("(((("), arena);
    assert(imap_arg_skip_list(&a, 3) == -1);
}

int main(void)
{
    arena = arena_new();
    astrings();
    literals();
    dates();
    flags();
    printing();
    words();
    arena_free(&arena);
    return 0;
}
