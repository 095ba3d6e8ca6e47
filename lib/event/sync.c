/*
 * sync - files made durable by threads: small ones together
 *
 * One thread takes all that waits, has the data of each written and waits for them. Then the threads of offload sync all
 * at the same time: they find the data written, and one commit of the journal serves all. One after the other would cost
 * less hand-overs, but ext4 flushes the disk's cache for each file whose commit it finds done. While the thread works
 * the next ones gather. So it goes where one journal serves all (ext4, xfs) and with files for whose data the others can
 * wait; the rest are synced side by side from the beginning.
 *
 * A commit costs more of the machine than all else that a small message needs of the disk. So a file waits in a window,
 * GATHER_MS at most, for those that event_sync_expect told of; the last of them that comes closes it. Its end is on the
 * clock's millisecond, which brings the windows of several processes together too. Where windows end with nobody come
 * (one who is expected may be a client that says nothing for minutes), ever less of them are opened.
 */
#include "event/internal.h"

#include "base/file.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOGETHER_BYTES = 1 << 20, GATHER_MS = 2, VAIN_MAX = 6 /* then one file in 64 waits */ };

struct sync_job {
    struct event_sync file;
    int error;
    struct job job;
};

static struct {
    pthread_mutex_t lock;
    sem_t more; /* posted when the first job comes */
    struct job *first, **last;
    struct job *finished;
    bool started;
} gathered = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct { /* of the loop's thread: what it has not handed over yet */
    struct job *first, **last;
    size_t count;
    struct deadline end;
    size_t expected;      /* files that event_sync_expect tells of */
    unsigned vain, spare; /* windows in a row that nobody joined; files to go until the next is opened */
} window;

static bool solo;
void event_solo(bool yes) { solo = yes; }
bool event_here(void) { return solo || fiber_self() == NULL; }
void event_sync_expect(bool yes) { window.expected += yes ? 1 : (size_t) -1; }

static void sync_file(void *arg)
{
    struct sync_job *j = arg;

    if ((j->file.data_only ? fdatasync(j->file.fd) : fsync(j->file.fd)) < 0)
        j->error = errno;
}

static bool one_journal(int fd, dev_t device)
{
    static dev_t known_device;
    static bool known, answer; /* most processes write to one file system */

    if (known && known_device == device)
        return answer;
    known = true;
    known_device = device;
    answer = file_one_journal(fd);
    return answer;
}

static bool may_gather(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= TOGETHER_BYTES && one_journal(fd, st.st_dev);
}

/* A failure that this call tells of, fsync may not tell of again. Where there is no such call, fsync does all. */
static void push_data(struct sync_job *j, unsigned how)
{
    if (sync_file_range(j->file.fd, 0, 0, how) < 0 && errno != EINVAL && errno != ESPIPE && errno != ENOSYS)
        j->error = errno;
}

static void write_batch(struct job *batch)
{
    for (struct job *j = batch; j; j = j->next)
        push_data(j->arg, SYNC_FILE_RANGE_WRITE);
    for (struct job *j = batch; j; j = j->next)
        push_data(j->arg, SYNC_FILE_RANGE_WAIT_BEFORE);
}

static void *work(void *unused)
{
    (void) unused;
    for (;;) {
        while (sem_wait(&gathered.more) < 0)
            continue;
        pthread_mutex_lock(&gathered.lock);
        struct job *batch = gathered.first;
        gathered.first = NULL;
        gathered.last = &gathered.first;
        pthread_mutex_unlock(&gathered.lock);
        if (batch->next)
            write_batch(batch);
        for (struct job *j = batch->next, *next; j; j = next) {
            next = j->next; /* who waits for j may be gone when its thread is done */
            offload_submit(j);
        }
        sync_file(batch->arg);
        pthread_mutex_lock(&gathered.lock);
        bool wake = gathered.finished == NULL;
        batch->next = gathered.finished;
        gathered.finished = batch;
        pthread_mutex_unlock(&gathered.lock);
        if (wake)
            loop_wake(); /* which finds the lock free */
    }
    return NULL;
}

static void hand_over(struct job *first, struct job **last)
{
    if (!gathered.started) {
        gathered.last = &gathered.first;
        sem_init(&gathered.more, 0, 0);
        gathered.started = thread_start(work, NULL, true);
    }
    pthread_mutex_lock(&gathered.lock);
    bool wake = gathered.first == NULL;
    *gathered.last = first;
    gathered.last = last;
    pthread_mutex_unlock(&gathered.lock);
    if (wake)
        sem_post(&gathered.more);
}

static void close_window(void)
{
    bool joined = window.count > 1;

    deadline_clear(&window.end);
    window.vain = joined ? 0 : window.vain < VAIN_MAX ? window.vain + 1 : VAIN_MAX;
    window.spare = (1u << window.vain) - 1;
    window.count = 0;
    hand_over(window.first, window.last);
}

static void window_over(struct deadline *d)
{
    (void) d;
    close_window();
}

static void gather(struct job *j)
{
    if (window.count == 0 && (window.expected == 0 || window.spare > 0)) {
        window.spare -= window.spare > 0;
        hand_over(j, &j->next);
        return;
    }
    if (window.count == 0) {
        window.last = &window.first;
        window.end.expire = window_over;
        deadline_set(&window.end, time_mono_ms() + GATHER_MS);
    }
    window.count++;
    *window.last = j;
    window.last = &j->next;
    if (window.expected == 0)
        close_window();
}

int event_sync(const struct event_sync *files, size_t n)
{
    struct sync_job jobs[EVENT_SYNC_MAX];
    struct fiber *self = fiber_self();
    size_t here = self == NULL ? n : solo ? 1 : 0; /* by this thread */
    int error = 0;

    if (n > EVENT_SYNC_MAX)
        log_panic("event_sync: %zu files", n);
    for (size_t i = 0; i < n; i++) {
        jobs[i] = (struct sync_job){ .file = files[i], .job = { .fn = sync_file, .arg = &jobs[i], .waiter = self } };
        if (i < here)
            continue;
        if (may_gather(files[i].fd))
            gather(&jobs[i].job);
        else
            offload_submit(&jobs[i].job);
    }
    for (size_t i = 0; i < n; i++) {
        if (i < here)
            sync_file(&jobs[i]);
        else
            offload_await(&jobs[i].job);
        error = error ? error : jobs[i].error;
    }
    errno = error;
    return error ? -1 : 0;
}

struct job *sync_finished(void)
{
    struct job *done;

    pthread_mutex_lock(&gathered.lock);
    done = gathered.finished;
    gathered.finished = NULL;
    pthread_mutex_unlock(&gathered.lock);
    return done;
}

void sync_reset(void)
{
    pthread_mutex_init(&gathered.lock, NULL);
    gathered.first = gathered.finished = NULL;
    gathered.started = false;
    window.count = window.expected = 0;
    window.vain = window.spare = 0;
    window.end.at = 0;
}
