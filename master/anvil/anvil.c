/*
 * anvil - how many connections each client has, and how often it does what
 *
 * Callers     smtpd, login, postscreen: through lib/client/anvil.h
 * Invariants  one process; at most anvil_client_limit clients; a rate does not outlive its interval; a connection
 *             does not outlive the process that reported it
 * Units       seconds; a rate is per anvil_rate_time_unit
 * Errors      a full table answers "unknown": this service never stops mail
 * Privilege   chroot, no files and no network once the jail is closed
 */
#include "service/service.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/anvil.h"
#include "client/anvil_wire.h"

#include <stdlib.h>
#include <string.h>

static int64_t rate_time_unit, status_update_time, client_limit;
static const struct param params[] = {
    { .name = "anvil_rate_time_unit",
      .type = PARAM_SECONDS,
      .num = &rate_time_unit,
      .def = "60s",
      .min = 1,
      .max = 86400,
      .doc = "Length of one counting interval." },
    { .name = "anvil_status_update_time",
      .type = PARAM_SECONDS,
      .num = &status_update_time,
      .def = "600s",
      .min = 1,
      .max = 86400,
      .doc = "How often the highest counts are logged." },
    { .name = "anvil_client_limit",
      .type = PARAM_INT,
      .num = &client_limit,
      .def = "100000",
      .min = 1,
      .max = 10000000,
      .doc = "Clients remembered at a time." },
    { .type = PARAM_END },
};

struct client {
    int64_t connections, rate[ANVIL_EVENTS];
    int64_t interval_start; /* seconds, monotonic */
};
static struct map *clients; /* ident -> struct client; lives as long as the process */

static const char *const event_words[ANVIL_EVENTS] = {
    [ANVIL_CONNECT] = "connection rate", [ANVIL_MESSAGE] = "message rate", [ANVIL_RECIPIENT] = "recipient rate",
    [ANVIL_NEW_TLS] = "newtls rate",     [ANVIL_AUTH] = "auth rate",
};
static struct {
    int64_t count;
    char ident[ANVIL_IDENT_BYTES];
    time_t when;
} highest[ANVIL_EVENTS], most_connections;
static size_t most_clients;

static int64_t seconds(void) { return time_mono_ms() / 1000; }

static bool idle(const struct client *c)
{
    return c->connections == 0 && seconds() - c->interval_start >= rate_time_unit;
}

/* Forgets clients that have no connection and whose interval is over. */
static void sweep(void *arg)
{
    struct slice key;
    void *value;

    (void) arg;
    for (size_t at = 0; map_next(clients, &at, &key, &value);)
        if (idle(value))
            map_del(clients, key);
}

static struct client *find(const char *ident)
{
    struct client *c = map_get(clients, slice_of(ident));

    if (c == NULL) {
        c = mem_new(sizeof *c);
        if (!map_set(clients, slice_of(ident), c)) {
            free(c);
            return NULL;
        }
        c->interval_start = seconds();
        if (map_count(clients) > most_clients)
            most_clients = map_count(clients);
    }
    if (seconds() - c->interval_start >= rate_time_unit) {
        memset(c->rate, 0, sizeof c->rate);
        c->interval_start = seconds();
    }
    return c;
}

/* What one connected process has counted: taken back when it ends without saying so. */
static void take_back(void *ctx)
{
    struct map *open = ctx;
    struct slice key;
    void *value;

    for (size_t at = 0; map_next(open, &at, &key, &value);) {
        struct client *c = map_get(clients, key);
        int64_t n = *(int64_t *) value;
        if (c)
            c->connections = c->connections > n ? c->connections - n : 0;
    }
    map_free(&open);
}

static void note_open(struct service_conn *conn, const char *ident, int by)
{
    struct map *open = service_conn_ctx(conn);
    int64_t *n;

    if (open == NULL) {
        open = map_new((size_t) client_limit, free);
        service_conn_set(conn, open, take_back);
    }
    n = map_get(open, slice_of(ident));
    if (n == NULL && by > 0) {
        n = mem_new(sizeof *n);
        if (!map_set(open, slice_of(ident), n)) {
            free(n);
            return;
        }
    }
    if (n == NULL)
        return;
    *n += by;
    if (*n <= 0)
        map_del(open, slice_of(ident));
}

static void remember(enum anvil_event event, const char *ident, const struct client *c)
{
    if (c->rate[event] > highest[event].count) {
        highest[event].count = c->rate[event];
        highest[event].when = time_now();
        memcpy(highest[event].ident, ident, strlen(ident) + 1);
    }
    if (c->connections > most_connections.count) {
        most_connections.count = c->connections;
        most_connections.when = time_now();
        memcpy(most_connections.ident, ident, strlen(ident) + 1);
    }
}

static void on_count(struct service_conn *conn, struct msg *in)
{
    enum anvil_event event = (enum anvil_event) msg_get_num(in, ANVIL_V_EVENT, 0, ANVIL_EVENTS - 1);
    const char *ident = msg_get_str(in, ANVIL_V_IDENT, ANVIL_IDENT_BYTES - 1);
    struct client *c = msg_done(in) ? find(ident) : NULL;
    struct msg *reply;

    if (c == NULL) {
        reply = service_status("unknown");
        service_reply(conn, &reply);
        return;
    }
    if (event == ANVIL_DISCONNECT) {
        if (c->connections > 0)
            c->connections--;
        note_open(conn, ident, -1);
    } else {
        c->rate[event]++;
        if (event == ANVIL_CONNECT) {
            c->connections++;
            note_open(conn, ident, 1);
        }
        remember(event, ident, c);
    }
    reply = service_status("ok");
    msg_put_num(reply, ANVIL_V_CONNECTIONS, c->connections);
    msg_put_num(reply, ANVIL_V_RATE, c->rate[event]);
    service_reply(conn, &reply);
}

static void report(void)
{
    char when[TIME_TEXT_BYTES];

    for (int e = 0; e < ANVIL_EVENTS; e++)
        if (highest[e].count && event_words[e]) {
            time_log(highest[e].when, when);
            log_info("statistics: max %s %lld/%llds for (%s) at %s", event_words[e], (long long) highest[e].count,
                     (long long) rate_time_unit, highest[e].ident, when);
        }
    if (most_connections.count) {
        time_log(most_connections.when, when);
        log_info("statistics: max connection count %lld for (%s) at %s", (long long) most_connections.count,
                 most_connections.ident, when);
        log_info("statistics: max cache size %zu at %s", most_clients, when);
    }
    memset(highest, 0, sizeof highest);
    memset(&most_connections, 0, sizeof most_connections);
    most_clients = map_count(clients);
}

static void on_update(void *arg)
{
    (void) arg;
    report();
}

static int start(void)
{
    clients = map_new((size_t) client_limit, free);
    event_timer_every(rate_time_unit * 1000, sweep, NULL);
    event_timer_every(status_update_time * 1000, on_update, NULL);
    return 0;
}

static const struct param *const param_tables[] = { params, NULL };
static const struct service_request requests[] = { { .name = ANVIL_REQUEST, .run = on_count }, { .name = NULL } };
static const struct service anvil = {
    .name = "anvil",
    .summary = "counts connections and rates of clients",
    .jail = JAIL_CHROOT,
    .params = param_tables,
    .protocol = ANVIL_PROTOCOL,
    .version = ANVIL_PROTOCOL_VERSION,
    .requests = requests,
    .solitary = true,
    .post_jail = start,
    .stop = report,
};

int main(int argc, char **argv) { return service_main(&anvil, argc, argv); }
