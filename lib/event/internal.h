/*
 * internal - what the files of lib/event share; nobody else includes it
 *
 * loop.c turns the wheel: ready fibers, epoll, deadlines. fiber.c owns stacks and switches. wait.c holds the ways to
 * wait. offload.c, sync.c and signal.c wake the loop from a thread or a signal handler through one eventfd. trim.c gives the
 * memory of those who wait long back to the system.
 */
#ifndef EVENT_INTERNAL_H
#define EVENT_INTERNAL_H
#include "base/list.h"
#include "event/event.h"

struct deadline { /* an entry of the heap of deadlines; idle when at == 0 */
    int64_t when;
    size_t at; /* 1-based place in the heap */
    void (*expire)(struct deadline *);
};

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_WAITING, FIBER_DONE };
struct fiber {
    void *sp;
    char *stack; /* lowest usable byte; the guard page is below it */
    const char *name;
    event_fn fn;
    void *arg;
    enum fiber_state state;
    bool detached, cancelled, shielded;
    bool stubborn; /* this wait cannot be cut short: an offload */
    int result;    /* of the wait that ended: 0 or an errno */
    int ready_events;
    struct list all, queue;  /* every fiber; the ready queue or a condition's queue */
    struct list ran;         /* those who ran and were not trimmed since, the latest last */
    int64_t ran_us;          /* 0: not among them */
    struct event_cond *cond; /* the condition it waits at */
    struct deadline deadline;
    struct event_cond ended;
    event_fn call; /* to be run on the loop's stack, then back at once */
    void *call_arg;
    void *fake_stack; /* ASan */
    void *tsan;
    unsigned valgrind;
};

struct loop {
    int epoll, wake; /* wake: eventfd for signal handlers and threads */
    struct fiber *current;
    void *sp; /* of the loop itself while a fiber runs */
    struct list ready, all;
    size_t fibers;
    bool running, stopping;
    bool look; /* at epoll, before the next turn */
    int64_t stop_by;
    int64_t turn_us; /* when the current fiber got the processor */
    struct deadline **heap;
    size_t heap_len, heap_cap;
};
extern struct loop event_loop;

void loop_init(void);
void loop_ready(struct fiber *, int result); /* ends its wait */
int loop_wait(int64_t deadline);             /* parks the current fiber: its result as 0 or -1 with errno */
void loop_wake(void);                        /* async-signal-safe */
void deadline_set(struct deadline *, int64_t when);
void deadline_clear(struct deadline *);

void fiber_switch(void **save_sp, void *to_sp);
void fiber_start(void);
_Noreturn void fiber_main(void);
void fiber_resume(struct fiber *);  /* from the loop */
void fiber_park(void);              /* back to the loop */
void fiber_release(struct fiber *); /* ended: gives its stack back, frees it when nobody will join */
void fiber_drop_stacks(void);
void fiber_trim_stacks(void);          /* the kept ones */
void fiber_trim_stack(struct fiber *); /* what is below its stack pointer */
void fiber_catch_overflow(void);

void trim_ran(struct fiber *);
void trim_forget(struct fiber *);
void trim_reset(void);

void wait_dispatch(int fd, uint32_t events);
void wait_reset(void);
void wait_cond_remove(struct fiber *);
void signal_dispatch(void);
void signal_reset(void);
struct job { /* of a thread; on the stack of the fiber that waits for it */
    event_fn fn;
    void *arg;
    struct fiber *waiter;
    bool done; /* set by the loop */
    struct job *next;
};
void offload_submit(struct job *); /* by any thread */
void offload_await(struct job *);
void offload_dispatch(void);
void offload_reset(void);
bool thread_start(void *(*fn)(void *), void *arg, bool needed); /* whether it runs; log_fatal without a needed one */
struct job *sync_finished(void);                                /* since it was last asked */
void sync_reset(void);
#endif
