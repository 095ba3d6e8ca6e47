/*
 * bounce client - put one request of bounce.h into a frame and read its answer
 *
 * Callers     see bounce.h
 * Errors      no connection, no answer and "retry" are one: -1
 */
#include "client/bounce.h"
#include "base/time.h"
#include "conf/param.h"
#include "ipc/client.h"
#include <stdio.h>

enum { REASON_BYTES = ERR_TEXT_BYTES, FLUSH_SECONDS_MIN = 600 /* a notice passes through cleanup and its milters */ };

static const char *const services[] = { "private/bounce", "private/defer", "private/trace" };

static struct ipc_client *client_of(enum bounce_log log)
{
    static struct ipc_client *clients[3];

    if (clients[log] == NULL)
        clients[log] = ipc_client_new(services[log], BOUNCE_PROTOCOL, BOUNCE_VERSION);
    return clients[log];
}

static int ask(enum bounce_log log, struct msg *request, bool again_ok, int64_t seconds, struct err *err)
{
    struct msg *answer = ipc_call(client_of(log), &request, again_ok, time_mono_ms() + seconds * 1000);
    int status = -1;

    if (answer == NULL)
        return err_set(err, 451, "4.3.0", "%s service is not available", services[log] + strlen("private/"));
    if (slice_eq(slice_of(msg_name(answer)), "ok"))
        status = 0;
    else
        err_set(err, 451, "4.3.0", "%s",
                msg_has(answer, "reason") ? msg_get_str(answer, "reason", REASON_BYTES) : "failed");
    msg_free(&answer);
    return status;
}

static void put_rcpt(struct msg *m, const struct bounce_rcpt *r)
{
    msg_put_str(m, "recipient", r->recipient);
    msg_put_str(m, "original", r->original ? r->original : "");
    msg_put_str(m, "orcpt", r->orcpt ? r->orcpt : "");
    msg_put_num(m, "offset", r->offset);
    msg_put_num(m, "notify", r->notify);
    msg_put_str(m, "dsn", r->dsn);
    msg_put_str(m, "action", r->action);
    msg_put_str(m, "reason", r->reason);
    if (r->diag_type != NULL && *r->diag_type != '\0') {
        msg_put_str(m, "diag_type", r->diag_type);
        msg_put_str(m, "diag_text", r->diag_text ? r->diag_text : "");
    }
    if (r->mta_type != NULL && *r->mta_type != '\0') {
        msg_put_str(m, "mta_type", r->mta_type);
        msg_put_str(m, "mta_name", r->mta_name ? r->mta_name : "");
    }
}

static struct msg *mail_msg(const char *request, const struct bounce_mail *mail)
{
    struct msg *m = msg_new(request);

    msg_put_str(m, "queue_id", mail->queue_id);
    msg_put_str(m, "sender", mail->sender);
    msg_put_str(m, "verp", mail->verp ? mail->verp : "");
    msg_put_str(m, "envid", mail->envid ? mail->envid : "");
    msg_put_num(m, "ret", mail->ret);
    msg_put_str(m, "encoding", mail->encoding ? mail->encoding : "");
    msg_put_num(m, "smtputf8", mail->smtputf8);
    msg_put_num(m, "arrival", mail->arrival);
    msg_put_fd(m, mail->fd);
    return m;
}

static int64_t flush_seconds(void)
{
    return conf_ipc_timeout > FLUSH_SECONDS_MIN ? conf_ipc_timeout : FLUSH_SECONDS_MIN;
}

int bounce_append(enum bounce_log log, const char *queue_id, const struct bounce_rcpt *rcpt)
{
    struct msg *m = msg_new("append");

    msg_put_str(m, "queue_id", queue_id);
    put_rcpt(m, rcpt);
    return ask(log, m, true, conf_ipc_timeout, NULL); /* said twice the notice repeats a line: better than none */
}

int bounce_flush(enum bounce_log log, const struct bounce_mail *mail, struct err *err)
{
    return ask(log, mail_msg("flush", mail), false, flush_seconds(), err);
}

int bounce_warn(const struct bounce_mail *mail, struct err *err)
{
    return ask(BOUNCE_LOG_DEFER, mail_msg("warn", mail), false, flush_seconds(), err);
}

int bounce_forget(enum bounce_log log, const char *queue_id)
{
    struct msg *m = msg_new("forget");

    msg_put_str(m, "queue_id", queue_id);
    return ask(log, m, true, conf_ipc_timeout, NULL);
}

int bounce_one(const struct bounce_mail *mail, const struct bounce_rcpt *rcpt, struct err *err)
{
    struct msg *m = mail_msg("one", mail);

    put_rcpt(m, rcpt);
    return ask(BOUNCE_LOG_BOUNCE, m, false, flush_seconds(), err);
}
