/*
 * event_test - the loop and its fibers: many, late, cancelled, overflowing
 */
#include "event/event.h"

#include "base/time.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int ended, woken;

static void napper(void *arg)
{
    (void) arg;
    assert(event_sleep(20) == 0);
    ended++;
}

static void ten_thousand(void *arg)
{
    (void) arg;
    for (int i = 0; i < 10000; i++)
        fiber_go("napper", napper, NULL);
    assert(fiber_count() == 10001);
}

static void test_many(void)
{
    int64_t start = time_mono_ms();

    ended = 0;
    event_run(ten_thousand, NULL);
    assert(ended == 10000 && fiber_count() == 0);
    assert(time_mono_ms() - start >= 20);
}

static int pair[2];

static void reader(void *arg)
{
    char c;

    (void) arg;
    assert(event_wait_fd(pair[0], EVENT_READ, time_mono_ms() + 15) == -1 && errno == ETIMEDOUT);
    assert(event_wait_fd(pair[0], EVENT_READ, time_mono_ms() + 5000) == EVENT_READ);
    assert(read(pair[0], &c, 1) == 1 && c == 'x');
    assert(event_wait_fd(pair[0], EVENT_READ, EVENT_NEVER) == -1 && errno == ECANCELED);
    assert(event_wait_fd(pair[0], EVENT_READ, EVENT_NEVER) == -1 && errno == ECANCELED);
    assert(event_sleep(1) == -1 && errno == ECANCELED);
    ended++;
}

static void descriptors(void *arg)
{
    struct fiber *f = fiber_new("reader", reader, NULL);

    (void) arg;
    assert(event_sleep(30) == 0);
    assert(write(pair[1], "x", 1) == 1);
    assert(event_wait_fd(pair[1], EVENT_WRITE, EVENT_NEVER) == EVENT_WRITE);
    assert(event_sleep(5) == 0);
    fiber_cancel(f);
    assert(fiber_join(f, time_mono_ms() + 1000) == 0);
    /* An event without a waiter must neither spin nor be lost. */
    assert(write(pair[1], "y", 1) == 1);
    assert(event_sleep(5) == 0);
    assert(event_wait_fd(pair[0], EVENT_READ, time_mono_ms() + 100) == EVENT_READ);
    close(pair[1]);
    assert(event_wait_fd(pair[0], EVENT_READ, time_mono_ms() + 100) == EVENT_READ);
    event_forget_fd(pair[0]);
    close(pair[0]);
}

static struct event_cond cond;
static struct event_sem sem = { .permits = 2 };
static int inside, most;

static void wait_cond(void *arg)
{
    int64_t *ms = arg;

    if (event_cond_wait(&cond, *ms ? time_mono_ms() + *ms : EVENT_NEVER) == 0)
        woken++;
    else
        assert(errno == ETIMEDOUT);
}

static void use_permit(void *arg)
{
    (void) arg;
    assert(event_sem_get(&sem, EVENT_NEVER) == 0);
    if (++inside > most)
        most = inside;
    assert(event_sleep(1) == 0);
    inside--;
    event_sem_put(&sem);
}

static void conditions(void *arg)
{
    static int64_t forever = 0, soon = 5;

    (void) arg;
    for (int i = 0; i < 3; i++)
        fiber_go("cond", wait_cond, i == 1 ? &soon : &forever);
    fiber_yield();
    event_cond_signal(&cond);
    assert(event_sleep(20) == 0);
    assert(woken == 1);
    event_cond_broadcast(&cond);
    assert(event_sleep(1) == 0);
    assert(woken == 2 && cond.first == NULL);
    for (int i = 0; i < 20; i++)
        fiber_go("permit", use_permit, NULL);
    assert(event_sleep(60) == 0);
    assert(most == 2 && inside == 0 && sem.permits == 2);
}

static int ticks, signals_seen, offloaded;
static struct event_timer *ticker;

static void tick(void *arg)
{
    (void) arg;
    if (++ticks == 3)
        event_timer_free(&ticker);
}
static void on_usr1(void *arg) { signals_seen += *(int *) arg; }
static void slow(void *arg)
{
    usleep(20000);
    *(int *) arg = 7;
}
static void offloader(void *arg)
{
    static void (*const ways[])(event_fn, void *) = { event_offload, event_offload_low, event_offload_wait };
    static size_t next;
    int result = 0;

    (void) arg;
    ways[next++ % (sizeof ways / sizeof *ways)](slow, &result);
    assert(result == 7);
    offloaded++;
}

static void count(void *arg) { ++*(int *) arg; }
static void hold_up(void *arg)
{
    (void) arg;
    usleep(40000);
}

/* Its time has come, in the same turn as this fiber's, which frees it first. */
static void timer_freed(void *arg)
{
    int ran = 0;
    struct event_timer *timer = event_timer_new(20, count, &ran);

    (void) arg;
    fiber_go("hold up", hold_up, NULL);
    assert(event_sleep(10) == 0);
    event_timer_free(&timer);
    assert(event_sleep(20) == 0 && ran == 0);
}

static int waited;
static void waiter(void *arg)
{
    (void) arg;
    event_offload_wait(slow, &(int){ 0 });
    waited++;
}

/* Calls that wait do so side by side: more of them than threads that compute. */
static void waiters(void *arg)
{
    enum { CALLS = 60, ONE_BY_ONE_MS = CALLS / EVENT_THREADS * 20 };
    int64_t start = time_mono_ms();

    (void) arg;
    for (int i = 0; i < CALLS; i++)
        fiber_go("waiter", waiter, NULL);
    while (waited < CALLS)
        assert(event_sleep(2) == 0);
    assert(time_mono_ms() - start < ONE_BY_ONE_MS);
}

static void others(void *arg)
{
    static int two = 2;
    int64_t start = time_mono_ms();
    int status;
    pid_t pid = fork();

    (void) arg;
    if (pid == 0)
        _exit(9);
    assert(event_wait_child(pid, &status, time_mono_ms() + 5000) == 0);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    ticker = event_timer_every(2, tick, NULL);
    event_signal(SIGUSR1, on_usr1, &two);
    kill(getpid(), SIGUSR1);
    struct fiber *cancelled = fiber_new("offload", offloader, NULL);
    for (int i = 0; i < 7; i++)
        fiber_go("offload", offloader, NULL);
    fiber_yield();
    fiber_cancel(cancelled); /* waits for its thread all the same */
    assert(fiber_join(cancelled, time_mono_ms() + 2000) == 0);
    assert(event_sleep(60) == 0);
    assert(ticks == 3 && signals_seen == 2 && offloaded == 8);
    assert(time_mono_ms() - start < 1500);
}

static void deep(void *arg)
{
    volatile char hog[200000];

    hog[0] = hog[sizeof hog - 1] = 3;
    assert(fiber_self() == NULL);
    *(int *) arg = hog[0] + hog[sizeof hog - 1];
    fiber_go("napper", napper, NULL);
}

static int quiet_moments;
static void on_quiet(void *unused)
{
    assert(unused == NULL);
    quiet_moments++;
}

/* Not while somebody runs; once when nobody does. */
static void quiet(void *unused)
{
    (void) unused;
    event_when_quiet(on_quiet);
    event_when_quiet(on_quiet);
    for (int i = 0; i < 15; i++)
        event_sleep(100);
    assert(quiet_moments == 0);
    event_sleep(3500);
    assert(quiet_moments == 1);
}

static void large_stack(void *arg)
{
    int result = 0;

    (void) arg;
    ended = 0;
    fiber_on_large_stack(deep, &result);
    assert(result == 6 && fiber_self() != NULL);
    assert(event_sleep(60) == 0 && ended == 1);
}

static void forever(void *arg)
{
    (void) arg;
    assert(event_sleep(1000000) == -1 && errno == ECANCELED);
    ended++;
}

static void stopper(void *arg)
{
    (void) arg;
    for (int i = 0; i < 5; i++)
        fiber_go("forever", forever, NULL);
    assert(event_sleep(5) == 0);
    event_stop();
}

static int eat_stack(int n)
{
    volatile char hog[1024];

    memset((char *) (uintptr_t) hog, n, sizeof hog);
    return n <= 0 ? hog[0] : eat_stack(n - 1) + hog[n % 1024];
}
static void overflow(void *arg)
{
    (void) arg;
    exit(eat_stack(100000) == 42);
}

static void test_overflow(void)
{
    int out[2], status;
    char text[512] = "";
    size_t len = 0;

    assert(pipe(out) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 2);
        close(out[0]);
        event_run(overflow, NULL);
        _exit(0);
    }
    close(out[1]);
    for (ssize_t n; len < sizeof text - 1 && (n = read(out[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t) n;
    close(out[0]);
    assert(waitpid(pid, &status, 0) == pid);
    assert(WIFSIGNALED(status));
    assert(strstr(text, "stack overflow in fiber main"));
}

int main(void)
{
    test_overflow(); /* first: it forks, and no process forks after its first offload */
    test_many();
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    ended = 0;
    event_run(descriptors, NULL);
    assert(ended == 1);
    event_run(conditions, NULL);
    event_run(others, NULL);
    event_run(timer_freed, NULL);
    event_run(waiters, NULL);
    event_run(large_stack, NULL);
    event_run(quiet, NULL);
    ended = 0;
    event_run(stopper, NULL);
    assert(ended == 5);
    return 0;
}
