/*
 * proxy - proxy:type:name is looked up by authd/proxymap, which sees files that a jailed daemon does not
 *
 * Invariants  one connection a process, shared by all tables; keys are folded there, as the flags say
 * Errors      RETRY when proxymap cannot be asked or does not serve the table
 */
#include "table/proxy.h"
#include "base/log.h"
#include "base/time.h"
#include "conf/param.h"
#include "ipc/client.h"
#include "table/internal.h"

static struct ipc_client *proxymap; /* lives as long as the process */

static int proxy_open(struct table *t, struct err *err)
{
    if (strchr(t->name, ':') == NULL)
        return err_set(err, 0, NULL, "%s: expected proxy:type:name", t->spec);
    return 0;
}

static enum lookup read_reply(const struct table *t, struct msg *reply, struct str *out)
{
    const char *status = msg_name(reply);
    enum lookup answer = LOOKUP_RETRY;

    if (strcmp(status, "found") == 0) {
        struct slice value = msg_get(reply, "value", TABLE_VALUE_BYTES);
        if (msg_done(reply)) {
            str_addslice(out, value);
            answer = LOOKUP_FOUND;
        }
    } else if (strcmp(status, "none") == 0 && msg_done(reply)) {
        answer = LOOKUP_NONE;
    } else if (strcmp(status, "denied") == 0) {
        log_warn("%s: the proxymap service does not serve this table: no parameter names it", t->spec);
    }
    return answer;
}

static enum lookup proxy_lookup(struct table *t, const char *key, struct str *out)
{
    struct msg *request = msg_new("lookup"), *reply;
    enum lookup answer;

    if (proxymap == NULL)
        proxymap = ipc_client_new(PROXY_SERVICE, PROXY_PROTOCOL, PROXY_VERSION);
    msg_put_str(request, "table", t->name);
    msg_put_num(request, "flags", t->flags);
    msg_put_str(request, "key", key);
    reply = ipc_call(proxymap, &request, true, time_mono_ms() + conf_ipc_timeout * 1000);
    if (reply == NULL) {
        log_warn("%s: the proxymap service cannot be asked", t->spec);
        return LOOKUP_RETRY;
    }
    answer = read_reply(t, reply, out);
    msg_free(&reply);
    return answer;
}

const struct table_type table_proxy = {
    .name = "proxy", .traits = TABLE_OWN_CASE, .open = proxy_open, .lookup = proxy_lookup
};
