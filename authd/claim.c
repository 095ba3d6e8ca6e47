/*
 * claim - finished logins, until the master process asks whose they are
 *
 * Callers     authd/client.c puts, authd/master.c takes
 * Invariants  each is taken at most once, by who knows the cookie of its connection, its id and the pid of the
 *             client; gone after AUTHD_REQUEST_SECONDS; at most AUTHD_CLAIMS_MAX
 */
#include "authd.h"
#include "base/list.h"
#include "base/map.h"
#include "base/time.h"
#include "event/event.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SWEEP_MS = 10000, KEY_BYTES = 64 };
struct held {
    struct list node; /* oldest first */
    int64_t expires_ms;
    char key[KEY_BYTES];
    uint32_t client_pid;
    struct authd_request *request; /* in an arena of its own */
};
static struct list by_age; /* these two live as long as the process */
static struct map *by_key;

static void forget(struct held *h)
{
    list_del(&h->node);
    map_take(by_key, slice_of(h->key));
    if (h->request) {
        struct arena *a = h->request->arena;
        arena_free(&a);
    }
    free(h);
}

static void sweep(void *unused)
{
    int64_t now = time_mono_ms();

    (void) unused;
    list_each(it, &by_age)
    {
        struct held *h = list_entry(it, struct held, node);
        if (h->expires_ms > now)
            return;
        forget(h);
    }
}

size_t authd_claims(void) { return map_count(by_key); }

void authd_claim_start(void)
{
    list_init(&by_age);
    by_key = map_new(AUTHD_CLAIMS_MAX, NULL);
    event_timer_every(SWEEP_MS, sweep, NULL);
}

bool authd_claim_put(const char *cookie, uint32_t id, uint32_t client_pid, const struct authd_request *r)
{
    struct held *h = mem_new(sizeof *h), *old;

    snprintf(h->key, sizeof h->key, "%s:%" PRIu32, cookie, id);
    list_init(&h->node);
    if ((old = map_get(by_key, slice_of(h->key))) != NULL)
        forget(old);
    if (!map_set(by_key, slice_of(h->key), h)) {
        free(h);
        return false;
    }
    h->expires_ms = time_mono_ms() + AUTHD_REQUEST_SECONDS * 1000;
    h->client_pid = client_pid;
    h->request = authd_request_copy(r, arena_new());
    list_append(&by_age, &h->node);
    return true;
}

struct authd_request *authd_claim_take(const char *cookie, uint32_t id, uint32_t client_pid)
{
    struct authd_request *r;
    char key[KEY_BYTES];
    struct held *h;

    snprintf(key, sizeof key, "%s:%" PRIu32, cookie, id);
    h = map_get(by_key, slice_of(key));
    if (h == NULL || h->client_pid != client_pid || h->expires_ms <= time_mono_ms())
        return NULL;
    r = h->request;
    h->request = NULL;
    forget(h);
    return r;
}
