/* Many files synced at once: each hears of its own fate, whatever it shared a batch with. */
#include "event/event.h"

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
    close(directory);
    return 0;
}
