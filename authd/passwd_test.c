/*
 * passwd_test - lines of a passwd-file, and a file that changes
 */
#include "passwd.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *in, *password, *uid, *gid, *home;
    size_t extras;
} lines[] = {
    { "{PLAIN}x:1000:1001::/home/a::", "{PLAIN}x", "1000", "1001", "/home/a", 0 },
    { "{PLAIN}x", "{PLAIN}x", "", "", "", 0 },
    { "", "", "", "", "", 0 },
    { "p:::::", "p", "", "", "", 0 },
    { "p:1:2:g:/h:/bin/sh:userdb_mail=maildir:~/Maildir nologin", "p", "1", "2", "/h", 2 },
};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

int main(void)
{
    struct arena *a = arena_new();
    struct passwd_entry e;
    struct err err;
    const char *watch;
    char dir[] = "/tmp/passwd_test.XXXXXX", path[64], other[64];

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert(passwd_parse(slice_of(lines[i].in), a, &e) == 0);
        assert(strcmp(e.password, lines[i].password) == 0 && strcmp(e.uid, lines[i].uid) == 0);
        assert(strcmp(e.gid, lines[i].gid) == 0 && strcmp(e.home, lines[i].home) == 0);
        assert(e.extras == lines[i].extras);
    }
    assert(strcmp(passwd_extra(&e, "userdb_mail"), "maildir:~/Maildir") == 0);
    assert(strcmp(passwd_extra(&e, "nologin"), "") == 0 && passwd_extra(&e, "x") == NULL);
    assert(passwd_parse(SLICE("a\0b:"), a, &e) == -1);

    assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/users", dir);
    snprintf(other, sizeof other, "%s/users.new", dir);
    write_file(path, "# comment\nalice:{PLAIN}a:1:2::/a\n\nalice:{PLAIN}second\nbob:x\n");
    assert(passwd_open(path, &watch) == 0 && strcmp(watch, dir) == 0);
    assert(passwd_find("alice", a, &e, &err) == LOOKUP_FOUND && strcmp(e.password, "{PLAIN}a") == 0);
    assert(passwd_find("carol", a, &e, &err) == LOOKUP_NONE);
    write_file(other, "carol:{PLAIN}c\n");
    assert(rename(other, path) == 0);
    usleep(1100000);
    assert(passwd_find("carol", a, &e, &err) == LOOKUP_FOUND && passwd_find("alice", a, &e, &err) == LOOKUP_NONE);
    assert(unlink(path) == 0);
    usleep(1100000);
    assert(passwd_find("carol", a, &e, &err) == LOOKUP_RETRY); /* a table that is gone says nothing about users */
    passwd_close();
    rmdir(dir);
    arena_free(&a);
    return 0;
}
