/*
 * discard - the delivery agent that throws mail away
 *
 * Callers     qmgr: transport "discard"
 * Privilege   chroot, mail_owner, no files
 */
#include "client/deliver.h"

static void run(struct deliver_request *rq)
{
    char dsn[ERR_DSN_BYTES];
    struct deliver_result result = { .dsn = dsn };

    deliver_split_dsn(rq->nexthop, "2.0.0", dsn, &result.text);
    for (size_t i = 0; i < rq->rcpt_count; i++)
        deliver_sent(rq, &rq->rcpts[i], &result);
}

static void on_deliver(struct service_conn *c, struct msg *in) { deliver_serve(c, in, run); }

static const struct service_request requests[] = { { .name = "deliver", .run = on_deliver, .in_order = true },
                                                   { .name = NULL } };
static const struct service discard = {
    .name = "discard",
    .summary = "throws mail away",
    .jail = JAIL_CHROOT,
    .protocol = DELIVER_PROTOCOL,
    .version = DELIVER_VERSION,
    .requests = requests,
    .exclusive = true,
};

int main(int argc, char **argv) { return service_main(&discard, argc, argv); }
