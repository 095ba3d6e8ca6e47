/*
 * first_test - a Maildir that nobody has listed: its messages get UIDs in order of arrival, whatever lies in it, and
 * the next to open it finds the index
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

enum { MESSAGES = 1500 };
static const char letter[] = "Subject: other\n\nx\n"; /* 18 bytes, 3 lines */

/* Message n arrived at second n / 3, in the n % 3-th place of it; the directory has them in no order. */
static void put_message(int n, const char *info)
{
    char name[200];

    snprintf(name, sizeof name, "cur/%d.M%dP%d.h,S=18,W=21:2,%s", 1000 + n / 3, n % 3, 9000 - n, info);
    root_put(name, letter);
}

static struct store *fresh(void)
{
    struct store *st = root_fresh();

    for (int n = 0; n < MESSAGES; n++)
        put_message(n, n % 2 ? "S" : "FSa");
    return st;
}

static void age(void) { root_shell("touch -d 2020-01-01 cur new"); }

/* Every message under its UID: which is told by its GUID. */
static void check(struct mailbox *box, uint32_t uids)
{
    char guid[100];
    uint64_t size;

    assert(mailbox_count(box) == MESSAGES && mailbox_uid_next(box) == uids + 1);
    for (uint32_t n = 0; n < MESSAGES; n++) {
        const struct mail *m = mailbox_mail(box, n + 1);
        snprintf(guid, sizeof guid, "%u.M%uP%u.h,S=18,W=21", 1000 + n / 3, n % 3, 9000 - n);
        assert(m->uid == n + 1 && strcmp(message_guid(box, n + 1), guid) == 0);
        assert(m->flags == (n % 2 ? MAIL_SEEN : MAIL_SEEN | MAIL_FLAGGED) && m->keywords == (n % 2 ? 0 : 1));
        assert(message_size(box, n + 1, &size) == STORE_OK && size == 21);
    }
}

static void test_plain(void)
{
    struct store *st = fresh();
    struct mailbox *box, *other;
    struct mailbox_summary sum;
    const struct mailbox_changes *c;

    age();
    assert(mailbox_open_lazily(st, "INBOX", false, &box) == STORE_OK);
    assert(!box->mapped && box->block_count == MESSAGES); /* the map is not needed for it */
    assert(mailbox_unkept(box));
    mailbox_keep(box);
    assert(!mailbox_unkept(box) && !box->mapped);
    assert(mailbox_open_lazily(st, "INBOX", false, &other) == STORE_OK && other->dormant);
    mailbox_summary(other, &sum);
    assert(sum.count == MESSAGES && sum.unseen == 0 && sum.recent == 0);
    assert(mailbox_load(other) == STORE_OK);
    check(other, MESSAGES);
    mailbox_close(&other);
    check(box, MESSAGES);
    /* From here on it is a mailbox like any other. */
    root_put("new/2000.M1P1.h", letter);
    root_shell("rm cur/1000.M0P9000*; mv cur/1000.M1P8999.h,S=18,W=21:2,S cur/1000.M1P8999.h,S=18,W=21:2,FS");
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == MESSAGES);
    assert(c->count == 4 && c->events[0].type == MAILBOX_EXPUNGE && c->events[0].seq == 1);
    assert(mailbox_mail(box, 1)->uid == 2 && mailbox_mail(box, 1)->flags == (MAIL_SEEN | MAIL_FLAGGED));
    assert(mailbox_mail(box, MESSAGES)->uid == MESSAGES + 1);
    mailbox_close(&box);
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == MESSAGES);
    assert(mailbox_mail(box, 1)->uid == 2 && mailbox_mail(box, 1)->flags == (MAIL_SEEN | MAIL_FLAGGED));
    mailbox_close(&box);
    store_close(&st);
}

/* What is not plain goes the other way, to the same end. */
static void test_not_plain(void)
{
    struct store *st = fresh();
    struct mailbox *box;

    root_shell("mkdir cur/directory && ln -s nowhere cur/link");
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    check(box, MESSAGES);
    mailbox_close(&box);
    store_close(&st);

    st = fresh(); /* one base name twice: one message, whichever file is taken */
    put_message(7, "ST");
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == MESSAGES);
    assert(mailbox_uid_next(box) == MESSAGES + 1);
    mailbox_close(&box);
    store_close(&st);

    st = fresh(); /* mail that has just come, and mail torn by a crash */
    root_put("new/999999.M1P1.h,S=18,W=21", letter);
    root_put("new/999999.M2P1.h,S=180", letter);
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == MESSAGES + 1);
    assert(mailbox_recent(box) == 1 && mailbox_mail(box, MESSAGES + 1)->flags == MAIL_RECENT);
    root_shell("test -f posthorn-damaged/999999.M2P1.h,S=180");
    mailbox_close(&box);
    store_close(&st);
}

/* Sizes that a name has wrong are found out before they are told, and before a copy gets them. */
static void test_wrong_sizes(void)
{
    struct store *st = fresh();
    struct mailbox *box, *copy;
    struct mailbox_copied done;
    struct arena *a = arena_new();
    uint32_t seq = 1;
    uint64_t size;

    root_shell("rm cur/* && :");
    root_put("cur/1.M1P1.h,S=9999,W=8888:2,S", letter);
    root_put("cur/2.M1P1.h,S=9999,W=8888:2,S", letter);
    age();
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == 2);
    mailbox_close(&box); /* the index knows that nobody has looked */
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    assert(store_create(st, "copies") == STORE_OK);
    assert(mailbox_copy(box, &seq, 1, "copies", false, a, &done) == STORE_OK && done.count == 1);
    assert(message_size(box, 2, &size) == STORE_OK && size == 21);
    struct mail_change c = { .how = MAIL_ADD, .flags = MAIL_FLAGGED }; /* the new name says the same again */
    seq = 2;
    assert(mailbox_store(box, &seq, 1, &c) == STORE_OK);
    assert(message_size(box, 2, &size) == STORE_OK && size == 21);
    assert(mailbox_open(st, "copies", false, &copy) == STORE_OK && mailbox_count(copy) == 1);
    assert(message_size(copy, 1, &size) == STORE_OK && size == 21 && strstr(message_guid(copy, 1), ",S=18"));
    mailbox_close(&copy);
    mailbox_close(&box);
    arena_free(&a);
    store_close(&st);
}

static void ask(struct mailbox *box, uint32_t seq, struct str *out)
{
    str_reset(out);
    assert(message_envelope(box, seq, out) == STORE_OK && message_structure(box, seq, true, out) == STORE_OK);
    assert(strstr(out->p, "\"other\"") && strstr(out->p, "\"plain\""));
}

/* Records are written many at once: an answer is the same before and after, in any order, and when messages go between.
 */
static void test_records_at_once(void)
{
    const struct mailbox_changes *c;
    struct store *st = fresh();
    struct mailbox *box;
    struct stat before, after;
    struct str out;
    char path[300];

    str_init(&out, 0);
    snprintf(path, sizeof path, "%s/%s", root, INDEX_NAME);
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    ask(box, 1, &out);
    ask(box, 2, &out);
    assert(box->gathered_count == 2 && access(path, F_OK) < 0);
    ask(box, 1, &out); /* not the last: they are written first */
    assert(box->gathered_count == 0 && stat(path, &before) == 0);
    ask(box, 3, &out);
    ask(box, 4, &out);
    root_shell("rm cur/1001.M0P8997*"); /* the fourth */
    assert(mailbox_sync(box, false, &c) == STORE_OK && c->count == 1 && box->gathered_count == 0);
    for (uint32_t seq = 1; seq <= mailbox_count(box); seq++)
        ask(box, seq, &out);
    assert(box->gathered_count > 0 && stat(path, &after) == 0 && after.st_size > before.st_size);
    mailbox_close(&box);
    /* They are there for who comes next, who reads no file. */
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    for (uint32_t seq = 1; seq <= mailbox_count(box); seq++)
        ask(box, seq, &out);
    assert(box->gathered_count == 0 && box->gathered_room == 0);
    mailbox_close(&box);
    str_free(&out);
    store_close(&st);
}

int main(void)
{
    root_begin("first-test");
    test_plain();
    test_not_plain();
    test_wrong_sizes();
    test_records_at_once();
    return 0;
}
