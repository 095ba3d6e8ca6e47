/*
 * passwd_test - lines of a passwd-file
 */
#include "passwd.h"
#include <assert.h>

static const struct {
    const char *in, *password, *uid, *gid, *home;
    size_t extras;
} lines[] = {
    { "{PLAIN}x:1000:1001::/home/a::", "{PLAIN}x", "1000", "1001", "/home/a", 0 },
    { "{PLAIN}x", "{PLAIN}x", "", "", "", 0 },
    { "", "", "", "", "", 0 },
    { "p:::::", "p", "", "", "", 0 },
    { "0123[34]::", "{PLAIN-MD5}0123", "", "", "", 0 },
    { "0123[56]", "{DIGEST-MD5}0123", "", "", "", 0 },
    { "ab0123[13]", "{CRYPT}ab0123", "", "", "", 0 },
    { "{PLAIN}a[b]", "{PLAIN}a[b]", "", "", "", 0 },
    { "p:1:2:g:/h:/bin/sh:userdb_mail=maildir:~/Maildir nologin", "p", "1", "2", "/h", 2 },
};

int main(void)
{
    struct arena *a = arena_new();
    struct passwd_entry e;

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert(passwd_parse(slice_of(lines[i].in), a, &e) == 0);
        assert(strcmp(e.password, lines[i].password) == 0 && strcmp(e.uid, lines[i].uid) == 0);
        assert(strcmp(e.gid, lines[i].gid) == 0 && strcmp(e.home, lines[i].home) == 0);
        assert(e.extra.count == lines[i].extras);
    }
    assert(strcmp(authd_fields_get(&e.extra, "userdb_mail"), "maildir:~/Maildir") == 0);
    assert(authd_fields_has(&e.extra, "nologin") && authd_fields_get(&e.extra, "nologin") == NULL);
    assert(!authd_fields_has(&e.extra, "x"));
    assert(passwd_parse(SLICE("a\0b:"), a, &e) == -1);
    arena_free(&a);
    return 0;
}
