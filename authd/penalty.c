/*
 * penalty - see penalty.h
 */
#include "penalty.h"
#include "base/list.h"
#include "base/map.h"
#include "base/time.h"
#include "table/net.h"
#include <stdlib.h>

enum { IPV6_BYTES = 6, GUESSES = 8, STEPS_MAX = 4 };
struct client {
    struct list node; /* the one whose last failure is oldest is first */
    struct net net;
    int64_t failed_ms;
    int steps;
    uint64_t guess[GUESSES]; /* the last different ones, 0: none */
    size_t next;
};
struct known {
    struct list node; /* the one not seen for longest is first */
    uint64_t attempt;
};
/* They live as long as the process. */
static struct map *clients, *known;
static struct list by_failure, by_success;

static void client_free(void *value)
{
    struct client *c = value;

    list_del(&c->node);
    free(c);
}

static void known_free(void *value)
{
    struct known *k = value;

    list_del(&k->node);
    free(k);
}

static void start(void)
{
    if (clients)
        return;
    clients = map_new(PENALTY_CLIENTS, client_free);
    known = map_new(PENALTY_KNOWN, known_free);
    list_init(&by_failure);
    list_init(&by_success);
}

static struct slice key_of(const struct net *net)
{
    return slice_make((const char *) net->addr, net->bytes == 4 ? 4 : IPV6_BYTES);
}

static struct slice attempt_key(const uint64_t *attempt)
{
    return slice_make((const char *) attempt, sizeof *attempt);
}

static bool applies(const struct authd_request *r, struct net *net)
{
    return !r->peer.no_penalty && net_address(slice_of(r->peer.rip), net) == 0;
}

static struct client *find(const struct net *net)
{
    struct client *c;

    start();
    c = map_get(clients, key_of(net));
    if (c && time_mono_ms() - c->failed_ms >= PENALTY_FORGET_SECONDS * 1000) {
        map_del(clients, key_of(net));
        return NULL;
    }
    return c;
}

int penalty_seconds(const struct authd_request *r)
{
    struct client *c;
    struct net net;

    if (!applies(r, &net) || (c = find(&net)) == NULL)
        return 0;
    if (r->attempt != 0 && map_get(known, attempt_key(&r->attempt)))
        return 0;
    return 2 << c->steps < PENALTY_SECONDS_MAX ? 2 << c->steps : PENALTY_SECONDS_MAX;
}

static bool guessed_before(struct client *c, uint64_t attempt)
{
    if (attempt == 0)
        return false;
    for (size_t n = 0; n < GUESSES; n++)
        if (c->guess[n] == attempt)
            return true;
    c->guess[c->next++ % GUESSES] = attempt;
    return false;
}

void penalty_failed(const struct authd_request *r)
{
    struct client *c;
    struct net net;

    if (!applies(r, &net))
        return;
    if ((c = find(&net)) == NULL) {
        if (map_count(clients) >= PENALTY_CLIENTS)
            map_del(clients, key_of(&list_entry(by_failure.next, struct client, node)->net));
        c = mem_new(sizeof *c);
        c->net = net;
        list_init(&c->node);
        map_set(clients, key_of(&c->net), c);
    }
    list_del(&c->node);
    list_append(&by_failure, &c->node);
    c->failed_ms = time_mono_ms();
    if (!guessed_before(c, r->attempt) && c->steps < STEPS_MAX)
        c->steps++;
    /* The right password of yesterday may be wrong today. */
    if (r->attempt != 0)
        map_del(known, attempt_key(&r->attempt));
}

void penalty_succeeded(const struct authd_request *r)
{
    struct known *k;
    struct net net;

    if (!applies(r, &net))
        return;
    start();
    map_del(clients, key_of(&net));
    if (r->attempt == 0)
        return;
    if ((k = map_get(known, attempt_key(&r->attempt))) == NULL) {
        if (map_count(known) >= PENALTY_KNOWN)
            map_del(known, attempt_key(&list_entry(by_success.next, struct known, node)->attempt));
        k = mem_new(sizeof *k);
        k->attempt = r->attempt;
        list_init(&k->node);
        map_set(known, attempt_key(&k->attempt), k);
    }
    list_del(&k->node);
    list_append(&by_success, &k->node);
}
