/*
 * together_test - sessions of one process on one mailbox: they follow each other's changes without reading the
 * directory, save at the same time, and find out when somebody else was there
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/internal.h"
#include "store/message.h"
#include "store/test_root.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SESSIONS = 12, EACH = 5 };
static const char letter[] = "From: a@example.test\r\nSubject: hi\r\n\r\nbody\r\n";

static uint32_t sync_count(struct mailbox *box)
{
    const struct mailbox_changes *c;

    assert(mailbox_sync(box, false, &c) == STORE_OK);
    return mailbox_count(box);
}

static enum store_why save(struct store *st, struct mailbox *selected, const char *name, uint8_t flags, size_t n,
                           uint32_t *uid)
{
    struct arena *a = arena_new();
    struct mailbox_save *s;
    uint32_t validity = 0, *uids;
    size_t count;
    enum store_why why;

    assert(mailbox_save_begin(st, name, selected, &s) == STORE_OK);
    for (size_t i = 0; i < n; i++)
        assert(mailbox_save_start(s, flags, NULL, MAILBOX_SAVE_NOW) == STORE_OK &&
               mailbox_save_write(s, letter, sizeof letter - 1) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    why = mailbox_save_commit(&s, a, &validity, &uids, &count);
    assert(why || (count == n && validity && uids[n - 1] == uids[0] + n - 1));
    *uid = why ? 0 : uids[n - 1];
    arena_free(&a);
    return why;
}

/* A file that only who reads cur/ finds: the directory's time does not tell of it. */
static void hide(const char *name)
{
    struct stat st;
    char path[400];
    int fd;

    snprintf(path, sizeof path, "%s/cur", root);
    assert(stat(path, &st) == 0);
    struct timespec times[2] = { st.st_atim, st.st_mtim };
    snprintf(path, sizeof path, "%s/cur/%s", root, name);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert(fd >= 0 && file_write_all(fd, "Subject: x\n\nx\n", 14) == 0);
    close(fd);
    snprintf(path, sizeof path, "%s/cur", root);
    assert(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static void test_follow(void)
{
    struct store *st = root_fresh();
    struct mailbox *a = root_box(st, "INBOX"), *b = root_box(st, "INBOX");
    struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN },
                       deleted = { .how = MAIL_ADD, .flags = MAIL_DELETED };
    struct mailbox_copied done;
    struct arena *arena = arena_new();
    uint32_t uid, one = 1, two = 2;

    assert(save(st, a, "INBOX", 0, 3, &uid) == STORE_OK && uid == 3);
    assert(sync_count(a) == 3 && sync_count(b) == 3);
    assert(mailbox_store(a, &one, 1, &seen) == STORE_OK && mailbox_store(a, &two, 1, &deleted) == STORE_OK);
    assert(mailbox_expunge(a, NULL, 0) == STORE_OK && save(st, a, "INBOX", 0, 1, &uid) == STORE_OK && uid == 4);
    assert(sync_count(a) == 3 && mailbox_copy(a, &one, 1, "INBOX", false, arena, &done) == STORE_OK);
    hide("1.M1P1.hidden:2,S");
    assert(sync_count(b) == 4); /* what a did, and not what only the directory tells */
    assert(mailbox_mail(b, 1)->flags == MAIL_SEEN || mailbox_mail(b, 1)->flags == (MAIL_SEEN | MAIL_RECENT));
    assert(mailbox_mail(b, 2)->uid == 3 && mailbox_mail(b, 3)->uid == 4 && mailbox_mail(b, 4)->uid == 5);
    /* The other way round, and a save without the mailbox selected. */
    assert(mailbox_store(b, &two, 1, &seen) == STORE_OK && save(st, NULL, "INBOX", MAIL_SEEN, 1, &uid) == STORE_OK);
    assert(sync_count(a) == 5 && (mailbox_mail(a, 2)->flags & MAIL_SEEN) && mailbox_mail(a, 5)->uid == 6);
    /* Somebody else was there: the chain is broken, the directory is read. */
    root_shell("mv cur/1.M1P1.hidden:2,S cur/1.M1P1.hidden:2,FS");
    assert(mailbox_store(a, &one, 1, &deleted) == STORE_OK);
    assert(sync_count(b) == 6 && (mailbox_mail(b, 1)->flags & MAIL_DELETED) && sync_count(a) == 6);
    mailbox_close(&b);
    mailbox_close(&a);
    arena_free(&arena);
    store_close(&st);
}

/* What a session saved, or heard of from another, and what somebody else removed before it has looked: not shown. */
static void test_gone_before_shown(void)
{
    struct store *st = root_fresh();
    struct mailbox *a = root_box(st, "INBOX"), *b = root_box(st, "INBOX");
    struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN };
    uint32_t uid, first = 1;

    assert(save(st, a, "INBOX", MAIL_FLAGGED, 1, &uid) == STORE_OK && sync_count(a) == 1 && sync_count(b) == 1);
    assert(save(st, a, "INBOX", MAIL_SEEN, 1, &uid) == STORE_OK && uid == 2);
    root_shell("rm cur/*:2,S");
    assert(sync_count(a) == 1 && sync_count(b) == 1);
    root_put("new/3.M1P1.h", letter);
    assert(sync_count(a) == 2 && mailbox_store(b, &first, 1, &seen) == STORE_OK);
    root_shell("rm cur/3.M1P1.h:2,");
    assert(sync_count(b) == 1 && sync_count(a) == 1);
    mailbox_close(&a);
    mailbox_close(&b);
    a = root_box(st, "INBOX");
    assert(mailbox_count(a) == 1);
    mailbox_close(&a);
    store_close(&st);
}

static void settle(struct mailbox *box)
{
    struct timespec ts = { 0, 350000000 };

    nanosleep(&ts, NULL);
    sync_count(box);
    assert(!mailbox_unsettled(box));
}

/* The names of a large mailbox are not read between the changes of a row, however slow the clock that stamps them is. */
static void test_row(void)
{
    enum { WELL_IN_ROW_MS = 200 };
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX");
    int64_t begun, tick;
    uint32_t uid, n = 0;
    bool looked;

    do { /* not on a machine that stands still meanwhile */
        begun = time_mono_ms();
        assert(save(st, box, "INBOX", MAIL_SEEN, 1, &uid) == STORE_OK && uid == ++n);
        tick = time_stamp_ns();
        while (time_stamp_ns() == tick)
            usleep(500);
        assert(sync_count(box) == n);
        looked = !box->cur.dirty;
    } while (time_mono_ms() - begun > WELL_IN_ROW_MS);
    assert(!looked);
    settle(box);
    mailbox_close(&box);
    store_close(&st);
}

/* A directory in doubt is found to be the same by its names alone; and not the same, where it is not. */
/* A flag that came and went is no news, and the directory is still known by its names. */
static void test_came_and_went(void)
{
    struct store *st = root_fresh();
    struct mailbox *a = root_box(st, "INBOX"), *b = root_box(st, "INBOX");
    struct mail_change change = { .how = MAIL_ADD, .flags = MAIL_FLAGGED };
    const struct mailbox_changes *c;
    uint32_t uid, one = 1;

    assert(save(st, a, "INBOX", MAIL_SEEN, 2, &uid) == STORE_OK && sync_count(a) == 2 && sync_count(b) == 2);
    uint64_t modseq = mailbox_mail(b, 1)->modseq;
    assert(mailbox_store(a, &one, 1, &change) == STORE_OK);
    change.how = MAIL_REMOVE;
    assert(mailbox_store(a, &one, 1, &change) == STORE_OK);
    assert(mailbox_sync(b, false, &c) == STORE_OK && mailbox_mail(b, 1)->modseq == modseq);
    assert(b->followed == a->followed && sum_same(b, false) && sum_same(a, false));
    mailbox_close(&b);
    mailbox_close(&a);
    store_close(&st);
}

static void test_doubt(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX"), *next;
    struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN };
    struct mailbox_copied done;
    struct arena *arena = arena_new();
    uint32_t uid, one = 1, three = 3;

    root_shell("printf 'Subject: x\\n\\nx\\n' > new/1.M1P1.h");
    assert(sync_count(box) == 1 && save(st, box, "INBOX", 0, 3, &uid) == STORE_OK && sync_count(box) == 4);
    assert(mailbox_store(box, &one, 1, &seen) == STORE_OK && mailbox_remove(box, &three, 1) == STORE_OK);
    assert(mailbox_copy(box, &one, 1, "INBOX", false, arena, &done) == STORE_OK && sync_count(box) == 4);
    settle(box); /* after changes of our own of every kind */
    for (uint32_t i = 0; i < box->count; i++)
        assert(box->view[i]->scan < box->scan); /* no scan has seen it */
    assert(mailbox_store(box, &one, 1, &(struct mail_change){ .how = MAIL_REMOVE, .flags = MAIL_SEEN }) == STORE_OK);
    assert(sync_count(box) == 4);
    mailbox_close(&box); /* the same for who opens it, perhaps in doubt, and afterwards */
    assert(mailbox_open_lazily(st, "INBOX", false, &next) == STORE_OK && next->dormant);
    mailbox_close(&next);
    struct timespec ts = { 0, 350000000 };
    nanosleep(&ts, NULL);
    assert(mailbox_open_lazily(st, "INBOX", false, &next) == STORE_OK && next->dormant && !mailbox_unsettled(next));
    mailbox_close(&next);
    /* A save into one whose messages were not read yet. */
    assert(mailbox_open_lazily(st, "INBOX", false, &box) == STORE_OK && box->dormant);
    assert(save(st, box, "INBOX", 0, 1, &uid) == STORE_OK && sync_count(box) == 5);
    mailbox_close(&box);
    assert(mailbox_open_lazily(st, "INBOX", false, &box) == STORE_OK && box->dormant);
    box->local = false; /* in doubt for as long as on another machine's file system */
    assert(mailbox_load(box) == STORE_OK && mailbox_count(box) == 5 && mailbox_mail(box, 5)->uid == uid);
    assert(mailbox_store(box, &one, 1, &seen) == STORE_OK);
    hide("1.M1P1.hidden:2,S");
    assert(sync_count(box) == 5);
    settle(box);
    assert(mailbox_count(box) == 6);
    assert(mailbox_store(box, &one, 1, &(struct mail_change){ .how = MAIL_REMOVE, .flags = MAIL_SEEN }) == STORE_OK);
    hide("2.M1P1.hidden:2,S");
    mailbox_close(&box);
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == 7);
    mailbox_close(&box);
    arena_free(&arena);
    store_close(&st);
}

/* A session that ends between its APPEND and the next look at the mailbox: whoever opens it next finds all. */
static void test_cut_off(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX"), *other = root_box(st, "INBOX"), *next;
    uint32_t uid, uids[2];

    assert(save(st, box, "INBOX", 0, 1, &uid) == STORE_OK && sync_count(box) == 1 && sync_count(other) == 1);
    assert(save(st, other, "INBOX", 0, 1, &uids[0]) == STORE_OK &&
           save(st, box, "INBOX", 0, 1, &uids[1]) == STORE_OK);
    mailbox_close(&box);
    assert(mailbox_open_lazily(st, "INBOX", false, &next) == STORE_OK && mailbox_load(next) == STORE_OK);
    assert(sync_count(next) == 3 && mailbox_mail(next, 2)->uid == uids[0] && mailbox_mail(next, 3)->uid == uids[1]);
    mailbox_close(&next);
    mailbox_close(&other);
    store_close(&st);
}

/* A session that has read no directory yet, only a snapshot, and saves after another: it follows that one first. */
static void test_before_any_scan(void)
{
    struct store *st = root_fresh();
    struct mailbox *other = root_box(st, "INBOX"), *box;
    struct timespec ts = { 0, 350000000 };
    uint32_t first, uids[2];

    assert(save(st, other, "INBOX", 0, 1, &first) == STORE_OK && sync_count(other) == 1);
    nanosleep(&ts, NULL);
    assert(sync_count(other) == 1);
    mailbox_keep(other);
    assert(mailbox_open_lazily(st, "INBOX", false, &box) == STORE_OK && box->dormant && box->scan == 0);
    assert(save(st, other, "INBOX", 0, 1, &uids[0]) == STORE_OK &&
           save(st, box, "INBOX", 0, 1, &uids[1]) == STORE_OK);
    assert(sync_count(box) == 3 && mailbox_mail(box, 2)->uid == uids[0] && mailbox_mail(box, 3)->uid == uids[1]);
    mailbox_close(&box);
    mailbox_close(&other);
    store_close(&st);
}

/* More changes than are written down: read. */
static void test_many(void)
{
    struct store *st = root_fresh();
    struct mailbox *a = root_box(st, "INBOX"), *b;
    struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN };
    uint32_t seqs[1100], uid;

    for (uint32_t i = 0; i < 1100; i++)
        seqs[i] = i + 1;
    root_shell("for i in $(seq 1100); do : > cur/$i.M1P1.h:2,; done");
    assert(sync_count(a) == 1100);
    b = root_box(st, "INBOX");
    assert(mailbox_store(a, seqs, 1100, &seen) == STORE_OK && sync_count(b) == 1100);
    for (uint32_t i = 1; i <= 1100; i++)
        assert(mailbox_mail(b, i)->flags == MAIL_SEEN);
    seen.flags = MAIL_FLAGGED;
    for (uint32_t i = 0; i < 1100; i++)
        assert(mailbox_store(a, &seqs[i], 1, &seen) == STORE_OK);
    assert(save(st, b, "INBOX", 0, 1, &uid) == STORE_OK && uid == 1101 && sync_count(b) == 1101);
    for (uint32_t i = 1; i <= 1100; i++)
        assert(mailbox_mail(b, i)->flags == (MAIL_SEEN | MAIL_FLAGGED));
    mailbox_close(&b);
    mailbox_close(&a);
    store_close(&st);
}

static struct store *shared;
static uint32_t given[SESSIONS * EACH], n_given, running;

static void session(void *arg)
{
    const int which = (int) (intptr_t) arg;
    struct mailbox *box = which % 3 ? root_box(shared, "INBOX") : NULL; /* some have it selected */
    uint32_t uid;

    for (int i = 0; i < EACH; i++) {
        assert(save(shared, box, "INBOX", which % 2 ? MAIL_SEEN : 0, 1, &uid) == STORE_OK);
        given[n_given++] = uid;
        if (box)
            assert(sync_count(box) >= 1 && mailbox_seq(box, uid));
    }
    mailbox_close(&box);
    running--;
}

static int by_number(const void *a, const void *b)
{
    return *(const uint32_t *) a < *(const uint32_t *) b ? -1 : *(const uint32_t *) a > *(const uint32_t *) b;
}

static void test_at_once(void *unused)
{
    struct mailbox *box;
    struct str out;
    uint32_t uid;

    (void) unused;
    shared = root_fresh();
    for (intptr_t i = 0; i < SESSIONS; i++, running++)
        fiber_go("session", session, (void *) i);
    while (running)
        assert(event_sleep(5) == 0);
    qsort(given, n_given, sizeof *given, by_number);
    assert(n_given == SESSIONS * EACH);
    for (uint32_t i = 0; i < n_given; i++)
        assert(given[i] == i + 1);
    box = root_box(shared, "INBOX");
    assert(mailbox_count(box) == n_given);
    str_init(&out, 0);
    for (uint32_t i = 1; i <= n_given; i++) {
        str_reset(&out);
        assert(message_envelope(box, i, &out) == STORE_OK && strstr(out.p, "\"hi\""));
    }
    str_free(&out);
    mailbox_close(&box);
    root_shell("test -z \"$(ls tmp)\" && test ! -e dovecot-uidlist.lock");
    /* A save that cannot be: nothing of it stays, and the next goes on. */
    root_shell("mv dovecot-uidlist list && mkdir dovecot-uidlist");
    assert(save(shared, NULL, "INBOX", 0, 1, &uid) != STORE_OK);
    root_shell("rmdir dovecot-uidlist && mv list dovecot-uidlist && test -z \"$(ls tmp)\"");
    assert(save(shared, NULL, "INBOX", 0, 1, &uid) == STORE_OK && uid == n_given + 1);
    store_close(&shared);
    event_stop();
}

int main(void)
{
    root_begin("together-test");
    test_follow();
    test_gone_before_shown();
    test_came_and_went();
    test_doubt();
    test_row();
    test_cut_off();
    test_before_any_scan();
    test_many();
    event_run(test_at_once, NULL);
    return 0;
}
