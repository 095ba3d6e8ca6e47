/*
 * held_test - messages that are held in memory until the journal has them: their files are those of any other APPEND
 */
#include "base/boot.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "store/internal.h"
#include "store/journal.h"
#include "store/message.h"
#include "store/save.h"
#include "store/test_root.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BURST = 4, DATE = 1500000000, PATIENCE_MS = 60000 };
static struct store *st;
static struct arena *arena;
static int mail_fd;

static struct mailbox_save *begin(int64_t date)
{
    struct mailbox_save *s;

    assert(mailbox_save_begin(st, "INBOX", NULL, &s) == STORE_OK);
    assert(mailbox_save_start(s, MAIL_SEEN, NULL, date) == STORE_OK);
    return s;
}

static uint32_t *commit(struct mailbox_save *s, size_t expected)
{
    uint32_t validity, *uids;
    size_t count;

    assert(mailbox_save_commit(&s, arena, &validity, &uids, &count) == STORE_OK && count == expected);
    return uids;
}

static uint32_t save(const char *text, int64_t date)
{
    struct mailbox_save *s = begin(date);

    assert(mailbox_save_write(s, text, strlen(text)) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    return commit(s, 1)[0];
}

static void await_journal(void)
{
    int64_t until = time_mono_ms() + PATIENCE_MS;

    while (!journal_ready(mail_fd)) {
        (void) save("Subject: row\r\n\r\n", MAILBOX_SAVE_NOW);
        assert(time_mono_ms() < until);
    }
}

static size_t in_tmp(void)
{
    char cmd[300], answer[32];

    snprintf(cmd, sizeof cmd, "ls '%s/tmp' | wc -l", root);
    FILE *p = popen(cmd, "r");
    assert(p && fgets(answer, sizeof answer, p));
    pclose(p);
    return strtoul(answer, NULL, 10);
}

/* The message of that UID is a file with these bytes and that date. */
static void expect(uint32_t uid, const char *bytes, int64_t date)
{
    struct mailbox *box;
    char path[600], *have = mem_array(1 << 18, 1);
    struct stat at;
    uint32_t seq;
    size_t n;

    assert(mailbox_open(st, "INBOX", true, &box) == STORE_OK && (seq = mailbox_seq(box, uid)) != 0);
    snprintf(path, sizeof path, "%s/cur/%s", root, view_item(box, seq)->name);
    FILE *f = fopen(path, "r");
    assert(f && (n = fread(have, 1, (1 << 18) - 1, f)) == strlen(bytes) && memcmp(have, bytes, n) == 0);
    assert(fstat(fileno(f), &at) == 0 &&
           (date == MAILBOX_SAVE_NOW ? time_now() - at.st_mtime < 60 : at.st_mtime == date));
    fclose(f);
    mailbox_close(&box);
    free(have);
}

static void test_small(void)
{
    static const char text[] = "Subject: small\r\n\r\none\rtwo\r\r\nthree\r";
    struct mailbox_save *s;

    await_journal();
    s = begin(DATE);
    assert(s->holds);
    for (size_t i = 0; i < sizeof text - 1; i++)
        assert(mailbox_save_write(s, text + i, 1) == STORE_OK);
    assert(mailbox_save_finish(s) == STORE_OK && s->whole && in_tmp() == 0);
    expect(commit(s, 1)[0], "Subject: small\n\none\rtwo\r\nthree\r", DATE);
    await_journal();
    expect(save("Subject: now\r\n\r\n", MAILBOX_SAVE_NOW), "Subject: now\n\n", MAILBOX_SAVE_NOW);
}

/* It is let go when it has grown, wherever that is. */
static void test_grown(void)
{
    const size_t sizes[] = { SAVE_HELD_BYTES - 1, SAVE_HELD_BYTES, SAVE_HELD_BYTES + 1, 3 * SAVE_HELD_BYTES };
    const size_t pieces[] = { 1000, SAVE_HELD_BYTES, 4 * SAVE_HELD_BYTES };

    for (size_t i = 0; i < 4 * 3; i++) {
        size_t size = sizes[i % 4], piece = pieces[i / 4];
        char *text = mem_array(size + 1, 1);
        struct mailbox_save *s;
        memset(text, 'x', size);
        memcpy(text, "Subject: large\n\n", 16);
        await_journal();
        s = begin(DATE);
        for (size_t at = 0; at < size; at += piece)
            assert(mailbox_save_write(s, text + at, size - at < piece ? size - at : piece) == STORE_OK);
        assert(s->holds == (size <= SAVE_HELD_BYTES) && mailbox_save_finish(s) == STORE_OK);
        expect(commit(s, 1)[0], text, DATE);
        free(text);
    }
}

/* The first of several is no longer held when the second begins. */
static void test_several(void)
{
    struct mailbox_save *s;
    uint32_t *uids;
    char text[64];

    await_journal();
    s = begin(DATE);
    for (int i = 0; i < 3; i++) {
        if (i)
            assert(mailbox_save_start(s, MAIL_SEEN, NULL, DATE + i) == STORE_OK && !s->holds && !s->whole);
        snprintf(text, sizeof text, "Subject: one of three\n\n%d\n", i);
        assert(mailbox_save_write(s, text, strlen(text)) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    }
    uids = commit(s, 3);
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "Subject: one of three\n\n%d\n", i);
        expect(uids[i], text, DATE + i);
    }
}

static void test_cancelled(void)
{
    struct mailbox_save *s;

    for (int finished = 0; finished < 2; finished++) {
        await_journal();
        s = begin(DATE);
        assert(mailbox_save_write(s, "Subject: never\n\n", 16) == STORE_OK);
        if (finished)
            assert(mailbox_save_finish(s) == STORE_OK);
        mailbox_save_cancel(&s);
        assert(in_tmp() == 0);
    }
}

/* The journal went while the message came: it is synced as any other. */
static void test_without_journal(void)
{
    struct mailbox_save *s;

    await_journal();
    s = begin(DATE);
    assert(s->holds && mailbox_save_write(s, "Subject: late\n\n", 15) == STORE_OK &&
           mailbox_save_finish(s) == STORE_OK);
    journal_finish();
    assert(!journal_ready(mail_fd));
    expect(commit(s, 1)[0], "Subject: late\n\n", DATE);
}

/* No file can be made: refused, and nothing of it stays. */
static void test_no_room(void)
{
    struct mailbox_save *s;
    uint32_t validity, *uids;
    size_t count;

    await_journal();
    s = begin(DATE);
    assert(s->holds && mailbox_save_write(s, "Subject: no\n\n", 13) == STORE_OK &&
           mailbox_save_finish(s) == STORE_OK);
    root_shell("mv tmp away && touch tmp");
    assert(mailbox_save_commit(&s, arena, &validity, &uids, &count) != STORE_OK && s == NULL);
    root_shell("rm tmp && mv away tmp && ! grep -rq 'Subject: no$' cur new");
}

/* Somebody has removed tmp/. */
static void test_no_tmp(void)
{
    await_journal();
    root_shell("rmdir tmp");
    expect(save("Subject: made\r\n\r\n", DATE), "Subject: made\n\n", DATE);
    journal_finish();
    root_shell("rmdir tmp");
    expect(save("Subject: made\r\n\r\n", DATE), "Subject: made\n\n", DATE);
}

static void run(void *unused)
{
    (void) unused;
    st = root_fresh();
    arena = arena_new();
    assert((mail_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    if (file_one_journal(mail_fd) && boot_id()[0]) {
        test_small();
        test_grown();
        test_several();
        test_cancelled();
        test_without_journal();
        test_no_room();
        test_no_tmp();
        journal_finish();
    } else {
        printf("%s is on no ext4 or xfs: nothing is held there\n", root);
    }
    close(mail_fd);
    arena_free(&arena);
    store_close(&st);
}

int main(void)
{
    root_begin("held-test");
    conf_mail_journal = true;
    journal_burst = BURST;
    event_run(run, NULL);
    return 0;
}
