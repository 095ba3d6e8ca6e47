/* mailbox_test - modified UTF-7 both ways, and LIST patterns */
#include "proto/imap/mailbox.h"

#include <assert.h>
#include <stdio.h>

static void names(void)
{
    static const struct {
        const char *wire, *utf8; /* utf8 NULL: not a name */
    } rows[] = {
        { "INBOX", "INBOX" },
        { "Entw&APw-rfe", "Entw\xc3\xbcrfe" },
        { "a&-b", "a&b" },
        { "&-", "&" },
        { "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
          "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
        { "&2D3eAA-", "\xf0\x9f\x98\x80" },
        { "&AGE-", NULL },      /* 'a' needs no encoding */
        { "&APw", NULL },       /* never closed */
        { "&APw-&APw-", NULL }, /* one run, spelled as two */
        { "&AP-", NULL },       /* half a unit */
        { "&APx-", NULL },      /* left-over bits set */
        { "&2D0-", NULL },      /* half a surrogate pair */
        { "&3gA-", NULL },      /* low surrogate alone */
        { "&A!w-", NULL },
        { "&AAA-", NULL }, /* NUL */
        { "caf\xc3\xa9", NULL },
        { "a\x01", NULL },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str out;

        str_init(&out, 1000);
        int rc = imap_mailbox_decode(slice_of(rows[i].wire), &out);
        if ((rc == 0) != (rows[i].utf8 != NULL) || (rc == 0 && strcmp(out.p, rows[i].utf8) != 0))
            fprintf(stderr, "row %zu: %s -> %s\n", i, rows[i].wire, out.p), assert(0);
        if (rc == 0) {
            struct str back;
            str_init(&back, 1000);
            assert(imap_mailbox_encode(str_slice(&out), &back) == 0 && strcmp(back.p, rows[i].wire) == 0);
            str_free(&back);
        }
        str_free(&out);
    }
}

static void patterns(void)
{
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        { "*", "INBOX", true },
        { "*", "a/b/c", true },
        { "%", "a", true },
        { "%", "a/b", false },
        { "a/%", "a/b", true },
        { "a/%", "a/b/c", false },
        { "a*", "a/b/c", true },
        { "%/%", "a/b", true },
        { "inbox", "INBOX", true },
        { "InBoX", "INBOX", true },
        { "inb%", "INBOX", true },
        { "inbox/x", "INBOX/x", true },
        { "A", "a", false },
        { "", "a", false },
        { "", "", true },
        { "%%%", "a", true },
        { "*b*", "abc", true },
        { "*/b", "a/b", true },
        { "*/b", "b", false },
        { "%b", "a/b", false },
        { "a%c*e", "abc/d/e", true },
        { "inboxes", "INBOXES", false },
        { "a/b", "a/b", true },
        { "a/b/", "a/b", false },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (imap_mailbox_match(slice_of(rows[i].pattern), slice_of(rows[i].name), '/') != rows[i].match)
            fprintf(stderr, "row %zu: %s %s\n", i, rows[i].pattern, rows[i].name), assert(0);
    }
    char stars[1000], long_name[1000];
    memset(stars, '*', sizeof stars);
    memset(long_name, 'a', sizeof long_name);
    stars[999] = 'b'; /* exponential when matched by trying everything */
    assert(!imap_mailbox_match(slice_make(stars, 1000), slice_make(long_name, 1000), '/'));
}

int main(void)
{
    names();
    patterns();
    return 0;
}
