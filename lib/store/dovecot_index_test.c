/*
 * dovecot_index_test - dovecot.index and its log: what is read from what Dovecot and we append, rotated, replaced, torn
 */
#include "base/file.h"
#include "base/mem.h"
#include "store/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG "dovecot.index.log"

static char root[200];
static int dir = -1;
static struct str told; /* "+name 1-2;" for each event */

static void on_event(void *ctx, enum dovecot_event event, struct slice name, uint32_t first, uint32_t last)
{
    static const char marks[] = { [DOVECOT_START] = '!',
                                  [DOVECOT_NAME] = '?',
                                  [DOVECOT_ADD] = '+',
                                  [DOVECOT_REMOVE] = '-',
                                  [DOVECOT_RESET] = '0' };

    (void) ctx;
    str_printf(&told, "%c%.*s %u-%u;", marks[event], (int) name.len, name.p, first, last);
}

static const char *news(struct dovecot_index *x, uint32_t limit)
{
    str_reset(&told);
    assert(dovecot_index_read(x, dir, limit, on_event, NULL) == 0);
    return told.p;
}

static void fresh(void)
{
    char cmd[500];

    if (dir >= 0)
        close(dir);
    snprintf(cmd, sizeof cmd, "rm -rf '%s' && mkdir '%s'", root, root);
    assert(system(cmd) == 0);
    dir = open(root, O_RDONLY | O_DIRECTORY);
    assert(dir >= 0);
}

static void write_file(const char *name, struct slice bytes)
{
    assert(file_replace(dir, name, bytes, 0600, false) == 0);
}

static void append(struct dovecot_index *x, const char *keyword, bool add, uint32_t first, uint32_t last)
{
    struct uid_range r = { first, last };
    struct str out;
    int fd = dovecot_index_lock(dir, 77);

    assert(fd >= 0);
    (void) news(x, UINT32_MAX);
    str_init(&out, 4096);
    if (x->next_uid <= last) {
        uint32_t uids[100];
        size_t n = 0;
        for (uint32_t uid = x->next_uid; uid <= last; uid++)
            uids[n++] = uid;
        dovecot_index_put_messages(&out, uids, n);
        x->next_uid = last + 1;
    }
    dovecot_index_put_keyword(&out, add, keyword, &r, 1);
    assert(dovecot_index_append(x, fd, str_slice(&out)) == 0);
    str_free(&out);
    close(fd);
}

static void test_appended(void)
{
    struct dovecot_index one = { 0 }, two = { 0 };

    fresh();
    assert(dovecot_index_read(&one, dir, UINT32_MAX, on_event, NULL) < 0 && errno == ENOENT);
    append(&one, "a", true, 1, 3);
    assert(strcmp(news(&two, UINT32_MAX), "! 0-0;+a 1-3;") == 0);
    assert(two.uid_validity == 77 && two.next_uid == 4 && memcmp(&one, &two, sizeof one) == 0);
    assert(strcmp(news(&two, UINT32_MAX), "") == 0);
    append(&one, "a-name-of-some-length", false, 2, 2);
    append(&one, "b", true, 9, 9);
    assert(strcmp(news(&two, 9), "-a-name-of-some-length 2-2;") == 0);
    assert(strcmp(news(&two, 9), "") == 0 && two.next_uid == 10);
    assert(strcmp(news(&two, 10), "+b 9-9;") == 0);
}

/* Head of a log: id, number, number of the one before. */
static void make_log(const char *name, uint32_t id, uint32_t seq, uint32_t before, struct slice records)
{
    struct str out;
    unsigned char head[40] = { 1, 3, 40, 0 };

    for (int i = 0; i < 4; i++) {
        head[4 + i] = (unsigned char) (id >> 8 * i);
        head[8 + i] = (unsigned char) (seq >> 8 * i);
        head[12 + i] = (unsigned char) (before >> 8 * i);
    }
    head[32] = 1;
    str_init(&out, 65536);
    str_add(&out, head, sizeof head);
    str_addslice(&out, records);
    write_file(name, str_slice(&out));
    str_free(&out);
}

static void test_rotated(void)
{
    struct dovecot_index x = { 0 };
    struct uid_range r = { 5, 6 };
    struct str first, second;

    fresh();
    str_init(&first, 4096);
    str_init(&second, 4096);
    dovecot_index_put_keyword(&first, true, "a", &r, 1);
    dovecot_index_put_keyword(&second, true, "z", &r, 1);
    make_log(LOG, 9, 1, 0, str_slice(&first));
    assert(strcmp(news(&x, UINT32_MAX), "! 0-0;+a 5-6;") == 0);
    dovecot_index_put_keyword(&first, false, "a", &r, 1);
    make_log(LOG ".2", 9, 1, 0, str_slice(&first)); /* went on after we read, then was rotated */
    make_log(LOG, 9, 2, 1, str_slice(&second));
    assert(strcmp(news(&x, UINT32_MAX), "-a 5-6;+z 5-6;") == 0);
    make_log(LOG, 9, 4, 3, str_slice(&second)); /* twice: what lies between is gone */
    assert(strcmp(news(&x, UINT32_MAX), "! 0-0;+z 5-6;") == 0);
    make_log(LOG, 10, 1, 0, str_slice(&first)); /* another index */
    assert(strcmp(news(&x, UINT32_MAX), "! 0-0;+a 5-6;-a 5-6;") == 0);
    x = (struct dovecot_index){ 0 };
    make_log(LOG, 9, 2, 1, str_slice(&second)); /* from nothing: the log before comes first */
    make_log(LOG ".2", 9, 1, 0, str_slice(&first));
    assert(strcmp(news(&x, UINT32_MAX), "! 0-0;+a 5-6;-a 5-6;+z 5-6;") == 0);
    str_free(&first);
    str_free(&second);
}

static void put(struct str *s, uint32_t n, int bytes)
{
    for (int i = 0; i < bytes; i++, n >>= 8)
        str_addc(s, (char) (n & 0xff));
}

/* As dovecot 2.3.19 writes it: two keywords, three messages with the bits 1, 0, 3. */
static void make_index(uint32_t id, uint32_t seq, uint32_t offset, struct str *s)
{
    static const unsigned char bits[] = { 1, 0, 3 };

    str_reset(s);
    put(s, 7 | 3 << 8 | 120 << 16, 4);
    put(s, 120 + 16 + 8 + 32, 4);
    put(s, 12, 4); /* of a record */
    put(s, 1, 4);
    put(s, id, 4);
    put(s, 0, 4);
    put(s, 77, 4);
    put(s, 9, 4); /* next UID */
    put(s, 3, 4);
    for (int i = 0; i < 6; i++)
        put(s, 0, 4);
    put(s, seq, 4);
    put(s, 40, 4);
    put(s, offset, 4);
    while (s->len < 120)
        str_addc(s, 0);
    put(s, 4 + 2 * 8 + 2 + 4, 4); /* extension: its data */
    put(s, 0, 4);
    put(s, 5, 2); /* offset and size in a record */
    put(s, 1, 2);
    put(s, 1, 2);
    put(s, 8, 2);
    str_adds(s, "keywords");
    put(s, 2, 4);
    put(s, 0, 4);
    put(s, 0, 4);
    put(s, 0, 4);
    put(s, 2, 4);
    str_add(s, "x\0yyy\0", 6);
    while (s->len < 176)
        str_addc(s, 0);
    for (uint32_t i = 0; i < 3; i++) {
        put(s, 2 + 2 * i, 4);
        put(s, 8, 1);
        put(s, bits[i], 1);
        while (s->len % 12 != (176 + 12) % 12)
            str_addc(s, 0);
    }
}

static void test_index(void)
{
    struct dovecot_index x = { 0 };
    struct uid_range r = { 4, 4 };
    struct str index, records;

    fresh();
    str_init(&index, 4096);
    str_init(&records, 4096);
    dovecot_index_put_keyword(&records, true, "old", &r, 1);
    size_t behind = 40 + records.len;
    dovecot_index_put_keyword(&records, true, "yyy", &r, 1);
    make_index(9, 3, (uint32_t) behind, &index);
    make_log(LOG, 9, 3, 2, str_slice(&records));
    write_file("dovecot.index", str_slice(&index));
    assert(strcmp(news(&x, UINT32_MAX), "! 0-0;?x 0-0;?yyy 0-0;+x 2-2;+x 6-6;+yyy 6-6;+yyy 4-4;") == 0);
    assert(x.uid_validity == 77 && x.next_uid == 9 && x.file_seq == 3);
    make_index(8, 3, (uint32_t) behind, &index); /* of another log */
    write_file("dovecot.index", str_slice(&index));
    x = (struct dovecot_index){ 0 };
    assert(strstr(news(&x, UINT32_MAX), "+old 4-4;+yyy 4-4;") != NULL && x.index_id == 9 && x.next_uid == 1);
    for (size_t cut = 0; cut < index.len; cut++) { /* no length leads past the end */
        char *copy = mem_strndup(index.p, cut);
        assert(dovecot_index_parse(&x, slice_make(copy, cut), on_event, NULL) < 0);
        free(copy);
    }
    str_free(&index);
    str_free(&records);
}

/* Half a record, as a process leaves that is killed: read up to it, nothing written behind it. */
static void test_torn(void)
{
    struct dovecot_index x = { 0 };
    struct uid_range r = { 1, 1 };
    struct str records, one;
    struct stat before, after;

    fresh();
    str_init(&records, 4096);
    str_init(&one, 4096);
    dovecot_index_put_keyword(&one, true, "a", &r, 1);
    for (size_t cut = 1; cut < one.len; cut++) {
        str_reset(&records);
        str_addslice(&records, str_slice(&one));
        str_add(&records, one.p, cut);
        make_log(LOG, 9, 1, 0, str_slice(&records));
        x = (struct dovecot_index){ 0 };
        assert(strcmp(news(&x, UINT32_MAX), "! 0-0;+a 1-1;") == 0 && x.offset == 40 + one.len);
        int fd = dovecot_index_lock(dir, 77);
        assert(fd >= 0 && fstat(fd, &before) == 0);
        assert(dovecot_index_append(&x, fd, str_slice(&one)) < 0 && errno == EBADMSG);
        assert(fstat(fd, &after) == 0 && after.st_size == before.st_size);
        close(fd);
    }
    str_free(&records);
    str_free(&one);
}

/* Who has the lock keeps it; a log that is replaced meanwhile is not the one that is written. */
static void test_lock(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat mine, now;
    int one, two;

    fresh();
    one = dovecot_index_lock(dir, 77);
    two = openat(dir, LOG, O_RDWR);
    assert(one >= 0 && two >= 0 && fcntl(two, F_OFD_SETLK, &lock) < 0 && errno == EAGAIN);
    close(one);
    assert(fcntl(two, F_OFD_SETLK, &lock) == 0);
    if (fork() == 0) { /* keeps the lock by the descriptor it inherited */
        usleep(200000);
        assert(renameat(dir, LOG, dir, LOG ".2") == 0);
        make_log(LOG, 9, 2, 1, (struct slice){ "", 0 });
        _exit(0);
    }
    close(two);
    one = dovecot_index_lock(dir, 77);
    assert(one >= 0 && fstat(one, &mine) == 0 && fstatat(dir, LOG, &now, 0) == 0 && mine.st_ino == now.st_ino);
    assert(faccessat(dir, LOG ".2", F_OK, 0) == 0 && wait(NULL) > 0);
    close(one);
}

int main(void)
{
    char cmd[500];

    snprintf(root, sizeof root, "%s/dovecot-index-test-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (int) getpid());
    str_init(&told, 65536);
    test_appended();
    test_rotated();
    test_index();
    test_torn();
    test_lock();
    str_free(&told);
    close(dir);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    return system(cmd) != 0;
}
