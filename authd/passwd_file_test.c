/*
 * passwd_file_test - files that change, come and go
 */
#include "passwd_file.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static enum lookup find(struct passwd_file *f, const char *user, const char *expected)
{
    struct slice rest;
    struct err err;
    enum lookup found = passwd_file_find(f, user, &rest, &err);

    assert(found != LOOKUP_FOUND || slice_eq(rest, expected));
    return found;
}

static void count_one(void *ctx, struct slice user)
{
    (void) user;
    ++*(int *) ctx;
}

static void test_one(const char *dir)
{
    char path[64], other[64];
    struct passwd_file *f;
    struct err err;
    int users = 0;

    snprintf(path, sizeof path, "%s/users", dir);
    snprintf(other, sizeof other, "%s/users.new", dir);
    write_file(path, "# comment\nalice:{PLAIN}a:1:2::/a\n\nalice:{PLAIN}second\nbob:x\r\n:nobody\n");
    f = passwd_file_open(path);
    assert(f == passwd_file_open(path));
    assert(find(f, "alice", "{PLAIN}a:1:2::/a") == LOOKUP_FOUND && find(f, "bob", "x") == LOOKUP_FOUND);
    assert(find(f, "carol", "") == LOOKUP_NONE);
    assert(passwd_file_each(f, count_one, &users, &err) == 0 && users == 2);
    write_file(other, "carol:{PLAIN}c\n");
    assert(rename(other, path) == 0);
    usleep(1100000);
    assert(find(f, "carol", "{PLAIN}c") == LOOKUP_FOUND && find(f, "alice", "") == LOOKUP_NONE);
    assert(unlink(path) == 0);
    usleep(1100000);
    assert(find(f, "carol", "") == LOOKUP_RETRY); /* a table that is gone says nothing about users */
    assert(passwd_file_each(f, count_one, &users, &err) == -1);
}

static void test_many(const char *dir)
{
    char path[64];
    struct passwd_file *f;

    snprintf(path, sizeof path, "%s/a.test", dir);
    write_file(path, "alice:1\n");
    f = passwd_file_of(path);
    assert(f && find(f, "alice", "1") == LOOKUP_FOUND && find(f, "bob", "") == LOOKUP_NONE);
    assert(unlink(path) == 0);
    usleep(1100000);
    assert(find(passwd_file_of(path), "alice", "") == LOOKUP_NONE); /* a domain without a file has no users */
    for (int n = 0; n < PASSWD_FILES_MAX + 10; n++) {
        snprintf(path, sizeof path, "%s/d%d", dir, n);
        assert(find(passwd_file_of(path), "alice", "") == LOOKUP_NONE);
    }
    assert(find(passwd_file_of(dir), "alice", "") == LOOKUP_RETRY); /* a directory is a fault */
    assert(passwd_file_of("/etc/../etc/passwd") == NULL);
}

int main(void)
{
    char dir[] = "/tmp/passwd_file_test.XXXXXX";

    assert(mkdtemp(dir));
    test_one(dir);
    test_many(dir);
    passwd_file_close_all();
    rmdir(dir);
    return 0;
}
