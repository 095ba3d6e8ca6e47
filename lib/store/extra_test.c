/*
 * extra_test - keywords beyond the 26 letters: told to Dovecot by its log, learned from there, kept when either index goes
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

enum { WORDS = 30 };

static void deliver(const char *name)
{
    char cmd[300];

    snprintf(cmd, sizeof cmd, "printf 'Subject: hi\\n\\nbody\\n' >new/%s", name);
    root_shell(cmd);
}

static enum store_why change(struct mailbox *box, enum mail_store_how how, uint32_t seq, const char *word)
{
    const char *words[] = { word, NULL };
    struct mail_change c = { how, 0, words, true };

    return mailbox_store(box, &seq, 1, &c);
}

static void all_words(struct mailbox *box, uint32_t seq)
{
    char word[32];

    for (int i = 0; i < WORDS; i++) {
        snprintf(word, sizeof word, "k%d", i);
        assert(change(box, MAIL_ADD, seq, word) == STORE_OK);
    }
}

static bool has(struct mailbox *box, uint32_t seq, const char *word)
{
    for (size_t k = 0; k < mailbox_keyword_count(box); k++)
        if (strcmp(mailbox_keyword(box, k), word) == 0)
            return mailbox_mail(box, seq)->keywords >> k & 1;
    return false;
}

static void ignore(void *ctx, enum dovecot_event event, struct slice name, uint32_t first, uint32_t last)
{
    (void) ctx, (void) event, (void) name, (void) first, (void) last;
}

/* A change as Dovecot writes it. */
static void dovecot_says(uint32_t validity, bool add, const char *word, uint32_t uid)
{
    int dir = open(root, O_RDONLY | O_DIRECTORY), fd = dovecot_index_lock(dir, validity);
    struct dovecot_index x = { 0 };
    struct uid_range r = { uid, uid };
    struct str out;

    assert(dir >= 0 && fd >= 0 && dovecot_index_read(&x, dir, UINT32_MAX, ignore, NULL) == 0);
    str_init(&out, 4096);
    if (x.next_uid <= uid)
        dovecot_index_put_messages(&out, &uid, 1);
    dovecot_index_put_keyword(&out, add, word, &r, 1);
    assert(dovecot_index_append(&x, fd, str_slice(&out)) == 0);
    str_free(&out);
    close(fd);
    close(dir);
}

static void test_both_ways(void)
{
    struct store *st = root_fresh();
    struct mailbox *box, *other;
    const struct mailbox_changes *c;

    deliver("1.M1P1.h");
    deliver("2.M1P1.h");
    box = root_box(st, "INBOX");
    all_words(box, 1);
    other = root_box(st, "INBOX");
    assert(has(other, 1, "k29") && !has(other, 2, "k29"));
    assert(change(box, MAIL_ADD, 2, "k29") == STORE_OK && change(box, MAIL_REMOVE, 1, "k28") == STORE_OK);
    assert(mailbox_sync(other, false, &c) == STORE_OK && c->count == 2 && has(other, 2, "k29") &&
           !has(other, 1, "k28"));
    dovecot_says(mailbox_uid_validity(box), false, "k29", 2);
    dovecot_says(mailbox_uid_validity(box), true, "theirs", 2);
    assert(mailbox_sync(box, false, &c) == STORE_OK && !has(box, 2, "k29") && has(box, 2, "theirs"));
    assert(c->count == 2 && c->events[0].type == MAILBOX_KEYWORDS && c->events[1].type == MAILBOX_FLAGS);
    mailbox_close(&other);
    mailbox_close(&box);
    root_shell("rm posthorn.index");
    box = root_box(st, "INBOX");
    assert(has(box, 1, "k29") && !has(box, 1, "k28") && has(box, 2, "theirs") && !has(box, 2, "k29"));
    assert(has(box, 1, "k3"));
    mailbox_close(&box);
    root_shell("rm dovecot.index.log");
    box = root_box(st, "INBOX");
    assert(has(box, 1, "k29") && has(box, 2, "theirs"));
    assert(change(box, MAIL_ADD, 2, "k28") == STORE_OK);
    mailbox_close(&box);
    root_shell("rm posthorn.index");
    box = root_box(st, "INBOX");
    assert(has(box, 1, "k29") && has(box, 2, "theirs") && has(box, 2, "k28"));
    mailbox_close(&box);
    store_close(&st);
}

/* APPEND and COPY: Dovecot's index gets the messages before their keywords. */
static void test_new_messages(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    struct mailbox_save *save;
    struct mailbox_copied done;
    struct arena *a = arena_new();
    const char *words[] = { "k27", "k2", NULL };
    uint32_t validity, *uids, seq = 1;
    size_t count;

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    all_words(box, 1);
    assert(mailbox_save_begin(st, "INBOX", NULL, &save) == STORE_OK);
    assert(mailbox_save_start(save, 0, words, MAILBOX_SAVE_NOW) == STORE_OK);
    assert(mailbox_save_write(save, "a: b\r\n\r\n", 8) == STORE_OK && mailbox_save_finish(save) == STORE_OK);
    assert(mailbox_save_commit(&save, a, &validity, &uids, &count) == STORE_OK && count == 1);
    assert(mailbox_copy(box, &seq, 1, "INBOX", false, a, &done) == STORE_OK && done.count == 1);
    mailbox_close(&box);
    root_shell("rm posthorn.index");
    box = root_box(st, "INBOX");
    assert(mailbox_count(box) == 3 && box->dovecot.next_uid == mailbox_uid_next(box));
    assert(has(box, 2, "k27") && has(box, 2, "k2") && !has(box, 2, "k28") && has(box, 3, "k28") &&
           has(box, 3, "k29"));
    mailbox_close(&box);
    arena_free(&a);
    store_close(&st);
}

/* A session that looks while another one saves: UID and keyword are written, the file is not there yet. */
static void test_on_its_way(void)
{
    for (int opened_anew = 0; opened_anew < 2; opened_anew++) {
        struct store *st = root_fresh();
        struct mailbox *box;
        const struct mailbox_changes *c;

        deliver("1.M1P1.h");
        box = root_box(st, "INBOX");
        all_words(box, 1);
        assert(mailbox_sync(box, false, &c) == STORE_OK);
        root_shell("echo '2 :2.M1P1.h' >>dovecot-uidlist");
        dovecot_says(mailbox_uid_validity(box), true, "k29", 2);
        assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 1);
        if (opened_anew)
            mailbox_close(&box);
        root_shell("cp cur/1.* cur/2.M1P1.h:2,");
        if (opened_anew)
            box = root_box(st, "INBOX");
        assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 2);
        assert(mailbox_mail(box, 2)->uid == 2 && has(box, 2, "k29") && !has(box, 2, "k28"));
        mailbox_close(&box);
        store_close(&st);
    }
}

/* Dovecot begins a new log. */
static void rotate(void)
{
    char head[40], path[300];
    int fd;

    snprintf(path, sizeof path, "%s/dovecot.index.log", root);
    assert((fd = open(path, O_RDONLY)) >= 0 && read(fd, head, sizeof head) == sizeof head && close(fd) == 0);
    root_shell("mv dovecot.index.log dovecot.index.log.2");
    head[12] = head[8]++; /* number of the log before, of this one */
    assert((fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0);
    assert(write(fd, head, sizeof head) == sizeof head && close(fd) == 0);
}

/* The log is read from its beginning while a message comes of which it says something. */
static void test_all_of_it(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    all_words(box, 1);
    assert(mailbox_sync(box, false, &c) == STORE_OK);
    root_shell("cp cur/1.* cur/2.M1P1.h:2,; echo '2 :2.M1P1.h' >>dovecot-uidlist");
    dovecot_says(mailbox_uid_validity(box), true, "k29", 2);
    rotate();
    box->dovecot = (struct dovecot_index){ 0 };
    extra_sync(box); /* after the uidlist was read, before it has grown */
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 2 &&
           mailbox_sync(box, false, &c) == STORE_OK);
    assert(has(box, 2, "k29") && !has(box, 2, "k28") && has(box, 1, "k28"));
    assert(box->dovecot.file_seq == 2);
    mailbox_close(&box);
    store_close(&st);
}

/* Keywords that fit nowhere are Dovecot's alone; one that Dovecot gave a letter is what the files' names say. */
static void test_names(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;
    char word[32];

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    dovecot_says(mailbox_uid_validity(box), true, "letter", 1); /* in the log before dovecot-keywords */
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_keyword_count(box) == 0);
    root_shell("echo '0 letter' >dovecot-keywords && mv cur/* 'cur/1.M1P1.h:2,a'");
    assert(mailbox_sync(box, false, &c) == STORE_OK && has(box, 1, "letter"));
    assert(mailbox_keyword_count(box) == 1);
    for (int i = 1; i < FILE_KEYWORDS; i++) {
        snprintf(word, sizeof word, "k%d", i);
        assert(change(box, MAIL_ADD, 1, word) == STORE_OK);
    }
    for (int i = 0; i < 2 * STORE_KEYWORDS_MAX; i++) {
        snprintf(word, sizeof word, "d%d", i);
        dovecot_says(mailbox_uid_validity(box), true, word, 1);
    }
    assert(mailbox_sync(box, false, &c) == STORE_OK && has(box, 1, "d0") && has(box, 1, "d37") &&
           !has(box, 1, "d38"));
    root_shell("sed -i 's/k9$/d5/' dovecot-keywords"); /* by hand */
    assert(mailbox_sync(box, false, &c) == STORE_OK && has(box, 1, "d5") && !has(box, 1, "k9") && has(box, 1, "d6"));
    assert(change(box, MAIL_REMOVE, 1, "d5") == STORE_OK && !has(box, 1, "d5"));
    root_shell("ls cur | grep -q ':2,abcdefghiklmnopqrstuvwxyz$'");
    mailbox_close(&box);
    store_close(&st);
}

/* No uidlist: Dovecot's index still knows UIDVALIDITY and which UIDs were given. One that knows of more than the
 * uidlist: they are not given again. */
static void test_uids(void)
{
    struct store *st = root_fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;
    struct str out;
    uint32_t uids[] = { 2, 3, 4 };

    deliver("1.M1P1.h");
    box = root_box(st, "INBOX");
    all_words(box, 1);
    uint32_t validity = mailbox_uid_validity(box);
    int fd = dovecot_index_lock(box->fd, validity);
    str_init(&out, 4096);
    dovecot_index_put_messages(&out, uids, 3);
    struct dovecot_index x = { 0 };
    assert(dovecot_index_read(&x, box->fd, UINT32_MAX, ignore, NULL) == 0);
    assert(dovecot_index_append(&x, fd, str_slice(&out)) == 0);
    str_free(&out);
    close(fd);
    deliver("2.M1P1.h");
    mailbox_close(&box);
    box = root_box(st, "INBOX");
    assert(mailbox_sync(box, false, &c) == STORE_OK && mailbox_count(box) == 2 && mailbox_mail(box, 2)->uid == 5);
    mailbox_close(&box);
    root_shell("rm posthorn.index dovecot-uidlist");
    box = root_box(st, "INBOX");
    assert(mailbox_uid_validity(box) == validity && mailbox_count(box) == 2 && mailbox_mail(box, 1)->uid >= 5);
    mailbox_close(&box);
    store_close(&st);
}

int main(void)
{
    root_begin("extra-test");
    test_both_ways();
    test_new_messages();
    test_on_its_way();
    test_all_of_it();
    test_names();
    test_uids();
    return 0;
}
