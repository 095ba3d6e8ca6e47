/*
 * cache - sessions that wait for the next message to the same place
 *
 * Callers     attempt.c
 * Invariants  a session is in the cache or in use, never both; it stays at most connection_cache_time_limit
 *             a peer that speaks first while it waits (a time-out's 421, a closed connection) has ended the session
 * Units       milliseconds
 */
#include "smtp_internal.h"
#include "base/list.h"
#include "base/time.h"
#include <poll.h>
#include <stdlib.h>

enum { CACHED_MAX = 100 };

static struct list cached = { &cached, &cached }; /* newest first */
static size_t count;
static struct event_timer *sweeper;

static bool silent(const struct session *s)
{
    struct pollfd p = { .fd = stream_fd(s->stream), .events = POLLIN };

    return stream_buffered(s->stream) == 0 && poll(&p, 1, 0) == 0;
}

struct session *cache_take(const char *key)
{
    list_each(n, &cached)
    {
        struct session *s = list_entry(n, struct session, at);

        if (strcmp(s->key, key) != 0)
            continue;
        list_del(&s->at);
        count--;
        if (silent(s))
            return s;
        session_close(&s, false);
    }
    return NULL;
}

static void close_one(void *arg)
{
    struct session *s = arg;

    session_close(&s, true);
}

static void sweep(void *arg)
{
    int64_t now = time_mono_ms();

    (void) arg;
    event_timer_free(&sweeper);
    list_each(n, &cached)
    {
        struct session *s = list_entry(n, struct session, at);

        if (s->until_ms > now && !service_stopping())
            continue;
        list_del(&s->at);
        count--;
        fiber_go("quit", close_one, s);
    }
    if (!list_empty(&cached))
        sweeper = event_timer_new(opt.cache_seconds * 1000, sweep, NULL);
}

void cache_keep(struct session **s)
{
    struct session *kept = *s;
    int64_t now = time_mono_ms();

    if (!opt.cache_on_demand || count >= CACHED_MAX || service_stopping() || kept->key == NULL ||
        now - kept->opened_ms > opt.reuse_seconds * 1000 || (opt.reuse_count > 0 && kept->uses >= opt.reuse_count)) {
        session_close(s, true);
        return;
    }
    *s = NULL;
    kept->until_ms = now + opt.cache_seconds * 1000;
    list_prepend(&cached, &kept->at);
    count++;
    if (sweeper == NULL)
        sweeper = event_timer_new(opt.cache_seconds * 1000, sweep, NULL);
}
