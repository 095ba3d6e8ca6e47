/*
 * test_root - a scratch Maildir, and what the tests of this directory do with it
 *
 * Callers     *_test.c of this directory: root_begin first
 * Invariants  it goes when the test ends, also where an assertion failed
 */
#ifndef STORE_TEST_ROOT_H
#define STORE_TEST_ROOT_H
#include "base/file.h"
#include "store/mailbox.h"
#include "store/store.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char root[200];

static inline void root_wipe(void)
{
    char cmd[300];

    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    assert(system(cmd) == 0);
}

static inline void root_abort(int signo)
{
    signal(signo, SIG_DFL);
    root_wipe();
    raise(signo);
}

/* name: of the test. */
static inline void root_begin(const char *name)
{
    snprintf(root, sizeof root, "%s/%s-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", name, (int) getpid());
    signal(SIGABRT, root_abort);
    atexit(root_wipe);
}

static inline void root_shell(const char *what)
{
    char cmd[1000];
    int n = snprintf(cmd, sizeof cmd, "cd '%s' && %s", root, what);

    assert(n > 0 && (size_t) n < sizeof cmd && system(cmd) == 0);
}

static inline void root_put(const char *name, const char *text)
{
    char path[600];
    int fd;

    snprintf(path, sizeof path, "%s/%s", root, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0 && file_write_all(fd, text, strlen(text)) == 0);
    close(fd);
}

static inline struct store *root_open(void)
{
    struct store *st;
    struct store_config c = { .root = root, .separator = '/', .create = true };

    assert(store_open(&c, &st) == STORE_OK);
    return st;
}

static inline struct store *root_fresh(void)
{
    root_wipe();
    return root_open();
}

static inline struct mailbox *root_box(struct store *st, const char *name)
{
    struct mailbox *box;

    assert(mailbox_open(st, name, false, &box) == STORE_OK);
    return box;
}
#endif
