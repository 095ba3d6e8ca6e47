/*
 * journal_test - messages that were told as saved, and a file system that has lost what nobody synced: files that are
 * gone, short, or empty, a uidlist without its last lines; a process that died; one that still writes
 */
#include "store/journal.h"
#include "store/test_root.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "store/dotlock.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/journal_file.h"
#include "store/message.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TOLD_MAX = 2000,
    BURST = 8,
    FIRST = BURST + 2
}; /* FIRST: the number of the first message that goes into a journal */
static int told_pipe[2];
static bool disk_fails; /* it tells once */

int syncfs(int fd) /* the C library's */
{
    if (__atomic_exchange_n(&disk_fails, false, __ATOMIC_SEQ_CST)) {
        errno = EIO;
        return -1;
    }
    return (int) syscall(SYS_syncfs, fd);
}

struct told { /* what the child was told is safe */
    uint32_t uid, number;
};

static bool exists(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return access(path, F_OK) == 0;
}

static void letter(char *out, size_t room, uint32_t number, size_t filler)
{
    int n = snprintf(out, room, "Subject: number %u\r\n\r\n", number);

    assert(n > 0 && (size_t) n + filler + 3 < room);
    memset(out + n, 'x', filler);
    snprintf(out + (size_t) n + filler, 3, "\r\n");
}

static uint32_t save(struct store *st, uint32_t number, size_t filler, uint8_t flags, const char *const *keywords)
{
    char *text = mem_array(JOURNAL_MESSAGE_BYTES * 2, 1);
    struct arena *a = arena_new();
    struct mailbox_save *s;
    uint32_t validity = 0, *uids, uid;
    size_t count;

    letter(text, JOURNAL_MESSAGE_BYTES * 2, number, filler);
    assert(mailbox_save_begin(st, "INBOX", NULL, &s) == STORE_OK);
    assert(mailbox_save_start(s, flags, keywords, 1600000000 + number) == STORE_OK &&
           mailbox_save_write(s, text, strlen(text)) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    assert(mailbox_save_commit(&s, a, &validity, &uids, &count) == STORE_OK && count == 1);
    uid = uids[0];
    free(text);
    arena_free(&a);
    return uid;
}

/* In a process of its own, which ends as if killed: (count) messages, after each of which it says what it was told. */
static struct plan {
    uint32_t count;
    int64_t rest_ms;     /* after `early` of them */
    uint32_t early, big; /* that one is too large for the journal */
    bool stay, finish;
} plan;

/* Somebody else makes it while messages are synced. */
static void await_journal(void)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert(fd >= 0);
    while (!journal_ready(fd))
        assert(event_sleep(1) == 0);
    close(fd);
    assert(exists(JOURNAL_NAME));
}

static void work(void *unused)
{
    struct store *st = root_open();

    (void) unused;
    for (uint32_t i = 1; i <= plan.count; i++) {
        struct told t = { .number = i };
        t.uid = save(st, i, i == plan.big ? JOURNAL_MESSAGE_BYTES + 1 : 500, i % 3 ? 0 : MAIL_SEEN, NULL);
        assert(write(told_pipe[1], &t, sizeof t) == sizeof t);
        if (i == FIRST - 1)
            await_journal();
        if (i == plan.early)
            assert(event_sleep(plan.rest_ms) == 0);
    }
    if (plan.finish)
        store_close(&st);
    if (plan.stay)
        (void) event_sleep(60000);
    _exit(0);
}

static pid_t start(struct plan p)
{
    pid_t pid;

    plan = p;
    assert(pipe(told_pipe) == 0);
    fflush(NULL);
    if ((pid = fork()) == 0) {
        close(told_pipe[0]);
        event_run(work, NULL);
        _exit(1);
    }
    close(told_pipe[1]);
    return pid;
}

static size_t hear(struct told *told, size_t most)
{
    size_t n = 0;

    while (n < most && read(told_pipe[0], &told[n], sizeof *told) == sizeof *told)
        n++;
    return n;
}

static size_t run(struct told *told, struct plan p)
{
    pid_t pid = start(p);
    size_t n = hear(told, TOLD_MAX);
    int status;

    close(told_pipe[0]);
    assert(waitpid(pid, &status, 0) == pid && status == 0 && n == p.count);
    return n;
}

/* What a new boot of the machine does to the journal: its heads name another one. */
static void reboot_of(const char *name)
{
    const size_t behind = offsetof(struct journal_head, half_bytes);
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/%s", root, name);
    assert((fd = open(path, O_RDWR | O_CLOEXEC)) >= 0);
    for (off_t at = 0; at < JOURNAL_DATA; at += JOURNAL_BLOCK) {
        struct journal_head h;
        assert(pread(fd, &h, sizeof h, at) == sizeof h);
        if (h.magic != JOURNAL_MAGIC)
            continue;
        snprintf(h.boot, sizeof h.boot, "another boot");
        h.crc = index_crc32c((const char *) &h + behind, sizeof h - behind);
        assert(pwrite(fd, &h, sizeof h, at) == sizeof h);
    }
    close(fd);
}

static void reboot(void) { reboot_of(JOURNAL_NAME); }

static void damage(off_t at)
{
    char path[300], byte = 1;
    int fd;

    snprintf(path, sizeof path, "%s/%s", root, JOURNAL_NAME);
    assert((fd = open(path, O_RDWR | O_CLOEXEC)) >= 0 && pwrite(fd, &byte, 1, at) == 1 && close(fd) == 0);
}

/* The message with that UID is that message, whole. */
static void expect_message(struct mailbox *box, uint32_t uid, uint32_t number)
{
    struct str out;
    uint64_t size;
    int64_t date;
    char want[40];
    uint32_t seq = 0;

    for (uint32_t i = 1; i <= mailbox_count(box); i++)
        if (mailbox_mail(box, i)->uid == uid)
            seq = i;
    assert(seq);
    snprintf(want, sizeof want, "\"number %u\"", number);
    str_init(&out, 0);
    assert(message_envelope(box, seq, &out) == STORE_OK && strstr(out.p, want));
    str_free(&out);
    assert(message_size(box, seq, &size) == STORE_OK && size > 500);
    assert(message_date(box, seq, &date) == STORE_OK && date == 1600000000 + (int64_t) number);
}

static void expect_all(const struct told *told, size_t n)
{
    struct store *st = root_open();
    struct mailbox *box = root_box(st, "INBOX");

    assert(mailbox_count(box) == n);
    for (size_t i = 0; i < n; i++)
        expect_message(box, told[i].uid, told[i].number);
    mailbox_close(&box);
    store_close(&st);
    assert(!exists(JOURNAL_NAME));
}

/* Does that with the files of the messages whose number fits an expression of awk, n. */
static void each_file(const char *does, const char *of)
{
    char cmd[500];

    snprintf(cmd, sizeof cmd,
             "grep -rH '^Subject: number' new cur | tr -d '\\r' | sed 's/:Subject: number / /' | "
             "awk '{n = $2} %s {print $1}' | xargs -r %s",
             of, does);
    root_shell(cmd);
}

/* The newest files are lost, those before them are cut or empty; so are the uidlist's last lines. */
static void lose(uint32_t newest, unsigned gone, unsigned cut, unsigned lines)
{
    char of[100], cmd[200];

    snprintf(of, sizeof of, "n > %u", newest - gone);
    each_file("rm", of);
    snprintf(of, sizeof of, "n > %u && n %% 2", newest - gone - cut);
    each_file("truncate -s 0", of);
    snprintf(of, sizeof of, "n > %u", newest - gone - cut);
    each_file("truncate -s 100", of);
    snprintf(cmd, sizeof cmd, "head -n -%u dovecot-uidlist >u && mv u dovecot-uidlist; rm -f posthorn.index", lines);
    root_shell(cmd);
}

static void test_power_cut(void)
{
    static struct told told[TOLD_MAX];
    size_t n;

    root_wipe();
    n = run(told, (struct plan){ .count = 60, .big = 40 });
    assert(exists(JOURNAL_NAME));
    lose(60, 12, 7, 20);
    reboot();
    expect_all(told, n);

    /* What a second look finds needs nothing. */
    expect_all(told, n);

    struct store *st = root_open();
    assert(save(st, 61, 500, 0, NULL) > told[n - 1].uid + JOURNAL_UID_GAP);
    store_close(&st);
}

static void test_torn_journal(void)
{
    static struct told told[TOLD_MAX];

    root_wipe();
    (void) run(told, (struct plan){ .count = 40 });
    reboot();
    damage(JOURNAL_DATA + (off_t) 20 * JOURNAL_BLOCK + 50); /* nobody was told of that one, so to speak */
    each_file("truncate -s 0", "");
    struct store *st = root_open();
    struct mailbox *box;
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    for (size_t i = FIRST - 1; i < FIRST - 1 + 20; i++)
        expect_message(box, told[i].uid, told[i].number);
    mailbox_close(&box);
    store_close(&st);
}

static void test_process_died(void)
{
    static struct told told[TOLD_MAX];
    size_t n;

    root_wipe();
    n = run(told, (struct plan){ .count = 40 });
    assert(exists(JOURNAL_NAME));
    /* Its owner reads and removes a message by another program: it does not come back. */
    each_file("rm", "n == 40");
    struct store *st = root_open();
    struct mailbox *box;
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == n - 1);
    mailbox_close(&box);
    store_close(&st);
    assert(!exists(JOURNAL_NAME));
}

/* What was settled long before the power cut is not looked at again. */
static void test_settled(void)
{
    static struct told told[TOLD_MAX];

    root_wipe();
    (void) run(told, (struct plan){ .count = 900, .early = 300, .rest_ms = 2 * JOURNAL_SETTLE_MS - 400 });
    assert(exists(JOURNAL_NAME));
    reboot();
    each_file("rm", "n <= 200 || n > 897");
    struct store *st = root_open();
    struct mailbox *box;
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == 700);
    for (size_t i = 200; i < 900; i++)
        expect_message(box, told[i].uid, told[i].number);
    mailbox_close(&box);
    store_close(&st);
}

static void test_alive(void)
{
    static struct told told[TOLD_MAX];
    pid_t pid;
    int status;

    root_wipe();
    pid = start((struct plan){ .count = 30, .stay = true });
    assert(hear(told, 30) == 30 && exists(JOURNAL_NAME));
    struct store *st = root_open();
    struct mailbox *box;
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == 30);
    assert(exists(JOURNAL_NAME)); /* the other one's */
    for (int i = 0; exists(JOURNAL_NAME); i++) {
        assert(i < 100);
        usleep(100000);
    }
    assert(kill(pid, 0) == 0); /* it went because nothing came any more */
    mailbox_close(&box);
    store_close(&st);
    kill(pid, SIGKILL);
    assert(waitpid(pid, &status, 0) == pid);
    close(told_pipe[0]);

    root_wipe();
    (void) run(told, (struct plan){ .count = 30, .finish = true });
    assert(!exists(JOURNAL_NAME));
    expect_all(told, 30);
}

/* Each of two processes has a journal; both die in the power cut. */
static void test_two(void)
{
    static struct told told[TOLD_MAX];
    pid_t pid[2];
    int status;

    root_wipe();
    for (int i = 0; i < 2; i++) {
        pid[i] = start((struct plan){ .count = 40, .stay = true });
        assert(hear(told + (ptrdiff_t) 40 * i, 40) == 40);
        close(told_pipe[0]);
    }
    for (int i = 0; i < 2; i++) {
        kill(pid[i], SIGKILL);
        assert(waitpid(pid[i], &status, 0) == pid[i]);
    }
    assert(exists(journal_name[0]) && exists(journal_name[1]));
    reboot_of(journal_name[0]);
    reboot_of(journal_name[1]);
    lose(40, 10, 5, 30); /* lines, of the second one alone: what came before was synced with its first messages */
    expect_all(told, 80);
    assert(!exists(journal_name[1]));
}

/* The kernel tells once that it could not write a file, and has it in memory alone then, whole to all who look: it is
 * written again. */
static void keep_inodes(void) { root_shell("mkdir kept && find new cur -type f -exec ln '{}' kept/ ';'"); }

/* Or some more: the journal may be there a message earlier. */
static void expect_written_again(unsigned n)
{
    char cmd[100];

    snprintf(cmd, sizeof cmd, "test $(find new cur -type f -links 1 | wc -l) -ge %u && rm -r kept", n);
    root_shell(cmd);
}

static struct told failing_told[3 * BURST];

static void settle_in_vain(void *unused)
{
    struct store *st = root_open();
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint32_t n = 0;

    (void) unused;
    assert(fd >= 0);
    __atomic_store_n(&disk_fails, true, __ATOMIC_SEQ_CST);
    for (; n < 3 * BURST; n++) {
        if (n == FIRST - 1)
            await_journal();
        failing_told[n] = (struct told){ .number = n + 1, .uid = save(st, n + 1, 500, 0, NULL) };
    }
    while (journal_ready(fd))
        assert(event_sleep(5) == 0);
    assert(exists(JOURNAL_NAME) && !__atomic_load_n(&disk_fails, __ATOMIC_SEQ_CST));
    close(fd);
    store_close(&st);
    assert(exists(JOURNAL_NAME));
}

/* The process that has the journal is told. */
static void test_failing_disk(void)
{
    root_wipe();
    event_run(settle_in_vain, NULL);
    keep_inodes();
    expect_all(failing_told, 3 * BURST);
    expect_written_again(3 * BURST - (FIRST - 1));
}

/* A file system that has failed and is mounted again knows what is on the disk alone, though nobody has booted. */
static void test_mounted_again(void)
{
    static struct told told[TOLD_MAX];
    uint64_t none = RWH_WRITE_LIFE_NOT_SET;
    char path[300];
    size_t n;
    int fd;

    root_wipe();
    n = run(told, (struct plan){ .count = 30 });
    snprintf(path, sizeof path, "%s/%s", root, JOURNAL_NAME);
    assert((fd = open(path, O_RDWR | O_CLOEXEC)) >= 0 && fcntl(fd, F_SET_RW_HINT, &none) == 0 && close(fd) == 0);
    lose(30, 6, 4, 8);
    expect_all(told, n);
}

/* Who finds it is. */
static void test_failed_disk(void)
{
    static struct told told[TOLD_MAX];
    size_t n;

    root_wipe();
    n = run(told, (struct plan){ .count = 30 });
    keep_inodes();
    disk_fails = true;
    expect_all(told, n);
    expect_written_again((unsigned) n - (FIRST - 1));
}

/* Where only the files are asked for, the UIDs wait for who knows the uidlist. */
static void test_without_uidlist(void)
{
    static struct told told[TOLD_MAX];
    size_t n;
    int fd;

    root_wipe();
    n = run(told, (struct plan){ .count = 30 });
    lose(30, 5, 0, 10);
    reboot();
    assert((fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    assert(journal_restore(fd, -1, root) == 0 && exists(JOURNAL_NAME));
    close(fd);
    expect_all(told, n);
}

static struct removed {
    unsigned phase;
} removed;

static void remove_under_writer(void *unused)
{
    struct store *st = root_open();
    static const char *const keywords[] = { "k", NULL };
    uint32_t n = 0;

    (void) unused;
    for (int i = 0; i < 2 * BURST; i++)
        (void) save(st, ++n, 500, 0, NULL);
    await_journal();
    root_shell("rm " JOURNAL_NAME);
    for (int i = 0; i < 5; i++)
        (void) save(st, ++n, 500, 0, NULL);
    assert(!exists(JOURNAL_NAME)); /* synced as ever */
    assert(event_sleep(JOURNAL_SETTLE_MS + 300) == 0);
    for (int i = 0; i < 2 * BURST; i++)
        (void) save(st, ++n, 500, 0, keywords);
    assert(!exists(JOURNAL_NAME)); /* keywords stand in a file of their own */
    for (int i = 0; i < 2 * BURST; i++)
        (void) save(st, ++n, 500, 0, NULL);
    await_journal();
    removed.phase = n;
    store_close(&st);
    assert(!exists(JOURNAL_NAME));
}

static void test_removed(void)
{
    root_wipe();
    event_run(remove_under_writer, NULL);
    struct store *st = root_open();
    struct mailbox *box;
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == removed.phase);
    mailbox_close(&box);
    store_close(&st);
}

/* A message whose file cannot be made after the journal has it: its sender is refused, others are not, its UID may be
 * another's, and it does not come back. */
static void refuse_one(struct store *st)
{
    struct arena *a = arena_new();
    struct mailbox_save *s;
    uint32_t validity, *uids;
    size_t count;

    assert(mailbox_save_begin(st, "INBOX", NULL, &s) == STORE_OK);
    assert(mailbox_save_start(s, 0, NULL, MAILBOX_SAVE_NOW) == STORE_OK &&
           mailbox_save_write(s, "Subject: refused\r\n\r\n", 20) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    root_shell("mv tmp away && touch tmp");
    assert(mailbox_save_commit(&s, a, &validity, &uids, &count) != STORE_OK);
    root_shell("rm tmp && mv away tmp");
    arena_free(&a);
}

static struct told spoiled_told[4 * BURST];

static void spoil(void *unused)
{
    int64_t until = time_mono_ms() + 60000;
    struct store *st = root_open();
    uint32_t n = 0;

    (void) unused;
    for (; n < 2 * BURST; n++)
        spoiled_told[n] = (struct told){ .number = n + 1, .uid = save(st, n + 1, 500, 0, NULL) };
    await_journal();
    for (; n < 4 * BURST; n++) {
        if (n == 3 * BURST) {
            refuse_one(st);
            assert(exists(JOURNAL_NAME));
        }
        spoiled_told[n] = (struct told){ .number = n + 1, .uid = save(st, n + 1, 500, 0, NULL) };
        assert(n == 0 || spoiled_told[n].uid == spoiled_told[n - 1].uid + 1);
    }
    while (exists(JOURNAL_NAME)) /* with what was never delivered */
        assert(time_mono_ms() < until && event_sleep(5) == 0);
    store_close(&st);
}

static void test_spoiled(void)
{
    root_wipe();
    event_run(spoil, NULL);
    expect_all(spoiled_told, 4 * BURST);
}

/* Sessions of one process: frames are shared, and who leaves last ends the journal while others come. */
enum { SESSIONS = 10, ROUNDS = 4, EACH = 40 };
static unsigned at_work;
static uint32_t given[SESSIONS * ROUNDS * EACH + 1];

static void one_session(void *arg)
{
    uint32_t me = (uint32_t) (uintptr_t) arg;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct store *st = root_open();
        struct mailbox *box = NULL;
        if (me % 2) /* as SELECT has it, while the others append to it from elsewhere */
            assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
        for (uint32_t i = 0; i < EACH; i++) {
            uint32_t number = 1 + (me * ROUNDS + round) * EACH + i, uid = save(st, number, 500, 0, NULL);
            assert(uid <= SESSIONS * ROUNDS * EACH && given[uid] == 0);
            given[uid] = number;
        }
        mailbox_close(&box);
        store_close(&st);
        if (round % 2)
            assert(event_sleep(me) == 0);
    }
    at_work--;
}

static void many_sessions(void *unused)
{
    (void) unused;
    at_work = SESSIONS;
    for (uint32_t i = 0; i < SESSIONS; i++)
        fiber_go("session", one_session, (void *) (uintptr_t) i);
    while (at_work)
        assert(event_sleep(5) == 0);
    event_stop();
}

static void test_sessions(void)
{
    struct told told[SESSIONS * ROUNDS * EACH];
    size_t n = 0;

    root_wipe();
    event_run(many_sessions, NULL);
    assert(!exists(JOURNAL_NAME));
    for (uint32_t uid = 1; uid <= SESSIONS * ROUNDS * EACH; uid++) {
        assert(given[uid]);
        told[n++] = (struct told){ .uid = uid, .number = given[uid] };
    }
    expect_all(told, n);
}

/* The uidlist stays locked from one message of a row to the next, but not for long, not against others, and not by who
 * has lost the lock. */
enum { PATIENCE_MS = 60000 };
static unsigned saves_done;

static void save_one(struct store *st, struct mailbox *box)
{
    struct arena *a = arena_new();
    struct mailbox_save *s;
    uint32_t validity = 0, *uids;
    size_t count;

    assert(mailbox_save_begin(st, "INBOX", box, &s) == STORE_OK);
    assert(mailbox_save_start(s, 0, NULL, MAILBOX_SAVE_NOW) == STORE_OK &&
           mailbox_save_write(s, "Subject: x\r\n\r\n", 14) == STORE_OK && mailbox_save_finish(s) == STORE_OK);
    assert(mailbox_save_commit(&s, a, &validity, &uids, &count) == STORE_OK && uids[0] == ++saves_done);
    arena_free(&a);
}

/* Until it is kept: a slow machine may need several rows. */
static void save_row(struct store *st, struct mailbox *box)
{
    int64_t until = time_mono_ms() + PATIENCE_MS;

    do {
        assert(time_mono_ms() < until);
        save_one(st, box);
    } while (!exists(UIDLIST_LOCK));
}

struct late {
    struct store *st;
    struct mailbox *box;
    bool done;
};

static void save_late(void *arg)
{
    struct late *late = arg;

    save_one(late->st, late->box);
    late->done = true;
}

static void keep_locked(void *unused)
{
    int64_t until = time_mono_ms() + PATIENCE_MS;
    struct late late = { .st = root_open() };
    int other;

    (void) unused;
    assert(mailbox_open(late.st, "INBOX", false, &late.box) == STORE_OK);
    save_row(late.st, late.box);
    while (exists(UIDLIST_LOCK)) /* given back though nobody closes the mailbox */
        assert(time_mono_ms() < until && event_sleep(1) == 0);
    save_row(late.st, late.box);
    root_shell("rm " UIDLIST_LOCK);
    assert((other = dotlock_take(late.box->control_fd, UIDLIST_LOCK)) >= 0);
    fiber_go("late", save_late, &late);
    assert(event_sleep(100) == 0 && !late.done);
    dotlock_release(late.box->control_fd, UIDLIST_LOCK, other);
    while (!late.done)
        assert(time_mono_ms() < until && event_sleep(5) == 0);
    save_row(late.st, late.box);
    mailbox_close(&late.box);
    assert(!exists(UIDLIST_LOCK));
    store_close(&late.st);
    event_stop();
}

static pid_t want_lock(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), lock = dotlock_take(dir, UIDLIST_LOCK);
        if (lock >= 0)
            dotlock_release(dir, UIDLIST_LOCK, lock);
        _exit(lock >= 0 ? 0 : 1);
    }
    return pid;
}

static void save_against_other(void *arg)
{
    pid_t other = *(pid_t *) arg;
    int64_t until = time_mono_ms() + PATIENCE_MS;
    struct store *st = root_open();
    struct mailbox *box;
    int status;

    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    while (waitpid(other, &status, WNOHANG) == 0) {
        assert(time_mono_ms() < until);
        save_one(st, box);
    }
    assert(status == 0);
    mailbox_close(&box);
    store_close(&st);
    event_stop();
}

static void test_lock_kept(void)
{
    struct store *st;
    pid_t other;

    root_wipe();
    st = root_open();
    (void) save(st, 1, 500, 0, NULL);
    store_close(&st);
    saves_done = 1;
    event_run(keep_locked, NULL);
    for (int i = 0; i < 3; i++) {
        other = want_lock();
        assert(other > 0);
        event_run(save_against_other, &other);
    }
}

/* A file of that name that is none of ours stops nobody. */
static void test_strange(void)
{
    static const char *const makes[] = { "echo hello >" JOURNAL_NAME,   "ln -s /etc/passwd " JOURNAL_NAME,
                                         "mkdir " JOURNAL_NAME,         "mkfifo " JOURNAL_NAME,
                                         "ln -s nowhere " JOURNAL_NAME, "truncate -s 4M " JOURNAL_NAME };

    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) {
        struct store *st;
        struct mailbox *box;

        root_wipe();
        st = root_open();
        (void) save(st, 1, 500, 0, NULL);
        root_shell(makes[i]);
        assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK && mailbox_count(box) == 1);
        (void) save(st, 2, 500, 0, NULL);
        mailbox_close(&box);
        store_close(&st);
    }
}

int main(void)
{
    int fd;

    root_begin("journal-test");
    conf_mail_journal = true;
    journal_burst = BURST;
    test_strange();
    assert((fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    if (file_one_journal(fd) && boot_id()[0]) {
        test_power_cut();
        test_torn_journal();
        test_process_died();
        test_settled();
        test_alive();
        test_two();
        test_without_uidlist();
        test_mounted_again();
        test_failed_disk();
        test_removed(); /* from here on in this process, which has threads then and forks none that needs them */
        test_spoiled();
        test_failing_disk();
        test_sessions();
        test_lock_kept();
    } else {
        printf("%s is on no ext4 or xfs: only what others leave there was tried\n", root);
    }
    close(fd);
    return 0;
}
