/* mailboxd_serve - the other end of the channel: orders in, one answer each; see mailboxd.h */
#include "base/log.h"
#include "base/mem.h"
#include "client/mailboxd_internal.h"
#include "event/event.h"
#include "ipc/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct serve {
    struct stream *stream;
    mailboxd_fn run;
    size_t orders;
    struct event_sem sending;
    struct event_cond ended;
};
struct one {
    struct serve *serve;
    struct msg *in; /* the order's strings are its */
    struct mailboxd_order order;
};

static int decode(struct msg *m, struct mailboxd_order *o)
{
    o->path = msg_get_str(m, "path", MAILBOXD_PATH_BYTES);
    o->head = msg_get(m, "head", MAILBOXD_HEAD_BYTES);
    o->no_index = msg_get_num(m, "no_index", 0, 1);
    o->limit = msg_get_num(m, "limit", 0, INT64_MAX);
    o->content_bytes = (uint64_t) msg_get_num(m, "bytes", 0, INT64_MAX);
    o->content_fd = msg_take_fd(m);
    return strcmp(msg_name(m), MAILBOXD_W_DELIVER) == 0 && msg_done(m) && o->path[0] == '/' ? 0 : -1;
}

static void answer(struct serve *s, uint32_t id, const struct err *err, uint64_t bytes)
{
    struct msg *m = msg_new(MAILBOXD_W_DONE);

    msg_put_num(m, "code", err->code);
    msg_put_str(m, "dsn", err->dsn);
    msg_put_str(m, "text", err->text);
    msg_put_num(m, "bytes", (int64_t) bytes);
    if (event_sem_get(&s->sending, EVENT_NEVER) == 0) {
        (void) msg_send(s->stream, m, id); /* the caller is gone: it has answered nobody */
        event_sem_put(&s->sending);
    }
    msg_free(&m);
}

static void deliver(void *arg)
{
    struct one *one = arg;
    struct serve *s = one->serve;
    struct err err = { 0 };
    uint64_t bytes = 0;

    if (one->serve->run(&one->order, &bytes, &err) == 0)
        err = (struct err){ 0 };
    else if (err.code == 0)
        (void) err_set(&err, 451, "4.3.0", "delivery failed");
    answer(s, msg_id(one->in), &err, bytes);
    close(one->order.content_fd);
    msg_free(&one->in);
    free(one);
    s->orders--;
    event_cond_broadcast(&s->ended);
}

void mailboxd_serve(int control_fd, mailboxd_fn run)
{
    struct serve s = { .stream = stream_new(control_fd), .run = run, .sending = { .permits = 1 } };
    struct msg *m;

    stream_receive_fds(s.stream);
    while (msg_recv(s.stream, &m) == 0) {
        struct one *one = mem_new(sizeof *one);
        one->serve = &s;
        one->in = m;
        if (decode(m, &one->order) < 0) {
            log_warn("an order \"%s\" that cannot be used", msg_name(m));
            if (one->order.content_fd >= 0)
                close(one->order.content_fd);
            msg_free(&m);
            free(one);
            break;
        }
        s.orders++;
        fiber_go("delivery", deliver, one);
    }
    fiber_shield(true); /* deliveries are cancelled too, and use what stands on this stack */
    while (s.orders)
        event_cond_wait(&s.ended, EVENT_NEVER);
    fiber_shield(false);
    stream_free(&s.stream);
}
