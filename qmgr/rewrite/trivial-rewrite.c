/*
 * rewrite - the canonical form of addresses, and where mail for them goes
 *
 * Callers     smtpd, cleanup, qmgr: through lib/client/rewrite.h
 * Invariants  remembers only in which list a domain stands, for REWRITE_CACHE_MS
 * Errors      "retry" when a table fails; never a guess
 * Privilege   chroot, mail_owner; tables are opened before, proxy: tables are asked by proxymap
 */
#include "rewrite_internal.h"
#include "service/service.h"
#include "table/table.h"

#include <stdlib.h>

static void reply(struct service_conn *c, struct msg *m) { service_reply(c, &m); }

static void on_rewrite(struct service_conn *c, struct msg *in)
{
    enum rewrite_context context = (enum rewrite_context) msg_get_num(in, "context", REWRITE_LOCAL, REWRITE_REMOTE);
    const char *address = msg_get_str(in, "address", REWRITE_ADDRESS_BYTES);
    struct msg *out;
    struct str form;

    if (!msg_done(in)) {
        reply(c, service_status("retry"));
        return;
    }
    str_init(&form, STR_UNLIMITED);
    str_adds(&form, address);
    rewrite_form(context, &form);
    out = service_status("ok");
    msg_put(out, "address", str_slice(&form));
    reply(c, out);
    str_free(&form);
}

static void on_resolve(struct service_conn *c, struct msg *in)
{
    const char *sender = msg_get_str(in, "sender", REWRITE_ADDRESS_BYTES);
    const char *address = msg_get_str(in, "address", REWRITE_ADDRESS_BYTES);
    struct arena *arena = arena_new();
    struct rewrite_route route;
    struct msg *out;

    if (!msg_done(in) || rewrite_route_of(sender, address, arena, &route) != LOOKUP_FOUND) {
        out = service_status("retry");
    } else {
        out = service_status("ok");
        msg_put_str(out, "transport", route.transport);
        msg_put_str(out, "nexthop", route.nexthop);
        msg_put_str(out, "recipient", route.recipient);
        msg_put_num(out, "class", route.class);
        msg_put_num(out, "routed", route.routed);
    }
    reply(c, out);
    arena_free(&arena);
}

static int open_tables(void)
{
    rewrite_open();
    return 0;
}

static const struct service_request requests[] = { { .name = "rewrite", .run = on_rewrite },
                                                   { .name = "resolve", .run = on_resolve },
                                                   { .name = NULL } };
static const struct param *const params[] = { rewrite_params, NULL };
static const struct service rewrite = {
    .name = "trivial-rewrite",
    .summary = "canonical addresses, and where mail for them goes",
    .jail = JAIL_CHROOT,
    .params = params,
    .protocol = REWRITE_PROTOCOL,
    .version = REWRITE_VERSION,
    .requests = requests,
    .pre_jail = open_tables,
    .stale = table_restart,
};

int main(int argc, char **argv) { return service_main(&rewrite, argc, argv); }
