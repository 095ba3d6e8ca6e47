/* Many files synced at once: each hears of its own fate, whatever it shared a batch with. */
#include "event/event.h"

#include "base/file.h"
#include "base/time.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILES = 40, EVERY = 5 /* of them is a pipe, which fsync refuses */, ROUNDS = 20 };

static int ended, refused, directory;

static void sync_one(void *arg)
{
    int number = *(int *) arg, fd, ends[2] = { -1, -1 };
    bool odd = number % EVERY == 0;

    if (odd) {
        assert(pipe(ends) == 0);
        fd = ends[1];
    } else {
        char name[] = "/tmp/posthorn-sync-test.XXXXXX";
        fd = mkstemp(name);
        assert(fd >= 0 && unlink(name) == 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct event_sync files[] = { { .fd = fd, .data_only = number % 2 == 1 }, { .fd = directory } };
        assert(odd || write(fd, "text\n", 5) == 5);
        int rc = event_sync(files, 1 + (size_t) (i % 2));
        assert(odd ? rc == -1 && errno == EINVAL : rc == 0);
    }
    refused += odd;
    ended++;
    close(fd);
    if (odd)
        close(ends[0]);
}

static void all(void *arg)
{
    static int number[FILES];
    struct fiber *cancelled = NULL;

    (void) arg;
    for (int i = 0; i < FILES; i++) {
        number[i] = i;
        if (i == 1)
            cancelled = fiber_new("sync", sync_one, &number[i]);
        else
            fiber_go("sync", sync_one, &number[i]);
    }
    fiber_yield();
    fiber_cancel(cancelled); /* waits for the disk all the same */
    assert(fiber_join(cancelled, time_mono_ms() + 60000) == 0);
    while (ended < FILES)
        assert(event_sleep(2) == 0);
}

static int64_t took_us; /* the last to end, for all its syncs */

static void sync_clean(void *arg)
{
    char name[] = "/tmp/posthorn-sync-test.XXXXXX";
    struct event_sync file = { .fd = mkstemp(name) };
    int64_t *took = arg, begun;

    assert(file.fd >= 0 && unlink(name) == 0);
    assert(event_sync(&file, 1) == 0);
    begun = time_mono_us();
    for (int i = 0; i < ROUNDS; i++)
        assert(event_sync(&file, 1) == 0);
    *took = file_one_journal(file.fd) ? time_mono_us() - begun : INT64_MAX; /* elsewhere nothing is gathered */
    close(file.fd);
}

/* A third that never comes: two who sync wait for it each time, one alone sees that nobody joins it and goes on. */
static void nobody_comes(void)
{
    struct fiber *both[2];

    event_sync_expect(true);
    for (int i = 0; i < 2; i++)
        both[i] = fiber_new("together", sync_clean, &took_us);
    for (int i = 0; i < 2; i++)
        assert(fiber_join(both[i], time_mono_ms() + 60000) == 0);
    assert(took_us >= ROUNDS * 1000 / 2); /* a window is 1 to 2 ms; a slow machine may keep the two apart */
    sync_clean(&took_us);
    event_sync_expect(false);
}

/* Of two that are expected the first may wait for the second, which closes the window: both end, again and again. */
static void pair(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        event_sync_expect(true);
        assert(event_sleep(i % 3) == 0);
        event_sync_expect(false);
        sync_one(arg);
    }
}

static void windows(void *arg)
{
    static int number[2] = { 1, 2 };
    struct fiber *both[2];

    (void) arg;
    nobody_comes();
    for (int i = 0; i < 2; i++)
        both[i] = fiber_new("pair", pair, &number[i]);
    for (int i = 0; i < 2; i++)
        assert(fiber_join(both[i], time_mono_ms() + 60000) == 0);
}

int main(void)
{
    directory = open("/tmp", O_RDONLY | O_DIRECTORY);
    assert(directory >= 0);
    event_run(all, NULL);
    assert(refused == FILES / EVERY);
    event_solo(true); /* by the loop's own thread */
    ended = refused = 0;
    event_run(all, NULL);
    assert(refused == FILES / EVERY);
    event_solo(false);
    event_run(windows, NULL);
    close(directory);
    return 0;
}
