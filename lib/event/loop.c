/*
 * loop - runs ready fibers, then waits in epoll for the next event or deadline
 */
#include "event/internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_A_TURN = 256, TURNS_A_LOOK = 8, LOG_HOLD_MS = 5 };

struct loop event_loop = { .epoll = -1, .wake = -1 };

void loop_init(void)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET }; /* each write to it is an event: nobody need read it */

    if (event_loop.epoll >= 0)
        return;
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an errno; who execs a user's command restores the default */
    list_init(&event_loop.ready);
    list_init(&event_loop.all);
    event_loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    event_loop.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_loop.epoll < 0 || event_loop.wake < 0)
        log_fatal("cannot create the event loop: %s", strerror(errno));
    ev.data.fd = event_loop.wake;
    if (epoll_ctl(event_loop.epoll, EPOLL_CTL_ADD, event_loop.wake, &ev) < 0)
        log_fatal("cannot watch the event loop's own descriptor: %s", strerror(errno));
}

void event_after_fork(void)
{
    if (event_loop.epoll >= 0) {
        close(event_loop.epoll);
        close(event_loop.wake);
    }
    free(event_loop.heap);
    event_loop = (struct loop){ .epoll = -1, .wake = -1 };
    trim_reset();
    wait_reset();
    signal_reset();
    offload_reset();
    loop_init();
}

void loop_wake(void)
{
    uint64_t one = 1;
    int keep = errno;
    ssize_t n = write(event_loop.wake, &one, sizeof one);

    (void) n;
    errno = keep;
}

/* The heap of deadlines: at[i] knows its place, so that any can be moved or taken out. */
static void heap_put(size_t i, struct deadline *d)
{
    event_loop.heap[i] = d;
    d->at = i;
}

static void heap_up(size_t i, struct deadline *d)
{
    for (; i > 1 && event_loop.heap[i / 2]->when > d->when; i /= 2)
        heap_put(i, event_loop.heap[i / 2]);
    heap_put(i, d);
}

static void heap_down(size_t i, struct deadline *d)
{
    for (size_t child; (child = i * 2) <= event_loop.heap_len; i = child) {
        if (child < event_loop.heap_len && event_loop.heap[child + 1]->when < event_loop.heap[child]->when)
            child++;
        if (event_loop.heap[child]->when >= d->when)
            break;
        heap_put(i, event_loop.heap[child]);
    }
    heap_put(i, d);
}

void deadline_clear(struct deadline *d)
{
    size_t i = d->at;
    struct deadline *last;

    if (i == 0)
        return;
    d->at = 0;
    last = event_loop.heap[event_loop.heap_len--];
    if (last == d)
        return;
    if (i > 1 && event_loop.heap[i / 2]->when > last->when)
        heap_up(i, last);
    else
        heap_down(i, last);
}

void deadline_set(struct deadline *d, int64_t when)
{
    deadline_clear(d);
    if (when == EVENT_NEVER)
        return;
    d->when = when;
    if (event_loop.heap_len + 2 > event_loop.heap_cap) {
        event_loop.heap_cap = event_loop.heap_cap ? event_loop.heap_cap * 2 : 64;
        event_loop.heap = mem_grow(event_loop.heap, event_loop.heap_cap, sizeof *event_loop.heap);
    }
    heap_up(++event_loop.heap_len, d);
}

static void expire_deadlines(void)
{
    int64_t now = time_mono_ms();

    while (event_loop.heap_len && event_loop.heap[1]->when <= now) {
        struct deadline *d = event_loop.heap[1];
        deadline_clear(d);
        d->expire(d);
    }
}

static void wait_timed_out(struct deadline *d)
{
    struct fiber *f = list_entry(d, struct fiber, deadline);

    loop_ready(f, ETIMEDOUT);
}

void loop_ready(struct fiber *f, int result)
{
    if (f->state != FIBER_WAITING)
        return;
    if (f->cond)
        wait_cond_remove(f);
    deadline_clear(&f->deadline);
    f->result = result;
    f->state = FIBER_READY;
    list_append(&event_loop.ready, &f->queue);
}

int loop_wait(int64_t deadline)
{
    struct fiber *f = event_loop.current;

    if (f == NULL)
        log_panic("a wait outside a fiber");
    f->state = FIBER_WAITING;
    f->result = 0;
    f->deadline.expire = wait_timed_out;
    deadline_set(&f->deadline, deadline);
    fiber_park();
    errno = f->result;
    return f->result ? -1 : 0;
}

void fiber_yield(void)
{
    struct fiber *f = event_loop.current;

    if (f == NULL)
        return;
    f->state = FIBER_READY;
    event_loop.look = true;
    list_append(&event_loop.ready, &f->queue);
    fiber_park();
}

void fiber_slice(void)
{
    enum { SLICE_US = 10000 };

    if (event_loop.current && time_mono_us() - event_loop.turn_us > SLICE_US)
        fiber_yield();
}

static void run_ready(void)
{
    struct list batch; /* those who become ready meanwhile run in the next turn */

    list_init(&batch);
    if (list_empty(&event_loop.ready))
        return;
    batch = event_loop.ready;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&event_loop.ready);
    while (!list_empty(&batch)) {
        struct fiber *f = list_entry(batch.next, struct fiber, queue);
        list_del(&f->queue);
        fiber_resume(f);
        if (f->state == FIBER_DONE)
            fiber_release(f);
    }
}

static int next_timeout(void)
{
    int64_t now, wait;

    if (!list_empty(&event_loop.ready))
        return 0;
    if (event_loop.heap_len == 0)
        return event_loop.stopping ? 100 : -1;
    now = time_mono_ms();
    wait = event_loop.heap[1]->when - now;
    if (event_loop.stopping && wait > 100)
        wait = 100;
    return wait <= 0 ? 0 : wait > 86400000 ? 86400000 : (int) wait;
}

/* A line after a rest goes to the log at once; those of a busy process together, some milliseconds late. -1: no need to
 * wake for them. */
static int hold_log(void)
{
    static int64_t pushed_ms = -LOG_HOLD_MS;
    int64_t now;

    if (!log_kept())
        return -1;
    now = time_mono_ms();
    if (now - pushed_ms < LOG_HOLD_MS)
        return (int) (pushed_ms + LOG_HOLD_MS - now);
    log_push();
    pushed_ms = now;
    return -1;
}

static void poll_once(void)
{
    struct epoll_event events[EVENTS_A_TURN];
    int hold = hold_log(), wait = next_timeout(), n;

    n = epoll_wait(event_loop.epoll, events, EVENTS_A_TURN, hold >= 0 && (wait < 0 || hold < wait) ? hold : wait);
    if (n < 0 && errno != EINTR)
        log_panic("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd != event_loop.wake) {
            wait_dispatch(events[i].data.fd, events[i].events);
            continue;
        }
        signal_dispatch();
        offload_dispatch();
    }
    expire_deadlines();
}

void event_stop(void)
{
    if (event_loop.stopping)
        return;
    event_loop.stopping = true;
    event_loop.stop_by = time_mono_ms() + EVENT_STOP_MS;
    list_each(it, &event_loop.all)
    {
        struct fiber *f = list_entry(it, struct fiber, all);
        if (f != event_loop.current)
            fiber_cancel(f);
    }
}

void event_run(event_fn first, void *arg)
{
    if (event_loop.running)
        log_panic("event_run inside event_run");
    loop_init();
    fiber_catch_overflow();
    event_loop.running = true;
    event_loop.stopping = false;
    fiber_go("main", first, arg);
    for (;;) {
        /* Who was made ready by others runs before the kernel is asked again, unless somebody gave way to it. */
        event_loop.look = false;
        for (int turn = 0; turn < TURNS_A_LOOK && !event_loop.look && !list_empty(&event_loop.ready); turn++)
            run_ready();
        if (event_loop.fibers == 0 || (event_loop.stopping && time_mono_ms() >= event_loop.stop_by))
            break;
        poll_once();
    }
    event_loop.running = false;
    log_push();
    fiber_drop_stacks();
}
