/*
 * error - the delivery agent that always fails, for the reason that the next hop names
 *
 * Callers     qmgr: transports "error" (bounces) and "retry" (defers); the service name decides
 * Invariants  a reason without a status code gets 5.0.0 or 4.0.0
 * Privilege   chroot, mail_owner, no files
 */
#include "client/deliver.h"
#include <string.h>

static void run(struct deliver_request *rq)
{
    bool retry = strcmp(service_name(), "retry") == 0;
    char dsn[ERR_DSN_BYTES];
    struct deliver_result result = { .dsn = dsn };

    deliver_split_dsn(rq->nexthop, retry ? "4.0.0" : "5.0.0", dsn, &result.text);
    if (retry)
        deliver_defer_open(rq, &result);
    else
        deliver_bounce_open(rq, &result);
}

static void on_deliver(struct service_conn *c, struct msg *in) { deliver_serve(c, in, run); }

static const struct service_request requests[] = { { .name = "deliver", .run = on_deliver, .in_order = true },
                                                   { .name = NULL } };
static const struct service error = {
    .name = "error",
    .summary = "bounces or defers all mail it gets",
    .jail = JAIL_CHROOT,
    .protocol = DELIVER_PROTOCOL,
    .version = DELIVER_VERSION,
    .requests = requests,
    .exclusive = true,
};

int main(int argc, char **argv) { return service_main(&error, argc, argv); }
