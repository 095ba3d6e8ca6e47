/*
 * request - a connection of frames: greeting, requests side by side, answers in any order
 *
 * Invariants  at most REQUESTS_AT_ONCE of a connection run at a time; the next frame waits in the socket
 *             a connection ends when its client closes it and its requests have ended; when the process drains, also
 *             BYE_IDLE_MS after its client was told so, without a request
 */
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "service/internal.h"

#include <errno.h>
#include <stdlib.h>

enum { REQUESTS_AT_ONCE = 500, GREETING_MS = 60000, BYE_IDLE_MS = 5000 };

struct wire { /* the connection */
    struct list node;
    struct stream *stream;
    struct event_sem sending, running;
    size_t open; /* requests that run */
    struct event_cond ended;
    void *ctx;
    void (*free_ctx)(void *);
    struct fiber *reader;
    bool waiting;       /* the reader waits between requests */
    int64_t idle_since; /* when it began to, or the last request ended */
};
struct service_conn { /* one request on it */
    struct list node; /* in `side_by_side`, while it runs in a fiber of its own */
    struct fiber *fiber;
    struct wire *wire;
    const struct service_request *request;
    struct msg *in;
    uint32_t id;
    bool answered;
};
static struct list wires = { &wires, &wires };
static struct list side_by_side = { &side_by_side, &side_by_side };

struct msg *service_status(const char *status) { return msg_new(status); }
void *service_conn_ctx(struct service_conn *c) { return c->wire->ctx; }

void service_conn_set(struct service_conn *c, void *ctx, void (*free_ctx)(void *))
{
    if (c->wire->ctx && c->wire->free_ctx && c->wire->ctx != ctx)
        c->wire->free_ctx(c->wire->ctx);
    c->wire->ctx = ctx;
    c->wire->free_ctx = free_ctx;
}

struct stream *service_conn_stream(struct service_conn *c)
{
    if (!c->request->in_order)
        log_panic("request %s uses the stream but is not in_order", c->request->name);
    return c->wire->stream;
}

static int send_locked(struct wire *w, struct msg *m, uint32_t id)
{
    int rc;

    if (event_sem_get(&w->sending, EVENT_NEVER) < 0)
        return -1;
    rc = msg_send(w->stream, m, id);
    int keep = errno;
    event_sem_put(&w->sending);
    errno = keep;
    return rc;
}

void service_reply(struct service_conn *c, struct msg **reply)
{
    if (c->answered)
        log_panic("request %s is answered twice", c->request->name);
    c->answered = true;
    if (send_locked(c->wire, *reply, c->id) < 0)
        log_debug("the answer to %s was not sent: %s", c->request->name, strerror(errno));
    msg_free(reply);
}

static void run_request(void *arg)
{
    struct service_conn *c = arg;
    struct wire *w = c->wire;

    c->request->run(c, c->in);
    msg_free(&c->in);
    list_del(&c->node);
    free(c);
    w->open--;
    w->idle_since = time_mono_ms();
    event_sem_put(&w->running);
    event_cond_broadcast(&w->ended);
}

static const struct service_request *find(const char *name)
{
    for (const struct service_request *r = service_state.svc->requests; r && r->name; r++)
        if (strcmp(r->name, name) == 0)
            return r;
    return NULL;
}

static int start(struct wire *w, struct msg *in)
{
    const struct service_request *r = find(msg_name(in));
    struct service_conn *c;

    if (r == NULL) {
        log_warn("unknown request \"%s\"", msg_name(in));
        msg_free(&in);
        return -1;
    }
    if (event_sem_get(&w->running, EVENT_NEVER) < 0) {
        msg_free(&in);
        return -1;
    }
    c = mem_new(sizeof *c);
    *c = (struct service_conn){ .wire = w, .request = r, .in = in, .id = msg_id(in) };
    list_init(&c->node);
    w->open++;
    if (r->in_order) {
        run_request(c);
        return 0;
    }
    list_append(&side_by_side, &c->node);
    c->fiber = fiber_new(r->name, run_request, c);
    fiber_detach(c->fiber);
    return 0;
}

static void say_bye(void *arg)
{
    struct wire *w = arg;
    struct msg *m = msg_new(MSG_BYE);

    send_locked(w, m, 0);
    msg_free(&m);
    w->open--;
    event_cond_broadcast(&w->ended);
}

void request_bye(void)
{
    list_each(it, &wires)
    {
        struct wire *w = list_entry(it, struct wire, node);
        w->open++;
        w->idle_since = time_mono_ms(); /* a client that asks at this moment is not cut off */
        fiber_go("bye", say_bye, w);
    }
}

int64_t request_idle(int64_t since_ms)
{
    int64_t n = 0;

    list_each(it, &wires)
    {
        struct wire *w = list_entry(it, struct wire, node);
        n += w->waiting && w->open == 0 && w->ctx == NULL && w->idle_since <= since_ms;
    }
    return n;
}

void request_close_idle(void)
{
    int64_t now = time_mono_ms();

    list_each(it, &wires)
    {
        struct wire *w = list_entry(it, struct wire, node);
        if (w->waiting && w->open == 0 && now - w->idle_since > BYE_IDLE_MS)
            fiber_cancel(w->reader);
    }
}

void request_cancel(void)
{
    list_each(it, &side_by_side) fiber_cancel(list_entry(it, struct service_conn, node)->fiber);
}

static bool next_request(struct wire *w)
{
    int rc;

    if (stream_buffered(w->stream) > 0)
        return true;
    w->waiting = true;
    w->idle_since = time_mono_ms();
    rc = event_wait_fd(stream_fd(w->stream), EVENT_READ, EVENT_NEVER);
    w->waiting = false;
    stream_ready(w->stream);
    return rc >= 0;
}

static void read_requests(struct wire *w)
{
    struct msg *in;

    while (next_request(w)) {
        if (msg_recv(w->stream, &in) < 0) {
            if (errno == EPROTO)
                log_warn("malformed frame from a client");
            return;
        }
        if (start(w, in) < 0)
            return;
        if (w->open == 0 && !service_state.alone && serve_stale())
            serve_drain(SERVE_RELOAD);
    }
}

void request_serve(struct stream *s)
{
    struct wire w = { .stream = s, .sending.permits = 1, .running.permits = REQUESTS_AT_ONCE };

    stream_deadline(s, time_mono_ms() + GREETING_MS);
    if (ipc_greet_server(s, service_state.svc->protocol, service_state.svc->version) < 0)
        return;
    stream_deadline(s, EVENT_NEVER);
    stream_timeout(s, conf_ipc_timeout * 1000);
    w.reader = fiber_self();
    list_append(&wires, &w.node);
    read_requests(&w);
    list_del(&w.node);
    fiber_shield(true); /* requests look at the connection's state: they end first */
    while (w.open > 0)
        event_cond_wait(&w.ended, EVENT_NEVER);
    fiber_shield(false);
    serve_idle_from(w.idle_since); /* that a silent connection was closed is no work */
    if (w.ctx && w.free_ctx)
        w.free_ctx(w.ctx);
}
