/* ubevent - libunbound's events as fibers; contract in ubevent.h */
#include "ubevent.h"

#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>

struct watch {
    struct ub_event ub; /* first: libunbound's pointer is ours */
    int fd;
    short bits;
    void (*fn)(int, short, void *);
    void *arg;
    int64_t timeout_ms; /* -1: none */
    int64_t due;
    struct fiber *waiter;
    unsigned generation; /* of the waiting: a waiter of an older one goes away */
    unsigned refs;
    short fired;
};

static struct watch *watch_of(struct ub_event *ev) { return (struct watch *) (void *) ev; }

static void unref(struct watch *w)
{
    if (--w->refs == 0)
        free(w);
}

static void fire(void *arg)
{
    struct watch *w = arg;

    w->fn(w->fd, w->fired, w->arg);
}

static int wait_once(struct watch *w)
{
    int what = (w->bits & UB_EV_READ ? EVENT_READ : 0) | (w->bits & UB_EV_WRITE ? EVENT_WRITE : 0);
    int rc;

    if (w->fd >= 0 && what) {
        rc = event_wait_fd(w->fd, what, w->due);
        if (rc > 0) {
            w->fired = (short) ((rc & EVENT_READ ? UB_EV_READ : 0) | (rc & EVENT_WRITE ? UB_EV_WRITE : 0));
            return 0;
        }
        if (errno != ETIMEDOUT)
            return -1;
    } else {
        int64_t left = w->due - time_mono_ms();
        if (event_sleep(w->due == EVENT_NEVER ? INT32_MAX : left > 0 ? left : 0) < 0)
            return -1;
    }
    w->fired = UB_EV_TIMEOUT;
    return 0;
}

static void wait_body(void *arg)
{
    struct watch *w = arg;
    unsigned mine = w->generation;

    w->waiter = fiber_self();
    while (mine == w->generation && !fiber_cancelled()) {
        if (wait_once(w) < 0 || mine != w->generation)
            break;
        bool persist = w->bits & UB_EV_PERSIST;
        if (!persist) {
            w->generation++;
            w->waiter = NULL;
        }
        fiber_on_large_stack(fire, w);
        if (!persist)
            break;
        if (mine == w->generation && w->timeout_ms >= 0)
            w->due = time_mono_ms() + w->timeout_ms;
    }
    if (w->waiter == fiber_self())
        w->waiter = NULL;
    unref(w);
}

static int del(struct ub_event *ev)
{
    struct watch *w = watch_of(ev);
    struct fiber *waiter = w->waiter;

    w->generation++;
    w->waiter = NULL;
    if (waiter)
        fiber_cancel(waiter);
    if (w->fd >= 0)
        event_forget_fd(w->fd);
    return 0;
}

static int add(struct ub_event *ev, struct timeval *tv)
{
    struct watch *w = watch_of(ev);

    del(ev);
    w->timeout_ms = tv && w->bits & UB_EV_TIMEOUT ? (int64_t) tv->tv_sec * 1000 + tv->tv_usec / 1000 : -1;
    w->due = w->timeout_ms < 0 ? EVENT_NEVER : time_mono_ms() + w->timeout_ms;
    w->refs++;
    struct fiber *f = fiber_new("dns", wait_body, w);
    w->waiter = f;
    fiber_detach(f);
    return 0;
}

static int add_timer(struct ub_event *ev, struct ub_event_base *base, void (*fn)(int, short, void *), void *arg,
                     struct timeval *tv)
{
    struct watch *w = watch_of(ev);

    (void) base;
    w->fn = fn;
    w->arg = arg;
    w->bits |= UB_EV_TIMEOUT;
    return add(ev, tv);
}

static void add_bits(struct ub_event *ev, short bits) { watch_of(ev)->bits |= bits; }
static void del_bits(struct ub_event *ev, short bits) { watch_of(ev)->bits = (short) (watch_of(ev)->bits & ~bits); }
static void set_fd(struct ub_event *ev, int fd) { watch_of(ev)->fd = fd; }

static void free_event(struct ub_event *ev)
{
    del(ev);
    unref(watch_of(ev));
}

static int no_signal(struct ub_event *ev, struct timeval *tv)
{
    (void) ev;
    (void) tv;
    return -1;
}
static int no_signal_del(struct ub_event *ev)
{
    (void) ev;
    return -1;
}

static struct ub_event_vmt event_methods = { .add_bits = add_bits,
                                             .del_bits = del_bits,
                                             .set_fd = set_fd,
                                             .free = free_event,
                                             .add = add,
                                             .del = del,
                                             .add_timer = add_timer,
                                             .del_timer = del,
                                             .add_signal = no_signal,
                                             .del_signal = no_signal_del };

static struct ub_event *new_event(struct ub_event_base *base, int fd, short bits, void (*fn)(int, short, void *),
                                  void *arg)
{
    struct watch *w = mem_new(sizeof *w);

    (void) base;
    *w = (struct watch){
        .ub = { UB_EVENT_MAGIC, &event_methods }, .fd = fd, .bits = bits, .fn = fn, .arg = arg, .refs = 1
    };
    return &w->ub;
}

static void free_base(struct ub_event_base *base) { (void) base; }
static int no_dispatch(struct ub_event_base *base)
{
    (void) base;
    return 0;
}
static int no_exit(struct ub_event_base *base, struct timeval *tv)
{
    (void) base;
    (void) tv;
    return 0;
}

struct ub_event_base *ubevent_base(void)
{
    static struct ub_event_base_vmt methods = {
        .free = free_base, .dispatch = no_dispatch, .loopexit = no_exit, .new_event = new_event
    };
    static struct ub_event_base base = { UB_EVENT_MAGIC, &methods };

    return &base;
}
