/*
 * journal_disk_test - what is synced besides journals: copies of what they hold, uidlists and names that their file system's
 * own ways leave out; and what is not written in vain
 */
#include "store/journal.h"
#include "store/test_root.h"
#include "base/boot.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "store/journal_file.h"

#include <assert.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { BURST = 8 };
static unsigned syncs, filled; /* filled: journals */

/* The C library's. */
int syncfs(int fd)
{
    __atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST);
    return (int) syscall(SYS_syncfs, fd);
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (at + (off_t) len == JOURNAL_BYTES)
        __atomic_add_fetch(&filled, 1, __ATOMIC_SEQ_CST);
    return syscall(SYS_pwrite64, fd, p, len, at);
}

static bool exists(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return access(path, F_OK) == 0;
}

/* The last UID. */
static uint32_t save_some(struct store *st, size_t n)
{
    struct arena *a = arena_new();
    struct mailbox_save *s;
    uint32_t validity, *uids, last;
    size_t count;

    assert(mailbox_save_begin(st, "INBOX", NULL, &s) == STORE_OK);
    for (size_t i = 0; i < n; i++)
        assert(mailbox_save_start(s, 0, NULL, MAILBOX_SAVE_NOW) == STORE_OK &&
               mailbox_save_write(s, "Subject: x\r\n\r\n", 14) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    assert(mailbox_save_commit(&s, a, &validity, &uids, &count) == STORE_OK && count == n);
    last = uids[n - 1];
    arena_free(&a);
    return last;
}

static uint32_t save(struct store *st) { return save_some(st, 1); }

/* What is copied from a mailbox that has a journal shares a file with what may be durable in that alone: it is synced
 * before it is told. */
static void copy_fresh(void *unused)
{
    int64_t until = time_mono_ms() + 60000;
    struct store *st = root_open();
    struct mailbox *box;

    (void) unused;
    assert(store_create(st, "copies") == STORE_OK);
    for (unsigned copied = 0; copied < 5;) {
        assert(time_mono_ms() < until);
        (void) save(st);
        assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
        unsigned before = __atomic_load_n(&syncs, __ATOMIC_SEQ_CST);
        bool had = exists(JOURNAL_NAME);
        struct arena *a = arena_new();
        struct mailbox_copied done;
        uint32_t seq = mailbox_count(box);
        assert(mailbox_copy(box, &seq, 1, "copies", copied % 2, a, &done) == STORE_OK && done.count == 1);
        arena_free(&a);
        mailbox_close(&box);
        assert(event_sleep(1) == 0);
        if (!had || !exists(JOURNAL_NAME)) /* not yet, or on a slow machine no longer */
            continue;
        assert(__atomic_load_n(&syncs, __ATOMIC_SEQ_CST) > before);
        copied++;
    }
    store_close(&st);
}

static void test_copied(void)
{
    root_wipe();
    event_run(copy_fresh, NULL);
}

/* To settle what a journal holds is to sync one file system: it must be that of the uidlist, too. */
static void list_elsewhere(void *arg)
{
    const int *control_fd = arg;
    struct store_places places = { .control_fd = *control_fd };
    struct store_config config = { .root = root, .separator = '/', .create = true, .places = &places };
    struct store *st;

    assert(store_open(&config, &st) == STORE_OK);
    for (uint32_t n = 1; n < 10 * BURST; n++) {
        assert(save(st) == n);
        if (n % BURST == 0)
            assert(event_sleep(50) == 0 && !exists(JOURNAL_NAME));
    }
    store_close(&st);
}

static void test_elsewhere(void)
{
    char path[] = "/dev/shm/journal-test-XXXXXX", cmd[100];
    struct stat here, there;
    int fd;

    root_wipe();
    if (mkdtemp(path) == NULL)
        return;
    assert((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0 && fstat(fd, &there) == 0);
    assert(mkdir(root, 0700) == 0 && stat(root, &here) == 0);
    if (here.st_dev != there.st_dev)
        event_run(list_elsewhere, &fd);
    close(fd);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", path);
    assert(system(cmd) == 0);
}

/* Where others have all journals, none is made in vain at each try. */
static void find_all_taken(void *unused)
{
    struct store *st = root_open();
    unsigned char head[JOURNAL_BLOCK];
    int fds[JOURNAL_FILES];

    (void) unused;
    journal_seal_head(head, 1, 0, false);
    for (size_t i = 0; i < JOURNAL_FILES; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", root, journal_name[i]);
        assert((fds[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
        assert(file_write_all(fds[i], head, sizeof head) == 0 && flock(fds[i], LOCK_EX | LOCK_NB) == 0);
    }
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3 * BURST; k++)
            (void) save(st);
        assert(event_sleep(JOURNAL_BUSY_MS + 50) == 0);
    }
    for (size_t i = 0; i < JOURNAL_FILES; i++) {
        assert(exists(journal_name[i]));
        close(fds[i]);
    }
    store_close(&st);
}

static void test_all_taken(void)
{
    root_wipe();
    filled = 0;
    event_run(find_all_taken, NULL);
    assert(filled == 0);
}

/* Elsewhere than on ext4 and xfs a sync takes no other file's name along. */
static void test_several(void)
{
    struct store *st = root_fresh();
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert(fd >= 0);
    for (size_t n = 1; n <= 2; n++) {
        unsigned before = syncs;
        (void) save_some(st, n);
        assert(syncs == before + (n > 1 && !file_one_journal(fd)));
    }
    close(fd);
    store_close(&st);
}

int main(void)
{
    int fd;

    root_begin("journal-disk-test");
    conf_mail_journal = true;
    journal_burst = BURST;
    test_several();
    assert((fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    if (file_one_journal(fd) && boot_id()[0]) {
        test_copied();
        test_elsewhere();
        test_all_taken();
    }
    close(fd);
    if (access("/dev/shm", W_OK) == 0) {
        root_wipe();
        snprintf(root, sizeof root, "/dev/shm/journal-disk-test-%d", (int) getpid());
        test_several();
    }
    return 0;
}
