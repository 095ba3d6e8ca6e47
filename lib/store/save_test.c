/*
 * save_test - messages saved into a mailbox that is open: the view learns of them without a scan, in the right order
 * beside what others do at the same time
 */
#include "base/file.h"
#include "base/mem.h"
#include "store/internal.h"
#include "store/message.h"
#include "store/test_root.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct arena *arena;
static const char letter[] = "From: a@example.test\r\nSubject: hi\r\n\r\nbody\r\n";

static bool is_there(const char *dir, const char *end)
{
    char cmd[700];

    snprintf(cmd, sizeof cmd, "ls '%s/%s' | grep -q '%s$'", root, dir, end);
    return system(cmd) == 0;
}

static size_t told(struct mailbox *box, enum mailbox_event_type type, uint32_t seq)
{
    const struct mailbox_changes *c;
    size_t n = 0;

    assert(mailbox_sync(box, false, &c) == STORE_OK);
    for (size_t i = 0; i < c->count; i++)
        n += c->events[i].type == type && c->events[i].seq == seq;
    return n;
}

/* Answers the UID of the last of n. */
static uint32_t save(struct mailbox *box, const char *name, uint8_t flags, const char *const *keywords, size_t n)
{
    struct mailbox_save *s;
    uint32_t validity, *uids;
    size_t count;

    assert(mailbox_save_begin(box->store, name, box, &s) == STORE_OK);
    for (size_t i = 0; i < n; i++) {
        assert(mailbox_save_start(s, flags, keywords, 1000000000) == STORE_OK);
        assert(mailbox_save_write(s, letter, sizeof letter - 1) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    }
    assert(mailbox_save_commit(&s, arena, &validity, &uids, &count) == STORE_OK && count == n);
    return uids[n - 1];
}

static void test_selected(void)
{
    struct store *st = root_fresh();
    struct mailbox *box, *second;
    const char *words[] = { "Work", NULL };
    struct str out;
    int64_t date;

    str_init(&out, 0);
    root_put("new/1.M1P1.h", "Subject: other\n\nx\n");
    box = root_box(st, "INBOX");
    second = root_box(st, "INBOX");
    uint32_t scans = box->scan;
    assert(save(box, "inbox", 0, NULL, 1) == 2 && is_there("cur", ":2,"));
    assert(!is_there("new", "h") && told(box, MAILBOX_EXISTS, 2) == 1 && box->scan == scans + 1);
    assert(mailbox_mail(box, 2)->uid == 2 && mailbox_mail(box, 2)->flags == MAIL_RECENT && mailbox_recent(box) == 2);
    assert(message_envelope(box, 2, &out) == STORE_OK && strstr(out.p, "\"hi\""));
    assert(message_date(box, 2, &date) == STORE_OK && date == 1000000000);
    assert(save(box, "INBOX", MAIL_SEEN, words, 3) == 5 && told(box, MAILBOX_RECENT_COUNT, 2) == 1);
    assert(mailbox_count(box) == 5 && mailbox_mail(box, 5)->flags == MAIL_SEEN &&
           mailbox_mail(box, 5)->keywords == 1);
    /* The other session sees the same, and both see what the other saves. */
    assert(told(second, MAILBOX_EXISTS, 5) == 1 && mailbox_mail(second, 5)->uid == 5 && mailbox_recent(second) == 0);
    assert(save(second, "INBOX", 0, NULL, 1) == 6 && told(box, MAILBOX_EXISTS, 6) == 1);
    assert(told(box, MAILBOX_EXISTS, 6) == 0 && told(second, MAILBOX_EXISTS, 6) == 1);
    mailbox_close(&second);
    mailbox_close(&box);
    unlink("posthorn.index");
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == 6 && mailbox_recent(box) == 0);
    for (uint32_t seq = 1; seq <= 6; seq++)
        assert(mailbox_mail(box, seq)->uid == seq);
    mailbox_close(&box);
    str_free(&out);
    store_close(&st);
}

/* Mail that others bring, and UIDs that others give, between the last look and the save: shown in the order of UIDs. */
static void test_meanwhile(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX"), *other;

    root_put("new/1.M1P1.h", "Subject: other\n\nx\n");
    other = root_box(st, "INBOX"); /* gives UID 1, moves it to cur/ */
    root_put("new/2.M1P1.h", "Subject: other\n\nx\n");
    assert(save(box, "INBOX", 0, NULL, 1) == 2);
    assert(told(box, MAILBOX_EXISTS, 3) == 1);
    for (uint32_t seq = 1; seq <= 3; seq++)
        assert(mailbox_mail(box, seq)->uid == seq);
    mailbox_close(&other);
    mailbox_close(&box);
    store_close(&st);
}

/* What was told as expunged, flags that others change, and recent messages are counted without a walk through all. */
static void test_counts(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX"), *other;
    struct mail_change deleted = { MAIL_ADD, MAIL_DELETED, NULL, true }, seen = { MAIL_ADD, MAIL_SEEN, NULL, false };
    uint32_t second = 2, third = 3;

    assert(save(box, "INBOX", 0, NULL, 4) == 4 && told(box, MAILBOX_EXISTS, 4) == 1 && mailbox_recent(box) == 4);
    assert(mailbox_store(box, &second, 1, &deleted) == STORE_OK && mailbox_expunge(box, NULL, 0) == STORE_OK);
    assert(told(box, MAILBOX_EXPUNGE, 2) == 1 && mailbox_recent(box) == 3 && mailbox_count(box) == 3);
    other = root_box(st, "INBOX");
    assert(mailbox_store(other, &third, 1, &seen) == STORE_OK && told(other, MAILBOX_FLAGS, 3) == 1);
    assert(told(box, MAILBOX_FLAGS, 3) == 1 && told(box, MAILBOX_FLAGS, 3) == 0);
    assert(mailbox_mail(box, 3)->flags == (MAIL_SEEN | MAIL_RECENT) && mailbox_recent(box) == 3);
    mailbox_close(&other);
    mailbox_close(&box);
    store_close(&st);
}

/* A copy into the mailbox itself is known without reading the directory again, whatever that holds. */
static void test_copy_into_itself(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX"), *other;
    const char *words[] = { "Work", NULL };
    struct mailbox_copied done;
    uint32_t seqs[] = { 1, 2 };
    struct str out;

    str_init(&out, 0);
    assert(save(box, "INBOX", MAIL_SEEN, words, 1) == 1 && save(box, "INBOX", 0, NULL, 1) == 2);
    assert(told(box, MAILBOX_EXISTS, 2) == 1);
    root_put("new/1.M1P1.h", "Subject: other\n\nx\n");
    assert(mailbox_copy(box, seqs, 2, "inbox", false, arena, &done) == STORE_OK && done.count == 2);
    assert(done.to[0] == 3 && done.to[1] == 4 && scan_before(box, false) && box->pending_count == 2);
    assert(told(box, MAILBOX_EXISTS, 5) == 1 && mailbox_mail(box, 3)->uid == 3);
    assert(mailbox_mail(box, 3)->flags == MAIL_SEEN && mailbox_mail(box, 3)->keywords == 1);
    assert(message_envelope(box, 4, &out) == STORE_OK && strstr(out.p, "\"hi\""));
    other = root_box(st, "INBOX"); /* finds in the directory what the view was told */
    assert(mailbox_count(other) == 5);
    for (uint32_t seq = 1; seq <= 5; seq++)
        assert(mailbox_mail(other, seq)->uid == mailbox_mail(box, seq)->uid &&
               strcmp(message_guid(other, seq), message_guid(box, seq)) == 0 &&
               (mailbox_mail(other, seq)->flags | MAIL_RECENT) == (mailbox_mail(box, seq)->flags | MAIL_RECENT));
    mailbox_close(&other);
    assert(mailbox_copy(box, seqs, 1, "INBOX", true, arena, &done) == STORE_OK && done.count == 1 && done.to[0] == 6);
    assert(told(box, MAILBOX_EXPUNGE, 1) == 1 && mailbox_count(box) == 5 && mailbox_mail(box, 5)->uid == 6);
    mailbox_close(&box);
    assert(mailbox_open(st, "INBOX", true, &box) == STORE_OK); /* a view that may not write: as any other target */
    assert(mailbox_copy(box, seqs, 1, "INBOX", false, arena, &done) == STORE_OK && done.count == 1 &&
           done.to[0] == 7);
    assert(told(box, MAILBOX_EXISTS, 6) == 1);
    mailbox_close(&box);
    str_free(&out);
    store_close(&st);
}

/* Another mailbox has the name now, or the view may not write: the message goes where the name leads. */
static void test_not_the_same(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct mailbox_save *s;
    char cmd[700];

    assert(store_create(st, "a") == STORE_OK);
    box = root_box(st, "a");
    snprintf(cmd, sizeof cmd, "cd '%s' && mv .a .b && mkdir .a .a/cur .a/new .a/tmp", root);
    assert(system(cmd) == 0);
    assert(save(box, "a", 0, NULL, 1) == 1 && is_there(".a/new", "W=43") && !is_there(".b/cur", "2,"));
    snprintf(cmd, sizeof cmd, "rm -rf '%s/.a'", root);
    assert(system(cmd) == 0 && mailbox_save_begin(st, "a", box, &s) == STORE_NONEXISTENT);
    mailbox_close(&box);
    assert(mailbox_open(st, "INBOX", true, &box) == STORE_OK);
    assert(save(box, "INBOX", 0, NULL, 1) == 1 && is_there("new", "W=43") && told(box, MAILBOX_EXISTS, 1) == 1);
    mailbox_close(&box);
    store_close(&st);
}

int main(void)
{
    root_begin("save-test");
    arena = arena_new();
    test_selected();
    test_meanwhile();
    test_counts();
    test_copy_into_itself();
    test_not_the_same();
    arena_free(&arena);
    return 0;
}
