/* procs - the table of users' processes; who may call it and what holds: procs.h */
#include "procs.h"

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

enum { PROCS_MAX = 100000, SESSIONS_OF_ONE = 10000, SPAWN_TIMEOUT_MS = 30000, SEND_TIMEOUT_MS = 10000, TRIES = 2 };

static int64_t idle_time;
const struct param procs_params[] = {
    { .name = "mail_process_idle_time",
      .type = PARAM_SECONDS,
      .num = &idle_time,
      .def = "60s",
      .min = 0,
      .max = 86400,
      .doc = "How long a user's imapd or pop3d is kept after its last session." },
    { .type = PARAM_END },
};

struct proc {
    char *key;
    pid_t pid;
    struct stream *control; /* NULL while it is being spawned */
    bool failed;            /* the spawn did */
    bool gone;              /* no longer in the map; freed when `users` is 0 */
    unsigned users;         /* fibers that hold this pointer */
    struct event_cond spawned;
    struct map *sessions;    /* id -> the client's address */
    struct event_sem writer; /* one frame at a time */
    struct event_timer *idle;
};
static struct map *procs; /* key -> struct proc; lives as long as the process */

static void hold(struct proc *p) { p->users++; }

static void release(struct proc *p)
{
    if (--p->users || !p->gone)
        return;
    stream_free(&p->control);
    map_free(&p->sessions);
    event_timer_free(&p->idle);
    free(p->key);
    free(p);
}

/* Out of the map: nobody is handed to it any more. Its reader ends with its channel. */
static void forget(struct proc *p)
{
    if (p->gone)
        return;
    map_take(procs, slice_of(p->key));
    p->gone = true;
}

static void on_idle(void *arg)
{
    struct proc *p = arg;

    if (p->gone || map_count(p->sessions))
        return;
    hold(p);
    forget(p);
    if (p->control)
        shutdown(stream_fd(p->control), SHUT_RDWR); /* its end, and our reader's */
    release(p);
}

static void idle_begins(struct proc *p)
{
    if (p->gone)
        return;
    event_timer_free(&p->idle);
    p->idle = event_timer_new(service_stopping() ? 0 : idle_time * 1000, on_idle, p);
}

/* What a process says: sessions that ended. Runs until its channel closes. */
static void read_process(void *arg)
{
    struct proc *p = arg;
    struct msg *m;

    while (msg_recv(p->control, &m) == 0) {
        const char *id = msg_get_str(m, "session", DISPATCHER_TEXT_BYTES);
        if (strcmp(msg_name(m), DISPATCHER_W_ENDED) != 0 || !msg_done(m))
            log_warn("process %ld sent a frame \"%s\" that cannot be used", (long) p->pid, msg_name(m));
        else if (map_del(p->sessions, slice_of(id)) && map_count(p->sessions) == 0)
            idle_begins(p);
        msg_free(&m);
    }
    forget(p);
    release(p);
}

static struct proc *proc_new(const char *key)
{
    struct proc *p = mem_new(sizeof *p);

    if (procs == NULL)
        procs = map_new(PROCS_MAX, NULL);
    p->key = mem_strdup(key);
    p->sessions = map_new(SESSIONS_OF_ONE, free);
    p->writer.permits = 1;
    if (!map_set(procs, slice_of(key), p)) {
        log_warn("more than %d users at a time: one is turned away", PROCS_MAX);
        p->gone = true;
    }
    return p;
}

static int spawn(struct proc *p, const struct proc_order *o)
{
    struct service_spawn order = { .program = o->program, .directory = o->directory, .uid = o->uid, .gid = o->gid };
    int pair[2];

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

/* The process of that key, held; NULL when it cannot be had. */
static struct proc *find(const struct proc_order *o)
{
    struct proc *p = procs ? map_get(procs, slice_of(o->key)) : NULL;

    if (p) {
        hold(p);
        while (p->control == NULL && !p->failed)
            if (event_cond_wait(&p->spawned, time_mono_ms() + SPAWN_TIMEOUT_MS) < 0)
                break;
    } else {
        p = proc_new(o->key);
        hold(p);
        if (p->gone || spawn(p, o) < 0) {
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
    if (rc == 0)
        rc = stream_flush(p->control);
    msg_free(&m);
    event_sem_put(&p->writer);
    return rc;
}

static size_t sessions_from(const struct proc *p, const char *rip)
{
    struct slice id;
    void *from;
    size_t n = 0;

    for (size_t at = 0; map_next(p->sessions, &at, &id, &from);)
        n += strcmp(from, rip) == 0;
    return n;
}

/* Counted and entered in one step: those who waited for the same spawn come here one after the other. */
static int enter(struct proc *p, const struct proc_order *o, const struct dispatcher_session *s)
{
    if (o->from_one_address && sessions_from(p, s->rip) >= o->from_one_address) {
        errno = EUSERS;
        return -1;
    }
    if (map_get(p->sessions, slice_of(s->id)) || !map_set(p->sessions, slice_of(s->id), mem_strdup(s->rip))) {
        log_warn("session <%s>: there is one of that name, or more than %d of one user: turned away", s->id,
                 SESSIONS_OF_ONE);
        errno = EAGAIN;
        return -1;
    }
    return 0;
}

int procs_send(const struct proc_order *o, const struct dispatcher_session *s, pid_t *pid)
{
    /* The second try: the process ended between being found and being told. */
    for (int i = 0; i < TRIES; i++) {
        struct proc *p = find(o);
        if (p == NULL) {
            errno = EAGAIN;
            return -1;
        }
        if (enter(p, o, s) < 0) {
            int keep = errno;
            release(p);
            errno = keep;
            return -1;
        }
        event_timer_free(&p->idle);
        int rc = send_once(p, s);
        *pid = p->pid;
        if (rc < 0) {
            map_del(p->sessions, slice_of(s->id));
            forget(p);
        }
        release(p);
        if (rc == 0)
            return 0;
    }
    log_warn("session <%s>: its process did not take it", s->id);
    errno = EAGAIN;
    return -1;
}

bool procs_drained(void)
{
    struct slice key;
    void *value;

    if (procs == NULL)
        return true;
    for (size_t at = 0; map_next(procs, &at, &key, &value);)
        on_idle(value);
    return map_count(procs) == 0;
}
