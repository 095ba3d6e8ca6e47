/*
 * proxy - proxy:type:name, and mysql:name, are looked up by authd/proxymap, which sees files that a jailed daemon does not
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

#include <errno.h>

static struct ipc_client *proxymap; /* lives as long as the process */

static enum proxy_answer read_reply(struct msg *reply, const struct proxy_question *q, struct str *out,
                                    struct proxy_place *at)
{
    const char *status = msg_name(reply);

    if (strcmp(status, "none") != 0) {
        at->table = (size_t) msg_get_num(reply, "at", 0, (int64_t) q->specs - 1);
        at->key = (size_t) msg_get_num(reply, "key", 0, (int64_t) q->keys - 1);
    }
    if (strcmp(status, "found") == 0) {
        struct slice value = msg_get(reply, "value", TABLE_VALUE_BYTES);
        if (msg_done(reply)) {
            str_addslice(out, value);
            return PROXY_FOUND;
        }
    } else if (strcmp(status, "none") == 0 && msg_done(reply)) {
        return PROXY_NONE;
    } else if (strcmp(status, "denied") == 0 && msg_done(reply)) {
        return PROXY_DENIED;
    }
    return PROXY_RETRY;
}

enum proxy_answer proxy_ask(const struct proxy_question *q, struct str *out, struct proxy_place *at)
{
    struct msg *request = msg_new("lookup"), *reply;
    enum proxy_answer answer;

    if (proxymap == NULL)
        proxymap = ipc_client_new(PROXY_SERVICE, PROXY_PROTOCOL, PROXY_VERSION);
    *at = (struct proxy_place){ 0 };
    for (size_t i = 0; i < q->specs; i++)
        msg_put_str(request, "table", q->spec[i]);
    msg_put_num(request, "flags", q->flags);
    for (size_t i = 0; i < q->keys; i++)
        msg_put_str(request, "key", q->key[i]);
    reply = ipc_call(proxymap, &request, true, time_mono_ms() + conf_ipc_timeout * 1000);
    if (reply == NULL)
        return PROXY_AWAY;
    answer = read_reply(reply, q, out, at);
    msg_free(&reply);
    return answer;
}

/* What proxymap knows it by; NULL: it is looked up here. */
static const char *spec_of(const struct table *t)
{
    return t->type == &table_proxy ? t->name : t->type == &table_mysql ? t->spec : NULL;
}

size_t proxy_run(struct table *const *table, size_t count, bool partial)
{
    size_t n = 0;

    while (n < count && n < PROXY_TABLES && table[n]->type && spec_of(table[n]) && table[n]->error == NULL &&
           table[n]->flags == table[0]->flags && !(partial && table_full_key_only(table[n])))
        n++;
    return n;
}

static enum lookup too_long(struct table *t, const char *key, struct str *out)
{
    return table_lookup(t, key, out); /* says so */
}

enum lookup proxy_find(struct table *const *table, size_t count, const char *const *key, size_t keys, struct str *out,
                       struct proxy_place *at)
{
    const char *spec[PROXY_TABLES];
    struct proxy_question q = { .spec = spec, .specs = count, .key = key, .keys = keys, .flags = table[0]->flags };
    const struct table *t;
    enum proxy_answer answer;

    *at = (struct proxy_place){ 0 };
    for (size_t i = 0; i < keys; i++)
        if (strlen(key[i]) > TABLE_KEY_BYTES)
            return too_long(table[0], key[i], out);
    for (size_t i = 0; i < count; i++)
        spec[i] = spec_of(table[i]);
    answer = proxy_ask(&q, out, at);
    t = table[at->table];
    switch (answer) {
    case PROXY_FOUND: return LOOKUP_FOUND;
    case PROXY_NONE: return LOOKUP_NONE;
    case PROXY_DENIED:
        if (table_say(table[at->table]))
            log_warn("%s: the proxymap service does not serve this table: no parameter names it", t->spec);
        break;
    case PROXY_AWAY:
        if (table_say(table[at->table]))
            log_warn("%s: the proxymap service cannot be asked: %s", t->spec, strerror(errno));
        break;
    case PROXY_RETRY: break; /* proxymap has said why */
    }
    return LOOKUP_RETRY;
}

static int proxy_open(struct table *t, struct err *err)
{
    if (strchr(t->name, ':') == NULL)
        return err_set(err, 0, NULL, "%s: expected proxy:type:name", t->spec);
    return 0;
}

static enum lookup proxy_lookup(struct table *t, const char *key, struct str *out)
{
    struct proxy_place at;

    return proxy_find(&t, 1, &key, 1, out, &at);
}

static int mysql_open(struct table *t, struct err *err)
{
    return *t->name ? 0 : err_set(err, 0, NULL, "%s: expected mysql:/file", t->spec);
}

const struct table_type table_proxy = {
    .name = "proxy", .traits = TABLE_OWN_CASE, .open = proxy_open, .lookup = proxy_lookup
};
/* The database's password stays in proxymap, whoever names the table. */
const struct table_type table_mysql = {
    .name = "mysql", .traits = TABLE_OWN_CASE, .open = mysql_open, .lookup = proxy_lookup
};
