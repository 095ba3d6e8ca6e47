/*
 * freeze_test - a client that is told what happened while its session slept knows what one knows that was awake
 */
#include "base/file.h"
#include "base/mem.h"
#include "store/mailbox.h"
#include "store/test_root.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 120, MESSAGES = 400 };

/* What a client knows. */
struct client {
    struct mail mail[MESSAGES];
    uint32_t count;
};

static void deliver(void)
{
    static int n;
    char path[400];
    int fd;

    snprintf(path, sizeof path, "%s/new/%d.M1P1.h", root, ++n);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert(fd >= 0 && file_write_all(fd, "Subject: x\n\ny\n", 14) == 0);
    close(fd);
}

static void know(struct client *c, const struct mailbox *box, uint32_t from)
{
    for (uint32_t seq = from; seq <= mailbox_count(box); seq++)
        c->mail[seq - 1] = *mailbox_mail(box, seq);
    c->count = mailbox_count(box);
}

static void hear(struct client *c, const struct mailbox *box, const struct mailbox_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct mailbox_event *e = &changes->events[i];
        if (e->type == MAILBOX_EXPUNGE) {
            assert(e->seq >= 1 && e->seq <= c->count && c->mail[e->seq - 1].uid == e->uid);
            memmove(&c->mail[e->seq - 1], &c->mail[e->seq], (--c->count - (e->seq - 1)) * sizeof *c->mail);
        } else if (e->type == MAILBOX_EXISTS) {
            assert(e->seq >= c->count);
            know(c, box, c->count + 1);
        } else if (e->type == MAILBOX_FLAGS) {
            assert(e->seq <= c->count);
            c->mail[e->seq - 1] = *mailbox_mail(box, e->seq);
        }
    }
}

static void same(const struct client *c, const struct mailbox *box)
{
    assert(c->count == mailbox_count(box));
    for (uint32_t seq = 1; seq <= c->count; seq++) {
        const struct mail *m = mailbox_mail(box, seq), *k = &c->mail[seq - 1];
        assert(m->uid == k->uid && m->keywords == k->keywords && m->flags == k->flags);
    }
}

static void change(struct store *st)
{
    static const char *const words[] = { "$Forwarded", "odd", "even" };
    struct mailbox *box = root_box(st, "INBOX");
    uint32_t n = mailbox_count(box);

    for (int i = rand() % 4; i > 0 && n > 0; i--) {
        const char *names[] = { words[rand() % 3], NULL };
        struct mail_change c = { (enum mail_store_how)(rand() % 3), (uint8_t) (rand() % 32),
                                 rand() % 2 ? names : NULL, true };
        uint32_t seq = 1 + (uint32_t) rand() % n;
        assert(mailbox_store(box, &seq, 1, &c) == STORE_OK);
    }
    if (rand() % 2)
        assert(mailbox_expunge(box, NULL, 0) == STORE_OK);
    mailbox_close(&box);
    for (int i = rand() % 3; i > 0; i--)
        deliver();
}

static void test_rounds(void)
{
    static struct client c;
    struct store *st = root_fresh();
    const struct mailbox_changes *changes;
    struct mailbox *box;

    for (int i = 0; i < 20; i++)
        deliver();
    box = root_box(st, "INBOX");
    know(&c, box, 1);
    for (int round = 0; round < ROUNDS; round++) {
        struct str frozen;
        str_init(&frozen, 4096);
        assert(mailbox_sync(box, false, &changes) == STORE_OK);
        hear(&c, box, changes);
        same(&c, box);
        assert(mailbox_freeze(box, 4096, &frozen) == 0);
        mailbox_close(&box);
        change(st);
        box = root_box(st, "INBOX");
        assert(mailbox_thaw(box, str_slice(&frozen), &changes) == STORE_OK);
        hear(&c, box, changes);
        same(&c, box);
        /* No byte less, and no other byte, makes it read past its end. */
        for (size_t cut = 0; cut < frozen.len; cut++)
            (void) mailbox_thaw(box, slice_make(frozen.p, cut), &changes);
        for (size_t at = 0; at < frozen.len; at++) {
            frozen.p[at] = (char) (frozen.p[at] ^ (1 << rand() % 8));
            (void) mailbox_thaw(box, str_slice(&frozen), &changes);
        }
        str_free(&frozen);
        mailbox_close(&box);
        box = root_box(st, "INBOX");
        know(&c, box, 1);
    }
    mailbox_close(&box);
    store_close(&st);
}

static void test_refused(void)
{
    struct store *st = root_fresh();
    const struct mailbox_changes *changes;
    struct mailbox *box;
    struct str frozen;
    uint32_t seqs[] = { 1 };
    struct mail_change c = { MAIL_ADD, MAIL_FLAGGED, NULL, false };

    for (int i = 0; i < 3; i++)
        deliver();
    box = root_box(st, "INBOX");
    str_init(&frozen, 4096);
    assert(mailbox_freeze(box, 2, &frozen) == -1); /* longer than that */
    str_reset(&frozen);
    assert(mailbox_store(box, seqs, 1, &c) == STORE_OK && mailbox_freeze(box, 4096, &frozen) == -1); /* untold */
    str_reset(&frozen);
    assert(mailbox_sync(box, false, &changes) == STORE_OK && mailbox_freeze(box, 4096, &frozen) == 0);
    mailbox_close(&box);
    char path[300];
    snprintf(path, sizeof path, "%s/dovecot-uidlist", root);
    assert(unlink(path) == 0);
    snprintf(path, sizeof path, "%s/posthorn.index", root);
    (void) unlink(path);
    sleep(1); /* UIDVALIDITY is a time */
    box = root_box(st, "INBOX");
    assert(mailbox_thaw(box, str_slice(&frozen), &changes) == STORE_DAMAGED);
    mailbox_close(&box);
    str_free(&frozen);
    store_close(&st);
}

int main(void)
{
    srand(7);
    root_begin("freeze-test");
    test_rounds();
    test_refused();
    return 0;
}
