/*
 * fiber - stacks, switches and the life of a fiber
 *
 * A stack is mapped without reserve, touched lazily, with a guard page below. A few are kept for the next fiber.
 * ASan, TSan and valgrind are told of every stack and switch; a machine without our assembly uses ucontext.
 */
#include "event/internal.h"

#include "base/asan.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_BYTES = 256 << 10 };
#else
enum { STACK_BYTES = 64 << 10 };
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(from, to) 0
#define VALGRIND_STACK_DEREGISTER(id)     ((void) (id))
#endif
#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#define WITH_UCONTEXT 1
#endif

enum { STACKS_KEPT = 256, SIGNAL_STACK_BYTES = 64 << 10 };

static char *kept[STACKS_KEPT];
static size_t kept_count, page_bytes;
#ifdef WITH_ASAN
static const void *loop_stack; /* the thread's own, learnt at the first switch away from it */
static size_t loop_stack_bytes;
static void *loop_fake_stack;
#endif
#if defined(__SANITIZE_THREAD__)
static void *loop_tsan;
#endif

static char *stack_get(void)
{
    char *p;

    if (kept_count)
        return kept[--kept_count];
    if (page_bytes == 0)
        page_bytes = (size_t) sysconf(_SC_PAGESIZE);
    p = mmap(NULL, STACK_BYTES + page_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED)
        log_fatal("cannot map a fiber's stack: %s", strerror(errno));
    if (mprotect(p, page_bytes, PROT_NONE) < 0)
        log_fatal("cannot protect a fiber's guard page: %s", strerror(errno));
    return p + page_bytes;
}

static void stack_put(char *stack)
{
#ifdef WITH_ASAN
    ASAN_UNPOISON_MEMORY_REGION(stack, STACK_BYTES);
#endif
    if (kept_count < STACKS_KEPT)
        kept[kept_count++] = stack;
    else
        munmap(stack - page_bytes, STACK_BYTES + page_bytes);
}

void fiber_drop_stacks(void)
{
    while (kept_count)
        munmap(kept[--kept_count] - page_bytes, STACK_BYTES + page_bytes);
}

void fiber_trim_stacks(void)
{
    for (size_t i = 0; i < kept_count; i++)
        (void) madvise(kept[i], STACK_BYTES, MADV_DONTNEED);
}

void fiber_trim_stack(struct fiber *f)
{
#if !defined(WITH_UCONTEXT) && !defined(WITH_ASAN)
    size_t unused = (size_t) ((char *) f->sp - f->stack) / page_bytes * page_bytes;

    if (unused)
        (void) madvise(f->stack, unused, MADV_DONTNEED);
#else
    (void) f;
#endif
}

#ifdef WITH_UCONTEXT
/* Saved stack pointers stand for contexts here: each sp is a ucontext_t of its own. */
void fiber_switch(void **save, void *to)
{
    ucontext_t here;

    *save = &here;
    swapcontext(&here, to);
}
static ucontext_t *first_context(char *stack)
{
    ucontext_t *c = mem_new(sizeof *c);

    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK_BYTES;
    c->uc_link = NULL;
    makecontext(c, (void (*)(void)) fiber_main, 0);
    return c;
}
#elif defined(__x86_64__)
static void *first_frame(char *stack)
{
    uintptr_t *sp = (uintptr_t *) (void *) (stack + STACK_BYTES);

    *--sp = 0; /* ends a debugger's walk */
    *--sp = 0; /* keeps the stack 16-byte aligned where fiber_start is entered by ret */
    *--sp = (uintptr_t) fiber_start;
    for (int i = 0; i < 6; i++)
        *--sp = 0;
    return sp;
}
#else
static void *first_frame(char *stack)
{
    uintptr_t *sp = (uintptr_t *) (void *) (stack + STACK_BYTES - 160);

    memset(sp, 0, 160);
    sp[1] = (uintptr_t) fiber_start; /* x30 */
    return sp;
}
#endif

struct fiber *fiber_new(const char *name, event_fn fn, void *arg)
{
    struct fiber *f = mem_new(sizeof *f);

    loop_init();
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    f->stack = stack_get();
#ifdef WITH_UCONTEXT
    f->sp = first_context(f->stack);
#else
    f->sp = first_frame(f->stack);
#endif
    f->valgrind = VALGRIND_STACK_REGISTER(f->stack, f->stack + STACK_BYTES);
#if defined(__SANITIZE_THREAD__)
    f->tsan = __tsan_create_fiber(0);
#endif
    list_append(&event_loop.all, &f->all);
    event_loop.fibers++;
    f->state = FIBER_READY;
    list_append(&event_loop.ready, &f->queue);
    return f;
}

void fiber_go(const char *name, event_fn fn, void *arg) { fiber_new(name, fn, arg)->detached = true; }
struct fiber *fiber_self(void) { return event_loop.current; }
size_t fiber_count(void) { return event_loop.fibers; }

static void enter(struct fiber *f)
{
    f->state = FIBER_RUNNING;
    event_loop.current = f;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&loop_fake_stack, f->stack, STACK_BYTES);
#endif
#if defined(__SANITIZE_THREAD__)
    loop_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->tsan, 0);
#endif
    fiber_switch(&event_loop.sp, f->sp);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(loop_fake_stack, NULL, NULL);
#endif
    event_loop.current = NULL;
}

void fiber_resume(struct fiber *f)
{
    event_loop.turn_us = time_mono_us();
    trim_ran(f);
    enter(f);
    while (f->call) {
        event_fn call = f->call;
        f->call = NULL;
        call(f->call_arg);
        enter(f);
    }
}

void fiber_on_large_stack(event_fn fn, void *arg)
{
    struct fiber *f = event_loop.current;

    if (f == NULL) {
        fn(arg);
        return;
    }
    f->call = fn;
    f->call_arg = arg;
    fiber_park();
}

static void leave(struct fiber *f, bool for_good)
{
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(for_good ? NULL : &f->fake_stack, loop_stack, loop_stack_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(loop_tsan, 0);
#endif
    (void) for_good;
    fiber_switch(&f->sp, event_loop.sp);
}

void fiber_park(void)
{
    struct fiber *f = event_loop.current;

    leave(f, false);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, &loop_stack, &loop_stack_bytes);
#endif
    (void) f;
}

void fiber_main(void)
{
    struct fiber *f = event_loop.current;

#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(NULL, &loop_stack, &loop_stack_bytes);
#endif
    f->fn(f->arg);
    f->state = FIBER_DONE;
    leave(f, true);
    log_panic("fiber %s ran on after its end", f->name);
}

void fiber_release(struct fiber *f)
{
    VALGRIND_STACK_DEREGISTER(f->valgrind);
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(f->tsan);
#endif
    trim_forget(f);
    stack_put(f->stack);
    f->stack = NULL;
    list_del(&f->all);
    event_loop.fibers--;
    event_cond_broadcast(&f->ended);
    if (f->detached)
        free(f);
}

void fiber_detach(struct fiber *f)
{
    f->detached = true;
    if (f->state == FIBER_DONE)
        free(f);
}

int fiber_join(struct fiber *f, int64_t deadline)
{
    while (f->state != FIBER_DONE)
        if (event_cond_wait(&f->ended, deadline) < 0)
            return -1;
    free(f);
    return 0;
}

void fiber_cancel(struct fiber *f)
{
    f->cancelled = true;
    if (f->state == FIBER_WAITING && !f->stubborn && !f->shielded)
        loop_ready(f, ECANCELED);
}

bool fiber_cancelled(void) { return event_loop.current && event_loop.current->cancelled; }

void fiber_shield(bool on)
{
    if (event_loop.current)
        event_loop.current->shielded = on;
}

/* On the alternate stack: says which fiber ran off its stack, then ends as any crash does. */
static void on_fault(int signo, siginfo_t *info, void *context)
{
    struct fiber *f = event_loop.current;
    const char *at = info->si_addr;

    (void) context;
    if (f && at >= f->stack - page_bytes && at < f->stack)
        log_panic("stack overflow in fiber %s", f->name);
    signal(signo, SIG_DFL);
    raise(signo);
}

void fiber_catch_overflow(void)
{
    static char *stack;
    struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

    if (stack)
        return;
    stack = mem_new(SIGNAL_STACK_BYTES);
    stack_t alt = { .ss_sp = stack, .ss_size = SIGNAL_STACK_BYTES };
    if (sigaltstack(&alt, NULL) == 0) {
        sigaction(SIGSEGV, &sa, NULL);
        sigaction(SIGBUS, &sa, NULL);
    }
}
