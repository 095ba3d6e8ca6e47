/*
 * sync - files made durable by threads, those that wait together
 *
 * A thread takes all that waits: it has the data of each written, waits for them, and only then syncs one after the
 * other, so that the first commits the journal for those behind it. While one thread commits, the next gathers: the
 * busier the disk, the more files share a commit, a hand-over and a wake-up of the loop.
 */
#include "event/internal.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

enum { SYNCERS = 2 };

struct sync_job {
    struct event_sync file;
    int error;
    struct fiber *waiter;
    bool done;
    struct sync_job *next;
};

static struct {
    pthread_mutex_t lock;
    sem_t more; /* posted when the first job comes */
    struct sync_job *first, **last;
    struct sync_job *finished;
    int threads, busy;
} jobs = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool solo;
void event_solo(bool yes) { solo = yes; }

static void sync_file(struct sync_job *j)
{
    if ((j->file.data_only ? fdatasync(j->file.fd) : fsync(j->file.fd)) < 0)
        j->error = errno;
}

/* A failure that this call tells of, fsync may not tell of again. Where there is no such call, fsync does all. */
static void push_data(struct sync_job *j, unsigned how)
{
    if (sync_file_range(j->file.fd, 0, 0, how) < 0 && errno != EINVAL && errno != ESPIPE && errno != ENOSYS)
        j->error = errno;
}

static void sync_batch(struct sync_job *batch)
{
    if (batch->next) {
        for (struct sync_job *j = batch; j; j = j->next)
            push_data(j, SYNC_FILE_RANGE_WRITE);
        for (struct sync_job *j = batch; j; j = j->next)
            push_data(j, SYNC_FILE_RANGE_WAIT_BEFORE);
    }
    for (struct sync_job *j = batch; j; j = j->next)
        sync_file(j);
}

static struct sync_job **end_of(struct sync_job *batch)
{
    while (batch->next)
        batch = batch->next;
    return &batch->next;
}

static void *work(void *unused)
{
    (void) unused;
    for (;;) {
        while (sem_wait(&jobs.more) < 0)
            continue;
        pthread_mutex_lock(&jobs.lock);
        struct sync_job *batch = jobs.first;
        jobs.first = NULL;
        jobs.last = &jobs.first;
        jobs.busy++;
        pthread_mutex_unlock(&jobs.lock);
        sync_batch(batch);
        pthread_mutex_lock(&jobs.lock);
        bool wake = jobs.finished == NULL;
        *end_of(batch) = jobs.finished;
        jobs.finished = batch;
        jobs.busy--;
        pthread_mutex_unlock(&jobs.lock);
        if (wake)
            loop_wake(); /* which finds the lock free */
    }
    return NULL;
}

static void submit(struct sync_job *j)
{
    pthread_mutex_lock(&jobs.lock);
    if (jobs.threads == 0) {
        jobs.last = &jobs.first;
        sem_init(&jobs.more, 0, 0);
    }
    bool wake = jobs.first == NULL;
    *jobs.last = j;
    jobs.last = &j->next;
    if (jobs.busy == jobs.threads && jobs.threads < SYNCERS)
        jobs.threads += thread_start(work, NULL, jobs.threads == 0);
    pthread_mutex_unlock(&jobs.lock);
    if (wake)
        sem_post(&jobs.more);
}

static void await(struct sync_job *j)
{
    j->waiter->stubborn = true;
    while (!j->done)
        loop_wait(EVENT_NEVER);
    j->waiter->stubborn = false;
}

int event_sync(const struct event_sync *files, size_t n)
{
    struct sync_job job[EVENT_SYNC_MAX];
    struct fiber *self = fiber_self();
    size_t here = self == NULL ? n : solo ? 1 : 0; /* by this thread */
    int error = 0;

    if (n > EVENT_SYNC_MAX)
        log_panic("event_sync: %zu files", n);
    for (size_t i = 0; i < n; i++) {
        job[i] = (struct sync_job){ .file = files[i], .waiter = self };
        if (i >= here)
            submit(&job[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (i < here)
            sync_file(&job[i]);
        else
            await(&job[i]);
        error = error ? error : job[i].error;
    }
    errno = error;
    return error ? -1 : 0;
}

void sync_dispatch(void)
{
    struct sync_job *done;

    pthread_mutex_lock(&jobs.lock);
    done = jobs.finished;
    jobs.finished = NULL;
    pthread_mutex_unlock(&jobs.lock);
    for (struct sync_job *next; done; done = next) {
        next = done->next;
        done->done = true;
        loop_ready(done->waiter, 0);
    }
}

void sync_reset(void)
{
    pthread_mutex_init(&jobs.lock, NULL);
    jobs.first = jobs.finished = NULL;
    jobs.threads = jobs.busy = 0;
}
