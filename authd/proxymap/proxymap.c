/*
 * proxymap - looks up tables for daemons whose jail hides them; the one process that holds database passwords
 *
 * Callers     every daemon with a proxy: or mysql: table, through lib/table/proxy.c; authd, through lib/client/proxymap.h
 * Invariants  serves what sources.h says and nothing else: what a broken-in daemon may ask was decided by the
 *             administrator
 *             tables are opened before the jail, as root: a file may be root's alone. Account lookups may block and run
 *             in a thread; database questions wait in the loop, each in its fiber
 * Errors      "retry" for a table that fails, "denied" for one that nothing names
 * Privilege   mail_owner, no chroot; Landlock: /etc and what the C library asks about accounts, for reading. Sockets of
 *             the network only when a database is reached by it
 */
#include "base/log.h"
#include "base/mem.h"
#include "client/dns.h"
#include "service/service.h"
#include "sources.h"
#include "sql.h"
#include "table/proxy.h"
#include "table/sql/mysql.h"

#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>

static struct service proxymap;

static enum lookup addresses_of(const char *host, struct str *out, struct err *err)
{
    struct dns_reply reply;
    enum lookup answer = dns_addresses(host, DNS_IPV4 | DNS_IPV6, &reply);

    for (size_t i = 0; answer == LOOKUP_FOUND && i < reply.count; i++) {
        char text[INET6_ADDRSTRLEN];
        const struct dns_record *r = &reply.records[i];
        if (inet_ntop(r->data.len == 4 ? AF_INET : AF_INET6, r->data.p, text, sizeof text))
            str_printf(out, "%s%s", out->len ? " " : "", text);
    }
    if (answer != LOOKUP_FOUND)
        (void) err_set(err, 0, NULL, "%s: %s", host, answer == LOOKUP_NONE ? "it has no address" : reply.why);
    dns_reply_free(&reply);
    return answer;
}

static int open_tables(void)
{
    conf_registry_open(); /* without it only main.cf's own values count; it has said so */
    sql_tables_register();
    table_sees_names(); /* caches would be lost with each new start */
    sources_open();
    if (sql_pool_networked())
        proxymap.may |= MAY_INET;
    sql_pool_resolver(addresses_of);
    /* The C library loads what nsswitch.conf names at the first question: not possible in the jail. */
    (void) getpwnam("root");
    (void) getgrnam("root");
    return 0;
}

struct question {
    struct table *table;
    const char *key;
    struct table_asked *asked;
    struct str *out;
    enum lookup answer;
};

static void look(void *arg)
{
    struct question *q = arg;

    q->answer = table_lookup_asked(q->table, q->key, q->asked, q->out);
}

/* One table's answer, by its name on the wire. */
static const char *answer(const char *spec, unsigned flags, const char *key, struct table_asked *asked,
                          struct str *value)
{
    bool blocks = false;
    struct question q = {
        .table = sources_table(spec, flags, &blocks), .key = key, .asked = asked, .out = value, .answer = LOOKUP_RETRY
    };

    if (!sources_known(spec)) {
        log_warn("request for unauthorized table: \"%.200s\": no parameter names it", spec);
        return "denied";
    }
    if (q.table == NULL) {
        log_warn("request for table \"%.200s\" with flags %u, which nothing here uses", spec, flags);
        return "retry";
    }
    if (blocks)
        event_offload(look, &q);
    else
        look(&q);
    return q.answer == LOOKUP_FOUND ? "found" : q.answer == LOOKUP_NONE ? "none" : "retry";
}

struct lookup_request {
    const char *spec[PROXY_TABLES], *key[PROXY_KEYS];
    size_t specs, keys;
    unsigned flags;
};

static bool take_request(struct msg *in, struct lookup_request *out)
{
    while (out->specs < PROXY_TABLES && msg_has(in, "table"))
        out->spec[out->specs++] = msg_get_str(in, "table", TABLE_KEY_BYTES);
    out->flags = (unsigned) msg_get_num(in, "flags", 0, PROXY_FLAGS_MAX);
    while (out->keys < PROXY_KEYS && msg_has(in, "key"))
        out->key[out->keys++] = msg_get_str(in, "key", TABLE_KEY_BYTES);
    return msg_done(in) && out->specs && out->keys;
}

/* The first answer of any table to any key, keys before tables. */
static const char *first_answer(const struct lookup_request *q, struct str *value, struct proxy_place *at)
{
    struct table_asked asked = { .count = 0 };
    struct sql_next next[PROXY_TABLES * PROXY_KEYS];
    size_t count = q->keys * q->specs, sent = 0;
    const char *status = "none";
    bool blocks;

    for (size_t n = 0; n < count; n++)
        next[n] = (struct sql_next){ sources_table(q->spec[n % q->specs], q->flags, &blocks), q->key[n / q->specs] };
    for (size_t n = 0; n < count && strcmp(status, "none") == 0; n++) {
        if (n >= sent)
            sent = n + sql_ask_ahead(next + n, count - n, &asked);
        *at = (struct proxy_place){ .table = n % q->specs, .key = n / q->specs };
        str_reset(value);
        status = answer(q->spec[at->table], q->flags, q->key[at->key], &asked, value);
    }
    sql_asked_end(&asked);
    return status;
}

/* Nothing is kept anywhere that the pool may not keep. Only databases: another kind of table may mean each answer for
 * one question. */
static int64_t keep_ms(const struct lookup_request *q, const struct proxy_place *at)
{
    bool first = at->table == 0 && at->key == 0 && slice_starts(slice_of(q->spec[0]), "mysql:");

    if (!first)
        return 0;
    return sql_cache_time * 1000 < PROXY_KEEP_MS ? sql_cache_time * 1000 : PROXY_KEEP_MS;
}

static void on_lookup(struct service_conn *c, struct msg *in)
{
    struct lookup_request q = { .specs = 0 };
    struct proxy_place at = { 0 };
    const char *status = "retry";
    struct msg *reply;
    struct str value;

    str_init(&value, TABLE_VALUE_BYTES);
    if (take_request(in, &q))
        status = first_answer(&q, &value, &at);
    reply = service_status(status);
    if (strcmp(status, "none") != 0) {
        msg_put_num(reply, "at", (int64_t) at.table);
        msg_put_num(reply, "key", (int64_t) at.key);
    }
    if (strcmp(status, "found") == 0) {
        msg_put(reply, "value", str_slice(&value));
        msg_put_num(reply, "keep_ms", keep_ms(&q, &at));
    }
    str_free(&value);
    service_reply(c, &reply);
}

static const struct service_path paths[] = { { .path = "/etc" },
                                             { .path = "/run/systemd/userdb", .optional = true },
                                             { .path = "/var/run/nscd", .optional = true },
                                             { .path = NULL } };
static const struct service_request requests[] = { { .name = "lookup", .run = on_lookup },
                                                   { .name = "sql", .run = sql_on_ask },
                                                   { .name = "sql_each", .run = sql_on_each, .in_order = true },
                                                   { .name = NULL } };
static const struct param *const params[] = { sql_pool_params, NULL };
static bool stale(void)
{
    const char *path;

    if (!sql_pool_stale(&path))
        return table_restart();
    log_info("%s has changed -- restarting", path);
    return true;
}

static struct service proxymap = {
    .name = "proxymap",
    .summary = "looks up tables and asks databases for daemons whose jail hides them",
    .jail = JAIL_USER,
    .solitary = true, /* one pool and one cache for all */
    .may = MAY_OPEN | MAY_UNIX | MAY_THREADS,
    .paths = paths,
    .protocol = PROXY_PROTOCOL,
    .version = PROXY_VERSION,
    .requests = requests,
    .pre_jail = open_tables,
    .params = params,
    .stale = stale,
    .stop = sql_pool_close_all,
};

int main(int argc, char **argv) { return service_main(&proxymap, argc, argv); }
