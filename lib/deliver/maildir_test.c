/*
 * maildir_test - deliveries into Maildirs that stay open: renamed, deleted and replaced ones, more than are kept, the
 * index beside them
 */
#include "deliver/maildir.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "deliver/box.h"
#include "event/event.h"
#include "store/journal.h"
#include "store/message.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char top[200];

/* The C library's: half of what should be written fits. */
static bool disk_is_full;
ssize_t write(int fd, const void *p, size_t len)
{
    struct stat st;

    if (disk_is_full && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        if (len > 1)
            return syscall(SYS_write, fd, p, len / 2);
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, p, len);
}

static const char *in_top(const char *fmt, ...)
{
    static char buf[4][600];
    static int turn;
    char *p = buf[turn++ % 4];
    va_list ap;
    int n = snprintf(p, 600, "%s/", top);

    va_start(ap, fmt);
    vsnprintf(p + n, 600 - (size_t) n, fmt, ap);
    va_end(ap);
    return p;
}

static void shell(const char *fmt, ...)
{
    char cmd[1000];
    va_list ap;
    int n = snprintf(cmd, sizeof cmd, "cd '%s' && ", top);

    va_start(ap, fmt);
    vsnprintf(cmd + n, sizeof cmd - (size_t) n, fmt, ap);
    va_end(ap);
    assert(system(cmd) == 0);
}

static size_t files(const char *dir)
{
    DIR *d = opendir(in_top("%s", dir));
    size_t n = 0;

    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static size_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int deliver(const char *first, const char *second)
{
    const char text[] = "Subject: hi\nFrom: a@b\n\nbody\n";
    struct maildir_message *m;
    struct err err;
    int ret = -1;

    if (maildir_begin(in_top("%s/", first), MAILDIR_MAKE, 0, &m, &err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof text - 1; i++)
        maildir_write(m, text + i, 1);
    assert(maildir_bytes(m) == sizeof text - 1 && maildir_end(m, &err) == 0);
    ret = maildir_deliver(m, in_top("%s/", first), MAILDIR_MAKE, &err);
    if (ret == 0 && second)
        ret = maildir_deliver(m, in_top("%s/", second), MAILDIR_MAKE, &err);
    maildir_free(&m);
    return ret;
}

/* What stays open is looked up by its name before each use. */
static void test_moved(void)
{
    assert(deliver("a", NULL) == 0 && deliver("a", "b") == 0 && files("a/new") == 2 && files("b/new") == 1);
    shell("mv a c");
    assert(deliver("a", NULL) == 0 && files("a/new") == 1 && files("c/new") == 2 && files("c/tmp") == 0);
    shell("rm -rf a");
    assert(deliver("a", NULL) == 0 && files("a/new") == 1);
    shell("mv a/new a/old && mkdir a/new");
    assert(deliver("a", NULL) == 0 && files("a/new") == 1 && files("a/old") == 1);
    shell("rm -rf a/tmp");
    assert(deliver("a", NULL) == 0 && files("a/new") == 2 && files("a/tmp") == 0);
    shell("mv a d && ln -s d a"); /* a mailbox may be a link ... */
    assert(deliver("a", NULL) == 0 && files("d/new") == 3);
    shell("mkdir elsewhere && mv d/new d/old2 && ln -s ../elsewhere d/new"); /* ... but nothing in it */
    assert(deliver("a", NULL) < 0 && files("elsewhere") == 0 && files("d/tmp") == 0);
    shell("rm d/new && touch d/new");
    assert(deliver("a", NULL) < 0 && files("d/tmp") == 0);
}

/* More mailboxes than are kept: descriptors are bounded, all is delivered. */
static void test_many(void)
{
    size_t before = descriptors();

    for (int round = 0; round < 2; round++)
        for (int n = 0; n < DELIVER_BOXES_KEPT + 40; n++) {
            char name[40];
            snprintf(name, sizeof name, "many/%d", n);
            assert(deliver(name, NULL) == 0 && files(in_top("%s/new", name) + strlen(top) + 1) == (size_t) round + 1);
        }
    assert(descriptors() <= before + 4 * DELIVER_BOXES_KEPT);
    for (int i = 0; i < 40 && descriptors() > before; i++)
        event_sleep(1000);
    assert(descriptors() <= before); /* unused, they are closed */
}

/* The index a delivery writes to is the one that has the name; what it says saves reading the file. */
static void test_index(void)
{
    struct store_config config = { .root = in_top("i"), .separator = '/' };
    struct store *st;
    struct mailbox *box;
    struct stat one, two;
    struct str out;

    assert(deliver("i", NULL) == 0 && stat(in_top("i/posthorn.index"), &one) == 0);
    assert(deliver("i", NULL) == 0 && stat(in_top("i/posthorn.index"), &two) == 0 && two.st_size > one.st_size);
    shell("mv i/posthorn.index i/was");
    assert(deliver("i", NULL) == 0 && stat(in_top("i/posthorn.index"), &one) == 0 && one.st_size < two.st_size);
    shell("truncate -s -5 i/posthorn.index"); /* a torn tail is cut */
    for (int i = 0; i < 60; i++)
        assert(deliver("i", NULL) == 0);
    assert(store_open(&config, &st) == STORE_OK && mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    assert(mailbox_count(box) == 63);
    shell("for f in i/cur/*; do head -c $(stat -c %%s $f) /dev/zero > $f; done");
    str_init(&out, 0);
    for (uint32_t seq = 3; seq < 63; seq += 4) { /* the first two records went with their index, the third was torn */
        str_reset(&out);
        assert(message_envelope(box, seq + 1, &out) == STORE_OK && strstr(out.p, "\"hi\""));
    }
    str_free(&out);
    mailbox_close(&box);
    store_close(&st);
}

/* Who waits for the answer does not wait for the index, not even when another keeps it locked. */
static void test_index_after(void)
{
    int other = open(in_top("i/posthorn.index"), O_RDWR | O_CLOEXEC);
    struct maildir_message *m;
    struct stat before, after;
    struct err err;

    assert(other >= 0 && flock(other, LOCK_EX) == 0 && fstat(other, &before) == 0);
    assert(maildir_begin(in_top("i/"), MAILDIR_MAKE, 0, &m, &err) == 0);
    maildir_write(m, "Subject: hi\n\nbody\n", 18);
    assert(maildir_end(m, &err) == 0 && maildir_deliver(m, in_top("i/"), MAILDIR_MAKE, &err) == 0);
    assert(flock(other, LOCK_UN) == 0 && fstat(other, &after) == 0 && after.st_size == before.st_size);
    maildir_free(&m);
    assert(fstat(other, &after) == 0 && after.st_size > before.st_size);
    close(other);
}

/* Message after message: the mailbox has a journal, and files are made while the disk is at work on it. */
static void begin_row(const char *name)
{
    int fd = open(in_top("%s", name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert(fd >= 0);
    for (int64_t until = time_mono_ms() + 60000; !journal_ready(fd);) {
        assert(time_mono_ms() < until);
        assert(deliver(name, NULL) == 0 && event_sleep(1) == 0);
    }
    shell("find %s/new -type f -delete", name);
    close(fd);
}

static void test_row(void)
{
    int other = open(in_top("i/posthorn.index"), O_RDWR | O_CLOEXEC);
    struct stat before, after;

    begin_row("i");
    assert(files("i/tmp") == 0 && fstat(other, &before) == 0);
    assert(deliver("i", "b") == 0 && files("i/new") == 1 && files("i/tmp") == 0 && files("b/tmp") == 0);
    shell("cmp i/new/* $(ls -t b/new/* | head -1) && grep -q body i/new/*");
    assert(fstat(other, &after) == 0 && after.st_size > before.st_size);

    begin_row("i");
    shell("rmdir i/tmp");
    assert(deliver("i", NULL) == 0 && files("i/new") == 1 && files("i/tmp") == 0);

    /* The file cannot be written after the journal has the message: its sender is asked to come again. */
    begin_row("i");
    disk_is_full = true;
    assert(deliver("i", NULL) < 0);
    disk_is_full = false;
    assert(files("i/new") == 0 && files("i/tmp") == 0);
    assert(deliver("i", NULL) == 0 && files("i/new") == 1 && files("i/tmp") == 0);
    close(other);
}

/* A mailbox that cannot be written to stops none of the message's others; bytes: it is held in memory, or not. */
static void try_two(const char *first, const char *second, size_t bytes)
{
    struct maildir_message *m;
    struct err err;
    char *text = mem_array(bytes + 1, 1);
    size_t before = files(in_top("%s/new", second) + strlen(top) + 1);

    memset(text, 'x', bytes);
    memcpy(text, "Subject: two\n\n", 14);
    assert(maildir_begin(in_top("%s", first), MAILDIR_MAKE, 0, &m, &err) == 0);
    maildir_write(m, text, bytes);
    assert(maildir_end(m, &err) == 0);
    disk_is_full = true;
    assert(bytes > 1 << 16 || (maildir_deliver(m, in_top("%s", first), MAILDIR_MAKE, &err) < 0 && err.code == 451));
    disk_is_full = false;
    assert(maildir_deliver(m, in_top("%s", second), MAILDIR_MAKE, &err) == 0);
    maildir_free(&m);
    assert(files(in_top("%s/new", second) + strlen(top) + 1) == before + 1);
    shell("test $(find %s/new -type f -size %zuc | wc -l) -ge 1", second, bytes);
    assert(files(in_top("%s/tmp", first) + strlen(top) + 1) == 0 &&
           files(in_top("%s/tmp", second) + strlen(top) + 1) == 0);
    free(text);
}

static void test_one_is_full(void)
{
    shell("mkdir full free");
    try_two("full", "free", 1000);
    try_two("full", "free", 300000);
    assert(files("full/new") == 0);
    begin_row("i");
    try_two("i", "free", 1000);
}

static void deliver_in_fiber(void *arg)
{
    (void) arg;
    assert(deliver("i", NULL) == 0);
}

/* Deliveries to one mailbox that wait for its index together: each lets go of what it locked. */
static void test_at_once(void)
{
    struct fiber *f[5];
    int other = open(in_top("i/posthorn.index"), O_RDWR | O_CLOEXEC);
    size_t before = descriptors();

    assert(other >= 0 && flock(other, LOCK_EX) == 0);
    for (size_t i = 0; i < sizeof f / sizeof *f; i++)
        f[i] = fiber_new("delivery", deliver_in_fiber, NULL);
    assert(event_sleep(100) == 0 && flock(other, LOCK_UN) == 0);
    for (size_t i = 0; i < sizeof f / sizeof *f; i++)
        assert(fiber_join(f[i], EVENT_NEVER) == 0);
    assert(descriptors() == before && flock(other, LOCK_EX | LOCK_NB) == 0);
    close(other);
}

static void run(void *arg)
{
    (void) arg;
    test_moved();
    test_index();
    test_index_after();
    begin_row("i");
    test_index_after();
    test_row();
    test_one_is_full();
    maildir_finish();
    conf_mail_journal = false; /* what follows counts descriptors */
    test_at_once();
    test_many();
    event_stop();
}

int main(void)
{
    char cmd[300];

    snprintf(top, sizeof top, "%s/maildir-test-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
    assert(mkdir(top, 0700) == 0);
    journal_burst = 4;
    conf_mail_journal = true;
    event_run(run, NULL);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", top);
    return system(cmd);
}
