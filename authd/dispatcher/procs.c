/* procs - the table of users and their processes; who may call it and what holds: procs.h */
#include "procs.h"

#include "keepers.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/dispatcher_wire.h"
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    USERS_MAX = 100000,
    SESSIONS_OF_ONE = 10000,
    SPAWN_TIMEOUT_MS = 30000,
    SEND_TIMEOUT_MS = 10000,
    TRIES = 3,
    TAKE_TIMEOUT_MS = 10000,
    READ_AT_ONCE = 200,
    FRAME_TIMEOUT_MS = 10000,
    SLEPT_KEEP_MS = 1000
};

static int64_t idle_time, idle_limit;
const struct param procs_params[] = {
    { .name = "mail_process_idle_time",
      .type = PARAM_SECONDS,
      .num = &idle_time,
      .def = "60s",
      .min = 0,
      .max = 86400,
      .doc = "How long a user's imapd or pop3d is kept after its last session." },
    { .name = "mail_idle_process_limit",
      .type = PARAM_INT,
      .num = &idle_limit,
      .def = "500",
      .min = 0,
      .max = 100000,
      .doc =
          "How many imapd and pop3d processes without a session are kept at a time, a quarter of a MiB each; where "
          "there are more, those that have waited longest go before mail_process_idle_time is over." },
    { .type = PARAM_END },
};

struct proc {
    struct user *user;
    pid_t pid;
    struct stream *control; /* NULL while it is being spawned */
    bool failed;            /* the spawn did */
    bool gone;              /* its user has it no longer; freed when `holders` is 0 */
    bool told;              /* that the mail system stops */
    unsigned holders;       /* fibers that hold this pointer */
    size_t awake;           /* sessions that it serves */
    struct event_cond spawned;
    struct event_sem writer; /* one frame at a time */
    struct list offers;
    struct event_cond answered; /* one of the offers, or `heard_all` */
    bool heard_all;             /* it can say nothing any more */
    struct list resting;        /* in `idlers`, or unlinked */
    struct event_timer *idle;
};
/* Processes without a session, those that have waited longest first. */
static struct list idlers = { &idlers, &idlers };
static size_t idler_count;
/* A session that was sent and that its process has not answered. Lives on the stack of its sender. */
struct offer {
    struct list node;
    const char *id;
    bool taken;
};
struct session {
    char *rip;
    struct proc *proc; /* NULL while it sleeps */
};
struct user {
    struct proc_order order; /* of the first session: its strings are the user's own */
    struct map *sessions;    /* id -> struct session */
    struct proc *proc;       /* NULL: none, or none yet */
    unsigned holders;
};
static struct map *users; /* key -> struct user; lives as long as the process */

static void session_free(void *p)
{
    struct session *s = p;

    free(s->rip);
    free(s);
}

static struct user *user_get(const struct proc_order *o)
{
    struct user *u;

    if (users == NULL)
        users = map_new(USERS_MAX, NULL);
    if ((u = map_get(users, slice_of(o->key))) == NULL) {
        u = mem_new(sizeof *u);
        u->order = *o;
        u->order.key = mem_strdup(o->key);
        u->order.program = mem_strdup(o->program);
        u->order.directory = mem_strdup(o->directory);
        for (int i = 0; i < SERVICE_PLACES; i++)
            u->order.place[i] = o->place[i] ? mem_strdup(o->place[i]) : NULL;
        u->order.hint = o->hint ? mem_strdup(o->hint) : NULL;
        u->sessions = map_new(SESSIONS_OF_ONE, session_free);
        if (!map_set(users, slice_of(o->key), u))
            log_warn("more than %d users at a time: one is turned away", USERS_MAX);
    }
    u->holders++;
    return u;
}

/* Goes when nobody holds it and there is nothing left to know. */
static void user_put(struct user *u)
{
    if (--u->holders || u->proc || map_count(u->sessions))
        return;
    if (map_get(users, slice_of(u->order.key)) == u)
        map_take(users, slice_of(u->order.key));
    map_free(&u->sessions);
    free((char *) (uintptr_t) u->order.key);
    free((char *) (uintptr_t) u->order.program);
    free((char *) (uintptr_t) u->order.directory);
    for (int i = 0; i < SERVICE_PLACES; i++)
        free((char *) (uintptr_t) u->order.place[i]);
    free((char *) (uintptr_t) u->order.hint);
    free(u);
}

static void hold(struct proc *p) { p->holders++; }

static void release(struct proc *p)
{
    if (--p->holders || !p->gone)
        return;
    stream_free(&p->control);
    event_timer_free(&p->idle);
    user_put(p->user);
    free(p);
}

static void idle_ends(struct proc *p)
{
    event_timer_free(&p->idle);
    if (list_empty(&p->resting))
        return;
    list_del(&p->resting);
    idler_count--;
}

/* Nobody is handed to it any more; it ends with the sessions it has, if any. Its reader ends with its channel. */
static void forget(struct proc *p)
{
    struct slice id;
    void *value;

    if (p->gone)
        return;
    idle_ends(p);
    if (p->control)
        shutdown(stream_fd(p->control), SHUT_RDWR); /* its end, and our reader's; what it had said is still read */
    p->gone = true;
    p->user->proc = NULL;
    for (size_t at = 0; map_next(p->user->sessions, &at, &id, &value);)
        if (((struct session *) value)->proc == p)
            map_del(p->user->sessions, id);
}

/* One that is being started is not idle: a session waits for it. */
static void on_idle(void *arg)
{
    struct proc *p = arg;

    if (p->gone || p->awake || p->control == NULL)
        return;
    hold(p);
    forget(p);
    release(p);
}

/* From here on it may go, if it has no session. */
static void idle_begins(struct proc *p, int64_t keep_ms)
{
    if (p->awake || p->gone)
        return;
    idle_ends(p);
    list_append(&idlers, &p->resting);
    p->idle = event_timer_new(service_stopping() ? 0 : keep_ms, on_idle, p);
    if (++idler_count > (size_t) idle_limit)
        on_idle(list_entry(idlers.next, struct proc, resting)); /* this one is in it */
}

static void one_less(struct proc *p, int64_t keep_ms)
{
    p->awake--;
    idle_begins(p, keep_ms);
}

struct sleeping {
    struct user *user;
    struct dispatcher_session *session; /* its descriptor is the keeper's */
    struct dispatcher_sleep how;
    char *notify;
    int fd; /* where no keeper takes it */
};

static void close_directories(struct dispatcher_sleep *how)
{
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++) {
        if (how->dir_fd[i] >= 0)
            close(how->dir_fd[i]);
        how->dir_fd[i] = -1;
    }
}

/* Its entry makes room for the one that procs_send enters. */
static void sleep_over(void *arg, int fd)
{
    struct sleeping *z = arg;
    struct proc_order order = z->user->order;
    pid_t pid;

    map_del(z->user->sessions, slice_of(z->session->id));
    order.from_one_address = 0; /* it has been let in */
    order.deadline = EVENT_NEVER;
    z->session->fd = fd;
    if (fd >= 0 && procs_send(&order, z->session, &pid) < 0)
        log_warn("session <%s>: cannot be woken: its client is disconnected", z->session->id);
    dispatcher_session_free(&z->session);
    user_put(z->user);
    free(z->notify);
    free(z);
}

static void back_at_once(void *arg)
{
    struct sleeping *z = arg;

    sleep_over(z, z->fd);
}

static void put_to_sleep(struct sleeping *z)
{
    struct dispatcher_sleep how = z->how; /* *z ends with the sleep, which may be short */
    int fd = z->session->fd;

    z->session->fd = -1;
    z->fd = fd;
    if (keepers_hold(fd, &how, sleep_over, z) == 0)
        close(fd);
    else
        fiber_go("awake", back_at_once, z);
    close_directories(&how);
}

/* A session that its process gives back. */
static int on_sleep(struct proc *p, struct msg *m)
{
    struct sleeping *z;
    struct session *s;
    struct dispatcher_session *d;

    if (dispatcher_session_decode(m, &d) < 0)
        return -1;
    s = map_get(p->user->sessions, slice_of(d->id));
    z = mem_new(sizeof *z);
    if (s == NULL || s->proc != p || d->state.len == 0 || dispatcher_sleep_decode(m, &z->how) < 0) {
        dispatcher_session_free(&d);
        free(z);
        return -1;
    }
    z->notify = mem_strdup(z->how.notify);
    z->how.notify = z->notify;
    z->session = d;
    z->user = p->user;
    z->user->holders++;
    s->proc = NULL;
    /* A client that has been quiet for so long will be for longer, and a new process costs a millisecond. */
    one_less(p, idle_time * 1000 < SLEPT_KEEP_MS ? idle_time * 1000 : SLEPT_KEEP_MS);
    put_to_sleep(z);
    return 0;
}

static int on_ended(struct proc *p, struct msg *m)
{
    struct slice id = slice_of(msg_get_str(m, "session", DISPATCHER_TEXT_BYTES));
    struct session *s = msg_done(m) ? map_get(p->user->sessions, id) : NULL;

    if (s == NULL || s->proc != p)
        return -1;
    map_del(p->user->sessions, id);
    one_less(p, idle_time * 1000);
    return 0;
}

/* Its process speaks to the client from now on. */
static int on_taken(struct proc *p, struct msg *m)
{
    const char *id = msg_get_str(m, "session", DISPATCHER_TEXT_BYTES);

    if (!msg_done(m))
        return -1;
    list_each(it, &p->offers)
    {
        struct offer *o = list_entry(it, struct offer, node);
        if (o->taken || strcmp(o->id, id) != 0)
            continue;
        o->taken = true;
        event_cond_broadcast(&p->answered);
        return 0;
    }
    return -1;
}

/* What comes beside a frame is open here until a keeper has it: thousands at once would take all descriptors. */
static struct event_sem reading = { .permits = READ_AT_ONCE };

/* What a process says of its sessions. Runs until its channel closes. */
static void read_process(void *arg)
{
    struct proc *p = arg;

    while (msg_wait(p->control) == 0 && event_sem_get(&reading, EVENT_NEVER) == 0) {
        struct msg *m;
        int rc = -1;

        stream_deadline(p->control, time_mono_ms() + FRAME_TIMEOUT_MS);
        if (msg_recv(p->control, &m) < 0) {
            event_sem_put(&reading);
            break;
        }
        stream_deadline(p->control, EVENT_NEVER);
        if (strcmp(msg_name(m), DISPATCHER_W_TAKEN) == 0)
            rc = on_taken(p, m);
        else if (strcmp(msg_name(m), DISPATCHER_W_ENDED) == 0)
            rc = on_ended(p, m);
        else if (strcmp(msg_name(m), DISPATCHER_W_SLEEP) == 0)
            rc = on_sleep(p, m);
        if (rc < 0)
            log_warn("process %ld sent a frame \"%s\" that cannot be used", (long) p->pid, msg_name(m));
        msg_free(&m);
        event_sem_put(&reading);
    }
    forget(p); /* from here on it can take nothing: see offer() */
    p->heard_all = true;
    event_cond_broadcast(&p->answered);
    release(p);
}

static int spawn(struct proc *p, const struct proc_order *o)
{
    struct service_spawn order = {
        .program = o->program, .directory = o->directory, .hint = o->hint, .uid = o->uid, .gid = o->gid
    };
    int pair[2];

    for (int i = 0; i < SERVICE_PLACES; i++)
        order.place[i] = o->place[i];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        log_error("cannot make a control channel: %s", strerror(errno));
        return -1;
    }
    int rc = service_spawn(&order, pair[1], time_mono_ms() + SPAWN_TIMEOUT_MS, &p->pid);
    int keep = errno;
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        log_error("cannot start %s in %s as uid %u: %s", o->program, o->directory, (unsigned) o->uid, strerror(keep));
        return -1;
    }
    p->control = stream_new(pair[0]);
    hold(p);
    fiber_go("control", read_process, p);
    return 0;
}

static struct proc *proc_new(struct user *u)
{
    struct proc *p = mem_new(sizeof *p);

    p->writer.permits = 1;
    list_init(&p->offers);
    list_init(&p->resting);
    p->user = u;
    u->holders++;
    u->proc = p;
    return p;
}

/* The user's process, held; NULL when it cannot be had. */
static struct proc *find(struct user *u, const struct proc_order *o)
{
    struct proc *p = u->proc;

    if (p) {
        hold(p);
        while (p->control == NULL && !p->failed)
            if (event_cond_wait(&p->spawned, time_mono_ms() + SPAWN_TIMEOUT_MS) < 0)
                break;
    } else {
        p = proc_new(u);
        hold(p);
        if (map_get(users, slice_of(o->key)) != u || spawn(p, o) < 0) {
            p->failed = true;
            forget(p);
        }
        event_cond_broadcast(&p->spawned);
    }
    if (p->control && !p->failed)
        return p;
    release(p);
    return NULL;
}

static int send_once(struct proc *p, const struct dispatcher_session *s)
{
    struct msg *m;
    int rc;

    if (event_sem_get(&p->writer, time_mono_ms() + SEND_TIMEOUT_MS) < 0)
        return -1;
    m = dispatcher_session_encode(s, DISPATCHER_W_SESSION);
    rc = msg_send(p->control, m, 0);
    msg_free(&m);
    event_sem_put(&p->writer);
    return rc;
}

/* 0: the process has said that it took the session. -1: it did not and never will, so another may get it: a process
 * serves no session that it cannot answer for, and what it had answered before its channel was shut is read first. */
static int offer(struct proc *p, const struct dispatcher_session *s, int64_t deadline)
{
    struct offer o = { .id = s->id };
    int64_t until = time_mono_ms() + TAKE_TIMEOUT_MS;
    int rc;

    list_append(&p->offers, &o.node);
    rc = send_once(p, s);
    if (deadline < until)
        until = deadline;
    fiber_shield(true); /* its end is waited for in any case */
    while (rc == 0 && !o.taken && !p->heard_all)
        if (event_cond_wait(&p->answered, until) < 0) {
            shutdown(stream_fd(p->control), SHUT_RDWR);
            until = EVENT_NEVER;
        }
    fiber_shield(false);
    list_del(&o.node);
    return o.taken ? 0 : -1;
}

static size_t sessions_from(const struct user *u, const char *rip)
{
    struct slice id;
    void *value;
    size_t n = 0;

    for (size_t at = 0; map_next(u->sessions, &at, &id, &value);)
        n += strcmp(((struct session *) value)->rip, rip) == 0;
    return n;
}

/* Counted and entered in one step: those who waited for the same spawn come here one after the other. */
static int enter(struct proc *p, const struct proc_order *o, const struct dispatcher_session *d)
{
    struct map *sessions = p->user->sessions;
    struct session *s;

    if (o->from_one_address && sessions_from(p->user, d->rip) >= o->from_one_address) {
        errno = EUSERS;
        return -1;
    }
    s = mem_new(sizeof *s);
    s->rip = mem_strdup(d->rip);
    s->proc = p;
    if (map_get(sessions, slice_of(d->id)) || !map_set(sessions, slice_of(d->id), s)) {
        log_warn("session <%s>: there is one of that name, or more than %d of one user: turned away", d->id,
                 SESSIONS_OF_ONE);
        session_free(s);
        errno = EAGAIN;
        return -1;
    }
    p->awake++;
    idle_ends(p);
    return 0;
}

static void leave(struct proc *p, const char *id)
{
    struct session *s = map_get(p->user->sessions, slice_of(id));

    if (s && s->proc == p)
        map_del(p->user->sessions, slice_of(id));
}

/* One try. *again: the process ended, or stood still, before it took the session. */
static int hand(struct user *u, const struct proc_order *o, const struct dispatcher_session *s, pid_t *pid,
                bool *again)
{
    struct proc *p = find(u, o);
    int rc, keep;

    *again = false;
    if (p == NULL) {
        errno = EAGAIN;
        return -1;
    }
    *pid = p->pid;
    rc = enter(p, o, s);
    keep = errno;
    if (rc < 0) { /* it may have been started for this one */
        idle_begins(p, idle_time * 1000);
    } else if ((rc = offer(p, s, o->deadline)) < 0) {
        forget(p);
        leave(p, s->id); /* where it was forgotten before the session was entered */
        *again = true;
    }
    release(p);
    errno = keep;
    return rc;
}

int procs_send(const struct proc_order *o, const struct dispatcher_session *s, pid_t *pid)
{
    struct user *u = user_get(o);
    bool again = true;
    int rc = -1, keep;

    for (int i = 0; i < TRIES && rc < 0 && again; i++) {
        if (i > 0 && (service_stopped() || time_mono_ms() >= o->deadline))
            break;
        rc = hand(u, o, s, pid, &again);
    }
    if (rc < 0 && again) {
        log_warn("session <%s>: its process did not take it", s->id);
        errno = EAGAIN;
    }
    keep = errno;
    user_put(u);
    errno = keep;
    return rc;
}

/* Its sessions end in their own words; it ends then. */
static void tell_stop(void *arg)
{
    struct proc *p = arg;

    if (p->control && event_sem_get(&p->writer, time_mono_ms() + SEND_TIMEOUT_MS) == 0) {
        struct msg *m = msg_new(DISPATCHER_W_STOP);
        msg_send(p->control, m, 0);
        msg_free(&m);
        event_sem_put(&p->writer);
    }
    release(p);
}

static void begin_stop(struct proc *p)
{
    if (p->told || p->control == NULL)
        return;
    p->told = true;
    hold(p);
    fiber_go("stop", tell_stop, p);
}

bool procs_drained(void)
{
    struct slice key;
    void *value;

    if (users == NULL)
        return true;
    if (service_stopped()) /* a reload leaves those who sleep where they are until they end by themselves */
        keepers_stop();
    for (size_t at = 0; map_next(users, &at, &key, &value);) {
        struct user *u = value;
        u->holders++;
        if (service_stopped() && u->proc)
            begin_stop(u->proc);
        if (u->proc)
            on_idle(u->proc);
        user_put(u);
    }
    return map_count(users) == 0;
}
