/*
 * row_test - message after message by one view that keeps the lock: what others do meanwhile is seen, though the times of
 * cur/ and of the uidlist are not asked after each
 */
#include "base/boot.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "store/dotlock.h"
#include "store/internal.h"
#include "store/journal.h"
#include "store/test_root.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BURST = 4, PATIENCE_MS = 60000, PAUSE_MS = 400 /* longer than a row is waited for */ };
static struct store *st;
static struct mailbox *box;

static uint32_t save_into(struct mailbox *view)
{
    struct arena *a = arena_new();
    struct mailbox_save *s;
    uint32_t validity, *uids, uid;
    size_t count;

    assert(mailbox_save_begin(st, "INBOX", view, &s) == STORE_OK);
    assert(mailbox_save_start(s, 0, NULL, MAILBOX_SAVE_NOW) == STORE_OK &&
           mailbox_save_write(s, "Subject: x\r\n\r\n", 14) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    assert(mailbox_save_commit(&s, a, &validity, &uids, &count) == STORE_OK && count == 1);
    uid = uids[0];
    arena_free(&a);
    return uid;
}

/* So many of that type are told. */
static size_t told(struct mailbox *view, enum mailbox_event_type type)
{
    const struct mailbox_changes *c;
    size_t n = 0;

    assert(mailbox_sync(view, false, &c) == STORE_OK);
    for (size_t i = 0; i < c->count; i++)
        n += c->events[i].type == type;
    return n;
}

/* Until messages go unasked: a slow machine may need several rows. */
static void begin_row(void)
{
    int64_t until = time_mono_ms() + PATIENCE_MS;

    do {
        assert(time_mono_ms() < until);
        (void) save_into(box);
        (void) told(box, MAILBOX_EXISTS);
    } while (!together_keeps(box) || !box->cur.unasked || !box->uids.unasked);
}

static void await_lock_free(void)
{
    int64_t until = time_mono_ms() + PATIENCE_MS;

    while (together_keeps(box))
        assert(time_mono_ms() < until && event_sleep(1) == 0);
}

static const char *file_of(uint32_t seq)
{
    static char path[600];

    snprintf(path, sizeof path, "%s/cur/%s", root, view_item(box, seq)->name);
    return path;
}

/* Who respects the lock changes something when the row is over: the next look finds it, and only it. */
static void test_after(void)
{
    char is[700];

    begin_row();
    await_lock_free();
    assert(!box->cur.unasked && !box->uids.unasked);
    assert(told(box, MAILBOX_FLAGS) == 0 && told(box, MAILBOX_EXPUNGE) == 0 && event_sleep(20) == 0);
    snprintf(is, sizeof is, "%sF", file_of(1));
    assert(rename(file_of(1), is) == 0);
    assert(told(box, MAILBOX_FLAGS) == 1);
}

/* Without the lock, between two messages: found when the row is over. */
static void test_without_lock(void)
{
    size_t gone = 0;

    begin_row();
    assert(unlink(file_of(2)) == 0);
    for (int i = 0; i < 3; i++) {
        (void) save_into(box);
        gone += told(box, MAILBOX_EXPUNGE);
    }
    await_lock_free();
    assert(event_sleep(PAUSE_MS) == 0 && gone + told(box, MAILBOX_EXPUNGE) == 1);
}

/* And in a row that does not end. */
static void test_endless(void)
{
    int64_t until = time_mono_ms() + PATIENCE_MS;
    size_t gone = 0;

    begin_row();
    assert(unlink(file_of(2)) == 0);
    while (gone == 0) {
        assert(time_mono_ms() < until);
        (void) save_into(box);
        gone += told(box, MAILBOX_EXPUNGE);
    }
    assert(gone == 1);
}

/* Another session of the process comes in between. */
static void test_second_view(void)
{
    uint32_t before, uid, theirs, last;
    struct mailbox *other;

    begin_row();
    before = mailbox_count(box);
    other = root_box(st, "INBOX");
    assert(mailbox_count(other) == before);
    theirs = save_into(other);
    uid = save_into(box);
    last = save_into(other);
    assert(theirs + 1 == uid && uid + 1 == last);
    (void) told(box, MAILBOX_EXISTS);
    (void) told(other, MAILBOX_EXISTS);
    assert(mailbox_count(box) == before + 3 && mailbox_count(other) == before + 3);
    assert(mailbox_seq(box, last) == before + 3 && mailbox_seq(other, uid) == before + 2);
    mailbox_close(&other);
}

/* The lock was taken away while it was kept, and what it protects was changed: a flag; with it a message. */
static void lose_lock(bool message)
{
    uint32_t uid, count;
    char is[700];
    int fd;

    begin_row();
    count = mailbox_count(box);
    root_shell("rm dovecot-uidlist.lock");
    assert((fd = dotlock_take(box->control_fd, UIDLIST_LOCK)) >= 0);
    if (message)
        root_shell("n=$(tail -n 1 dovecot-uidlist | cut -d' ' -f1) && touch cur/another:2,S && "
                   "echo \"$((n + 1)) :another\" >> dovecot-uidlist");
    snprintf(is, sizeof is, "%s%c", file_of(2), message ? 'T' : 'F');
    assert(rename(file_of(2), is) == 0);
    dotlock_release(box->control_fd, UIDLIST_LOCK, fd);
    uid = save_into(box);
    assert(told(box, MAILBOX_FLAGS) == 1);
    assert(mailbox_count(box) == count + 1 + message && mailbox_seq(box, uid) == count + 1 + message);
}

static void test_taken_away(void)
{
    lose_lock(false);
    lose_lock(true);
}

/* What is closed in a row is as it was when it is opened again. */
static void test_closed(void)
{
    uint32_t count;

    begin_row();
    count = mailbox_count(box);
    mailbox_close(&box);
    root_shell("! test -e dovecot-uidlist.lock");
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == count && told(box, MAILBOX_EXISTS) == 0 && mailbox_count(box) == count);
}

static void run(void *unused)
{
    int fd;

    (void) unused;
    st = root_fresh();
    box = root_box(st, "INBOX");
    assert((fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    if (file_one_journal(fd) && boot_id()[0]) {
        test_after();
        test_without_lock();
        test_endless();
        test_second_view();
        test_taken_away();
        test_closed();
    } else {
        printf("%s is on no ext4 or xfs: each message is a row of its own there\n", root);
    }
    close(fd);
    mailbox_close(&box);
    journal_finish();
    store_close(&st);
}

int main(void)
{
    root_begin("row-test");
    conf_mail_journal = true;
    journal_burst = BURST;
    event_run(run, NULL);
    return 0;
}
