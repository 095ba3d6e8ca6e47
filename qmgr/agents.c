/*
 * agents - connections to delivery agents
 *
 * Callers     deliver.c
 * Invariants  one delivery a connection at a time; an idle connection is kept for the next delivery unless another
 *             delivery of the same transport waits to be connected: with maxproc reached, closing it lets that one in
 *             an agent that dies is asked once more, over a new connection, for what it left open: the queue file's
 *             marks say what that is
 * Errors      -1 with the words that the log will show
 */
#include "qmgr_internal.h"
#include "base/log.h"
#include "base/time.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    IDLE_MAX = 100,
    IDLE_MS = 10000,
    DELIVERY_MS = 86400 * 1000 /* agents have deadlines of their own */,
    FRESH_TRIES = 2
};

struct idle {
    struct stream *stream;
    int64_t since;
};
struct agents {
    struct idle idle[IDLE_MAX]; /* oldest first: the newest is used next, so that the others can go */
    size_t count, connecting;
};

static struct agents *agents_of(struct transport *t)
{
    if (t->user == NULL)
        t->user = mem_new(sizeof(struct agents));
    return t->user;
}

static struct stream *idle_take(struct agents *a) { return a->count > 0 ? a->idle[--a->count].stream : NULL; }

static void idle_keep(struct agents *a, struct stream *s)
{
    if (a->connecting > 0 || a->count == IDLE_MAX)
        stream_free(&s);
    else
        a->idle[a->count++] = (struct idle){ s, time_mono_ms() };
}

static void idle_close(struct agents *a, size_t first)
{
    for (size_t i = 0; i < first; i++)
        stream_free(&a->idle[i].stream);
    a->count -= first;
    memmove(a->idle, a->idle + first, a->count * sizeof *a->idle);
}

void agents_sweep(int64_t now)
{
    list_each(n, &qmgr_schedule.transports)
    {
        struct agents *a = agents_of(list_entry(n, struct transport, at));
        size_t old = 0;

        while (old < a->count && a->idle[old].since + IDLE_MS <= now)
            old++;
        idle_close(a, old);
    }
}

static struct stream *connect_to(struct transport *t, struct agents *a)
{
    char *service = mem_printf("private/%s", t->name);
    struct stream *s;

    a->connecting++;
    s = ipc_open(service, DELIVER_PROTOCOL, DELIVER_VERSION, time_mono_ms() + qmgr_agent_seconds * 1000);
    a->connecting--;
    if (s == NULL)
        log_warn("connect to transport %s: %s", service, errno ? strerror(errno) : "connection closed");
    free(service);
    return s;
}

/* Recipients that are marked done leave the request. */
static void drop_done(struct deliver_request *rq)
{
    size_t kept = 0;

    for (size_t i = 0; i < rq->rcpt_count; i++) {
        char type = 0;
        if (pread(rq->fd, &type, 1, rq->rcpts[i].offset) == 1 && type == REC_DONE)
            continue;
        rq->rcpts[kept++] = rq->rcpts[i];
    }
    rq->rcpt_count = kept;
}

int agent_ask(struct transport *t, struct deliver_request *rq, struct deliver_answer *out, const char **why)
{
    struct agents *a = agents_of(t);
    unsigned lost = 0; /* what agents that died may have written to */
    int fresh = 0;

    while (fresh < FRESH_TRIES) {
        struct stream *s = fresh == 0 ? idle_take(a) : NULL;

        if (s == NULL) {
            fresh++;
            s = connect_to(t, a);
            if (s == NULL) {
                *why = "mail transport unavailable";
                return -1;
            }
        }
        stream_timeout(s, DELIVERY_MS);
        if (deliver_ask(s, rq, out) == 0) {
            out->logs |= lost;
            idle_keep(a, s);
            return 0;
        }
        if (errno == EBADMSG) { /* its fault is the message's, not the transport's: other mail goes on */
            log_warn("%s: transport %s refuses the request as malformed", rq->queue_id, t->name);
            *why = "malformed delivery request";
            idle_keep(a, s);
            return 1;
        }
        if (fresh > 0)
            log_warn("%s: transport %s did not answer: %s", rq->queue_id, t->name,
                     errno ? strerror(errno) : "connection closed");
        stream_free(&s);
        lost = DELIVER_LOGS;
        idle_close(a, a->count); /* its process is gone: the others are no better */
        drop_done(rq);
        if (rq->rcpt_count == 0) {
            *out = (struct deliver_answer){ .logs = lost };
            return 0;
        }
    }
    log_warn("transport %s failure -- see a previous warning/fatal/panic logfile record for the problem description",
             t->name);
    *why = "unknown mail transport error";
    return -1;
}
