/*
 * attempt - one delivery: destinations, hosts and addresses in turn, until every recipient has an answer
 *
 * Callers     smtp.c
 * Invariants  recipients that no host has settled are deferred with their last trouble, or bounced when that was for
 *             good; a destination none of whose hosts could be talked to is reported as dead
 */
#include "smtp_internal.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include <stdio.h>

static size_t open_count(const struct attempt *a)
{
    size_t count = 0;

    for (size_t i = 0; i < a->rq->rcpt_count; i++)
        count += a->rq->rcpts[i].outcome == DELIVER_OPEN;
    return count;
}

/* The trouble is everybody's who is still open. */
static void trouble(struct attempt *a, const struct why *why)
{
    a->why = *why;
    for (size_t i = 0; i < a->rq->rcpt_count; i++)
        a->rcpt_why[i] = NULL;
}

static int use(struct attempt *a, struct session **s)
{
    int status;

    (*s)->uses++;
    a->rq->connection_uses = (*s)->uses;
    a->rq->connected_us = time_now_us();
    status = transaction(*s, a);
    if (status == 0)
        cache_keep(s);
    else
        session_close(s, false);
    return status;
}

static void try_host(struct attempt *a, const struct nexthop *n, const struct host *h, const char *key, bool more)
{
    struct session *s;
    struct why why;
    bool plain;

    s = session_open(a->rq, n, h, false, &plain, &why);
    if (s == NULL && plain)
        s = session_open(a->rq, n, h, true, &plain, &why);
    if (s == NULL) {
        if (more && why.relay[0] != '\0')
            log_info("%s: %s", a->rq->queue_id, why.text);
        trouble(a, &why);
        return;
    }
    s->key = mem_strdup(key);
    a->reached = true;
    (void) use(a, &s);
    if (more)
        for (size_t i = 0; i < a->rq->rcpt_count; i++)
            if (a->rq->rcpts[i].outcome == DELIVER_OPEN && a->rcpt_why[i] != NULL)
                log_info("%s: %s", a->rq->queue_id, a->rcpt_why[i]->text);
}

static void try_hosts(struct attempt *a, const struct nexthop *n, const char *key)
{
    struct hosts hosts;
    struct why why;
    size_t sessions = 0;

    if (hosts_find(n, a->rq->arena, &hosts, &why) < 0) {
        trouble(a, &why);
        return;
    }
    if (opt.mx_address_limit > 0 && hosts.count > (size_t) opt.mx_address_limit)
        hosts.count = (size_t) opt.mx_address_limit;
    for (size_t i = 0; i < hosts.count && open_count(a) > 0; i++) {
        bool reached = a->reached, more;

        if (opt.mx_session_limit > 0 && sessions >= (size_t) opt.mx_session_limit)
            break;
        more = i + 1 < hosts.count && (opt.mx_session_limit == 0 || sessions + 1 < (size_t) opt.mx_session_limit);
        a->reached = false;
        try_host(a, n, &hosts.list[i], key, more);
        sessions += a->reached;
        a->reached |= reached;
    }
}

static void try_destination(struct attempt *a, const struct nexthop *n)
{
    /* A session that was logged in for one sender carries no other's mail. */
    const char *sender = opt.sasl_enable && opt.sender_auth ? a->rq->sender : "";
    const char *key = arena_printf(a->rq->arena, "%d%d %s %s %s", n->unix_path, n->literal, n->host, n->port, sender);
    struct session *s;

    s = cache_take(key);
    if (s != NULL) {
        a->reached = true;
        if (use(a, &s) == 0) /* it answered for everybody; what it put off it would put off again */
            return;
    }
    if (open_count(a) == 0)
        return;
    a->reached = false; /* the kept session had ended */
    if (n->unix_path)
        try_host(a, n, NULL, key, false);
    else
        try_hosts(a, n, key);
}

static void try_list(struct attempt *a, const char *destinations)
{
    struct slice list = slice_of(destinations);
    struct nexthop n;
    struct why why;
    bool bad;

    while (open_count(a) > 0 && nexthop_next(&list, smtp_is_lmtp, &n, &bad)) {
        if (!bad) {
            try_destination(a, &n);
            continue;
        }
        log_warn("%s: bad destination \"%s\"", a->rq->queue_id, destinations);
        why_set(&why, false, "4.3.5", "mail system configuration error");
        trouble(a, &why);
    }
}

static void settle_rest(struct attempt *a)
{
    struct deliver_request *rq = a->rq;

    if (open_count(a) > 0 && !a->reached && !a->why.permanent)
        deliver_dead(rq, a->why.dsn, a->why.text);
    for (size_t i = 0; i < rq->rcpt_count; i++) {
        const struct why *why = a->rcpt_why[i] ? a->rcpt_why[i] : &a->why;
        struct deliver_result result = { .relay = why->relay[0] ? why->relay : "none",
                                         .dsn = why->dsn,
                                         .text = why->text };

        if (rq->rcpts[i].outcome != DELIVER_OPEN)
            continue;
        if (why->diag[0] != '\0') {
            result.diag_type = "smtp";
            result.diag_text = why->diag;
            result.mta_name = why->mta;
        }
        if (why->permanent)
            deliver_bounce(rq, &rq->rcpts[i], &result);
        else
            deliver_defer(rq, &rq->rcpts[i], &result);
    }
}

void smtp_deliver(struct deliver_request *rq)
{
    struct attempt *a = arena_alloc(rq->arena, sizeof *a);

    a->rq = rq;
    a->rcpt_why = arena_alloc(rq->arena, rq->rcpt_count * sizeof(void *));
    why_set(&a->why, false, "4.3.5", "mail system configuration error: no destination");
    try_list(a, rq->nexthop);
    if (open_count(a) > 0 && *opt.fallback_relay != '\0')
        try_list(a, opt.fallback_relay);
    settle_rest(a);
}
