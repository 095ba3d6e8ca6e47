/*
 * shared_test - lib/store when others change the same mailbox in the least convenient moment: lists rewritten under a
 * view that shows what they no longer hold, locks taken away or never given back, keywords beyond the letters
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/dotlock.h"
#include "store/filename.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/message.h"
#include "store/test_root.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Another file under that name, as who rewrites a list makes it. */
static void replace_file(const char *name, const char *text)
{
    int dir = open(root, O_RDONLY | O_DIRECTORY);

    assert(dir >= 0 && file_replace(dir, name, slice_of(text), 0600, false) == 0);
    close(dir);
}

static void deliver(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "new/%s", name);
    replace_file(path, "Subject: hi\n\nbody\n");
}

static void add_keyword(struct mailbox *box, const char *word)
{
    const char *words[] = { word, NULL };
    struct mail_change c = { MAIL_ADD, 0, words, true };
    uint32_t first = 1;

    assert(mailbox_store(box, &first, 1, &c) == STORE_OK);
}

/* A message whose file is gone, still shown, and a list made anew that does not name it. */
static void test_rewritten_under_gone(void)
{
    struct store *st = root_fresh();
    struct mailbox *one, *two;
    const struct mailbox_changes *c;
    uint32_t first = 1;
    char list[100];

    deliver("1.M1P1.h");
    deliver("2.M1P1.h");
    one = root_box(st, "INBOX");
    two = root_box(st, "INBOX");
    assert(mailbox_remove(two, &first, 1) == STORE_OK);
    assert(mailbox_sync(one, true, &c) == STORE_OK && mailbox_count(one) == 2 && mailbox_mail(one, 1)->gone);
    snprintf(list, sizeof list, "3 V%u N3\n2 :2.M1P1.h\n", mailbox_uid_validity(one));
    replace_file(UIDLIST_NAME, list);
    assert(mailbox_sync(one, true, &c) == STORE_OK && mailbox_count(one) == 2 && mailbox_mail(one, 1)->uid == 1);
    assert(mailbox_sync(one, false, &c) == STORE_OK && mailbox_count(one) == 1 && mailbox_mail(one, 1)->uid == 2);
    mailbox_close(&one);
    mailbox_close(&two);
    store_close(&st);
}

/* Copying waits for no lock that it holds itself. */
static void test_copy_full_keywords(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct mailbox_copied done;
    struct arena *a = arena_new();
    char word[32];
    uint32_t first = 1;
    int64_t began;

    assert(store_create(st, "to") == STORE_OK);
    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    assert(mailbox_copy(box, &first, 1, "to", false, a, &done) == STORE_OK);
    mailbox_close(&box);
    box = root_box(st, "to");
    for (int i = 0; i < STORE_KEYWORDS_MAX; i++) {
        snprintf(word, sizeof word, "k%d", i);
        add_keyword(box, word);
    }
    mailbox_close(&box);
    box = root_box(st, "INBOX");
    add_keyword(box, "unknown-there");
    add_keyword(box, "k40");
    began = time_mono_ms();
    assert(mailbox_copy(box, &first, 1, "to", false, a, &done) == STORE_OK && done.count == 1);
    assert(time_mono_ms() - began < 20000);
    mailbox_close(&box);
    box = root_box(st, "to");
    assert(mailbox_count(box) == 2 && mailbox_keyword_count(box) == STORE_KEYWORDS_MAX);
    for (size_t k = 0; k < STORE_KEYWORDS_MAX; k++)
        assert((mailbox_mail(box, 2)->keywords >> k & 1) == (strcmp(mailbox_keyword(box, k), "k40") == 0));
    mailbox_close(&box);
    arena_free(&a);
    store_close(&st);
}

/* Saving with a keyword beyond the letters leaves the names of the others as they are. */
static void test_save_keeps_names(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct mailbox_save *save;
    struct arena *a = arena_new();
    const char *words[] = { "k27", "fresh", NULL };
    char word[32];
    uint32_t validity, *uids;
    size_t count;

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    for (int i = 0; i < 30; i++) {
        snprintf(word, sizeof word, "k%d", i);
        add_keyword(box, word);
    }
    mailbox_close(&box);
    assert(mailbox_save_begin(st, "INBOX", NULL, &save) == STORE_OK);
    assert(mailbox_save_start(save, 0, words, MAILBOX_SAVE_NOW) == STORE_OK);
    assert(mailbox_save_write(save, "a: b\r\n\r\n", 8) == STORE_OK && mailbox_save_finish(save) == STORE_OK);
    assert(mailbox_save_commit(&save, a, &validity, &uids, &count) == STORE_OK);
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == 2 && mailbox_mail(box, 1)->keywords == (1ull << 30) - 1);
    for (size_t i = 0; i < 30; i++) {
        snprintf(word, sizeof word, "k%zu", i);
        assert(strcmp(mailbox_keyword(box, i), word) == 0);
    }
    assert(strcmp(mailbox_keyword(box, 30), "fresh") == 0);
    assert(mailbox_mail(box, 2)->keywords == (1ull << 27 | 1ull << 30));
    mailbox_close(&box);
    arena_free(&a);
    store_close(&st);
}

/* Somebody took our lock away and gave UIDs: they are not given a second time. */
static void test_lock_lost(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct uidlist u;
    struct str text;
    int fd, lock;

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    assert((lock = dotlock_take(box->fd, UIDLIST_LOCK)) >= 0 && uidlist_read_end(&u, box->fd) == 0);
    fd = openat(box->fd, UIDLIST_NAME, O_WRONLY | O_APPEND);
    assert(fd >= 0 && file_write_all(fd, "2 :theirs\n", 10) == 0);
    assert(uidlist_append(&u, box->fd, slice_of("2 :ours\n"), -1) < 0 && errno == ESTALE);
    close(fd);
    dotlock_release(box->fd, UIDLIST_LOCK, lock);
    str_init(&text, 1000);
    fd = openat(box->fd, UIDLIST_NAME, O_RDONLY);
    char bytes[500] = "";
    assert(file_read_all(fd, bytes, sizeof bytes - 1) > 0 && strstr(bytes, "2 :theirs\n") && !strstr(bytes, "ours"));
    close(fd);
    str_free(&text);
    mailbox_close(&box);
    store_close(&st);
}

/* A lock that is old by the clock is watched before it is taken away: its owner may have slept as long. */
static void test_old_lock(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX");
    struct timespec old[2] = { { .tv_sec = time_now() - 1000 }, { .tv_sec = time_now() - 1000 } };
    int64_t began = time_mono_ms();
    int first = dotlock_take(box->fd, UIDLIST_LOCK), second;

    assert(first >= 0 && utimensat(box->fd, UIDLIST_LOCK, old, 0) == 0);
    assert((second = dotlock_take(box->fd, UIDLIST_LOCK)) >= 0);
    assert(time_mono_ms() - began >= 1900 && time_mono_ms() - began < 30000);
    close(first);
    dotlock_release(box->fd, UIDLIST_LOCK, second);
    mailbox_close(&box);
    store_close(&st);
}

static void count_record(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    (void) uid, (void) keys, (void) name;
    ++*(int *) ctx;
}

/* A list made anew under the inode number of the one before, and longer: it is read from its beginning. */
static void test_same_number(void)
{
    static const char first[] = "3 V9 N1 G0\n1 :one\n2 :two\n",
                      second[] = "3 V9 N1 G0\n2 :two\n3 :three\n4 :four\n5 :five\n";
    struct store *st = root_fresh();
    struct uidlist u = { 0 };
    int dir = open(root, O_RDONLY | O_DIRECTORY), seen = 0, fd;
    bool again;

    replace_file(UIDLIST_NAME, first);
    assert(uidlist_read(&u, dir, &again, count_record, &seen) == 0 && seen == 2);
    fd = openat(dir, UIDLIST_NAME, O_WRONLY | O_TRUNC);
    assert(fd >= 0 && file_write_all(fd, second, sizeof second - 1) == 0);
    seen = 0;
    assert(uidlist_read(&u, dir, &again, count_record, &seen) == 0 && again && seen == 4 && u.next_uid == 6);
    assert(file_write_all(fd, "6 :six\n", 7) == 0);
    seen = 0;
    assert(uidlist_read(&u, dir, &again, count_record, &seen) == 0 && !again && seen == 1);
    close(fd);
    close(dir);
    store_close(&st);
}

/* Dovecot reads dovecot-keywords again when the second of its mtime changed. */
static void test_keywords_time(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct stat s;
    int64_t last = 0;
    char word[32];

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    for (int i = 0; i < 5; i++) {
        snprintf(word, sizeof word, "k%d", i);
        add_keyword(box, word);
        assert(fstatat(box->fd, "dovecot-keywords", &s, 0) == 0 && s.st_mtime > last && s.st_mtime <= time_now() + i);
        last = s.st_mtime;
    }
    mailbox_close(&box);
    store_close(&st);
}

/* Dovecot renames under the uidlist's lock, and scans under it: so do we. */
static void test_renamed_under_lock(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct mail_change seen = { MAIL_ADD, MAIL_SEEN, NULL, true };
    uint32_t first = 1;
    int64_t began;
    int status;
    pid_t pid;

    deliver("1.M1P1.h");
    for (int what = 0; what < 2; what++) { /* new/ to cur/, and a flag */
        box = what ? root_box(st, "INBOX") : NULL;
        int dir = open(root, O_RDONLY | O_DIRECTORY), lock = dotlock_take(dir, UIDLIST_LOCK);
        assert(lock >= 0 && (pid = fork()) >= 0);
        if (pid == 0) {
            usleep(300000);
            dotlock_release(dir, UIDLIST_LOCK, lock);
            _exit(0);
        }
        close(lock);
        began = time_mono_ms();
        if (what)
            assert(mailbox_store(box, &first, 1, &seen) == STORE_OK);
        else
            box = root_box(st, "INBOX");
        assert(time_mono_ms() - began >= 250 && waitpid(pid, &status, 0) == pid && status == 0);
        mailbox_close(&box);
        close(dir);
    }
    store_close(&st);
}

/* While it waits for the lock to look again for the first, which it has missed, the second goes too, and one that came
 * in the meantime: none of them is shown, and what never was to be had gets no UID. */
static void test_gone_while_waiting(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;
    int dir, lock, status;
    pid_t pid;

    deliver("1.M1P1.h");
    deliver("2.M1P1.h");
    deliver("3.M1P1.h");
    box = root_box(st, "INBOX");
    dir = open(root, O_RDONLY | O_DIRECTORY);
    assert(mailbox_count(box) == 3 && (lock = dotlock_take(dir, UIDLIST_LOCK)) >= 0);
    root_shell("rm cur/1.M1P1.h:2,");
    deliver("4.M1P1.h");
    assert((pid = fork()) >= 0);
    if (pid == 0) {
        usleep(300000);
        bool good = unlinkat(dir, "cur/2.M1P1.h:2,", 0) == 0 && unlinkat(dir, "new/4.M1P1.h", 0) == 0;
        dotlock_release(dir, UIDLIST_LOCK, lock);
        _exit(!good);
    }
    close(lock);
    assert(mailbox_sync(box, false, &c) == STORE_OK && waitpid(pid, &status, 0) == pid && status == 0);
    for (int i = 0; i < 3; i++) {
        assert(mailbox_count(box) == 1 && mailbox_mail(box, 1)->uid == 3);
        if (i == 1) { /* by the snapshot */
            mailbox_close(&box);
            box = root_box(st, "INBOX");
        }
        assert(mailbox_sync(box, false, &c) == STORE_OK);
    }
    deliver("5.M1P1.h");
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 2 && mailbox_mail(box, 2)->uid == 4);
    mailbox_close(&box);
    close(dir);
    store_close(&st);
}

struct given_up {
    struct mailbox *box;
    enum store_why why;
};

static void sync_given_up(void *arg)
{
    struct given_up *g = arg;
    const struct mailbox_changes *c;

    g->why = mailbox_sync(g->box, false, &c);
}

static void give_up(void *arg)
{
    struct given_up *g = arg;
    struct fiber *f = fiber_new("given up", sync_given_up, g);

    event_sleep(100);
    fiber_cancel(f);
    fiber_join(f, EVENT_NEVER);
}

/* Who does not get the lock leaves nothing behind that says that all has been looked at. */
static void test_lock_not_had(void)
{
    for (int reopened = 0; reopened < 2; reopened++) {
        struct store *st = root_fresh();
        struct given_up g = { .why = STORE_OK };
        const struct mailbox_changes *c;

        deliver("1.M1P1.h");
        deliver("2.M1P1.h");
        g.box = root_box(st, "INBOX");
        int dir = open(root, O_RDONLY | O_DIRECTORY), lock = dotlock_take(dir, UIDLIST_LOCK);
        assert(mailbox_count(g.box) == 2 && lock >= 0);
        root_shell("rm cur/1.M1P1.h:2,");
        while (time_stamp_ns() <= scan_mtime(g.box->cur_fd)) /* its time tells of what comes next */
            usleep(500);
        event_run(give_up, &g);
        assert(g.why != STORE_OK);
        dotlock_release(dir, UIDLIST_LOCK, lock);
        if (reopened) {
            mailbox_close(&g.box);
            g.box = root_box(st, "INBOX");
        }
        assert(mailbox_sync(g.box, false, &c) == STORE_OK && mailbox_count(g.box) == 1);
        mailbox_close(&g.box);
        close(dir);
        store_close(&st);
    }
}

/* An index that somebody keeps locked holds nobody up for long. */
static void test_index_locked(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    int64_t began;
    char path[300];
    int fd;

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    mailbox_close(&box);
    snprintf(path, sizeof path, "%s/%s", root, INDEX_NAME);
    fd = open(path, O_RDWR);
    assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    alarm(60);
    began = time_mono_ms();
    deliver("2.M1P1.h");
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == 2);
    mailbox_close(&box);
    struct index ix = { .fd = -1 };
    index_add_message(&ix, open(root, O_RDONLY | O_DIRECTORY), slice_of("x"));
    assert(time_mono_ms() - began < 20000);
    alarm(0);
    close(fd);
    store_close(&st);
}

/* Two deliveries within one tick of the clock, the mailbox read between them. */
static void test_one_tick(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;
    struct timespec tick[2] = { { .tv_nsec = UTIME_OMIT }, { time_now() + 60, 4000000 } };

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    assert(futimens(box->new_fd, tick) == 0 && mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 1);
    deliver("2.M1P1.h");
    assert(futimens(box->new_fd, tick) == 0);
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 1 && mailbox_unsettled(box));
    mailbox_close(&box);
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == 2);
    for (int i = 0; i < 2; i++) { /* the second looks at what the first one's renames changed */
        usleep(MAILBOX_SETTLE_MS * 1000);
        assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 2);
    }
    usleep(MAILBOX_SETTLE_MS * 1000);
    assert(mailbox_sync(box, false, &c) == STORE_OK && !mailbox_unsettled(box));
    mailbox_close(&box);
    store_close(&st);
}

/* On a local file system the doubt about a directory is over with the tick it was changed in. */
static void test_next_tick(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    while (time_stamp_ns() <= scan_mtime(box->cur_fd) || time_stamp_ns() <= scan_mtime(box->new_fd))
        usleep(500);
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 1);
    assert(!box->local || !mailbox_unsettled(box));
    mailbox_close(&box);
    store_close(&st);
}

/* A child's new name is taken: nothing is renamed, not half of it. */
static void test_rename_whole(void)
{
    static const char *const names[] = { "a", "a/m", "a/x", "a/z", "b/x" };
    struct store *st = root_fresh();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert(store_create(st, names[i]) == STORE_OK);
    assert(store_rename(st, "a", "b") == STORE_EXISTS);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert(store_exists(st, names[i]) == STORE_OK);
    assert(store_delete(st, "b/x") == STORE_OK && store_rename(st, "a", "b") == STORE_OK);
    assert(store_exists(st, "b/z") == STORE_OK && store_exists(st, "a") == STORE_NONEXISTENT);
    store_close(&st);
}

int main(void)
{
    root_begin("shared-test");
    test_rewritten_under_gone();
    test_copy_full_keywords();
    test_save_keeps_names();
    test_lock_lost();
    test_old_lock();
    test_index_locked();
    test_same_number();
    test_keywords_time();
    test_renamed_under_lock();
    test_lock_not_had();
    test_gone_while_waiting();
    test_rename_whole();
    test_one_tick();
    test_next_tick();
    return 0;
}
