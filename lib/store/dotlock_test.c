/* dotlock_test - a lock lasts as long as its maker; whose maker has died is nobody's */
#include "store/dotlock.h"
#include "base/time.h"
#include "event/event.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD_MS = 700, AT_ONCE_MS = 400 };
#define LOCK "x.lock"

static int dir;

/* What another process leaves, or takes away after HELD_MS. */
static const struct {
    const char *what;
    const char *text; /* NULL: made by dotlock_take */
    mode_t mode;
    bool lives; /* its maker, until the lock is given back */
    bool waits;
} rows[] = {
    { "made by us, killed", NULL, 0, false, false },
    { "made by us, alive", NULL, 0, true, true },
    { "made by us, killed before a word was written", "", 0700, false, false },
    { "by Dovecot, its process gone", "999999:host", 0600, false, true }, /* holds no flock: only time tells */
    { "by Dovecot, alive", "1:host", 0600, true, true },
    { "by Dovecot, nothing written yet", "", 0600, true, true },
    { "by Dovecot, for a shared mailbox", "1:host", 0660, true, true },
};

_Noreturn static void other(size_t row, int ready)
{
    int fd = rows[row].text ? openat(dir, LOCK, O_WRONLY | O_CREAT | O_EXCL, rows[row].mode)
                            : dotlock_take(dir, LOCK);

    if (rows[row].text && write(fd, rows[row].text, strlen(rows[row].text)) < 0)
        abort();
    if (fd < 0 || write(ready, "", 1) != 1)
        abort();
    if (!rows[row].lives)
        close(fd);
    if (!rows[row].waits)
        _exit(0);
    usleep(HELD_MS * 1000);
    unlinkat(dir, LOCK, 0);
    _exit(0);
}

static void test_row(size_t i)
{
    int ready[2], fd, status;
    char byte;
    int64_t began, took;
    pid_t pid;

    assert(pipe(ready) == 0 && (pid = fork()) >= 0);
    if (pid == 0)
        other(i, ready[1]);
    assert(read(ready[0], &byte, 1) == 1);
    if (!rows[i].waits)
        assert(waitpid(pid, &status, 0) == pid && status == 0);
    began = time_mono_ms();
    fd = dotlock_take(dir, LOCK);
    took = time_mono_ms() - began;
    if (fd < 0 || (took >= AT_ONCE_MS) != rows[i].waits) {
        fprintf(stderr, "%s: %lld ms\n", rows[i].what, (long long) took);
        abort();
    }
    if (rows[i].waits)
        assert(waitpid(pid, &status, 0) == pid && status == 0);
    dotlock_release(dir, LOCK, fd);
    assert(faccessat(dir, LOCK, F_OK, 0) < 0);
    close(ready[0]);
    close(ready[1]);
}

/* Ours was judged stale and another made: that one is not ours to remove. */
static void test_not_ours(void)
{
    int ours = dotlock_take(dir, LOCK), theirs;
    struct stat st, held;

    assert(ours >= 0 && unlinkat(dir, LOCK, 0) == 0 && (theirs = dotlock_take(dir, LOCK)) >= 0);
    dotlock_release(dir, LOCK, ours);
    assert(fstat(theirs, &held) == 0 && fstatat(dir, LOCK, &st, 0) == 0 && st.st_ino == held.st_ino);
    dotlock_release(dir, LOCK, theirs);
    assert(faccessat(dir, LOCK, F_OK, 0) < 0);
}

static void take(void *fd) { *(int *) fd = dotlock_take(dir, LOCK); }

/* Made, and held a moment later: who looks in between leaves it alone. */
static void test_half_made(void *unused)
{
    int made = openat(dir, LOCK, O_WRONLY | O_CREAT | O_EXCL, 0700), taken = -1;
    struct fiber *taker = fiber_new("taker", take, &taken);
    struct stat st;

    (void) unused;
    assert(made >= 0);
    event_sleep(1); /* the taker's first look comes before, its second not */
    assert(flock(made, LOCK_EX | LOCK_NB) == 0);
    event_sleep(50);
    assert(fstat(made, &st) == 0 && st.st_nlink == 1 && taken < 0);
    dotlock_release(dir, LOCK, made);
    fiber_join(taker, EVENT_NEVER);
    assert(taken >= 0);
    dotlock_release(dir, LOCK, taken);
    event_stop();
}

/* Several wait for one dead lock: each gets it, never two at a time. */
static void test_many(void)
{
    enum { WAITERS = 6, ROUNDS = 30 };
    int status, inside;

    for (int round = 0; round < ROUNDS; round++) {
        pid_t pid = fork(), waiters[WAITERS];
        if (pid == 0)
            _exit(dotlock_take(dir, LOCK) < 0);
        assert(waitpid(pid, &status, 0) == pid && status == 0);
        for (int i = 0; i < WAITERS; i++) {
            if ((waiters[i] = fork()) > 0)
                continue;
            int fd = dotlock_take(dir, LOCK);
            inside = openat(dir, "inside", O_WRONLY | O_CREAT | O_EXCL, 0600);
            if (fd < 0 || inside < 0)
                _exit(1);
            usleep(300);
            unlinkat(dir, "inside", 0);
            if (i % 2) /* it dies with the lock in its hands */
                _exit(0);
            dotlock_release(dir, LOCK, fd);
            _exit(0);
        }
        for (int i = 0; i < WAITERS; i++)
            assert(waitpid(waiters[i], &status, 0) == waiters[i] && status == 0);
        unlinkat(dir, LOCK, 0);
    }
}

int main(void)
{
    char root[200], cmd[300];

    snprintf(root, sizeof root, "%s/dotlock-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert(mkdtemp(root) && (dir = open(root, O_RDONLY | O_DIRECTORY)) >= 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        test_row(i);
    test_not_ours();
    event_run(test_half_made, NULL);
    test_many();
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    return system(cmd) != 0;
}
