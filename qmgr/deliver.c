/*
 * deliver - one fiber a delivery: entry out of the schedule, agent asked, outcome back
 *
 * Callers     message.c and deliveries that have ended (deliver_dispatch)
 * Invariants  at most `deliver_max` at a time: each needs two descriptors
 *             a destination or transport that dies takes its waiting entries with it: they are deferred at once
 */
#include "qmgr_internal.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { DESCRIPTORS_SPARE = 100 };

static size_t busy;

size_t deliver_busy(void) { return busy; }

size_t deliver_max(void)
{
    static size_t max;
    struct rlimit limit;

    if (max == 0)
        max = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 2 * DESCRIPTORS_SPARE
                  ? (limit.rlim_cur - DESCRIPTORS_SPARE) / 4
                  : DESCRIPTORS_SPARE / 4;
    return max;
}

static void defer_entry(struct entry *e, const char *dsn, const char *reason)
{
    struct message *m = e->message;

    message_defer(m, e->dest->transport->name, e->dest->nexthop, e->rcpts, e->count, dsn, reason);
    schedule_drop(&e);
    message_release(m);
}

/* Takes all first: while one is being deferred others may change the schedule. */
static void defer_waiting(struct dest *d, struct transport *t, const char *dsn, const char *reason)
{
    struct list taken;
    struct entry *e;

    list_init(&taken);
    while ((e = d ? schedule_take_dest(d) : schedule_take_transport(t)) != NULL)
        list_append(&taken, &e->at);
    list_each(n, &taken) defer_entry(list_entry(n, struct entry, at), dsn, reason);
}

static void release_dest(void *arg)
{
    schedule_release(arg);
    deliver_dispatch();
}

static void transport_failed(struct transport *t, const char *why)
{
    char reason[ERR_TEXT_BYTES];

    snprintf(reason, sizeof reason, "%s", why);
    transport_kill(t, "4.3.0", reason, time_mono_ms() + qmgr_transport_retry * 1000);
    defer_waiting(NULL, t, "4.3.0", reason);
}

/* What the agent said about the destination: back into the schedule. */
static void entry_answered(struct entry *e, const struct deliver_answer *answer)
{
    struct dest *d = e->dest;
    struct transport *t = d->transport;
    char reason[DELIVER_TEXT_BYTES + 64];
    bool dead = answer->dead_dsn[0] != '\0';

    if (!schedule_done(&e, dead ? VERDICT_DEAD : VERDICT_ALIVE, answer->dead_dsn, answer->dead_reason,
                       time_mono_ms() + qmgr_minimal_backoff * 1000))
        return;
    snprintf(reason, sizeof reason, "delivery temporarily suspended: %s", answer->dead_reason);
    defer_waiting(d, t, answer->dead_dsn, reason);
}

/* With VERP each recipient has a sender of his own; the address that the sender knows is named in it. */
static void use_verp(const struct message *m, const struct deliver_rcpt *r, struct deliver_request *rq,
                     struct str *sender)
{
    if (*m->env.verp == '\0' || *m->env.sender == '\0')
        return;
    addr_verp(sender, slice_of(m->env.sender), m->env.verp,
              slice_of(*r->original != '\0' ? r->original : r->address));
    rq->sender = sender->p;
}

static void run(void *arg)
{
    struct entry *e = arg;
    struct message *m = e->message;
    struct dest *d = e->dest;
    struct transport *t = d->transport;
    struct deliver_answer answer;
    const char *why = "queue file cannot be opened";
    int fd = message_open(m);
    struct deliver_request rq = message_request(m, fd, t->name, d->nexthop, e->rcpts, e->count);
    struct str sender;
    int asked;
    bool answered;

    str_init(&sender, 0);
    use_verp(m, &e->rcpts[0], &rq, &sender);
    asked = fd >= 0 ? agent_ask(t, &rq, &answer, &why) : 1;
    answered = asked == 0;
    str_free(&sender);
    m->logs |= answered ? answer.logs : DELIVER_LOGS;
    if (answered)
        m->deferred += answer.deferred;
    else
        message_defer(m, t->name, d->nexthop, rq.rcpts, rq.rcpt_count, "4.3.0", why);
    message_close(m, fd);
    if (t->limits.rate_delay_ms > 0)
        (void) event_timer_new(t->limits.rate_delay_ms, release_dest, d); /* schedule_done holds it until then */
    if (answered)
        entry_answered(e, &answer);
    else {
        (void) schedule_done(&e, VERDICT_NONE, NULL, NULL, 0);
        if (asked < 0)
            transport_failed(t, why);
    }
    busy--;
    message_release(m);
    deliver_dispatch();
}

void deliver_dispatch(void)
{
    struct entry *e;

    while (!service_stopping() && busy < deliver_max() &&
           (e = schedule_next(&qmgr_schedule, time_mono_ms())) != NULL) {
        busy++;
        fiber_go("delivery", run, e);
    }
}
