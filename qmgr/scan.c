/*
 * scan - find files in incoming/ and deferred/ whose time has come
 *
 * Callers     qmgr.c: triggers and timers
 * Invariants  one scan of each queue at a time; a request during a scan makes another one follow
 *             deferred mail never takes the last fifth of the active queue: new mail always finds room
 * Errors      a directory that cannot be read is logged and tried again by the next request
 */
#include "qmgr_internal.h"
#include "base/log.h"
#include "base/time.h"
#include <errno.h>
#include <stdio.h>

struct scanner {
    const char *queue;
    bool wanted, ignore_time;
    struct event_cond wake;
    size_t fifths; /* of qmgr_message_active_limit that it may fill */
};
static struct scanner incoming = { .queue = QUEUE_INCOMING, .fifths = 5 },
                      deferred = { .queue = QUEUE_DEFERRED, .fifths = 4 };
static struct event_cond room;
static struct event_timer *again;

void scan_room(void) { event_cond_broadcast(&room); }

static size_t room_for(const struct scanner *s)
{
    size_t most = (size_t) qmgr_active_limit * s->fifths / 5;

    return most > 0 ? most : 1;
}

static void walk(struct scanner *s, bool ignore_time)
{
    struct queue_scan *scan = queue_scan_open(s->queue);
    const char *id, *path;

    if (scan == NULL) {
        log_warn("open queue %s: %s", s->queue, strerror(errno));
        return;
    }
    while (!fiber_cancelled() && !service_stopping() && (id = queue_scan_next(scan, &path)) != NULL) {
        while (active_count() >= room_for(s))
            if (event_cond_wait(&room, EVENT_NEVER) < 0)
                break;
        char copy[QUEUE_ID_BYTES];
        snprintf(copy, sizeof copy, "%s", id); /* the feed waits, the scan's buffer may change */
        active_feed(s->queue, copy, ignore_time);
        fiber_slice();
    }
    queue_scan_free(&scan);
}

static void scanner_run(void *arg)
{
    struct scanner *s = arg;

    for (;;) {
        while (!s->wanted)
            if (event_cond_wait(&s->wake, EVENT_NEVER) < 0)
                return;
        bool ignore_time = s->ignore_time;
        s->wanted = s->ignore_time = false;
        walk(s, ignore_time);
        if (fiber_cancelled())
            return;
    }
}

static void request(struct scanner *s, bool ignore_time)
{
    s->wanted = true;
    s->ignore_time |= ignore_time;
    event_cond_signal(&s->wake);
}

void scan_request(bool want_incoming, bool want_deferred, bool ignore_time)
{
    if (want_incoming)
        request(&incoming, ignore_time);
    if (want_deferred)
        request(&deferred, ignore_time);
}

static void incoming_again(void *arg)
{
    (void) arg;
    event_timer_free(&again);
    scan_request(true, false, false);
}

void scan_incoming_in(int64_t seconds)
{
    if (again == NULL)
        again = event_timer_new(seconds * 1000, incoming_again, NULL);
}

void scan_start(void)
{
    fiber_go("scan incoming", scanner_run, &incoming);
    fiber_go("scan deferred", scanner_run, &deferred);
    scan_request(true, true, false);
}
