/*
 * dotlock - see dotlock.h
 *
 * Callers     store/uidlist.c, store/keywords.c, store/subscribe.c
 * Invariants  waits in the fiber where there is one
 * Errors      -1 with errno
 */
#include "store/dotlock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WATCHED_MS = 2000 };

static int make(int dir_fd, const char *name)
{
    char host[128] = "", text[160];
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -1;
    (void) gethostname(host, sizeof host - 1);
    int len = snprintf(text, sizeof text, "%ld:%s", (long) getpid(), host);
    if (file_write_all(fd, text, (size_t) len) < 0) { /* a full disk: no lock, or it would look like nobody's */
        int keep = errno;
        close(fd);
        (void) unlinkat(dir_fd, name, 0);
        errno = keep;
        return -1;
    }
    close(fd);
    return 0;
}

/* Inode numbers are used again at once: the time tells one lock from the next. */
static bool same_lock(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Takes away a lock whose owner is gone. Renaming first: only one of several waiters gets it. */
static void break_stale(int dir_fd, const char *name, const struct stat *seen)
{
    char aside[128];
    struct stat st;

    snprintf(aside, sizeof aside, "%.80s.stale.%ld", name, (long) getpid());
    if (renameat(dir_fd, name, dir_fd, aside) < 0)
        return;
    if (fstatat(dir_fd, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 && !same_lock(&st, seen) &&
        linkat(dir_fd, aside, dir_fd, name, 0) < 0)
        log_warn("%s: a fresh lock was taken away by mistake: %s", name, strerror(errno));
    (void) unlinkat(dir_fd, aside, 0);
    log_warn("%s: removed a lock that was not touched for %d seconds", name, DOTLOCK_STALE_SECONDS);
}

int dotlock_take(int dir_fd, const char *name)
{
    int64_t until = time_mono_ms() + DOTLOCK_WAIT_SECONDS * 1000, pause = 2, since = time_mono_ms();
    struct stat st, seen = { 0 };

    while (make(dir_fd, name) < 0) {
        if (errno != EEXIST)
            return -1;
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            if (!same_lock(&st, &seen))
                since = time_mono_ms();
            seen = st;
            /* Old by the clock and untouched while we looked: the whole machine may have slept, its owner with it. */
            if (st.st_mtime + DOTLOCK_STALE_SECONDS < time_now() && time_mono_ms() - since >= WATCHED_MS)
                break_stale(dir_fd, name, &st);
        }
        if (time_mono_ms() > until) {
            errno = EAGAIN;
            return -1;
        }
        if (store_pause(pause) < 0)
            return -1;
        pause = pause < 100 ? pause * 2 : 100;
    }
    return 0;
}

void dotlock_release(int dir_fd, const char *name) { (void) unlinkat(dir_fd, name, 0); }
