/*
 * deliver - outcomes of recipients: the log line, the bounce or defer log, the mark in the queue file
 *
 * Callers     delivery agents, qmgr; see deliver.h
 * Invariants  order for a failure: bounce log durable, then the mark; for a success the agent has made the mail safe
 *             before it calls deliver_sent. The mark itself needs no fsync: when it is lost the mail comes twice
 * Errors      a bounce log that cannot be written turns the failure into "deferred"
 */
#include "client/deliver.h"
#include "base/log.h"
#include "base/time.h"
#include "conf/param.h"
#include "proto/addr/addr.h"
#include "proto/smtp/reply.h"
#include "queue/file.h"
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum { SIGNIFICANT_DIGITS = 2, MILLION = 1000000, DSN_BYTES = ERR_DSN_BYTES };

/* Two significant digits, no more than delay_logging_resolution_limit behind the point, no trailing zeros. */
static void add_delay(struct str *out, int64_t us)
{
    int64_t unit = 1, significant = 1;

    for (int64_t i = conf_delay_logging_resolution_limit; i < 6; i++)
        unit *= 10;
    if (us < 0)
        us = 0;
    for (significant = 1; us / significant >= 100; significant *= 10)
        ;
    if (significant > unit)
        unit = significant;
    if (unit > MILLION)
        unit = MILLION;
    us = (us + unit / 2) / unit * unit;
    str_printf(out, "%lld", (long long) (us / MILLION));
    us %= MILLION;
    if (us != 0)
        str_addc(out, '.');
    for (; us != 0; us = us * 10 % MILLION)
        str_addc(out, (char) ('0' + us * 10 / MILLION));
}

void deliver_delays(const struct deliver_request *rq, int64_t now_us, char out[DELIVER_DELAYS_BYTES])
{
    struct str text;
    int64_t agent = rq->agent_us ? rq->agent_us : now_us;
    int64_t connected = rq->connected_us ? rq->connected_us : agent;

    str_init(&text, DELIVER_DELAYS_BYTES - 1);
    str_adds(&text, "delay=");
    add_delay(&text, now_us - rq->arrival_us);
    str_adds(&text, ", delays=");
    add_delay(&text, rq->active_us - rq->arrival_us);
    str_addc(&text, '/');
    add_delay(&text, agent - rq->active_us);
    str_addc(&text, '/');
    add_delay(&text, connected - agent);
    str_addc(&text, '/');
    add_delay(&text, now_us - connected);
    snprintf(out, DELIVER_DELAYS_BYTES, "%s", text.p);
    str_free(&text);
}

static void log_outcome(const struct deliver_request *rq, const struct deliver_rcpt *rcpt,
                        const struct deliver_result *res, const char *dsn, const char *status)
{
    char delays[DELIVER_DELAYS_BYTES], uses[32] = "";
    struct str to;
    bool orig = *rcpt->original != '\0' && strcasecmp(rcpt->address, rcpt->original) != 0;

    deliver_delays(rq, time_now_us(), delays);
    if (rq->connection_uses > 1)
        snprintf(uses, sizeof uses, "conn_use=%d, ", rq->connection_uses);
    str_init(&to, 0);
    str_adds(&to, "to=<");
    addr_quote(&to, slice_of(rcpt->address));
    if (orig) {
        str_adds(&to, ">, orig_to=<");
        addr_quote(&to, slice_of(rcpt->original));
    }
    log_info("%s: %s>, relay=%s, %s%s, dsn=%s, status=%s (%s)", rq->queue_id, to.p, res->relay ? res->relay : "none",
             uses, delays, dsn, status, res->text ? res->text : "");
    str_free(&to);
}

/* The class of the status code says what happened to the mail, whatever the remote host wrote. */
static void fit_dsn(char class, const char *dsn, char out[DSN_BYTES])
{
    snprintf(out, DSN_BYTES, "%s", dsn != NULL && strlen(dsn) >= 5 ? dsn : "X.0.0");
    out[0] = class;
}

static int append(enum bounce_log log, struct deliver_request *rq, const struct deliver_rcpt *rcpt,
                  const struct deliver_result *res, const char *dsn, const char *action)
{
    struct bounce_rcpt entry = {
        .recipient = rcpt->address,
        .original = rcpt->original,
        .orcpt = rcpt->orcpt,
        .offset = rcpt->offset,
        .notify = rcpt->notify,
        .dsn = dsn,
        .action = action,
        .reason = res->text ? res->text : "",
        .diag_type = res->diag_type,
        .diag_text = res->diag_text,
        .mta_type = res->mta_name ? "dns" : NULL,
        .mta_name = res->mta_name,
    };
    rq->logs |= 1u << log;
    return bounce_append(log, rq->queue_id, &entry);
}

static void settle(struct deliver_request *rq, struct deliver_rcpt *rcpt, enum deliver_outcome outcome)
{
    if (rcpt->outcome != DELIVER_OPEN)
        log_panic("%s: recipient at %lld settled twice", rq->queue_id, (long long) rcpt->offset);
    rcpt->outcome = outcome;
    if (outcome == DELIVER_DEFERRED)
        rq->deferred++;
    else if (queue_mark_done(rq->fd, rcpt->offset) < 0) {
        log_warn("%s: cannot mark recipient <%s> done: %s: it will be delivered again", rq->queue_id, rcpt->address,
                 strerror(errno));
        rq->deferred++;
    }
}

bool deliver_verify(const struct deliver_request *rq)
{
    return (rq->trace_flags & (DELIVER_MTA_VERIFY | DELIVER_USER_VERIFY)) != 0;
}

/* A probe ends with its report, whatever the outcome: nothing is delivered, bounced or tried again. */
static void report(struct deliver_request *rq, struct deliver_rcpt *rcpt, const struct deliver_result *res,
                   char class, const char *status)
{
    char dsn[DSN_BYTES];

    fit_dsn(class, res->dsn, dsn);
    if ((rq->trace_flags & DELIVER_USER_VERIFY) && append(BOUNCE_LOG_TRACE, rq, rcpt, res, dsn, status) < 0) {
        log_warn("%s: trace service failure: the report on <%s> comes later", rq->queue_id, rcpt->address);
        settle(rq, rcpt, DELIVER_DEFERRED);
        return;
    }
    log_outcome(rq, rcpt, res, dsn, status);
    settle(rq, rcpt, DELIVER_DONE);
}

static void defer_as(struct deliver_request *rq, struct deliver_rcpt *rcpt, const struct deliver_result *res,
                     const char *status)
{
    char dsn[DSN_BYTES];

    fit_dsn('4', res->dsn, dsn);
    if (append(BOUNCE_LOG_DEFER, rq, rcpt, res, dsn, "delayed") < 0)
        log_warn("%s: defer service failure: the queue listing will miss a reason", rq->queue_id);
    if (rq->trace_flags & DELIVER_RECORD)
        (void) append(BOUNCE_LOG_TRACE, rq, rcpt, res, dsn, "delayed");
    log_outcome(rq, rcpt, res, dsn, status);
    settle(rq, rcpt, DELIVER_DEFERRED);
}

void deliver_defer(struct deliver_request *rq, struct deliver_rcpt *rcpt, const struct deliver_result *res)
{
    if (deliver_verify(rq))
        report(rq, rcpt, res, '4', "undeliverable");
    else
        defer_as(rq, rcpt, res, "deferred");
}

bool deliver_wants_success(const struct deliver_rcpt *rcpt) { return (rcpt->notify & NOTIFY_SUCCESS) != 0; }

void deliver_split_dsn(const char *text, const char *fallback, char dsn[DSN_BYTES], const char **words)
{
    size_t len = smtp_dsn_len(slice_of(text), 0);

    if (len == 0 || len >= DSN_BYTES) {
        snprintf(dsn, DSN_BYTES, "%s", fallback);
        *words = text;
        return;
    }
    snprintf(dsn, DSN_BYTES, "%.*s", (int) len, text);
    *words = text + len + strspn(text + len, " ");
}

void deliver_sent(struct deliver_request *rq, struct deliver_rcpt *rcpt, const struct deliver_result *res)
{
    char dsn[DSN_BYTES];

    if (deliver_verify(rq)) {
        report(rq, rcpt, res, '2', "deliverable");
        return;
    }
    fit_dsn('2', res->dsn, dsn);
    /* The mail is delivered: a success notice that cannot be recorded must not deliver it twice. */
    if ((deliver_wants_success(rcpt) || (rq->trace_flags & DELIVER_RECORD)) &&
        append(BOUNCE_LOG_TRACE, rq, rcpt, res, dsn, res->action ? res->action : "delivered") < 0)
        log_warn("%s: trace service failure: no success report for <%s>", rq->queue_id, rcpt->address);
    log_outcome(rq, rcpt, res, dsn, "sent");
    settle(rq, rcpt, DELIVER_DONE);
}

void deliver_bounce(struct deliver_request *rq, struct deliver_rcpt *rcpt, const struct deliver_result *res)
{
    char dsn[DSN_BYTES];

    if (deliver_verify(rq)) {
        report(rq, rcpt, res, '5', "undeliverable");
        return;
    }
    if (conf_soft_bounce) {
        defer_as(rq, rcpt, res, "SOFTBOUNCE");
        return;
    }
    fit_dsn('5', res->dsn, dsn);
    if (append(BOUNCE_LOG_BOUNCE, rq, rcpt, res, dsn, "failed") < 0) {
        struct deliver_result later = { .relay = res->relay,
                                        .dsn = "4.3.0",
                                        .text = "bounce or trace service failure" };
        deliver_defer(rq, rcpt, &later);
        return;
    }
    if (rq->trace_flags & DELIVER_RECORD)
        (void) append(BOUNCE_LOG_TRACE, rq, rcpt, res, dsn, "failed");
    log_outcome(rq, rcpt, res, dsn, "bounced");
    settle(rq, rcpt, DELIVER_DONE);
}

void deliver_defer_open(struct deliver_request *rq, const struct deliver_result *res)
{
    for (size_t i = 0; i < rq->rcpt_count; i++)
        if (rq->rcpts[i].outcome == DELIVER_OPEN)
            deliver_defer(rq, &rq->rcpts[i], res);
}

void deliver_bounce_open(struct deliver_request *rq, const struct deliver_result *res)
{
    for (size_t i = 0; i < rq->rcpt_count; i++)
        if (rq->rcpts[i].outcome == DELIVER_OPEN)
            deliver_bounce(rq, &rq->rcpts[i], res);
}

void deliver_dead(struct deliver_request *rq, const char *dsn, const char *reason)
{
    fit_dsn('4', dsn, rq->dead_dsn);
    snprintf(rq->dead_reason, sizeof rq->dead_reason, "%s", reason);
}

void deliver_serve(struct service_conn *conn, struct msg *in, void (*run)(struct deliver_request *))
{
    struct deliver_request *rq = deliver_decode(in);
    struct msg *answer;

    if (rq == NULL) {
        log_warn("malformed delivery request");
        answer = msg_new("malformed");
        service_reply(conn, &answer);
        return;
    }
    rq->agent_us = time_now_us();
    run(rq);
    deliver_defer_open(rq, &(struct deliver_result){ .dsn = "4.3.0", .text = "delivery was interrupted" });
    answer = msg_new("done");
    msg_put_num(answer, "deferred", (int64_t) rq->deferred);
    msg_put_num(answer, "logs", rq->logs);
    msg_put_str(answer, "dsn", rq->dead_dsn);
    msg_put_str(answer, "reason", rq->dead_reason);
    service_reply(conn, &answer);
    if (close(rq->fd) < 0)
        log_warn("%s: close queue file: %s", rq->queue_id, strerror(errno));
    struct arena *arena = rq->arena;
    arena_free(&arena);
}
