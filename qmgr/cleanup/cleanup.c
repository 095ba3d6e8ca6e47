/*
 * cleanup - makes a queue file of each message that comes in
 *
 * Callers     smtpd, pickup, bounce: through lib/client/cleanup.h, one connection a message, kept for the next
 * Invariants  "done 250" is sent after the file is durable and the queue manager was told, in this order; before that
 *             a connection that ends takes its file along
 * Units       bytes, seconds; limits stand with their parameters
 * Errors      a table, rewrite or the disk in trouble: 451, nothing is left in the queue
 * Privilege   chroot to the queue directory, mail_owner; writes incoming/ and hold/
 */
#include "base/log.h"
#include "client/cleanup.h"
#include "conf/param.h"
#include "message.h"
#include "service/service.h"

#include <errno.h>

static int send_done(struct stream *s, uint32_t id, int rc, const struct err *err)
{
    struct msg *m = msg_new(CLEANUP_DONE);

    msg_put_num(m, "code", rc == 0 ? 250 : err->code);
    msg_put_str(m, "dsn", rc == 0 ? "2.0.0" : err->dsn);
    msg_put_str(m, "reason", rc == 0 ? "" : err->text);
    rc = msg_send(s, m, id);
    msg_free(&m);
    return rc;
}

static int on_open(struct stream *s, struct msg *in, struct message **message)
{
    unsigned flags = (unsigned) msg_get_num(in, "flags", 0, 0xffff);
    struct err err = { 0 };
    struct msg *m;
    int rc;

    if (!msg_done(in))
        return -1;
    *message = message_new(flags, &err);
    if (*message == NULL)
        return send_done(s, msg_id(in), -1, &err);
    m = msg_new(CLEANUP_OPENED);
    msg_put_str(m, "queue_id", message_id(*message));
    rc = msg_send(s, m, msg_id(in));
    msg_free(&m);
    return rc;
}

static int on_end(struct stream *s, struct msg *in, struct message **message)
{
    struct err err = { 0 };
    int rc;

    message_records(*message, msg_get(in, "records", MSG_BYTES));
    if (!msg_done(in))
        return -1;
    fiber_shield(true); /* once the file is complete, the client must hear of it */
    rc = message_commit(*message, &err);
    fiber_shield(false);
    message_free(message);
    return send_done(s, msg_id(in), rc, &err);
}

static int on_request(struct stream *s, struct msg *in, struct message **message)
{
    const char *name = msg_name(in);

    if (strcmp(name, CLEANUP_OPEN) == 0 && *message == NULL)
        return on_open(s, in, message);
    if (strcmp(name, CLEANUP_DATA) == 0 && *message) {
        message_records(*message, msg_get(in, "records", MSG_BYTES));
        return msg_done(in) ? 0 : -1;
    }
    if (strcmp(name, CLEANUP_END) == 0 && *message)
        return on_end(s, in, message);
    log_warn("cleanup: client sent an unexpected request: %s", name);
    return -1;
}

static bool next_request(struct stream *s, bool between_messages, struct msg **in)
{
    int rc;

    if (between_messages)
        service_rest(true);
    rc = msg_recv(s, in);
    if (between_messages)
        service_rest(false);
    return rc == 0;
}

static void session(struct stream *s, const struct service_peer *peer)
{
    struct message *message = NULL;
    struct msg *in = NULL;

    (void) peer;
    if (ipc_greet_server(s, CLEANUP_PROTOCOL, CLEANUP_VERSION) < 0)
        return;
    stream_timeout(s, conf_ipc_timeout * 1000);
    while (next_request(s, message == NULL, &in)) {
        int rc = on_request(s, in, &message);
        msg_free(&in);
        if (rc < 0 || (message == NULL && service_stopping()))
            break;
    }
    if (message) {
        log_info("%s: removed (canceled)", message_id(message));
        message_free(&message);
    }
}

static const struct param *const params[] = { cleanup_params, queue_params, NULL };
static const struct service_path paths[] = { { .path = "incoming", .write = true },
                                             { .path = "hold", .write = true },
                                             { .path = NULL } };

static const struct service cleanup = {
    .name = "cleanup",
    .summary = "make a queue file of each incoming message",
    .jail = JAIL_CHROOT,
    .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
    .paths = paths,
    .params = params,
    .session = session,
    .rests = true,
    .pre_jail = cleanup_params_open,
    .stale = table_restart,
};

int main(int argc, char **argv) { return service_main(&cleanup, argc, argv); }
