/*
 * mailbox_test - lib/store on scratch Maildirs: views, flags, expunge, saving, copying, others who write at the same
 * time
 */
#include "base/file.h"
#include "base/mem.h"
#include "store/index.h"
#include "store/message.h"
#include "store/uidlist.h"

#include <assert.h>
#include <errno.h>
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

static char root[200];
static const char letter[] = "From: a@example.test\nTo: b@example.test\nSubject: hi\nX-Odd: y\n\nbody\nline\n";

static char *path_of(const char *dir, const char *rest)
{
    static char buf[4][600];
    static int turn;
    char *p = buf[turn++ % 4];

    snprintf(p, 600, "%s/%s%s", root, dir, rest);
    return p;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert(fd >= 0 && file_write_all(fd, text, strlen(text)) == 0);
    close(fd);
}

static void append_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND);

    assert(fd >= 0 && file_write_all(fd, text, strlen(text)) == 0);
    close(fd);
}

static char *slurp(const char *path)
{
    struct str s;

    str_init(&s, 1 << 24);
    if (file_read(path, &s) < 0)
        return mem_strdup("");
    return str_take(&s);
}

static void deliver(const char *name) { write_file(path_of("new/", name), letter); }

static void wipe(void)
{
    char cmd[300];

    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    assert(system(cmd) == 0);
}

static struct store *fresh(void)
{
    struct store *st;
    struct store_config c = { .root = root, .separator = '/', .create = true };

    wipe();
    assert(store_open(&c, &st) == STORE_OK);
    return st;
}

static struct mailbox *box_of(struct store *st, const char *name, bool ro)
{
    struct mailbox *box;
    enum store_why why = mailbox_open(st, name, ro, &box);

    if (why)
        fprintf(stderr, "open: %d %s\n", why, store_error(st));
    assert(why == STORE_OK);
    return box;
}

/* As if the last change were long ago: what is closed now need not be read once more. */
static void age(struct mailbox *box)
{
    static const char *const dirs[] = { "new", "cur" };
    struct timespec old[2] = { { .tv_sec = 1500000000 }, { .tv_sec = 1500000000 } };
    const struct mailbox_changes *c;

    for (int i = 0; i < 2; i++)
        assert(utimensat(AT_FDCWD, path_of("", dirs[i]), old, 0) == 0);
    assert(mailbox_sync(box, false, &c) == STORE_OK);
}

static const struct mailbox_changes *sync_box(struct mailbox *box, bool keep)
{
    const struct mailbox_changes *c;

    assert(mailbox_sync(box, keep, &c) == STORE_OK);
    return c;
}

static size_t events(const struct mailbox_changes *c, enum mailbox_event_type type)
{
    size_t n = 0;

    for (size_t i = 0; i < c->count; i++)
        n += c->events[i].type == type;
    return n;
}

static void test_open(void)
{
    struct store *st = fresh();
    struct mailbox *box;
    char *list;

    deliver("1000000002.M1P1.h");
    deliver("1000000001.M2P1.h");
    deliver("1000000001.M1P1.h");
    box = box_of(st, "INBOX", true);
    assert(mailbox_count(box) == 3 && mailbox_recent(box) == 3 && mailbox_mail(box, 1)->uid == 1);
    assert(strcmp(message_guid(box, 1), "1000000001.M1P1.h") == 0 &&
           strcmp(message_guid(box, 3), "1000000002.M1P1.h") == 0);
    assert(access(path_of("new/", "1000000001.M1P1.h"), F_OK) == 0);
    uint32_t validity = mailbox_uid_validity(box);
    mailbox_close(&box);
    box = box_of(st, "inbox", false);
    assert(mailbox_uid_validity(box) == validity && mailbox_count(box) == 3 && mailbox_recent(box) == 3);
    assert(access(path_of("cur/", "1000000001.M1P1.h:2,"), F_OK) == 0);
    deliver("1000000003.M1P1.h");
    const struct mailbox_changes *c = sync_box(box, false);
    assert(events(c, MAILBOX_EXISTS) == 1 && events(c, MAILBOX_RECENT_COUNT) == 1 && mailbox_count(box) == 4);
    assert(mailbox_mail(box, 4)->uid == 4 && mailbox_uid_next(box) == 5);
    assert(sync_box(box, false)->count == 0);
    mailbox_close(&box);
    list = slurp(path_of("", UIDLIST_NAME));
    assert(strncmp(list, "3 V", 3) == 0 && strstr(list, "\n4 :1000000003.M1P1.h\n"));
    free(list);
    /* A record that was not touched keeps its unknown keys; the snapshot serves the next opening. */
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 4 && mailbox_recent(box) == 0);
    mailbox_close(&box);
    unlink(path_of("", INDEX_NAME));
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 4 && mailbox_mail(box, 4)->uid == 4);
    mailbox_close(&box);
    store_close(&st);
}

/* A mailbox that did not change is opened without reading cur/. */
static void test_no_scan(void)
{
    struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
    struct store *st = fresh();
    struct mailbox *box;

    write_file(path_of("cur/", "1.M1P1.h:2,S"), letter);
    assert(utimensat(AT_FDCWD, path_of("cur", ""), old, 0) == 0 &&
           utimensat(AT_FDCWD, path_of("new", ""), old, 0) == 0);
    box = box_of(st, "INBOX", false);
    mailbox_close(&box);
    write_file(path_of("cur/", "2.M1P1.h:2,S"), letter);
    assert(utimensat(AT_FDCWD, path_of("cur", ""), old, 0) == 0); /* a change that no mtime tells */
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 1);
    mailbox_close(&box);
    assert(utimensat(AT_FDCWD, path_of("cur", ""), NULL, 0) == 0);
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 2);
    mailbox_close(&box);
    store_close(&st);
}

static void test_flags(void)
{
    struct store *st = fresh();
    struct mailbox *one, *two;
    const char *words[] = { "$Label1", "Work", NULL };
    struct mail_change c = { MAIL_ADD, MAIL_SEEN | MAIL_FLAGGED, words, true };
    uint32_t seqs[] = { 1 };

    write_file(path_of("cur/", "1.M1P1.h,S=72:2,PQF,x=1"), letter);
    one = box_of(st, "INBOX", false);
    two = box_of(st, "INBOX", false);
    assert(mailbox_mail(one, 1)->flags == MAIL_FLAGGED);
    assert(mailbox_store(one, seqs, 1, &c) == STORE_OK);
    assert(access(path_of("cur/", "1.M1P1.h,S=72:2,FPQSab,x=1"), F_OK) == 0); /* unknown letters and text kept */
    const struct mailbox_changes *ch = sync_box(one, false);
    assert(events(ch, MAILBOX_FLAGS) == 0 && events(ch, MAILBOX_KEYWORDS) == 1);
    ch = sync_box(two, false);
    assert(events(ch, MAILBOX_FLAGS) == 1 && events(ch, MAILBOX_KEYWORDS) == 1);
    assert(mailbox_mail(two, 1)->flags == (MAIL_SEEN | MAIL_FLAGGED) && mailbox_mail(two, 1)->keywords == 3);
    assert(strcmp(mailbox_keyword(two, 0), "$Label1") == 0 && strcmp(mailbox_keyword(two, 1), "Work") == 0);
    /* Two stores a file name of which the other knows nothing: found again by its base name. */
    c = (struct mail_change){ MAIL_REMOVE, MAIL_FLAGGED, NULL, false };
    assert(mailbox_store(one, seqs, 1, &c) == STORE_OK);
    c = (struct mail_change){ MAIL_ADD, MAIL_ANSWERED, NULL, false };
    assert(mailbox_store(two, seqs, 1, &c) == STORE_OK);
    assert(events(sync_box(two, false), MAILBOX_FLAGS) == 1);
    sync_box(one, false);
    assert(mailbox_mail(one, 1)->flags & MAIL_ANSWERED && mailbox_mail(one, 1)->flags & MAIL_SEEN);
    mailbox_close(&one);
    mailbox_close(&two);
    two = box_of(st, "INBOX", true);
    assert(mailbox_store(two, seqs, 1, &c) == STORE_READ_ONLY);
    mailbox_close(&two);
    store_close(&st);
}

static void test_many_keywords(void)
{
    struct store *st = fresh();
    struct mailbox *box;
    char name[32];
    const char *words[] = { name, NULL };
    struct mail_change c = { MAIL_ADD, 0, words, true };
    uint32_t seqs[] = { 1 };

    deliver("1.M1P1.h");
    box = box_of(st, "INBOX", false);
    for (int i = 0; i < STORE_KEYWORDS_MAX; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert(mailbox_store(box, seqs, 1, &c) == STORE_OK);
    }
    snprintf(name, sizeof name, "one-too-many");
    assert(mailbox_store(box, seqs, 1, &c) == STORE_LIMIT);
    snprintf(name, sizeof name, "not (good");
    assert(mailbox_store(box, seqs, 1, &c) == STORE_BAD_NAME);
    assert(mailbox_mail(box, 1)->keywords == UINT64_MAX);
    assert(access(path_of("cur/", "1.M1P1.h:2,abcdefghijklmnopqrstuvwxyz"), F_OK) == 0);
    mailbox_close(&box);
    box = box_of(st, "INBOX", false); /* more than 26: from the index */
    assert(mailbox_mail(box, 1)->keywords == UINT64_MAX && strcmp(mailbox_keyword(box, 63), "k63") == 0);
    mailbox_close(&box);
    store_close(&st);
}

static void test_expunge(void)
{
    struct store *st = fresh();
    struct mailbox *one, *two;
    struct mail_change c = { MAIL_ADD, MAIL_DELETED, NULL, true };
    uint32_t seqs[] = { 2, 4 };

    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.M1P1.h", i);
        deliver(name);
    }
    one = box_of(st, "INBOX", false);
    two = box_of(st, "INBOX", false);
    assert(mailbox_store(one, seqs, 2, &c) == STORE_OK && mailbox_expunge(one, NULL, 0) == STORE_OK);
    assert(mailbox_count(one) == 5 && sync_box(one, true)->count == 0 && mailbox_count(one) == 5);
    const struct mailbox_changes *ch = sync_box(one, false);
    assert(events(ch, MAILBOX_EXPUNGE) == 2 && ch->events[0].seq == 4 && ch->events[1].seq == 2 &&
           ch->events[1].uid == 2);
    assert(mailbox_count(one) == 3 && mailbox_seq(one, 5) == 3 && mailbox_seq(one, 4) == 0 &&
           mailbox_seq_from(one, 4) == 3);
    ch = sync_box(two, true);
    assert(events(ch, MAILBOX_EXPUNGE) == 0 && mailbox_count(two) == 5 && mailbox_mail(two, 2)->gone);
    uint64_t size;
    struct message_file *f;
    assert(message_open(two, 2, &f) == STORE_EXPUNGED);
    assert(message_size(two, 1, &size) == STORE_OK && size == strlen(letter) + 7);
    ch = sync_box(two, false);
    assert(events(ch, MAILBOX_EXPUNGE) == 2 && mailbox_count(two) == 3);
    /* A file that comes back is a new message. */
    write_file(path_of("cur/", "2.M1P1.h:2,S"), letter);
    sync_box(one, false);
    assert(mailbox_count(one) == 4 && mailbox_mail(one, 4)->uid == 6);
    mailbox_close(&one);
    mailbox_close(&two);
    store_close(&st);
}

static void test_torn_uidlist(void)
{
    struct store *st = fresh();
    struct mailbox *box;
    char *list;

    deliver("1.M1P1.h");
    box = box_of(st, "INBOX", false);
    mailbox_close(&box);
    append_file(path_of("", UIDLIST_NAME), "2 :9999999.half"); /* a crash in the middle of a line */
    deliver("2.M1P1.h");
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 2 && mailbox_mail(box, 2)->uid == 3); /* 2 was the other message's */
    mailbox_close(&box);
    list = slurp(path_of("", UIDLIST_NAME));
    assert(strstr(list, "half") == NULL && strstr(list, "\n3 :2.M1P1.h\n"));
    free(list);
    /* Records that make no sense give no message another's UID. */
    append_file(path_of("", UIDLIST_NAME),
                "2 :3.M1P1.h\n1 :3.M1P1.h\n4294967295 :3.M1P1.h\nx :3.M1P1.h\n5\n\n9 no colon\n");
    deliver("3.M1P1.h");
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 3 && mailbox_mail(box, 3)->uid == 4);
    assert(strcmp(message_guid(box, 3), "3.M1P1.h") == 0);
    uint32_t validity = mailbox_uid_validity(box);
    mailbox_close(&box);
    /* Not readable at all: a new UIDVALIDITY, higher than the old. */
    unlink(path_of("", INDEX_NAME));
    write_file(path_of("", UIDLIST_NAME), "garbage\n");
    box = box_of(st, "INBOX", false);
    assert(mailbox_uid_validity(box) > validity && mailbox_count(box) == 3);
    mailbox_close(&box);
    store_close(&st);
}

static void test_old_and_foreign(void)
{
    struct store *st = fresh();
    struct mailbox *box;
    char *list;

    write_file(path_of("cur/", "a:2,S"), letter);
    write_file(path_of("cur/", "b:2,"), letter);
    write_file(path_of("", UIDLIST_NAME), "1 777 9\n3 a\n5 b\n");
    deliver("c");
    box = box_of(st, "INBOX", false);
    assert(mailbox_uid_validity(box) == 777 && mailbox_mail(box, 1)->uid == 3 && mailbox_mail(box, 2)->uid == 5 &&
           mailbox_mail(box, 3)->uid == 9);
    mailbox_close(&box);
    list = slurp(path_of("", UIDLIST_NAME));
    assert(strncmp(list, "3 V777 N10 G", 12) == 0 && strstr(list, "\n9 :c\n"));
    free(list);
    store_close(&st);
    st = fresh();
    write_file(path_of("cur/", "a:2,S"), letter);
    write_file(path_of("cur/", "b:2,S"), letter);
    write_file(path_of("", UIDLIST_NAME),
               "3 V55 N20 G00112233445566778899aabbccddeeff Zother\n3 W99 Puidl-1 Xq :a\n5 :b\n");
    deliver("c");
    box = box_of(st, "INBOX", false);
    assert(strcmp(message_pop3_uidl(box, 1), "uidl-1") == 0 && message_pop3_uidl(box, 2) == NULL);
    assert(mailbox_mail(box, 3)->uid == 20);
    mailbox_close(&box);
    list = slurp(path_of("", UIDLIST_NAME));
    assert(strcmp(list, "3 V55 N20 G00112233445566778899aabbccddeeff Zother\n3 W99 Puidl-1 Xq :a\n5 :b\n20 :c\n") ==
           0);
    free(list);
    store_close(&st);
}

static void test_save(void)
{
    struct store *st = fresh();
    struct mailbox_save *s;
    struct mailbox *box;
    struct arena *a = arena_new();
    const char *words[] = { "Work", NULL };
    uint32_t validity, *uids;
    size_t n;
    struct str out;

    str_init(&out, 0);
    assert(mailbox_save_begin(st, "nosuch", NULL, &s) == STORE_NONEXISTENT);
    assert(store_create(st, "Sent") == STORE_OK && mailbox_save_begin(st, "Sent", NULL, &s) == STORE_OK);
    assert(mailbox_save_start(s, MAIL_SEEN, words, 1000000000) == STORE_OK);
    const char crlf[] = "Subject: one\r\nFrom: x@y\r\n\r\nhello\r\nbare\rcr\r\n";
    for (size_t i = 0; i < sizeof crlf - 1; i++)
        assert(mailbox_save_write(s, crlf + i, 1) == STORE_OK);
    assert(mailbox_save_finish(s) == STORE_OK);
    assert(mailbox_save_start(s, 0, NULL, MAILBOX_SAVE_NOW) == STORE_OK);
    assert(mailbox_save_write(s, letter, strlen(letter)) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    assert(mailbox_save_commit(&s, a, &validity, &uids, &n) == STORE_OK && n == 2 && uids[0] == 1 && uids[1] == 2);
    box = box_of(st, "Sent", false);
    assert(mailbox_uid_validity(box) == validity && mailbox_count(box) == 2);
    assert(mailbox_mail(box, 1)->flags == MAIL_SEEN && mailbox_mail(box, 1)->keywords == 1);
    assert(mailbox_mail(box, 2)->flags == MAIL_RECENT);
    int64_t date;
    uint64_t size;
    assert(message_date(box, 1, &date) == STORE_OK && date == 1000000000);
    assert(message_size(box, 1, &size) == STORE_OK && size == sizeof crlf - 1);
    assert(message_envelope(box, 1, &out) == STORE_OK && strstr(out.p, "(NIL \"one\" ((NIL NIL \"x\" \"y\"))"));
    struct message_file *f;
    char buf[200];
    assert(message_open(box, 1, &f) == STORE_OK && !message_is_crlf(f));
    assert(message_read(f, buf, sizeof buf) == (ssize_t) (sizeof crlf - 1) &&
           memcmp(buf, crlf, sizeof crlf - 1) == 0);
    message_range(f, 0, message_physical_bytes(f), 14);
    assert(message_read(f, buf, 4) == 4 && memcmp(buf, "From", 4) == 0);
    message_close(&f);
    const char *names[] = { "subject", "X-Odd" };
    str_reset(&out);
    assert(message_fields(box, 2, names, 1, &out) == STORE_OK && strcmp(out.p, "Subject: hi\r\n") == 0);
    str_reset(&out);
    assert(message_fields(box, 2, names, 2, &out) == STORE_OK && strcmp(out.p, "Subject: hi\r\nX-Odd: y\r\n") == 0);
    str_reset(&out);
    assert(message_structure(box, 2, false, &out) == STORE_OK);
    assert(strcmp(out.p, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 12 2)") == 0);
    struct mime_part *part;
    assert(message_parts(box, 2, a, &part) == STORE_OK && part->body.virtual == 12);
    mailbox_close(&box);
    assert(mailbox_save_begin(st, "Sent", NULL, &s) == STORE_OK && mailbox_save_start(s, 0, NULL, 5) == STORE_OK);
    mailbox_save_cancel(&s);
    DIR *d = opendir(path_of("", ".Sent/tmp"));
    size_t left = 0;
    while (readdir(d))
        left++;
    closedir(d);
    assert(left == 2);
    str_free(&out);
    arena_free(&a);
    store_close(&st);
}

static void test_copy(void)
{
    struct store *st = fresh();
    struct mailbox *box, *to;
    struct arena *a = arena_new();
    struct mailbox_copied done;
    const char *words[] = { "B", NULL }, *other[] = { "A", "B", NULL };
    struct mail_change c = { MAIL_ADD, MAIL_SEEN, words, true };
    uint32_t seqs[] = { 1, 2 };

    assert(store_create(st, "a/b") == STORE_OK);
    deliver("1.M1P1.h");
    deliver("2.M1P1.h");
    to = box_of(st, "a/b", false);
    box = box_of(st, "INBOX", false);
    write_file(path_of("", ".a.b/dovecot-keywords"), "0 A\n");
    assert(mailbox_store(box, seqs, 1, &c) == STORE_OK);
    assert(mailbox_copy(box, seqs, 2, "a/b", false, a, &done) == STORE_OK && done.count == 2);
    assert(done.uid_validity == mailbox_uid_validity(to) && done.from[1] == 2 && done.to[1] == 2);
    sync_box(to, false);
    assert(mailbox_count(to) == 2 && mailbox_mail(to, 1)->keywords == 2 && mailbox_mail(to, 1)->flags & MAIL_SEEN);
    assert(strcmp(mailbox_keyword(to, 1), other[1]) == 0);
    assert(mailbox_copy(box, seqs, 2, "a/b", true, a, &done) == STORE_OK && done.count == 2);
    assert(events(sync_box(box, false), MAILBOX_EXPUNGE) == 2 && mailbox_count(box) == 0);
    sync_box(to, false);
    assert(mailbox_count(to) == 4 && strcmp(message_guid(to, 3), "1.M1P1.h") == 0);
    assert(mailbox_copy(to, seqs, 1, "none", false, a, &done) == STORE_NONEXISTENT);
    assert(mailbox_copy(to, seqs, 1, "a/b", false, a, &done) == STORE_OK && done.to[0] == 5);
    mailbox_close(&box);
    mailbox_close(&to);
    arena_free(&a);
    store_close(&st);
}

/* Deliveries, a second reader and an expunging one at the same time: no message is lost, none has two UIDs. */
static void test_concurrent(void)
{
    enum { WRITERS = 3, EACH = 60 };
    struct store *st = fresh();
    struct mailbox *box;
    pid_t pids[WRITERS + 1];

    for (int w = 0; w < WRITERS; w++)
        if ((pids[w] = fork()) == 0) {
            for (int i = 0; i < EACH; i++) {
                char name[64], tmp[80];
                snprintf(name, sizeof name, "%d.M%dP%d.h,S=%zu", 1000 + i, w, getpid(), strlen(letter));
                snprintf(tmp, sizeof tmp, "tmp/%s", name);
                write_file(path_of("", tmp), letter);
                assert(rename(path_of("", tmp), path_of("new/", name)) == 0);
                usleep(500);
            }
            _exit(0);
        }
    if ((pids[WRITERS] = fork()) == 0) {
        for (int i = 0; i < 60; i++) {
            box = box_of(st, "INBOX", i % 2);
            for (uint32_t s = 1; s <= mailbox_count(box); s += 7) {
                struct mail_change c = { MAIL_ADD, MAIL_SEEN, NULL, true };
                (void) mailbox_store(box, &s, 1, &c);
            }
            mailbox_close(&box);
            usleep(1000);
        }
        _exit(0);
    }
    box = box_of(st, "INBOX", false);
    uint32_t last = 0;
    for (int i = 0; i < 200; i++) {
        sync_box(box, false);
        for (uint32_t s = 1; s <= mailbox_count(box); s++)
            assert(mailbox_mail(box, s)->uid > (s == 1 ? 0 : mailbox_mail(box, s - 1)->uid));
        last = mailbox_count(box);
        usleep(1000);
    }
    for (int w = 0; w <= WRITERS; w++) {
        int status;
        assert(waitpid(pids[w], &status, 0) == pids[w] && status == 0);
    }
    sync_box(box, false);
    assert(mailbox_count(box) == WRITERS * EACH && mailbox_uid_next(box) == WRITERS * EACH + 1 &&
           last <= WRITERS * EACH);
    mailbox_close(&box);
    store_close(&st);
}

/* A process that dies anywhere leaves a mailbox that the next one reads. */
static void test_crash(void)
{
    struct store *st = fresh();
    struct mailbox *box;
    struct arena *a = arena_new();
    uint32_t total = 0;

    for (int round = 0; round < 25; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (;;) {
                struct mailbox_save *s;
                uint32_t validity, *uids;
                size_t n;
                assert(mailbox_save_begin(st, "INBOX", NULL, &s) == STORE_OK);
                assert(mailbox_save_start(s, 0, NULL, MAILBOX_SAVE_NOW) == STORE_OK);
                assert(mailbox_save_write(s, letter, strlen(letter)) == STORE_OK &&
                       mailbox_save_finish(s) == STORE_OK);
                assert(mailbox_save_commit(&s, a, &validity, &uids, &n) == STORE_OK);
            }
        }
        usleep((useconds_t) (2000 + round * 331));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        unlink(path_of("", UIDLIST_LOCK)); /* its owner is dead */
        box = box_of(st, "INBOX", false);
        assert(mailbox_count(box) >= total);
        total = mailbox_count(box);
        for (uint32_t s = 2; s <= total; s++)
            assert(mailbox_mail(box, s)->uid > mailbox_mail(box, s - 1)->uid);
        mailbox_close(&box);
    }
    assert(total > 0);
    arena_free(&a);
    store_close(&st);
}

static void test_damage(void)
{
    struct store *st = fresh();
    struct mailbox *box;
    struct str out;
    char *bytes;

    str_init(&out, 0);
    deliver("1.M1P1.h,S=72");
    deliver("2.M1P1.h,S=9999"); /* torn by a crash */
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 1 && access(path_of("posthorn-damaged/", "2.M1P1.h,S=9999"), F_OK) == 0);
    assert(message_envelope(box, 1, &out) == STORE_OK);
    write_file(path_of("cur/", "3.M1P1.h,S=9999,W=8888:2,S"), letter); /* not new: believed, its sizes are not */
    sync_box(box, false);
    uint64_t size;
    assert(mailbox_count(box) == 2 && message_size(box, 2, &size) == STORE_OK && size == strlen(letter) + 7);
    assert(unlink(path_of("cur/", "3.M1P1.h,S=9999,W=8888:2,S")) == 0);
    sync_box(box, false);
    mailbox_close(&box);
    struct stat sb;
    assert(stat(path_of("", INDEX_NAME), &sb) == 0 && sb.st_size > 100);
    for (off_t at = 0; at < sb.st_size; at += 3) { /* a byte wrong anywhere in the index: it is only a cache */
        int fd = open(path_of("", INDEX_NAME), O_RDWR);
        unsigned char c;
        assert(fd >= 0 && pread(fd, &c, 1, at) >= 0);
        c ^= 0x41;
        assert(pwrite(fd, &c, 1, at) == 1);
        close(fd);
        box = box_of(st, "INBOX", true);
        assert(mailbox_count(box) == 1 && mailbox_mail(box, 1)->uid == 1);
        str_reset(&out);
        assert(message_envelope(box, 1, &out) == STORE_OK && strstr(out.p, "\"hi\""));
        mailbox_close(&box);
    }
    bytes = slurp(path_of("", INDEX_NAME));
    free(bytes);
    str_free(&out);
    store_close(&st);
}

static struct mailbox *lazily(struct store *st, bool ro)
{
    struct mailbox *box;

    assert(mailbox_open_lazily(st, "INBOX", ro, &box) == STORE_OK);
    return box;
}

/* The end of the items that the last snapshot names: they stand before it. */
static void corrupt_items(void)
{
    int fd = open(path_of("", INDEX_NAME), O_RDWR | O_CLOEXEC);
    uint64_t snapshot;

    assert(fd >= 0 && pread(fd, &snapshot, 8, 16) == 8);
    assert(pwrite(fd, "\xff\xff\xff", 3, (off_t) le64toh(snapshot) - 10) == 3);
    close(fd);
}

/* What was closed and has not changed is opened by the head of its snapshot: no message is known until one is asked
 * for. */
static void test_lazy(void)
{
    static const struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN };
    struct store *st = fresh();
    struct mailbox *box;
    struct mailbox_summary sum;
    struct store_status status;
    uint32_t seqs[] = { 1, 3 };

    deliver("1000000001.M1P1.h");
    deliver("1000000002.M1P1.h");
    deliver("1000000003.M1P1.h");
    box = box_of(st, "INBOX", false);
    assert(mailbox_store(box, seqs, 2, &seen) == STORE_OK);
    age(box);
    mailbox_close(&box);
    box = lazily(st, false);
    mailbox_summary(box, &sum);
    assert(sum.count == 3 && sum.recent == 0 && sum.unseen == 1 && sum.first_unseen == 2);
    assert(mailbox_count(box) == 0 && mailbox_uid_next(box) == 4); /* nothing was read */
    assert(sync_box(box, false)->count == 0 && mailbox_count(box) == 0);
    assert(mailbox_load(box) == STORE_OK && mailbox_count(box) == 3 && mailbox_mail(box, 3)->flags == MAIL_SEEN);
    assert(sync_box(box, false)->count == 0);
    mailbox_close(&box);
    assert(store_status(st, "INBOX", false, &status) == STORE_OK && status.messages == 3 && status.unseen == 1);

    /* News find it asleep: it learns what it had, and tells what came. */
    box = lazily(st, false);
    assert(mailbox_count(box) == 0);
    deliver("1000000004.M1P1.h");
    const struct mailbox_changes *c = sync_box(box, false);
    assert(events(c, MAILBOX_EXISTS) == 1 && events(c, MAILBOX_EXPUNGE) == 0 && mailbox_count(box) == 4);
    assert(mailbox_mail(box, 4)->uid == 4 && mailbox_mail(box, 1)->flags == MAIL_SEEN);
    age(box);
    mailbox_close(&box);

    /* Items that are damaged: a client who was told of them must come again, and finds all. */
    box = lazily(st, false);
    assert(mailbox_count(box) == 0);
    corrupt_items();
    assert(mailbox_load(box) == STORE_DAMAGED);
    mailbox_close(&box);
    box = box_of(st, "INBOX", false);
    assert(mailbox_count(box) == 4 && mailbox_mail(box, 4)->uid == 4 && mailbox_mail(box, 1)->flags == MAIL_SEEN);
    age(box);
    mailbox_close(&box);
    corrupt_items();
    box = box_of(st, "INBOX", false); /* nobody was told yet: it goes on without */
    assert(mailbox_count(box) == 4 && mailbox_mail(box, 3)->uid == 3);
    mailbox_close(&box);
    store_close(&st);
}

static void put_file(const char *path, const void *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert(fd >= 0 && file_write_all(fd, p, len) == 0);
    close(fd);
}

/* Any byte of the items wrong, with a checksum that fits: a user may write that. What comes of it is not wrong in
 * memory: each message is looked at, and so is the directory. */
static void test_items_written_by_others(void)
{
    static const unsigned char wrong[] = { 0, '/', 0xff };
    struct store *st = fresh();
    struct mailbox *box;
    const struct mailbox_changes *c;

    deliver("1000000001.M1P1.h,S=72,W=75");
    deliver("1000000002.M1P1.h");
    box = box_of(st, "INBOX", false);
    age(box);
    mailbox_close(&box);
    struct str file;
    str_init(&file, 1 << 20);
    assert(file_read(path_of("", INDEX_NAME), &file) == 0);
    size_t len = file.len;
    unsigned char *good = (unsigned char *) file.p, *bad = malloc(len);
    uint64_t snapshot, at = 40, items = 0;
    uint32_t size = 0;
    memcpy(&snapshot, good + 16, 8);
    for (; at < le64toh(snapshot); at += 12 + size) {
        memcpy(&size, good + at, 4);
        size = le32toh(size);
        items = good[at + 4] == INDEX_ITEMS ? at : items;
    }
    memcpy(&size, good + items, 4);
    size = le32toh(size);
    assert(items && bad && at == le64toh(snapshot));
    for (uint32_t i = 0; i < size * sizeof wrong; i++) {
        memcpy(bad, good, len);
        bad[items + 12 + i / sizeof wrong] = wrong[i % sizeof wrong];
        uint32_t crc = htole32(index_crc32c(bad + items + 12, size));
        memcpy(bad + items + 8, &crc, 4);
        put_file(path_of("", INDEX_NAME), bad, len);
        box = lazily(st, true);
        if (mailbox_load(box) == STORE_OK) {
            for (uint32_t seq = 1; seq <= mailbox_count(box); seq++) {
                struct str text;
                str_init(&text, 10000);
                (void) message_envelope(box, seq, &text);
                str_free(&text);
            }
            (void) mailbox_sync(box, false, &c);
        }
        mailbox_close(&box);
    }
    str_free(&file);
    free(bad);
    store_close(&st);
}

int main(void)
{
    snprintf(root, sizeof root, "%s/store-test-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
    test_open();
    test_no_scan();
    test_flags();
    test_many_keywords();
    test_expunge();
    test_torn_uidlist();
    test_old_and_foreign();
    test_save();
    test_copy();
    test_damage();
    test_lazy();
    test_items_written_by_others();
    test_concurrent();
    test_crash();
    wipe();
    return 0;
}
