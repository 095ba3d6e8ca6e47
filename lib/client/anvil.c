/* anvil - the calls to anvil, and what a lost connection means; contract in anvil.h */
#include "client/anvil.h"
#include "client/anvil_wire.h"

#include "base/time.h"
#include "ipc/client.h"

#include <stdio.h>
#include <string.h>

enum { ANVIL_TIMEOUT_MS = 10000 };

bool anvil_count(enum anvil_event event, const char *service, const char *client, struct anvil_counts *out)
{
    static struct ipc_client *anvil;
    char ident[ANVIL_IDENT_BYTES];
    struct msg *m, *reply;
    bool known = false;

    if (snprintf(ident, sizeof ident, "%s:%s", service, client) >= (int) sizeof ident)
        return false;
    if (anvil == NULL)
        anvil = ipc_client_new("private/anvil", ANVIL_PROTOCOL, ANVIL_PROTOCOL_VERSION);
    m = msg_new(ANVIL_REQUEST);
    msg_put_num(m, ANVIL_V_EVENT, event);
    msg_put_str(m, ANVIL_V_IDENT, ident);
    reply = ipc_call(anvil, &m, false, time_mono_ms() + ANVIL_TIMEOUT_MS);
    if (reply && strcmp(msg_name(reply), "ok") == 0) {
        out->connections = msg_get_num(reply, ANVIL_V_CONNECTIONS, 0, INT64_MAX);
        out->rate = msg_get_num(reply, ANVIL_V_RATE, 0, INT64_MAX);
        known = msg_done(reply);
    }
    msg_free(&reply);
    return known;
}
