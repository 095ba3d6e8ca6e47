/* tlsmgr - keeps the ticket keys of this process fresh; contract in tlsmgr.h */
#include "client/tlsmgr.h"
#include "client/tlsmgr_wire.h"

#include "base/time.h"
#include "ipc/client.h"

#include <string.h>

enum { ASK_AGAIN_MS = 60000, ASK_TIMEOUT_MS = 10000 };

/* Milliseconds until the next question. */
static int64_t refresh(struct ipc_client *tlsmgr, struct tls_ctx *ctx)
{
    struct msg *m = msg_new(TLSMGR_REQUEST), *reply = ipc_call(tlsmgr, &m, true, time_mono_ms() + ASK_TIMEOUT_MS);
    int64_t again = ASK_AGAIN_MS;

    if (reply && strcmp(msg_name(reply), "ok") == 0) {
        struct slice keys = msg_get(reply, TLSMGR_V_KEYS, (size_t) TLSMGR_KEYS * TLS_TICKET_KEY_BYTES);
        int64_t seconds = msg_get_num(reply, TLSMGR_V_REFRESH, 1, 86400);
        if (msg_done(reply) && keys.len && keys.len % TLS_TICKET_KEY_BYTES == 0) {
            tls_ctx_ticket_keys(ctx, (const unsigned char *) keys.p, keys.len / TLS_TICKET_KEY_BYTES);
            again = seconds * 1000;
        }
    }
    msg_free(&reply);
    return again;
}

static void keep(void *arg)
{
    struct tls_ctx *ctx = arg;
    struct ipc_client *tlsmgr = ipc_client_new("private/tlsmgr", TLSMGR_PROTOCOL, TLSMGR_PROTOCOL_VERSION);

    while (event_sleep(refresh(tlsmgr, ctx)) == 0)
        ;
    ipc_client_free(&tlsmgr);
}

void tlsmgr_keep_keys(struct tls_ctx *ctx)
{
    if (ctx)
        fiber_go("tlsmgr", keep, ctx);
}
