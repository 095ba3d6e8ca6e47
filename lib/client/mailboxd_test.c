/*
 * mailboxd_test - processes of other accounts: bounded, in turn, and nothing said that is not so
 *
 * The processes are fibers of this one: service_spawn below stands in place of lib/service's.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/mailboxd_internal.h"
#include "event/event.h"
#include "service/service.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ACCOUNTS = 10000, AT_A_TIME = 200, LIMIT = 8, HOT = 77 };

static struct {
    size_t spawned, last_uid, at_work, most_at_work, served;
    bool refuse, in_order;
    int control; /* of the process made last */
    char directory[300];
    int hold_ms;
} seen;
static char dir[200];
static const char *base = dir; /* of all mailboxes */

bool service_alone(void) { return false; }
const char *userdb_base(void) { return base; }

static int deliver(const struct mailboxd_order *o, uint64_t *bytes, struct err *err)
{
    char buf[64];
    ssize_t n = pread(o->content_fd, buf, sizeof buf - 1, 0);

    assert(n >= 0 && (uint64_t) n == o->content_bytes);
    assert(pwrite(o->content_fd, "x", 1, 0) < 0 && errno == EPERM); /* nobody changes it for the next one */
    assert(ftruncate(o->content_fd, 0) < 0);
    if (strcmp(o->path, "/die/") == 0) {
        assert(shutdown(seen.control, SHUT_RDWR) == 0);
        return 0;
    }
    if (strcmp(o->path, "/full/") == 0)
        return err_set(err, 452, "4.2.2", "create maildir file in /full/: no room");
    if (++seen.at_work > seen.most_at_work)
        seen.most_at_work = seen.at_work;
    if (seen.hold_ms)
        event_sleep(seen.hold_ms);
    else
        fiber_yield();
    seen.at_work--;
    seen.served++;
    *bytes = o->head.len + (uint64_t) n;
    return 0;
}

static void process(void *arg) { mailboxd_serve((int) (intptr_t) arg, deliver); }

int service_spawn(const struct service_spawn *s, int fd, int64_t deadline, pid_t *pid)
{
    (void) deadline;
    if (seen.refuse) {
        errno = EAGAIN;
        return -1;
    }
    assert(strcmp(s->program, "mailboxd") == 0 && s->gid == s->uid + 1);
    snprintf(seen.directory, sizeof seen.directory, "%s", s->directory);
    if (seen.in_order && s->uid != HOT)
        assert(s->uid > seen.last_uid); /* who came first is served first */
    seen.last_uid = s->uid;
    seen.spawned++;
    seen.control = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    *pid = 1;
    fiber_go("process", process, (void *) (intptr_t) seen.control);
    fiber_yield(); /* an order to master takes its time */
    return 0;
}

static struct mailboxd_content *content_of(const char *text)
{
    struct mailboxd_content *c = mailboxd_content_new();
    struct err err;

    mailboxd_content_write(c, text, strlen(text));
    assert(mailboxd_content_end(c, &err) == 0);
    return c;
}

static int deliver_as(size_t uid, const char *path, const struct mailboxd_content *c, uint64_t *bytes,
                      struct err *err)
{
    struct userdb_mailbox box = { .uid = (uid_t) uid, .gid = (gid_t) uid + 1, .maildir = true };
    char whole[300];

    snprintf(whole, sizeof whole, "%s%s", dir, path);
    box.path = whole;
    assert(mailboxd_needed(&box));
    return mailboxd_deliver(&box, slice_of("head\n"), 0, c, bytes, err);
}

static const struct mailboxd_content *letter;
static size_t next_account, still;
static struct event_cond one_less;

static void deliver_accounts(void *unused)
{
    struct err err;
    uint64_t bytes;

    (void) unused;
    while (next_account < ACCOUNTS) {
        size_t uid = 1000 + next_account++;
        assert(deliver_as(uid, "/box/", letter, &bytes, &err) == 0 && bytes == 10);
    }
    still--;
    event_cond_signal(&one_less);
}

/* Ten thousand accounts, two hundred deliveries at a time: never more than the limit, and each in its turn. */
static void test_many(void)
{
    seen.in_order = true;
    next_account = 0;
    for (still = 0; still < AT_A_TIME; still++)
        fiber_go("accounts", deliver_accounts, NULL);
    while (still)
        event_cond_wait(&one_less, EVENT_NEVER);
    seen.in_order = false;
    assert(seen.served == ACCOUNTS && seen.spawned == ACCOUNTS);
    assert(seen.most_at_work > 1 && seen.most_at_work <= LIMIT);
}

static bool hot_goes_on;

static void deliver_hot(void *arg)
{
    size_t uid = (size_t) (uintptr_t) arg;
    struct err err;
    uint64_t bytes;

    while (hot_goes_on)
        assert(deliver_as(uid, "/box/", letter, &bytes, &err) == 0);
    still--;
    event_cond_signal(&one_less);
}

/* Accounts that are never idle hold all places; another one gets its turn all the same. */
static void test_no_starving(void)
{
    struct err err;
    uint64_t bytes;

    hot_goes_on = true;
    for (still = 0; still < (size_t) 4 * LIMIT; still++)
        fiber_go("hot", deliver_hot, (void *) (uintptr_t) (100000 + still % LIMIT));
    for (int i = 0; i < 100; i++)
        fiber_yield();
    for (size_t i = 0; i < 20; i++) {
        size_t before = seen.served;
        assert(deliver_as(200000 + i, "/box/", letter, &bytes, &err) == 0);
        assert(seen.served - before < (size_t) 20 * LIMIT * MAILBOXD_ORDERS);
    }
    hot_goes_on = false;
    while (still)
        event_cond_wait(&one_less, EVENT_NEVER);
}

static int deliver_home(size_t uid, const char *home, const char *path)
{
    struct userdb_mailbox box = { .uid = (uid_t) uid, .gid = (gid_t) uid + 1, .maildir = true, .home = home };
    struct err err;
    uint64_t bytes;

    box.path = path;
    return mailboxd_deliver(&box, slice_of("head\n"), 0, letter, &bytes, &err);
}

/* Without virtual_mailbox_base a process sees one home; the second user of the same account brings one for all. */
static void test_directories(void)
{
    const char *configured = conf_virtual_mailbox_base;
    size_t before = seen.spawned;

    assert(strcmp(seen.directory, dir) == 0);
    conf_virtual_mailbox_base = "";
    base = "/vmail";
    assert(deliver_home(500000, "/vmail/a", "/vmail/a/Maildir/") == 0 && strcmp(seen.directory, "/vmail/a") == 0);
    assert(deliver_home(500000, "/vmail/a", "/vmail/a/Maildir/") == 0 && seen.spawned == before + 1);
    assert(deliver_home(500000, "/vmail/b", "/vmail/b/Maildir/") == 0 && strcmp(seen.directory, "/vmail") == 0);
    assert(deliver_home(500000, "/vmail/c", "/vmail/c/Maildir/") == 0 && seen.spawned == before + 2);
    assert(deliver_home(500000, "/other/d", "/other/d/box/") == 0 && strcmp(seen.directory, "/other/d") == 0);
    assert(deliver_home(500001, "/vmail/d", "/vmail/d/Maildir/") == 0 && strcmp(seen.directory, "/vmail/d") == 0);
    assert(deliver_home(500002, "/vmail/e", "/mail/e/") == 0 && strcmp(seen.directory, "/mail/e/") == 0);
    assert(deliver_home(500002, "/vmail/e", "/mail/e/") == 0 && seen.spawned == before + 5);
    conf_virtual_mailbox_base = configured;
    base = dir;
}

static void test_failures(void)
{
    struct err err = { 0 };
    uint64_t bytes;
    size_t before;

    assert(deliver_as(300000, "/die/", letter, &bytes, &err) < 0 && err.code == 451); /* it may be there: never 250 */
    before = seen.spawned;
    assert(deliver_as(300000, "/box/", letter, &bytes, &err) == 0 && seen.spawned == before + 1);
    assert(deliver_as(300000, "/box/", letter, &bytes, &err) == 0 && seen.spawned == before + 1);
    assert(deliver_as(300000, "/full/", letter, &bytes, &err) < 0 && err.code == 452 && !strcmp(err.dsn, "4.2.2"));
    assert(strstr(err.text, dir) && strstr(err.text, "/full/: no room")); /* the path as others know it */
    /* It ends while it rests: nobody was told anything, so nobody learns of it. */
    assert(shutdown(seen.control, SHUT_RDWR) == 0);
    assert(deliver_as(300000, "/box/", letter, &bytes, &err) == 0 && seen.spawned == before + 2);
    seen.refuse = true;
    for (int i = 0; i < 3 * LIMIT; i++) /* a start that fails takes no place with it */
        assert(deliver_as(400000, "/box/", letter, &bytes, &err) < 0 && err.code == 451);
    seen.refuse = false;
    assert(deliver_as(400000, "/box/", letter, &bytes, &err) == 0);
}

static void test_memory(void)
{
    struct mailboxd_content *a, *b;
    struct err err = { 0 };
    char part[1000] = "";

    mailboxd_memory_limit = 100000;
    mailboxd_content_free((struct mailboxd_content **) (uintptr_t) &letter);
    a = mailboxd_content_new();
    for (int i = 0; i < 200; i++) /* alone it may be longer */
        mailboxd_content_write(a, part, sizeof part);
    assert(mailboxd_content_end(a, &err) == 0 && a->bytes == 200000);
    b = mailboxd_content_new();
    mailboxd_content_write(b, part, sizeof part);
    assert(mailboxd_content_end(b, &err) < 0 && err.code == 451 && !strcmp(err.dsn, "4.3.1"));
    mailboxd_content_free(&a);
    mailboxd_content_free(&b);
    a = content_of("a");
    b = content_of("b");
    mailboxd_content_free(&a);
    mailboxd_content_free(&b);
}

/* What it may do itself: its own uid and gid, below the base. */
static void test_needed(void)
{
    char inside[300];
    struct userdb_mailbox box = { .path = inside, .uid = geteuid(), .gid = getegid() };

    snprintf(inside, sizeof inside, "%s/box/", dir);
    assert(!mailboxd_needed(&box));
    box.gid++;
    assert(mailboxd_needed(&box));
    box.gid--;
    box.path = "/elsewhere/box/";
    assert(mailboxd_needed(&box));
    box.uid++;
    box.path = inside;
    assert(mailboxd_needed(&box));
}

static void run(void *unused)
{
    (void) unused;
    letter = content_of("body\n");
    test_needed();
    test_many();
    test_no_starving();
    test_directories();
    test_failures();
    test_memory();
    event_stop();
}

int main(void)
{
    static const struct param *const tables[] = { mailboxd_params, conf_global_params, NULL };
    char path[300];
    FILE *f;

    log_verbose(0);
    snprintf(dir, sizeof dir, "%s/mailboxd-test-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
    assert(mkdir(dir, 0755) == 0);
    snprintf(path, sizeof path, "%s/main.cf", dir);
    f = fopen(path, "w");
    assert(f && fprintf(f, "virtual_mailbox_base = %s\nmailboxd_process_limit = %d\n", dir, LIMIT) > 0 &&
           fclose(f) == 0);
    assert(conf_open(dir) == 0 && conf_load(tables) == 0);
    event_run(run, NULL);
    assert(unlink(path) == 0 && rmdir(dir) == 0);
    return 0;
}
