/* keepers - see keepers.h */
#include "keepers.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/keeper.h"
#include "ipc/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OPEN_TIMEOUT_MS = 30000, SEND_TIMEOUT_MS = 10000, WAKING_AT_ONCE = 200 };

struct held {
    keepers_end_fn end; /* NULL: the number is free */
    void *arg;
};
struct keeper {
    struct list node;
    struct stream *link;
    struct event_sem writer;                  /* one frame at a time */
    struct held *held;                        /* by number */
    uint32_t room, numbers, count, free_from; /* no number below free_from is free */
    bool gone;
    unsigned holders; /* fibers that hold this pointer */
    struct event_timer *idle;
};
static struct list keepers = { &keepers, &keepers };
static struct event_sem opening = { .permits = 1 };
/* Each of those who wake holds a descriptor here until a process has it: thousands at once would take all there are. */
static struct event_sem waking = { .permits = WAKING_AT_ONCE };
static bool stopping;

static void release(struct keeper *k)
{
    if (--k->holders)
        return;
    list_del(&k->node);
    stream_free(&k->link);
    event_timer_free(&k->idle);
    free(k->held);
    free(k);
}

static void let_go(void *arg)
{
    struct keeper *k = arg;

    if (k->gone || k->count)
        return;
    k->gone = true; /* nobody is given to it any more */
    shutdown(stream_fd(k->link), SHUT_RDWR);
}

struct ending {
    struct held held;
    int fd;
    bool counted; /* in `waking` */
};

static void end_body(void *arg)
{
    struct ending *e = arg;

    e->held.end(e->held.arg, e->fd);
    if (e->counted)
        event_sem_put(&waking);
    free(e);
}

static struct held take_number(struct keeper *k, uint32_t number)
{
    struct held h = k->held[number];

    k->held[number] = (struct held){ NULL, NULL };
    if (number < k->free_from)
        k->free_from = number;
    if (--k->count == 0 && !k->gone) {
        event_timer_free(&k->idle);
        k->idle = event_timer_new(KEEPERS_IDLE_MS, let_go, k);
    }
    return h;
}

static void ended(struct keeper *k, uint32_t number, int fd, bool counted)
{
    struct ending *e = mem_new(sizeof *e);

    *e = (struct ending){ take_number(k, number), fd, counted };
    fiber_go("sleeper's end", end_body, e);
}

static bool on_frame(struct keeper *k, struct msg *m)
{
    uint32_t number = msg_id(m);
    bool wakes = strcmp(msg_name(m), KEEPER_W_WAKE) == 0;
    int fd = wakes ? msg_take_fd(m) : -1;

    if ((!wakes && strcmp(msg_name(m), KEEPER_W_ENDED) != 0) || !msg_done(m) || number >= k->numbers ||
        k->held[number].end == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    ended(k, number, fd, true);
    return true;
}

static void read_keeper(void *arg)
{
    struct keeper *k = arg;
    bool good = true;

    while (good && msg_wait(k->link) == 0 && event_sem_get(&waking, EVENT_NEVER) == 0) {
        struct msg *m = NULL;

        good = msg_recv(k->link, &m) == 0 && on_frame(k, m);
        if (!good)
            event_sem_put(&waking);
        if (!good && m)
            log_warn("a keeper sent a frame \"%s\" that cannot be used", msg_name(m));
        msg_free(&m);
    }
    k->gone = true;
    if (k->count)
        log_warn("a keeper has ended: %u sleeping sessions are disconnected", k->count);
    for (uint32_t i = 0; i < k->numbers; i++)
        if (k->held[i].end)
            ended(k, i, -1, false);
    release(k);
}

/* Its first frame says how many it takes; 0: none that can be used. */
static uint32_t room_of(struct stream *link)
{
    struct msg *m;
    uint32_t room = 0;

    stream_deadline(link, time_mono_ms() + OPEN_TIMEOUT_MS);
    if (msg_recv(link, &m) < 0)
        return 0;
    if (strcmp(msg_name(m), KEEPER_W_ROOM) == 0) {
        room = (uint32_t) msg_get_num(m, "sessions", 1, KEEPER_SESSIONS_MAX);
        room = msg_done(m) ? room : 0;
    }
    msg_free(&m);
    stream_deadline(link, EVENT_NEVER);
    return room;
}

static struct keeper *keeper_open(void)
{
    struct stream *link = ipc_open(KEEPER_SERVICE, KEEPER_PROTOCOL, KEEPER_VERSION, time_mono_ms() + OPEN_TIMEOUT_MS);
    uint32_t room = link ? room_of(link) : 0;
    struct keeper *k;

    if (room == 0) {
        log_warn("no keeper for sleeping sessions: they stay awake");
        stream_free(&link);
        return NULL;
    }
    k = mem_new(sizeof *k);
    k->link = link;
    k->room = room;
    k->writer.permits = 1;
    k->holders = 1; /* the reader's */
    list_append(&keepers, &k->node);
    fiber_go("keeper", read_keeper, k);
    return k;
}

static struct keeper *with_room(void)
{
    list_each(it, &keepers)
    {
        struct keeper *k = list_entry(it, struct keeper, node);
        if (!k->gone && k->count < k->room)
            return k;
    }
    return NULL;
}

static uint32_t give_number(struct keeper *k, keepers_end_fn end, void *arg)
{
    uint32_t n = k->free_from;

    while (n < k->numbers && k->held[n].end)
        n++;
    if (n == k->numbers) {
        k->numbers = k->numbers ? k->numbers * 2 : 16;
        k->held = mem_grow(k->held, k->numbers, sizeof *k->held);
        memset(k->held + n, 0, (k->numbers - n) * sizeof *k->held);
    }
    k->held[n] = (struct held){ end, arg };
    k->free_from = n + 1;
    k->count++;
    event_timer_free(&k->idle);
    return n;
}

static int tell(struct keeper *k, struct msg *m, uint32_t number)
{
    int64_t until = time_mono_ms() + SEND_TIMEOUT_MS;
    size_t sent;
    int rc;

    if (event_sem_get(&k->writer, until) < 0)
        return -1;
    rc = msg_send_fd(stream_fd(k->link), m, number, until, &sent);
    event_sem_put(&k->writer);
    return rc;
}

int keepers_hold(int client_fd, const struct dispatcher_sleep *how, keepers_end_fn end, void *arg)
{
    struct keeper *k = NULL;
    struct msg *m;
    uint32_t number;
    int rc;

    if (stopping)
        return -1;
    if ((k = with_room()) == NULL) {
        if (event_sem_get(&opening, time_mono_ms() + OPEN_TIMEOUT_MS) < 0)
            return -1;
        if ((k = with_room()) == NULL) /* another fiber may have opened one meanwhile */
            k = keeper_open();
        event_sem_put(&opening);
    }
    if (k == NULL)
        return -1;
    k->holders++;
    number = give_number(k, end, arg);
    m = keeper_hold_encode(client_fd, how);
    rc = tell(k, m, number);
    msg_free(&m);
    /* What was sent in part was not understood. If the reader has seen the end already, it has called `end`. */
    if (rc < 0 && k->held[number].end == end && k->held[number].arg == arg) {
        (void) take_number(k, number);
        k->gone = true;
        shutdown(stream_fd(k->link), SHUT_RDWR);
    } else {
        rc = 0;
    }
    release(k);
    return rc;
}

static void tell_stop(void *arg)
{
    struct keeper *k = arg;
    struct msg *m = msg_new(KEEPER_W_STOP);

    (void) tell(k, m, 0);
    msg_free(&m);
    release(k);
}

void keepers_stop(void)
{
    if (stopping)
        return;
    stopping = true;
    list_each(it, &keepers)
    {
        struct keeper *k = list_entry(it, struct keeper, node);
        if (k->gone)
            continue;
        k->holders++;
        fiber_go("stop", tell_stop, k);
    }
}
