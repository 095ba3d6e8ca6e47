/*
 * offload - a small pool of threads for what blocks
 *
 * A thread sees its job's argument and nothing else; it takes no signals. Threads come one by one as jobs wait, at
 * most EVENT_THREADS of a kind (EVENT_WAITERS of those that wait), and stay. A semaphore counts the jobs: a condition takes
 * the lock as contended, which costs a call more each time.
 */
#include "event/internal.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { THREAD_STACK_BYTES = 512 << 10 };

static struct pool {
    pthread_mutex_t lock;
    sem_t more;                /* jobs to be done */
    struct job *first, **last; /* to be done */
    struct job *finished;
    int threads, busy, waiting;
    const int most;
    const bool low; /* its threads run when nobody else wants the processor */
} pools[] = { { .lock = PTHREAD_MUTEX_INITIALIZER, .most = EVENT_THREADS },
              { .lock = PTHREAD_MUTEX_INITIALIZER, .most = EVENT_THREADS, .low = true },
              { .lock = PTHREAD_MUTEX_INITIALIZER, .most = EVENT_WAITERS } };
enum { NORMAL, LOW, WAITERS, POOLS };

static void *work(void *arg)
{
    enum { LOWEST = 19 };
    struct pool *pool = arg;

    if (pool->low)
        setpriority(PRIO_PROCESS, 0, LOWEST); /* of this thread; where it fails the work is done all the same */
    for (;;) {
        while (sem_wait(&pool->more) < 0)
            continue;
        pthread_mutex_lock(&pool->lock);
        struct job *j = pool->first;
        pool->first = j->next;
        if (pool->first == NULL)
            pool->last = &pool->first;
        pool->waiting--;
        pool->busy++;
        pthread_mutex_unlock(&pool->lock);
        j->fn(j->arg);
        pthread_mutex_lock(&pool->lock);
        bool wake = pool->finished == NULL;
        j->next = pool->finished;
        pool->finished = j;
        pool->busy--;
        pthread_mutex_unlock(&pool->lock);
        if (wake)
            loop_wake(); /* which finds the lock free */
    }
    return NULL;
}

bool thread_start(void *(*fn)(void *), void *arg, bool needed)
{
    pthread_attr_t attr;
    pthread_t t;
    sigset_t all, old;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    err = pthread_create(&t, &attr, fn, arg);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err && needed)
        log_fatal("cannot start a worker thread: %s", strerror(err));
    return err == 0;
}

static void start_thread(struct pool *pool) { pool->threads += thread_start(work, pool, pool->threads == 0); }

static void pool_init(struct pool *pool)
{
    pool->last = &pool->first;
    sem_init(&pool->more, 0, 0);
}

void event_offload_start(void)
{
    struct pool *pool = &pools[NORMAL];

    pthread_mutex_lock(&pool->lock);
    if (pool->last == NULL)
        pool_init(pool);
    if (pool->threads == 0)
        start_thread(pool);
    pthread_mutex_unlock(&pool->lock);
}

static void submit(struct pool *pool, struct job *j)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->last == NULL)
        pool_init(pool);
    j->next = NULL;
    *pool->last = j;
    pool->last = &j->next;
    pool->waiting++;
    if (pool->waiting > pool->threads - pool->busy && pool->threads < pool->most)
        start_thread(pool);
    pthread_mutex_unlock(&pool->lock);
    sem_post(&pool->more);
}

void offload_submit(struct job *j) { submit(&pools[NORMAL], j); }

void offload_await(struct job *j)
{
    j->waiter->stubborn = true;
    while (!j->done)
        loop_wait(EVENT_NEVER);
    j->waiter->stubborn = false;
}

static void offload(struct pool *pool, event_fn fn, void *arg)
{
    struct job j = { .fn = fn, .arg = arg, .waiter = fiber_self() };

    if (j.waiter == NULL) {
        fn(arg);
        return;
    }
    submit(pool, &j);
    offload_await(&j);
}

void event_offload(event_fn fn, void *arg) { offload(&pools[NORMAL], fn, arg); }
void event_offload_low(event_fn fn, void *arg) { offload(&pools[LOW], fn, arg); }
void event_offload_wait(event_fn fn, void *arg) { offload(&pools[WAITERS], fn, arg); }

static struct job *finished(struct pool *pool)
{
    struct job *done;

    pthread_mutex_lock(&pool->lock);
    done = pool->finished;
    pool->finished = NULL;
    pthread_mutex_unlock(&pool->lock);
    return done;
}

static void wake_waiters(struct job *done)
{
    for (struct job *next; done; done = next) {
        next = done->next;
        done->done = true;
        loop_ready(done->waiter, 0);
    }
}

void offload_dispatch(void)
{
    for (size_t n = 0; n < POOLS; n++)
        wake_waiters(finished(&pools[n]));
    wake_waiters(sync_finished());
}

void offload_reset(void)
{
    for (size_t n = 0; n < POOLS; n++) {
        struct pool *pool = &pools[n];

        pthread_mutex_init(&pool->lock, NULL);
        pool->first = pool->finished = NULL;
        pool->last = NULL;
        pool->threads = pool->busy = pool->waiting = 0;
    }
    sync_reset();
}
