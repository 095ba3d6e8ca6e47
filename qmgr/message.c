/*
 * message - where each recipient goes, and into which entry of the schedule
 *
 * Callers     active.c, finish.c (the next recipients of a big message)
 * Invariants  all recipients are resolved before the first is scheduled: a message's entries are added in one go
 *             a recipient that cannot be routed now is deferred, never bounced
 */
#include "qmgr_internal.h"
#include "client/rewrite.h"
#include "base/log.h"
#include "base/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct routed {
    struct deliver_rcpt rcpt;
    const char *transport, *nexthop;
    const char *dsn, *reason; /* reason set: defer */
    bool discard;
};

struct deliver_request message_request(struct message *m, int fd, const char *transport, const char *nexthop,
                                       struct deliver_rcpt *rcpts, size_t count)
{
    const struct queue_envelope *env = &m->env;

    return (struct deliver_request){
        .fd = fd,
        .queue_id = m->id,
        .transport = transport,
        .nexthop = nexthop,
        .sender = env->sender,
        .encoding = env->encoding,
        .envid = env->envelope_id,
        .ret = env->ret_flags,
        .trace_flags = (unsigned) env->trace_flags,
        .sendopts = (unsigned) env->size.sendopts,
        .data_offset = env->size.data_offset,
        .data_size = env->size.data_bytes,
        .content_bytes = env->size.content_bytes,
        .client_name = env->log_client_name,
        .client_address = env->log_client_address,
        .client_port = env->log_client_port,
        .client_protocol = env->log_protocol_name,
        .client_helo = env->log_helo_name,
        .log_origin = env->log_message_origin,
        .log_ident = env->log_ident,
        .rewrite_context = env->rewrite_context,
        .sasl_method = env->sasl_method,
        .sasl_username = env->sasl_username,
        .sasl_sender = env->sasl_sender,
        .arrival_us = env->arrival_usec,
        .active_us = m->active_us,
        .rcpts = rcpts,
        .rcpt_count = count,
    };
}

void message_defer(struct message *m, const char *transport, const char *nexthop, struct deliver_rcpt *rcpts,
                   size_t count, const char *dsn, const char *reason)
{
    struct deliver_request rq = message_request(m, -1, transport, nexthop, rcpts, count);

    if (deliver_verify(&rq))
        rq.fd = message_open(m); /* a probe ends with this answer: its recipients are marked */
    deliver_defer_open(&rq, &(struct deliver_result){ .dsn = dsn, .text = reason });
    m->deferred += rq.deferred;
    m->logs |= rq.logs;
    message_close(m, rq.fd);
}

/* content_filter: "transport:nexthop"; without nexthop the recipient's domain. */
static void use_filter(struct arena *arena, const char *filter, const char *domain, struct rewrite_route *route)
{
    const char *colon = strchr(filter, ':');

    route->transport = colon ? arena_strndup(arena, filter, (size_t) (colon - filter)) : filter;
    route->nexthop = colon != NULL && colon[1] != '\0' ? colon + 1 : domain;
    route->error = false;
}

static bool listed(const char *list, const char *name)
{
    struct slice rest = slice_of(list), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_eq(word, name))
            return true;
    return false;
}

static const char *domain_of(const char *address)
{
    const char *at = strrchr(address, '@');
    return at != NULL ? at + 1 : conf_myhostname;
}

/* Mail to the double bounce address of this host is a notice about a notice: it ends here. */
static bool double_bounce_here(const struct rewrite_route *route)
{
    size_t len = strlen(conf_double_bounce_sender);

    return route->class == REWRITE_CLASS_LOCAL &&
           strncasecmp(route->recipient, conf_double_bounce_sender, len) == 0 &&
           (route->recipient[len] == '@' || route->recipient[len] == '\0');
}

static void resolve(struct message *m, const struct queue_recipient *in, struct routed *out)
{
    struct queue_envelope *env = &m->env;
    struct rewrite_route route = { 0 };
    const char *address = *env->redirect ? env->redirect : in->address;

    *out = (struct routed){ .rcpt = { .address = address,
                                      .original = in->original,
                                      .orcpt = in->dsn_orcpt,
                                      .offset = in->offset,
                                      .notify = in->notify } };
    if (rewrite_resolve(env->sender, address, env->arena, &route) != LOOKUP_FOUND) {
        out->transport = "retry";
        out->nexthop = domain_of(address);
        out->dsn = "4.3.0";
        out->reason = "address resolver failure";
        return;
    }
    if (*env->filter && !route.error)
        use_filter(env->arena, env->filter, domain_of(route.recipient), &route);
    out->rcpt.address = route.recipient;
    out->transport = route.transport;
    out->nexthop = route.nexthop;
    out->discard = !route.error && double_bounce_here(&route);
    if (listed(qmgr_defer_transports, route.transport)) {
        out->dsn = "4.3.2";
        out->reason = "deferred transport";
    }
}

/* Also what is known by now about the transport and the destination. */
static void look_for_dead(struct message *m, struct routed *r, struct transport *t, int64_t now)
{
    struct dest *d;

    if (t == NULL) {
        r->dsn = "4.3.5";
        r->reason = "too many mail transports";
        return;
    }
    if (transport_dead(t, now)) {
        r->dsn = t->dead_dsn;
        r->reason = t->dead_reason;
        return;
    }
    d = schedule_dead_dest(t, r->nexthop, r->rcpt.address, now);
    if (d == NULL)
        return;
    if (m->flush) {
        dest_revive(d);
        return;
    }
    r->dsn = arena_strdup(m->env.arena, d->dead_dsn);
    r->reason = arena_printf(m->env.arena, "delivery temporarily suspended: %s", d->dead_reason);
}

static struct job *job_for(struct message *m, struct transport *t, int64_t now)
{
    struct job *j = m->jobs;

    while (j != NULL && j->transport != t)
        j = j->next;
    if (j == NULL) {
        j = job_new(t, m, now);
        j->single = *m->env.verp != '\0';
        j->next = m->jobs;
        m->jobs = j;
    }
    return j;
}

static void settle_here(struct message *m, struct routed *r)
{
    if (r->reason != NULL) {
        message_defer(m, r->transport, r->nexthop, &r->rcpt, 1, r->dsn, r->reason);
        return;
    }
    int fd = message_open(m);
    struct deliver_request rq = message_request(m, fd, r->transport, r->nexthop, &r->rcpt, 1);

    rq.trace_flags = 0;
    r->rcpt.notify = NOTIFY_NEVER;
    deliver_sent(
        &rq, &r->rcpt,
        &(struct deliver_result){ .dsn = "2.0.0", .text = "undeliverable postmaster notification discarded" });
    m->deferred += rq.deferred;
    m->logs |= rq.logs;
    message_close(m, fd);
}

void message_schedule(struct message *m)
{
    /* Redirected mail is for one address, and goes there once, whatever the number of its recipients. */
    bool redirected = *m->env.redirect != '\0' && m->env.recipient_count > 0;
    size_t count = redirected ? 1 : m->env.recipient_count;
    struct routed *all = mem_array(count ? count : 1, sizeof *all);
    int64_t now;

    if (redirected)
        m->env.more = 0;
    message_hold(m);
    for (size_t i = 0; i < count; i++) {
        resolve(m, &m->env.recipients[i], &all[i]);
        fiber_slice();
    }
    now = time_mono_ms();
    for (size_t i = 0; i < count; i++) {
        struct transport *t = NULL;

        if (all[i].reason == NULL && !all[i].discard)
            look_for_dead(m, &all[i], t = limits_transport(all[i].transport), now);
        if (all[i].reason == NULL && !all[i].discard)
            m->pending += job_add(job_for(m, t, now), all[i].nexthop, &all[i].rcpt);
    }
    for (struct job *j = m->jobs; j != NULL; j = j->next)
        job_start(j);
    deliver_dispatch();
    for (size_t i = 0; i < count; i++)
        if (all[i].reason != NULL || all[i].discard)
            settle_here(m, &all[i]);
    free(all);
    message_release(m);
}
