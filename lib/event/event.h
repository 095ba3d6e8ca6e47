/*
 * event - one loop, and fibers that wait in it
 *
 * A session is straight-line code in a fiber: it reads like a blocking program and waits here. One loop a process,
 * one thread; only offload uses more threads, and those see nothing but their argument.
 *
 * Callers     every daemon and every command-line tool
 * Invariants  a wait made outside a fiber is a panic; a fiber runs until it waits, yields or returns
 *             cancelling a fiber makes its present or next wait fail with ECANCELED, and every later one: it unwinds
 *             like any error
 *             a stack is 64 KiB (256 KiB under ASan) above a guard page, touched lazily; running off it ends the
 *             process with "stack overflow in fiber NAME"
 * Units       deadlines are absolute milliseconds of time_mono_ms(); EVENT_NEVER for none
 * Errors      waits answer 0, or -1 with errno ETIMEDOUT or ECANCELED
 */
#ifndef EVENT_EVENT_H
#define EVENT_EVENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EVENT_NEVER INT64_MAX
typedef void (*event_fn)(void *arg);

/* The loop. event_run starts `first` in a fiber and returns when event_stop was called (at once, other fibers are
 * cancelled and run to their end, at most EVENT_STOP_MS) or when no fiber is left. */
enum { EVENT_STOP_MS = 10000 };
void event_run(event_fn first, void *arg);
void event_stop(void);
void event_after_fork(void); /* in a child that will use the loop: fresh epoll, no fibers, no timers */

/* Fibers. `name` is borrowed and shows in diagnostics. A fiber handle stays valid until fiber_join or fiber_detach
 * gave it up. */
struct fiber;
struct fiber *fiber_new(const char *name, event_fn, void *arg); /* runs at the next turn of the loop */
void fiber_go(const char *name, event_fn, void *arg);           /* the same, detached */
struct fiber *fiber_self(void);                                 /* NULL outside a fiber */
void fiber_cancel(struct fiber *);
bool fiber_cancelled(void);                       /* this fiber was cancelled */
int fiber_join(struct fiber *, int64_t deadline); /* waits for its end and frees the handle */
void fiber_detach(struct fiber *);
void fiber_yield(void); /* let others run; no error */
void fiber_slice(void); /* in long loops: yields when this turn took over 10 ms */
size_t fiber_count(void);
/* fn(arg) on the thread's own stack while this fiber stands still: for library code that a fiber's stack is too small
 * for. fn runs to its end at once and must not wait; it may start fibers and wake them. Outside a fiber it is a plain
 * call. */
void fiber_on_large_stack(event_fn fn, void *arg);
void fiber_shield(bool on); /* while on, cancellation is held back: for the few lines that must not be torn */

/* Waiting. */
enum {
    EVENT_READ = 1,
    EVENT_WRITE = 2,
    EVENT_SHARED = 4
}; /* SHARED, with READ: a listener of several processes; one of them wakes */
int event_wait_fd(int fd, int what, int64_t deadline); /* >0: what is ready (hang-up counts as ready); -1 */
void event_forget_fd(int fd);                          /* before close(): wakes its waiters with ECANCELED */
int event_sleep(int64_t milliseconds);
int event_wait_child(pid_t, int *status, int64_t deadline); /* reaps that child */

/* A condition: fibers wait, another wakes one or all. No state is kept: test yours in a loop. */
struct event_cond {
    void *first, *last; /* zero-initialised is ready */
};
int event_cond_wait(struct event_cond *, int64_t deadline);
void event_cond_signal(struct event_cond *);
void event_cond_broadcast(struct event_cond *);

/* A counter of permits: limits concurrency. */
struct event_sem {
    size_t permits;
    struct event_cond cond;
};
int event_sem_get(struct event_sem *, int64_t deadline);
void event_sem_put(struct event_sem *);

/* Timers run their function in a fiber of its own. */
struct event_timer;
struct event_timer *event_timer_new(int64_t milliseconds, event_fn, void *arg);   /* once */
struct event_timer *event_timer_every(int64_t milliseconds, event_fn, void *arg); /* repeats; no overlap */
void event_timer_reset(struct event_timer *, int64_t milliseconds);
void event_timer_free(struct event_timer **); /* it does not begin afterwards; also from inside its own function */

/* fn(NULL), whenever nobody has run for a second: gives back what is kept only for speed. Any number of times for one fn. */
void event_when_quiet(event_fn fn);

/* Signals run their function in a fiber; NULL restores the default. */
void event_signal(int signo, event_fn, void *arg);

/* offload: fn(arg) in one of at most EVENT_THREADS threads while this fiber waits; it returns when fn has returned,
 * cancelled or not, so arg may live on the fiber's stack. No process may fork after its first offload. */
enum { EVENT_THREADS = 8, EVENT_WAITERS = 100 };
void event_offload(event_fn fn, void *arg);
/* The same in threads of their own, as many again, of the lowest priority: for what computes for long. */
void event_offload_low(event_fn fn, void *arg);
/* The same in one of at most EVENT_WAITERS threads: for calls of libraries that wait for another program. */
void event_offload_wait(event_fn fn, void *arg);
/* fsync, or fdatasync, of several files at the same time, with what other fibers ask for meanwhile, so that they share a
 * commit where the file system has one. By threads of its own; the first by this one when no other session would have
 * to wait (event_solo): a hand-over and back cost as much as the call. 0, or -1 with errno: then none of them may count as safe. */
enum { EVENT_SYNC_MAX = 2 };
struct event_sync {
    int fd;
    bool data_only;
};
int event_sync(const struct event_sync *files, size_t n);
/* true: one more file is on its way to event_sync, and those that come before it may wait for it, 2 ms at most, to share
 * its commit. false: not any more; said just before its own event_sync, or when it will never come. */
void event_sync_expect(bool);
void event_solo(bool);          /* said by lib/service: there is one session at most */
bool event_here(void);          /* it was, or this is no fiber: a short write and its sync need no offload */
void event_offload_start(void); /* starts one thread now: before a seccomp filter that forbids clone */
#endif
