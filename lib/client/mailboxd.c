/*
 * mailboxd - the callers' side: the processes of other accounts, who waits for one, and orders to them
 *
 * A struct worker is one process. It is found by uid, gid and what it may see; several deliveries use it at once.
 *
 * Invariants  worker_count, with the places promised to waiters, is at most process_limit
 *             a place that becomes free goes to who has waited longest, never to a later one
 *             `holders` are the fibers that hold the pointer; a worker that is gone is freed with the last
 * Errors      see mailboxd.h
 */
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/mailboxd_internal.h"
#include "event/event.h"
#include "service/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPAWN_MS = 30000, WAIT_MS = 240000, ANSWER_MS = 300000, TRIES = 3 };

static int64_t process_limit, idle_time;
const struct param mailboxd_params[] = {
    { .name = "mailboxd_process_limit",
      .type = PARAM_INT,
      .num = &process_limit,
      .def = "100",
      .min = 1,
      .max = 10000,
      .doc =
          "How many accounts beside its own one lmtpd or virtual process delivers for at a time, each by a mailboxd "
          "process; other deliveries wait." },
    { .name = "mailboxd_idle_time",
      .type = PARAM_SECONDS,
      .num = &idle_time,
      .def = "20s",
      .min = 0,
      .max = 86400,
      .doc = "How long a mailboxd process is kept after its last delivery." },
    { .name = "mailboxd_memory_limit",
      .type = PARAM_BYTES,
      .num = &mailboxd_memory_limit,
      .def = "268435456",
      .min = 1,
      .doc =
          "Most bytes of messages that one lmtpd or virtual process holds in memory for mailboxd processes; more is "
          "told to come again. A single message may be longer." },
    { .type = PARAM_END },
};

struct call {
    struct list node;
    uint32_t id;
    struct msg *answer;
    bool done;
    struct event_cond cond;
};
struct worker {
    struct list node; /* of `workers`, those used last behind; unlinked once it is gone */
    char *directory;
    uid_t uid;
    gid_t gid;
    pid_t pid;
    struct stream *stream; /* NULL while it is being started */
    bool failed;           /* the start did */
    bool leaving;          /* takes no new deliveries: its place is wanted, or its directory is another now */
    bool placed;           /* dev and ino are known */
    dev_t dev;             /* of the directory when the process began */
    ino_t ino;
    unsigned holders;
    size_t busy; /* deliveries under way */
    uint32_t last_id;
    struct list calls;
    struct event_sem sending, room;
    struct event_cond started;
    struct event_timer *idle;
};
struct waiter {
    struct list node;
    bool granted;
    struct event_cond cond;
};
static struct list workers = { &workers, &workers }, waiters = { &waiters, &waiters };
static size_t worker_count, promised; /* places: taken, and given to waiters that have not run yet */

static void release(struct worker *w)
{
    if (--w->holders)
        return;
    event_timer_free(&w->idle);
    stream_free(&w->stream);
    free(w->directory);
    free(w);
}

/* Free places go to those who wait. */
static void grant(void)
{
    while (!list_empty(&waiters) && worker_count + promised < (size_t) process_limit) {
        struct waiter *next = list_first(&waiters, struct waiter, node);
        list_del(&next->node);
        next->granted = true;
        promised++;
        event_cond_signal(&next->cond);
    }
}

/* Nobody finds it any more; what was asked of it is not answered; its place goes on. */
static void forget(struct worker *w)
{
    if (list_empty(&w->node))
        return;
    list_del(&w->node);
    worker_count--;
    list_each(it, &w->calls)
    {
        struct call *c = list_entry(it, struct call, node);
        list_del(&c->node);
        c->done = true;
        event_cond_signal(&c->cond);
    }
    if (w->stream)
        shutdown(stream_fd(w->stream), SHUT_RDWR); /* its end, and our reader's */
    grant();
    release(w);
}

static void on_idle(void *arg)
{
    struct worker *w = arg;

    if (w->busy == 0)
        forget(w);
}

/* A delivery less. A process that rests leaves when others wait for its place. */
static void let_go(struct worker *w)
{
    if (--w->busy == 0 && !list_empty(&w->node)) {
        if (w->leaving || !list_empty(&waiters)) {
            forget(w);
        } else {
            event_timer_free(&w->idle);
            w->idle = event_timer_new(idle_time * 1000, on_idle, w);
        }
    }
    release(w); /* NOLINT(clang-analyzer-unix.Malloc): the caller holds it */
}

static void settle(struct worker *w, struct msg **m)
{
    list_each(it, &w->calls)
    {
        struct call *c = list_entry(it, struct call, node);
        if (c->id != msg_id(*m))
            continue;
        list_del(&c->node);
        c->answer = *m;
        *m = NULL;
        c->done = true;
        event_cond_signal(&c->cond);
        return;
    }
    msg_free(m); /* who asked has given up */
}

static void read_answers(void *arg)
{
    struct worker *w = arg;
    struct msg *m;

    while (msg_recv(w->stream, &m) == 0)
        settle(w, &m);
    forget(w);
    release(w);
}

static int start(struct worker *w)
{
    struct service_spawn order = {
        .program = MAILBOXD_PROGRAM, .directory = w->directory, .uid = w->uid, .gid = w->gid
    };
    int pair[2], rc, keep;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    rc = service_spawn(&order, pair[1], time_mono_ms() + SPAWN_MS, &w->pid);
    keep = errno;
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        errno = keep;
        return -1;
    }
    w->stream = stream_new(pair[0]);
    w->holders++;
    fiber_go("mailboxd", read_answers, w);
    return 0;
}

/* "/a/b" of "/a/b/c/": what stands behind the directory, from its slash on; NULL when it lies elsewhere. */
static const char *below(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    while (len > 1 && directory[len - 1] == '/')
        len--;
    return len > 1 && strncmp(path, directory, len) == 0 && path[len] == '/' ? path + len : NULL;
}

static bool serves(const struct worker *w, const struct userdb_mailbox *box)
{
    return w->uid == box->uid && w->gid == box->gid && !w->leaving &&
           (below(box->path, w->directory) || strcmp(box->path, w->directory) == 0);
}

/* The name leads to another directory than the one the process stands in, which is lost or somebody's backup. Where
 * our account may not look, the process itself notices a directory that was removed. */
static bool moved(struct worker *w)
{
    struct stat st;

    if (stat(w->directory, &st) < 0)
        return w->placed && errno == ENOENT;
    if (!w->placed) {
        w->placed = true;
        w->dev = st.st_dev;
        w->ino = st.st_ino;
    }
    return w->dev != st.st_dev || w->ino != st.st_ino;
}

static void retire(struct worker *w)
{
    if (w->busy)
        w->leaving = true;
    else
        forget(w);
}

static struct worker *find(const struct userdb_mailbox *box)
{
    list_each(it, &workers)
    {
        struct worker *w = list_entry(it, struct worker, node);
        if (!serves(w, box))
            continue;
        if (!moved(w))
            return w;
        retire(w);
    }
    return NULL;
}

static bool has_worker(uid_t uid, gid_t gid)
{
    list_each(it, &workers)
    {
        struct worker *w = list_entry(it, struct worker, node);
        if (w->uid == uid && w->gid == gid)
            return true;
    }
    return false;
}

/* What a new process may see. Below virtual_mailbox_base: that, as lmtpd itself sees it. Else the user's home, or the
 * mailbox alone; but where one account turns out to own the mailboxes of several users, what holds them all, if the
 * configuration names it: a process for each of them would gain nothing but time. */
static const char *directory_for(const struct userdb_mailbox *box)
{
    const char *base = userdb_base();

    if (below(box->path, base) && (*conf_virtual_mailbox_base || has_worker(box->uid, box->gid)))
        return base;
    if (box->home && below(box->path, box->home))
        return box->home;
    return box->path;
}

/* One that rests gives its place at once; else the one that has been there longest, when it is done. */
static void make_place(void)
{
    struct worker *longest = NULL;

    list_each(it, &workers)
    {
        struct worker *w = list_entry(it, struct worker, node);
        if (w->leaving)
            continue;
        if (w->busy == 0) {
            forget(w);
            return;
        }
        if (longest == NULL)
            longest = w;
    }
    if (longest)
        longest->leaving = true;
}

static int wait_for_place(void)
{
    struct waiter me = { 0 };
    int64_t until = time_mono_ms() + WAIT_MS;

    list_append(&waiters, &me.node);
    make_place();
    while (!me.granted)
        if (event_cond_wait(&me.cond, until) < 0 && !me.granted) {
            list_del(&me.node);
            return -1;
        }
    promised--;
    return 0;
}

static struct worker *worker_new(uid_t uid, gid_t gid, const char *directory)
{
    struct worker *w = mem_new(sizeof *w);

    w->uid = uid;
    w->gid = gid;
    w->directory = mem_strdup(directory);
    w->sending.permits = 1;
    w->room.permits = MAILBOXD_ORDERS;
    list_init(&w->calls);
    w->holders = 1; /* the list's */
    list_append(&workers, &w->node);
    worker_count++;
    (void) moved(w);
    return w;
}

/* The account's process, with a delivery more; NULL with errno when it cannot be had. */
static struct worker *hold(const struct userdb_mailbox *box)
{
    struct worker *w = find(box);
    int64_t until = time_mono_ms() + SPAWN_MS;
    int keep = EAGAIN;
    bool fresh = false;

    if (w == NULL && worker_count + promised >= (size_t) process_limit) {
        if (wait_for_place() < 0)
            return NULL;
        w = find(box); /* another may have started it meanwhile */
    }
    if (w == NULL) {
        w = worker_new(box->uid, box->gid, directory_for(box));
        fresh = true;
    }
    grant();
    w->holders++;
    w->busy++;
    event_timer_free(&w->idle);
    if (fresh) {
        if (start(w) < 0) {
            keep = errno;
            w->failed = true;
            forget(w);
        }
        event_cond_broadcast(&w->started);
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): this fiber holds it */
    while (w->stream == NULL && !w->failed && event_cond_wait(&w->started, until) == 0) {
    }
    if (w->stream && !w->failed)
        return w;
    let_go(w);
    errno = keep;
    return NULL;
}

/* *unsent: the process had ended before it was told. */
static struct msg *ask(struct worker *w, struct msg *order, bool *unsent)
{
    struct call call = { .id = ++w->last_id };
    int64_t until = time_mono_ms() + ANSWER_MS;

    *unsent = true;
    if (event_sem_get(&w->sending, until) < 0)
        return NULL;
    if (list_empty(&w->node) || msg_send(w->stream, order, call.id) < 0) {
        *unsent = list_empty(&w->node) || errno == EPIPE;
        event_sem_put(&w->sending);
        forget(w);
        return NULL;
    }
    *unsent = false;
    list_append(&w->calls, &call.node);
    event_sem_put(&w->sending);
    while (!call.done)
        if (event_cond_wait(&call.cond, until) < 0 && !call.done) {
            list_del(&call.node);
            break;
        }
    return call.answer;
}

/* The text names the path as the process saw it. */
static void show_path(struct err *err, const char *directory, const char *path)
{
    const char *at = strstr(err->text, path);
    char *whole;

    if (at == NULL)
        return;
    whole = mem_printf("%.*s%s%s", (int) (at - err->text), err->text, directory, at);
    snprintf(err->text, sizeof err->text, "%s", whole);
    free(whole);
}

static int result(struct msg *answer, const struct worker *w, const char *path, uint64_t *bytes, struct err *err)
{
    int code = (int) msg_get_num(answer, "code", 0, 599);
    char dsn[ERR_DSN_BYTES] = "";

    snprintf(dsn, sizeof dsn, "%s", msg_get_str(answer, "dsn", sizeof dsn - 1));
    const char *text = msg_get_str(answer, "text", ERR_TEXT_BYTES);
    *bytes = (uint64_t) msg_get_num(answer, "bytes", 0, INT64_MAX);
    if (strcmp(msg_name(answer), MAILBOXD_W_DONE) != 0 || !msg_done(answer))
        return err_set(err, 451, "4.3.0", "the answer of %s cannot be read", MAILBOXD_PROGRAM);
    if (code == 0)
        return 0;
    (void) err_set(err, code, dsn, "%s", text);
    show_path(err, w->directory, path);
    return -1;
}

bool mailboxd_needed(const struct userdb_mailbox *box)
{
    if (box->uid != geteuid())
        return true;
    return !service_alone() && (box->gid != getegid() || below(box->path, userdb_base()) == NULL);
}

static struct msg *order_new(const char *path, bool no_index, struct slice head, int64_t limit,
                             const struct mailboxd_content *content)
{
    struct msg *m = msg_new(MAILBOXD_W_DELIVER);

    msg_put_str(m, "path", path);
    msg_put(m, "head", head);
    msg_put_num(m, "no_index", no_index);
    msg_put_num(m, "limit", limit);
    msg_put_num(m, "bytes", (int64_t) content->bytes);
    msg_put_fd(m, content->fd);
    return m;
}

/* One try. 1: the process had ended before it was told. */
static int try_once(const struct userdb_mailbox *box, struct slice head, int64_t limit,
                    const struct mailboxd_content *content, uint64_t *bytes, struct err *err)
{
    struct worker *w = hold(box);
    struct msg *order, *answer = NULL;
    bool unsent = false;
    const char *path;
    int ret;

    if (w == NULL) {
        int why = errno;
        log_warn("cannot start %s for %s as uid %u, gid %u: %s", MAILBOXD_PROGRAM, box->path, (unsigned) box->uid,
                 (unsigned) box->gid, strerror(why));
        return err_set(err, 451, "4.3.0", "cannot deliver as uid %u: %s", (unsigned) box->uid, strerror(why));
    }
    path = below(box->path, w->directory);
    if (path == NULL)
        path = "/";
    order = order_new(path, box->no_index, head, limit, content);
    if (event_sem_get(&w->room, time_mono_ms() + WAIT_MS) == 0) {
        answer = ask(w, order, &unsent);
        event_sem_put(&w->room);
    }
    msg_free(&order);
    if (answer)
        ret = result(answer, w, path, bytes, err);
    else
        ret = err_set(err, 451, "4.3.0", "the process that delivers as uid %u has ended", (unsigned) box->uid);
    msg_free(&answer);
    let_go(w); /* NOLINT(clang-analyzer-unix.Malloc): hold counted this fiber */
    return unsent ? 1 : ret;
}

int mailboxd_deliver(const struct userdb_mailbox *box, struct slice head, int64_t limit,
                     const struct mailboxd_content *content, uint64_t *bytes, struct err *err)
{
    int ret = 1;

    for (int i = 0; i < TRIES && ret == 1; i++)
        ret = try_once(box, head, limit, content, bytes, err);
    return ret ? -1 : 0;
}
