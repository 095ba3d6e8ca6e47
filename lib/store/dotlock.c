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
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WATCHED_MS = 2000, MODE_HELD = 0700 };

/* Dovecot asks whether the process that a lock names exists; our jails may not. So the maker keeps flock() on the file,
 * which ends with the process, and the mode says so from the first moment: Dovecot's locks are not executable. */
static int make(int dir_fd, const char *name)
{
    char host[128] = "", text[160];
    struct file_look seen;
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, MODE_HELD), keep;

    if (fd < 0)
        return -1;
    if ((flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) ||
        (file_look(fd, "", &seen) == 0 && seen.links == 0)) {
        close(fd); /* a waiter came in between, and took it for abandoned */
        errno = EEXIST;
        return -1;
    }
    (void) gethostname(host, sizeof host - 1);
    int len = snprintf(text, sizeof text, "%ld:%s", (long) getpid(), host);
    if (file_write_all(fd, text, (size_t) len) == 0)
        return fd;
    keep = errno; /* a full disk: no lock, or it would look like nobody's */
    close(fd);
    (void) unlinkat(dir_fd, name, 0);
    errno = keep;
    return -1;
}

/* Inode numbers are used again at once: the time tells one lock from the next. */
static bool same_lock(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Takes away a lock whose owner is gone. Renaming first: only one of several waiters gets it. */
static void break_stale(int dir_fd, const char *name, const struct stat *seen, const char *why)
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
    log_warn("%s: removed a lock %s", name, why);
}

/* While we hold flock() its maker is not between making it and holding it, nor does another waiter break it. */
static void break_abandoned(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    struct stat held, st;

    if (fd < 0)
        return;
    if (fstat(fd, &held) == 0 && S_ISREG(held.st_mode) && (held.st_mode & 0777) == MODE_HELD &&
        flock(fd, LOCK_EX | LOCK_NB) == 0 && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        same_lock(&st, &held))
        break_stale(dir_fd, name, &held, "whose maker has died");
    close(fd);
}

int dotlock_take(int dir_fd, const char *name)
{
    int64_t until = time_mono_ms() + DOTLOCK_WAIT_SECONDS * 1000, pause = 2, since = time_mono_ms();
    struct stat st, seen = { 0 };
    int fd;

    while ((fd = make(dir_fd, name)) < 0) {
        if (errno != EEXIST)
            return -1;
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            bool same = same_lock(&st, &seen);
            if (!same)
                since = time_mono_ms();
            seen = st;
            /* Old by the clock and untouched while we looked: the whole machine may have slept, its owner with it. */
            if (st.st_mtime + DOTLOCK_STALE_SECONDS < time_now() && time_mono_ms() - since >= WATCHED_MS)
                break_stale(dir_fd, name, &st, "that was not touched for two minutes");
            if (same) /* one that is new may be a moment from being held */
                break_abandoned(dir_fd, name);
        }
        if (time_mono_ms() > until) {
            errno = EAGAIN;
            return -1;
        }
        if (store_pause(pause) < 0)
            return -1;
        pause = pause * 2 < DOTLOCK_PAUSE_MS ? pause * 2 : DOTLOCK_PAUSE_MS;
    }
    return fd;
}

bool dotlock_held(int fd)
{
    struct file_look seen;

    return file_look(fd, "", &seen) == 0 && seen.links > 0;
}

/* Somebody may have found it stale while we were stopped: what stands there then is another's. */
void dotlock_release(int dir_fd, const char *name, int fd)
{
    struct file_look mine, now;

    if (file_look(fd, "", &mine) == 0 && file_look(dir_fd, name, &now) == 0 && mine.inode == now.inode &&
        mine.device == now.device)
        (void) unlinkat(dir_fd, name, 0);
    else
        log_warn("%s: our lock was taken away before we were done", name);
    close(fd);
}
