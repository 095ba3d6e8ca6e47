/*
 * bounce - logs of failures, delays and successes, and the notices made of them
 *
 * Callers     delivery agents, qmgr, cleanup: through lib/client/bounce.h
 * Invariants  see lib/client/bounce.h: what a failure log was told is durable before the answer; the log is removed
 *             only after the notice is durable in the queue
 *             the service name (bounce, defer, trace) chooses the directory
 * Errors      retry, with a reason
 * Privilege   chroot, mail_owner, the three log directories
 */
#include "bounce_internal.h"
#include "queue/dir.h"
#include "service/service.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { ADDRESS_BYTES = 2048, TEXT_BYTES = 4096 };

static enum bounce_log kind_of_service(void)
{
    const char *name = service_name();

    return strcmp(name, "defer") == 0   ? BOUNCE_LOG_DEFER
           : strcmp(name, "trace") == 0 ? BOUNCE_LOG_TRACE
                                        : BOUNCE_LOG_BOUNCE;
}

static const char *directory(void)
{
    static const char *const names[] = { QUEUE_BOUNCE, QUEUE_DEFER, QUEUE_TRACE };
    return names[kind_of_service()];
}

static void answer(struct service_conn *c, int status, const char *reason)
{
    struct msg *m = service_status(status == 0 ? "ok" : "retry");

    if (status != 0)
        msg_put_str(m, "reason", reason);
    service_reply(c, &m);
}

static void malformed(struct service_conn *c)
{
    log_warn("malformed request");
    answer(c, -1, "malformed request");
}

static void get_rcpt(struct msg *in, struct bounce_rcpt *r)
{
    *r = (struct bounce_rcpt){
        .recipient = msg_get_str(in, "recipient", ADDRESS_BYTES),
        .original = msg_get_str(in, "original", ADDRESS_BYTES),
        .orcpt = msg_get_str(in, "orcpt", ADDRESS_BYTES),
        .offset = msg_get_num(in, "offset", 0, INT64_MAX),
        .notify = (int) msg_get_num(in, "notify", 0, 15),
        .dsn = msg_get_str(in, "dsn", ERR_DSN_BYTES - 1),
        .action = msg_get_str(in, "action", 32),
        .reason = msg_get_str(in, "reason", TEXT_BYTES),
    };
    if (msg_has(in, "diag_type")) {
        r->diag_type = msg_get_str(in, "diag_type", 64);
        r->diag_text = msg_get_str(in, "diag_text", TEXT_BYTES);
    }
    if (msg_has(in, "mta_type")) {
        r->mta_type = msg_get_str(in, "mta_type", 64);
        r->mta_name = msg_get_str(in, "mta_name", ADDRESS_BYTES);
    }
}

static void get_mail(struct msg *in, struct bounce_mail *mail)
{
    *mail = (struct bounce_mail){
        .queue_id = msg_get_str(in, "queue_id", QUEUE_ID_BYTES - 1),
        .sender = msg_get_str(in, "sender", ADDRESS_BYTES),
        .verp = msg_get_str(in, "verp", 2),
        .envid = msg_get_str(in, "envid", ADDRESS_BYTES),
        .ret = (int) msg_get_num(in, "ret", 0, 3),
        .encoding = msg_get_str(in, "encoding", 32),
        .smtputf8 = msg_get_num(in, "smtputf8", 0, 1) != 0,
        .arrival = msg_get_num(in, "arrival", 0, INT64_MAX),
        .fd = msg_take_fd(in),
    };
}

static void on_append(struct service_conn *c, struct msg *in)
{
    const char *id = msg_get_str(in, "queue_id", QUEUE_ID_BYTES - 1);
    struct bounce_rcpt r;
    struct str record;
    int status;

    get_rcpt(in, &r);
    if (!msg_done(in) || !queue_id_valid(id)) {
        malformed(c);
        return;
    }
    str_init(&record, 0);
    logfile_format(&r, &record);
    status = logfile_append(directory(), id, str_slice(&record), kind_of_service() != BOUNCE_LOG_DEFER);
    if (status < 0)
        log_warn("%s: write %s log: %s", id, directory(), strerror(errno));
    str_free(&record);
    answer(c, status, "log file cannot be written");
}

/* Success reports where somebody asked for them, else what "sendmail -v" wanted. */
static enum report_kind report_kind(bool warn, struct slice log)
{
    if (warn)
        return REPORT_DELAY;
    if (kind_of_service() != BOUNCE_LOG_TRACE)
        return REPORT_FAILURE;
    return report_count(REPORT_SUCCESS, log) > 0 ? REPORT_SUCCESS : REPORT_STATUS;
}

static void tell(struct service_conn *c, struct msg *in, bool warn)
{
    struct bounce_mail mail;
    struct err err = { .text = "" };
    struct str log;
    int status = 0;

    get_mail(in, &mail);
    if (!msg_done(in) || !queue_id_valid(mail.queue_id)) {
        malformed(c);
        if (mail.fd >= 0)
            close(mail.fd);
        return;
    }
    str_init(&log, LOGFILE_BYTES);
    if (logfile_read(directory(), mail.queue_id, &log) < 0 && errno != ENOENT)
        status = err_set(&err, 451, "4.3.0", "read %s log: %s", directory(), strerror(errno));
    if (status == 0)
        status = notify_send(report_kind(warn, str_slice(&log)), &mail, str_slice(&log), &err);
    if (status == 0 && !warn && logfile_remove(directory(), mail.queue_id) < 0)
        status = err_set(&err, 451, "4.3.0", "remove %s log: %s", directory(), strerror(errno));
    if (status < 0)
        log_warn("%s: %s", mail.queue_id, err.text);
    str_free(&log);
    close(mail.fd);
    answer(c, status, err.text);
}

static void on_flush(struct service_conn *c, struct msg *in) { tell(c, in, false); }
static void on_warn(struct service_conn *c, struct msg *in) { tell(c, in, true); }

static void on_forget(struct service_conn *c, struct msg *in)
{
    const char *id = msg_get_str(in, "queue_id", QUEUE_ID_BYTES - 1);

    if (!msg_done(in) || !queue_id_valid(id))
        malformed(c);
    else
        answer(c, logfile_remove(directory(), id), "log file cannot be removed");
}

static void on_one(struct service_conn *c, struct msg *in)
{
    struct bounce_mail mail;
    struct bounce_rcpt r;
    struct err err = { .text = "" };
    struct str record;
    int status;

    get_mail(in, &mail);
    get_rcpt(in, &r);
    if (!msg_done(in) || !queue_id_valid(mail.queue_id)) {
        malformed(c);
        if (mail.fd >= 0)
            close(mail.fd);
        return;
    }
    str_init(&record, 0);
    logfile_format(&r, &record);
    status = notify_send(REPORT_FAILURE, &mail, str_slice(&record), &err);
    str_free(&record);
    close(mail.fd);
    answer(c, status, err.text);
}

static const struct param *const tables[] = { notify_params, queue_params, NULL };
static const struct service_path paths[] = {
    { .path = QUEUE_BOUNCE, .write = true },
    { .path = QUEUE_DEFER, .write = true },
    { .path = QUEUE_TRACE, .write = true },
    { .path = NULL },
};
static const struct service_request requests[] = {
    { .name = "append", .run = on_append }, { .name = "flush", .run = on_flush }, { .name = "warn", .run = on_warn },
    { .name = "forget", .run = on_forget }, { .name = "one", .run = on_one },     { .name = NULL },
};
static const struct service bounce = {
    .name = "bounce",
    .summary = "delivery logs and non-delivery reports",
    .jail = JAIL_CHROOT,
    .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
    .paths = paths,
    .params = tables,
    .protocol = BOUNCE_PROTOCOL,
    .version = BOUNCE_VERSION,
    .requests = requests,
};

int main(int argc, char **argv) { return service_main(&bounce, argc, argv); }
