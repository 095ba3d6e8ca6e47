/* pool - forks, keeps, counts and kills the children; contract in pool.h */
#include "pool.h"

#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"
#include "service/jail.h"
#include "task.h"

#include <errno.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TRIM_MS = 10000,
    IDLE_MS = 60000,
    FIRST_FD = 3,
    USER_BYTES = 64,
    CHILDREN_BYTES = 16384,
    DEPTH_MAX = 8,
    SHARE = 4
};

static int64_t max_count, timeout_seconds;
const struct param pool_params[] = {
    { .name = "auth_worker_max_count",
      .type = PARAM_INT,
      .num = &max_count,
      .def = "30",
      .min = 1,
      .max = 1000,
      .doc =
          "Processes that run PAM, and as many again that look up system accounts, at a time; who comes when all are "
          "busy waits." },
    { .name = "auth_worker_timeout",
      .type = PARAM_SECONDS,
      .num = &timeout_seconds,
      .def = "60s",
      .min = 1,
      .max = 120,
      .doc = "How long PAM or an account lookup may take, with the wait for its turn; then the answer is a temporary "
             "failure and the process is killed." },
    { .type = PARAM_END },
};

struct child {
    struct list node; /* of the idle ones: the one used last is first */
    enum pool pool;
    pid_t pid;
    int fd; /* a packet a frame */
    bool failed;
    int64_t used, idle_since;
    struct share *share; /* of whom it works for; NULL: nobody */
};
struct share { /* of one user */
    char *user;
    size_t takers; /* who have a child, and who wait for one */
    size_t busy;
    struct event_cond less;
};
static struct {
    struct event_sem free;
    struct list idle;
    struct map *shares; /* user -> struct share */
} pools[POOLS];
static uid_t lookup_uid; /* whom children of POOL_ACCOUNTS become; 0: they stay who we are */
static gid_t lookup_gid;

/* --- in the child --- */

static void drop_privileges(void)
{
    if (lookup_uid == 0)
        return;
    if (setgroups(1, &lookup_gid) < 0 || setresgid(lookup_gid, lookup_gid, lookup_gid) < 0 ||
        setresuid(lookup_uid, lookup_uid, lookup_uid) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        _exit(1);
}

/* Nothing of the parent's: its signals, its descriptors. */
static void settle(int fd, pid_t parent)
{
    sigset_t none;

    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (fd > FIRST_FD && close_range(FIRST_FD, (unsigned) fd - 1, 0) < 0)
        _exit(1);
    if (close_range((unsigned) fd + 1, ~0U, 0) < 0)
        _exit(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
}

struct birth {
    struct child *child;
    int fd;
    pid_t parent;
};

/* On the thread's own stack: a module may need more than a fiber has. */
static void fork_child(void *arg)
{
    struct birth *b = arg;

    b->child->pid = fork();
    if (b->child->pid != 0)
        return;
    settle(b->fd, b->parent);
    if (b->child->pool == POOL_ACCOUNTS)
        drop_privileges();
    task_serve(b->fd);
    _exit(0);
}

/* --- in the parent --- */

static void reap(void *arg)
{
    pid_t pid = (pid_t) (intptr_t) arg;
    int status;

    fiber_shield(true);
    if (event_wait_child(pid, &status, EVENT_NEVER) < 0)
        log_warn("cannot wait for child %ld: %s", (long) pid, strerror(errno));
    fiber_shield(false);
}

/* A module's programs (pam_exec's) make sessions of their own: they are found by who started them. */
static void kill_with_all(pid_t pid, int depth)
{
    struct slice rest, word;
    struct str children;
    char path[64];
    uint64_t n;

    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long) pid, (long) pid);
    str_init(&children, CHILDREN_BYTES);
    if (depth < DEPTH_MAX && file_read(path, &children) == 0) {
        rest = str_slice(&children);
        while (slice_word(&rest, " \n", &word))
            if (slice_u64(word, INT32_MAX, &n) == 0 && n > 1)
                kill_with_all((pid_t) n, depth + 1);
    }
    str_free(&children);
    kill(pid, SIGKILL);
}

static void end(struct child *c)
{
    list_del(&c->node);
    event_forget_fd(c->fd);
    close(c->fd);
    if (c->failed)
        kill_with_all(c->pid, 0);
    else
        kill(c->pid, SIGKILL);
    fiber_go("reap", reap, (void *) (intptr_t) c->pid);
    free(c);
}

static struct child *make(enum pool pool, struct err *err)
{
    struct child *c = mem_new(sizeof *c);
    int pair[2];

    *c = (struct child){ .pool = pool };
    list_init(&c->node);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        (void) err_set(err, 0, NULL, "cannot start a process: %s", strerror(errno));
        free(c);
        return NULL;
    }
    struct birth b = { c, pair[1], getpid() };
    fiber_on_large_stack(fork_child, &b);
    int keep = errno;
    close(pair[1]);
    c->fd = pair[0];
    if (c->pid > 0)
        return c;
    (void) err_set(err, 0, NULL, "cannot start a process: %s", strerror(keep));
    close(c->fd);
    free(c);
    return NULL;
}

static bool alive(const struct child *c)
{
    char byte;

    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* --- shares --- */

static void share_drop(enum pool pool, struct share *s)
{
    if (--s->takers > 0)
        return;
    map_take(pools[pool].shares, slice_of(s->user));
    free(s->user);
    free(s);
}

/* NULL: not in time. */
static struct share *share_take(enum pool pool, const char *user, int64_t deadline)
{
    size_t most = max_count > SHARE ? (size_t) max_count / SHARE : 1;
    struct share *s = map_get(pools[pool].shares, slice_of(user));

    if (s == NULL) {
        s = mem_new(sizeof *s);
        s->user = mem_strdup(user);
        map_set(pools[pool].shares, slice_of(user), s);
    }
    s->takers++;
    while (s->busy >= most)
        if (event_cond_wait(&s->less, deadline) < 0) {
            share_drop(pool, s);
            return NULL;
        }
    s->busy++;
    return s;
}

static void share_give_back(enum pool pool, struct share *s)
{
    s->busy--;
    event_cond_signal(&s->less);
    share_drop(pool, s);
}

int64_t pool_deadline(void) { return time_mono_ms() + timeout_seconds * 1000; }

/* The permit is there. */
static struct child *idle_or_new(enum pool pool, struct err *err)
{
    struct child *c = NULL;

    while (c == NULL && !list_empty(&pools[pool].idle)) {
        c = list_entry(pools[pool].idle.next, struct child, node);
        list_del(&c->node);
        if (!alive(c)) {
            end(c);
            c = NULL;
        }
    }
    return c ? c : make(pool, err);
}

struct child *pool_take(enum pool pool, const char *user, int64_t deadline, struct err *err)
{
    struct share *share = *user ? share_take(pool, user, deadline) : NULL;
    struct child *c = NULL;

    if (*user && share == NULL)
        (void) err_set(err, 0, NULL, "a quarter of the processes is busy with that user (auth_worker_max_count)");
    else if (event_sem_get(&pools[pool].free, deadline) < 0)
        (void) err_set(err, 0, NULL, "all processes are busy (auth_worker_max_count)");
    else if ((c = idle_or_new(pool, err)) == NULL)
        event_sem_put(&pools[pool].free);
    if (c)
        c->share = share;
    else if (share)
        share_give_back(pool, share);
    return c;
}

int pool_send(struct child *c, struct msg *m, struct err *err)
{
    if (msg_send_packet(c->fd, m, msg_id(m)) == 0)
        return 0;
    c->failed = true;
    return err_set(err, 0, NULL, "cannot tell process %ld: %s", (long) c->pid, strerror(errno));
}

int pool_receive(struct child *c, int64_t deadline, struct msg **out, struct err *err)
{
    while (msg_recv_packet(c->fd, out) < 0) {
        if (errno == EAGAIN && event_wait_fd(c->fd, EVENT_READ, deadline) >= 0)
            continue;
        c->failed = true;
        if (errno == ETIMEDOUT)
            return err_set(err, 0, NULL, "no answer within %lld seconds (auth_worker_timeout): killed process %ld",
                           (long long) timeout_seconds, (long) c->pid);
        return err_set(err, 0, NULL, "process %ld: %s", (long) c->pid, errno ? strerror(errno) : "it died");
    }
    return 0;
}

void pool_give_back(struct child *c, int64_t uses)
{
    enum pool pool = c->pool;

    if (c->share)
        share_give_back(pool, c->share);
    c->share = NULL;
    if (c->failed || ++c->used >= uses) {
        end(c);
    } else {
        c->idle_since = time_mono_ms();
        list_prepend(&pools[pool].idle, &c->node);
    }
    event_sem_put(&pools[pool].free);
}

static void trim(void *unused)
{
    int64_t now = time_mono_ms();

    (void) unused;
    for (int n = 0; n < POOLS; n++)
        list_each(it, &pools[n].idle)
        {
            struct child *c = list_entry(it, struct child, node);
            if (now - c->idle_since >= IDLE_MS)
                end(c);
        }
}

int pool_start(void)
{
    char name[USER_BYTES];

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* passwords pass through: no core, also none of the children's */
    for (int n = 0; n < POOLS; n++) {
        pools[n].free.permits = (size_t) max_count;
        list_init(&pools[n].idle);
        pools[n].shares = map_new(SIZE_MAX, NULL); /* requests at a time bound it */
    }
    event_timer_every(TRIM_MS, trim, NULL);
    return geteuid() == 0 ? jail_user(conf_mail_owner, &lookup_uid, &lookup_gid, name) : 0;
}

void pool_end(void)
{
    for (int n = 0; n < POOLS; n++)
        list_each(it, &pools[n].idle) end(list_entry(it, struct child, node));
}
