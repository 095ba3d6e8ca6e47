/*
 * wait - descriptors, conditions, semaphores, children, timers
 *
 * A descriptor stays registered with epoll after a wait, level-triggered: a session that reads, answers and reads
 * again costs no epoll_ctl. An event that finds no waiter takes the registration away until somebody waits again.
 */
#include "event/internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct watched {
    struct fiber *reader, *writer;
    uint32_t armed; /* what epoll watches; 0: not registered */
};
static struct watched *watched;
static size_t watched_len;

void wait_reset(void)
{
    free(watched);
    watched = NULL;
    watched_len = 0;
}

static struct watched *watch_of(int fd)
{
    if ((size_t) fd >= watched_len) {
        size_t len = watched_len ? watched_len : 64;
        while (len <= (size_t) fd)
            len *= 2;
        watched = mem_grow(watched, len, sizeof *watched);
        memset(watched + watched_len, 0, (len - watched_len) * sizeof *watched);
        watched_len = len;
    }
    return &watched[fd];
}

/* EPERM: a regular file, always ready. */
static int arm(int fd, struct watched *w, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.fd = fd };
    int op = w->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (w->armed == events)
        return 0;
    if (w->armed & EPOLLEXCLUSIVE || events & EPOLLEXCLUSIVE) { /* such a registration cannot be modified */
        if (w->armed)
            epoll_ctl(event_loop.epoll, EPOLL_CTL_DEL, fd, &ev);
        op = EPOLL_CTL_ADD;
    }
    w->armed = 0;
    if (events == 0)
        return epoll_ctl(event_loop.epoll, EPOLL_CTL_DEL, fd, &ev);
    if (epoll_ctl(event_loop.epoll, op, fd, &ev) < 0 &&
        (errno != ENOENT || epoll_ctl(event_loop.epoll, EPOLL_CTL_ADD, fd, &ev) < 0) &&
        (errno != EEXIST || epoll_ctl(event_loop.epoll, EPOLL_CTL_MOD, fd, &ev) < 0))
        return -1;
    w->armed = events;
    return 0;
}

void wait_dispatch(int fd, uint32_t events)
{
    struct watched *w = watch_of(fd);
    bool hung = events & (EPOLLERR | EPOLLHUP), in = events & (EPOLLIN | EPOLLRDHUP), out = events & EPOLLOUT;
    uint32_t idle = 0;

    if (w->reader && (in || hung)) {
        w->reader->ready_events |= EVENT_READ;
        loop_ready(w->reader, 0);
    } else if (in) {
        idle |= EPOLLIN | EPOLLRDHUP;
    }
    if (w->writer && (out || hung)) {
        w->writer->ready_events |= EVENT_WRITE;
        loop_ready(w->writer, 0);
    } else if (out) {
        idle |= EPOLLOUT;
    }
    if (w->reader == NULL && w->writer == NULL)
        arm(fd, w, 0);
    else if (idle & w->armed)
        arm(fd, w, w->armed & ~idle);
}

int event_wait_fd(int fd, int what, int64_t deadline)
{
    struct fiber *f = event_loop.current;
    struct watched *w;
    uint32_t want;
    int rc;

    if (f == NULL)
        log_panic("event_wait_fd outside a fiber");
    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    if (f->cancelled && !f->shielded) {
        errno = ECANCELED;
        return -1;
    }
    w = watch_of(fd);
    if ((what & EVENT_READ && w->reader) || (what & EVENT_WRITE && w->writer))
        log_panic("two fibers wait for descriptor %d", fd);
    want = (what & EVENT_READ || w->reader ? EPOLLIN | EPOLLRDHUP : 0u) |
           (what & EVENT_WRITE || w->writer ? EPOLLOUT : 0u);
    if (what & EVENT_SHARED)
        want = EPOLLIN | EPOLLEXCLUSIVE;
    /* More than is wanted may stay armed: taking it away costs a call, and it disappears at its next idle event. */
    if ((w->armed & want) != want && arm(fd, w, want) < 0) {
        if (errno == EPERM)
            return what;
        return -1;
    }
    if (what & EVENT_READ)
        w->reader = f;
    if (what & EVENT_WRITE)
        w->writer = f;
    f->ready_events = 0;
    rc = loop_wait(deadline);
    w = watch_of(fd); /* the table may have moved */
    if (w->reader == f)
        w->reader = NULL;
    if (w->writer == f)
        w->writer = NULL;
    return rc < 0 ? -1 : f->ready_events & what;
}

void event_forget_fd(int fd)
{
    struct watched *w;

    if (fd < 0 || (size_t) fd >= watched_len)
        return;
    w = &watched[fd];
    if (w->armed)
        arm(fd, w, 0);
    if (w->reader)
        loop_ready(w->reader, ECANCELED);
    if (w->writer)
        loop_ready(w->writer, ECANCELED);
    *w = (struct watched){ 0 };
}

int event_sleep(int64_t milliseconds)
{
    struct fiber *f = event_loop.current;

    if (f && f->cancelled && !f->shielded) {
        errno = ECANCELED;
        return -1;
    }
    if (loop_wait(time_mono_ms() + milliseconds) < 0 && errno != ETIMEDOUT)
        return -1;
    return 0;
}

/* Where the kernel (or valgrind) knows no pidfd: look again and again. */
static int poll_child(pid_t pid, int *status, int64_t deadline)
{
    enum { LOOK_MS = 10 };

    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got != 0)
            return got == pid ? 0 : -1;
        if (time_mono_ms() >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (event_sleep(LOOK_MS) < 0)
            return -1;
    }
}

int event_wait_child(pid_t pid, int *status, int64_t deadline)
{
    int fd = (int) syscall(SYS_pidfd_open, pid, 0);
    int rc;

    if (fd < 0)
        return errno == ENOSYS ? poll_child(pid, status, deadline) : -1;
    rc = event_wait_fd(fd, EVENT_READ, deadline);
    int keep = errno;
    event_forget_fd(fd);
    close(fd);
    errno = keep;
    if (rc < 0)
        return -1;
    return waitpid(pid, status, 0) == pid ? 0 : -1;
}

/* Conditions: first and last are fibers, linked through fiber.queue in a ring without a head. */
static void cond_append(struct event_cond *c, struct fiber *f)
{
    struct fiber *first = c->first;

    list_init(&f->queue);
    if (first)
        list_insert(&first->queue, &f->queue);
    else
        c->first = f;
    c->last = f;
    f->cond = c;
}

void wait_cond_remove(struct fiber *f)
{
    struct event_cond *c = f->cond;

    if (c->first == f && c->last == f) {
        c->first = c->last = NULL;
    } else if (c->first == f) {
        c->first = list_entry(f->queue.next, struct fiber, queue);
    } else if (c->last == f) {
        c->last = list_entry(f->queue.prev, struct fiber, queue);
    }
    list_del(&f->queue);
    f->cond = NULL;
}

int event_cond_wait(struct event_cond *c, int64_t deadline)
{
    struct fiber *f = event_loop.current;

    if (f == NULL)
        log_panic("event_cond_wait outside a fiber");
    if (f->cancelled && !f->shielded) {
        errno = ECANCELED;
        return -1;
    }
    cond_append(c, f);
    return loop_wait(deadline);
}

void event_cond_signal(struct event_cond *c)
{
    if (c->first)
        loop_ready(c->first, 0);
}

void event_cond_broadcast(struct event_cond *c)
{
    while (c->first)
        loop_ready(c->first, 0);
}

int event_sem_get(struct event_sem *s, int64_t deadline)
{
    while (s->permits == 0)
        if (event_cond_wait(&s->cond, deadline) < 0) {
            int keep = errno;
            if (s->permits) /* a permit's wake-up may have been ours: pass it on */
                event_cond_signal(&s->cond);
            errno = keep;
            return -1;
        }
    s->permits--;
    return 0;
}

void event_sem_put(struct event_sem *s)
{
    s->permits++;
    event_cond_signal(&s->cond);
}

struct event_timer {
    struct deadline deadline;
    int64_t every; /* 0: once */
    event_fn fn;
    void *arg;
    bool busy, freed;
};

static void timer_body(void *arg)
{
    struct event_timer *t = arg;

    if (!t->freed) /* between its time and this fiber's turn: what arg was may be gone */
        t->fn(t->arg);
    t->busy = false;
    if (t->freed)
        free(t);
    else if (t->every && t->deadline.at == 0)
        deadline_set(&t->deadline, time_mono_ms() + t->every);
}

static void timer_expired(struct deadline *d)
{
    struct event_timer *t = list_entry(d, struct event_timer, deadline);

    if (event_loop.stopping)
        return;
    if (t->busy) { /* reset while its function still runs: look again soon */
        deadline_set(&t->deadline, time_mono_ms() + 10);
        return;
    }
    t->busy = true;
    fiber_go("timer", timer_body, t);
}

static struct event_timer *timer_start(int64_t milliseconds, int64_t every, event_fn fn, void *arg)
{
    struct event_timer *t = mem_new(sizeof *t);

    loop_init();
    t->deadline.expire = timer_expired;
    t->every = every;
    t->fn = fn;
    t->arg = arg;
    deadline_set(&t->deadline, time_mono_ms() + milliseconds);
    return t;
}

struct event_timer *event_timer_new(int64_t milliseconds, event_fn fn, void *arg)
{
    return timer_start(milliseconds, 0, fn, arg);
}
struct event_timer *event_timer_every(int64_t milliseconds, event_fn fn, void *arg)
{
    return timer_start(milliseconds, milliseconds > 0 ? milliseconds : 1, fn, arg);
}

void event_timer_reset(struct event_timer *t, int64_t milliseconds)
{
    deadline_set(&t->deadline, time_mono_ms() + milliseconds);
}

void event_timer_free(struct event_timer **tp)
{
    struct event_timer *t = *tp;

    if (t == NULL)
        return;
    *tp = NULL;
    deadline_clear(&t->deadline);
    if (t->busy)
        t->freed = true;
    else
        free(t);
}
