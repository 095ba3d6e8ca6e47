/*
 * channel - the daemon's end of the status channel: orders in, questions and status out
 */
#include "service/channel.h"

#include "base/log.h"
#include "base/mem.h"
#include "service/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct question {
    struct list node;
    uint32_t id;
    struct msg *answer;
    bool done;
    struct event_cond cond;
};
static struct list questions = { &questions, &questions };
static uint32_t last_id;
static bool broken;
static struct event_sem sending = { .permits = 1 };

bool channel_present(void)
{
    int type = 0;
    socklen_t len = sizeof type;

    return getsockopt(CHANNEL_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

static int send_packet(struct msg *m, uint32_t id, int64_t deadline)
{
    int rc;

    if (broken) {
        errno = EPIPE;
        return -1;
    }
    if (event_sem_get(&sending, deadline) < 0)
        return -1;
    while ((rc = msg_send_packet(CHANNEL_FD, m, id)) < 0 && errno == EAGAIN)
        if (event_wait_fd(CHANNEL_FD, EVENT_WRITE, deadline) < 0)
            break;
    int keep = errno;
    event_sem_put(&sending);
    errno = keep;
    return rc;
}

void channel_say(struct msg **m)
{
    if (!service_state.alone && send_packet(*m, 0, EVENT_NEVER) < 0 && errno != ECANCELED && errno != EPIPE)
        log_warn("cannot talk to master: %s", strerror(errno));
    msg_free(m);
}

static struct msg *ask(struct msg **m, int64_t deadline)
{
    struct question q = { .id = ++last_id };
    int keep = 0;

    list_append(&questions, &q.node);
    if (send_packet(*m, q.id, deadline) < 0)
        keep = errno;
    while (keep == 0 && !q.done)
        if (event_cond_wait(&q.cond, deadline) < 0 && !q.done)
            keep = errno;
    list_del(&q.node);
    msg_free(m);
    if (q.answer == NULL && keep == 0)
        keep = EPIPE;
    errno = keep;
    return q.answer;
}

static int refused(struct msg *answer)
{
    int64_t why = msg_get_num(answer, "errno", 1, 4095);

    return msg_done(answer) ? (int) why : EPROTO;
}

int service_connect(const char *service, int64_t deadline)
{
    struct msg *m = msg_new(CHANNEL_CONNECT), *answer;
    int fd = -1, keep;

    msg_put_str(m, "service", service);
    answer = ask(&m, deadline);
    if (answer == NULL)
        return -1;
    if (strcmp(msg_name(answer), CHANNEL_GRANTED) == 0) {
        fd = msg_take_fd(answer);
        keep = fd < 0 ? EPROTO : 0;
    } else {
        keep = refused(answer);
    }
    msg_free(&answer);
    errno = keep;
    return fd;
}

const char *const channel_place[SERVICE_PLACES] = { "place1", "place2", "place3" };

int service_spawn(const struct service_spawn *s, int fd, int64_t deadline, pid_t *pid)
{
    struct msg *m = msg_new(CHANNEL_SPAWN), *answer;
    int keep = 0;

    msg_put_str(m, "program", s->program);
    msg_put_str(m, "directory", s->directory);
    for (int i = 0; i < SERVICE_PLACES; i++)
        msg_put_str(m, channel_place[i], s->place[i] ? s->place[i] : "");
    msg_put_str(m, "hint", s->hint ? s->hint : "");
    msg_put_num(m, "uid", s->uid);
    msg_put_num(m, "gid", s->gid);
    msg_put_fd(m, fd);
    answer = ask(&m, deadline);
    if (answer == NULL)
        return -1;
    if (strcmp(msg_name(answer), CHANNEL_SPAWNED) == 0) {
        *pid = (pid_t) msg_get_num(answer, "pid", 1, INT32_MAX);
        keep = msg_done(answer) ? 0 : EPROTO;
    } else {
        keep = refused(answer);
    }
    msg_free(&answer);
    errno = keep;
    return keep ? -1 : 0;
}

static void wakeup_body(void *unused)
{
    (void) unused;
    serve_wakeup();
}

static void obey(struct msg *m)
{
    const char *order = msg_name(m);

    if (strcmp(order, CHANNEL_STOP) == 0) {
        serve_drain(SERVE_STOP);
    } else if (strcmp(order, CHANNEL_RELOAD) == 0) {
        serve_drain(SERVE_RELOAD);
    } else if (strcmp(order, CHANNEL_WAKEUP) == 0) {
        fiber_go("wakeup", wakeup_body, NULL);
    } else if (strcmp(order, CHANNEL_QUOTA) == 0) {
        serve_quota(msg_get_num(m, "sessions", 0, INT32_MAX));
    } else {
        log_warn("unexpected order from master: %s", order);
    }
}

static void settle(struct msg **m)
{
    list_each(it, &questions)
    {
        struct question *q = list_entry(it, struct question, node);
        if (q->id != msg_id(*m))
            continue;
        list_del(&q->node);
        q->answer = *m;
        *m = NULL;
        q->done = true;
        event_cond_signal(&q->cond);
        return;
    }
    msg_free(m);
}

static void read_orders(void *unused)
{
    struct msg *m;

    (void) unused;
    for (;;) {
        if (msg_recv_packet(CHANNEL_FD, &m) == 0) {
            if (msg_id(m) != 0) {
                settle(&m);
            } else {
                obey(m);
                msg_free(&m);
            }
        } else if (errno != EAGAIN || event_wait_fd(CHANNEL_FD, EVENT_READ, EVENT_NEVER) < 0) {
            break;
        }
    }
    if (fiber_cancelled())
        return;
    broken = true;
    list_each(it, &questions)
    {
        struct question *q = list_entry(it, struct question, node);
        list_del(&q->node);
        q->done = true;
        event_cond_signal(&q->cond);
    }
    log_debug("master is gone");
    serve_drain(SERVE_STOP);
}

void channel_start(void)
{
    if (!service_state.alone)
        fiber_go("status channel", read_orders, NULL);
}
