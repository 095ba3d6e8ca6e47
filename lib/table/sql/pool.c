/* pool - connections to one database, and who may use them; contract in pool.h */
#include "table/sql/pool.h"

#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "event/event.h"
#include "table/sql/connection.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONNECTIONS = 20, CONNECT_MS = 3000, READ_MS = 10000, HOSTS_BYTES = 4096 };

struct idle {
    struct list link;
    struct sql_connection *connection;
};
struct sql_pool {
    struct list link;
    struct sql_connect how;
    char *source;
    struct list idle; /* most recently used first */
    struct event_sem room;
};
static struct list pools = { &pools, &pools };
static sql_resolve_fn resolve;

void sql_pool_resolver(sql_resolve_fn fn) { resolve = fn; }

static const char *keep(const char *s) { return s && *s ? mem_strdup(s) : NULL; }
static bool same(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

static bool same_connect(const struct sql_connect *a, const struct sql_connect *b)
{
    return same(a->hosts, b->hosts) && same(a->user, b->user) && same(a->password, b->password) &&
           same(a->dbname, b->dbname) && same(a->charset, b->charset) && same(a->option_file, b->option_file) &&
           same(a->option_group, b->option_group) && same(a->tls_cert_file, b->tls_cert_file) &&
           same(a->tls_key_file, b->tls_key_file) && same(a->tls_ca_file, b->tls_ca_file) &&
           same(a->tls_ca_path, b->tls_ca_path) && same(a->tls_ciphers, b->tls_ciphers) &&
           a->tls_verify == b->tls_verify && a->connect_timeout == b->connect_timeout &&
           a->read_timeout == b->read_timeout && a->idle_interval == b->idle_interval &&
           a->retry_interval == b->retry_interval;
}

struct sql_pool *sql_pool_open(const struct sql_connect *how, const char *source)
{
    struct sql_pool *p;

    sql_connection_library();
    list_each(it, &pools)
    {
        p = list_entry(it, struct sql_pool, link);
        if (same_connect(&p->how, how))
            return p;
    }
    p = mem_new(sizeof *p);
    p->how = *how;
    p->how.hosts = mem_strdup(how->hosts);
    p->how.user = keep(how->user);
    p->how.password = keep(how->password);
    p->how.dbname = keep(how->dbname);
    p->how.charset = keep(how->charset);
    p->how.option_file = keep(how->option_file);
    p->how.option_group = keep(how->option_group);
    p->how.tls_cert_file = keep(how->tls_cert_file);
    p->how.tls_key_file = keep(how->tls_key_file);
    p->how.tls_ca_file = keep(how->tls_ca_file);
    p->how.tls_ca_path = keep(how->tls_ca_path);
    p->how.tls_ciphers = keep(how->tls_ciphers);
    p->source = mem_strdup(source);
    p->room.permits = CONNECTIONS;
    list_init(&p->idle);
    list_append(&pools, &p->link);
    return p;
}

struct lookup_by_libc {
    const char *host;
    struct str *out;
    int rc;
};

static void ask_libc(void *arg)
{
    struct lookup_by_libc *l = arg;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    char text[NI_MAXHOST];

    l->rc = getaddrinfo(l->host, NULL, &hints, &list);
    for (struct addrinfo *a = l->rc == 0 ? list : NULL; a; a = a->ai_next)
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0) {
            str_adds(l->out, text);
            str_addc(l->out, ' ');
        }
    if (list)
        freeaddrinfo(list);
}

static enum lookup addresses_of(const char *host, struct str *out, struct err *err)
{
    struct lookup_by_libc l = { .host = host, .out = out };

    if (resolve)
        return resolve(host, out, err);
    event_offload(ask_libc, &l);
    if (l.rc == 0)
        return LOOKUP_FOUND;
    err_set(err, 0, NULL, "%s: %s", host, gai_strerror(l.rc));
    return l.rc == EAI_NONAME ? LOOKUP_NONE : LOOKUP_RETRY;
}

static struct sql_connection *connect_host(struct sql_pool *p, struct slice spec, struct sql_fault *fault)
{
    struct sql_address to = { 0 };
    struct sql_connection *c = NULL;
    struct slice rest, numeric;
    struct str list;
    struct err err = { 0 };
    char host[256];
    ptrdiff_t colon;

    if (slice_starts(spec, "unix:")) {
        snprintf(host, sizeof host, "%.*s", (int) (spec.len - 5), spec.p + 5);
        to.path = host;
        return sql_connection_open(&p->how, &to, time_mono_ms() + CONNECT_MS, fault);
    }
    if (slice_starts(spec, "inet:"))
        spec = slice_sub(spec, 5, SIZE_MAX);
    colon = slice_rfind(spec, ':');
    if (colon >= 0) {
        to.port = (unsigned) atoi(spec.p + colon + 1);
        spec.len = (size_t) colon;
    }
    snprintf(host, sizeof host, "%.*s", (int) spec.len, spec.p);
    str_init(&list, HOSTS_BYTES);
    if (addresses_of(host, &list, &err) != LOOKUP_FOUND)
        snprintf(fault->text, sizeof fault->text, "%s", err.text);
    rest = str_slice(&list);
    while (c == NULL && slice_word(&rest, " ", &numeric)) {
        char *z = mem_strndup(numeric.p, numeric.len);
        to.numeric = z;
        to.name = host;
        c = sql_connection_open(&p->how, &to, time_mono_ms() + CONNECT_MS, fault);
        free(z);
    }
    str_free(&list);
    return c;
}

static struct sql_connection *connect_any(struct sql_pool *p, struct sql_fault *fault)
{
    struct slice rest = slice_of(p->how.hosts), spec;
    struct sql_connection *c = NULL;

    while (c == NULL && slice_word(&rest, ", \t\r\n", &spec))
        c = connect_host(p, spec, fault);
    return c;
}

static struct sql_connection *take(struct sql_pool *p, struct sql_fault *fault)
{
    struct idle *i = list_first(&p->idle, struct idle, link);
    struct sql_connection *c;

    if (i == NULL)
        return connect_any(p, fault);
    c = i->connection;
    list_del(&i->link);
    free(i);
    return c;
}

static void give_back(struct sql_pool *p, struct sql_connection *c)
{
    struct idle *i;

    if (!sql_connection_sound(c)) {
        sql_connection_close(&c);
        return;
    }
    i = mem_new(sizeof *i);
    i->connection = c;
    list_prepend(&p->idle, &i->link);
}

enum lookup sql_pool_ask(struct sql_pool *p, const struct sql_question *q, size_t rows_max, struct arena *arena,
                         struct sql_rows *out, struct err *err)
{
    struct sql_fault fault = { 0 };
    enum sql_outcome outcome = SQL_LOST;
    int64_t deadline = time_mono_ms() + READ_MS;

    *out = (struct sql_rows){ 0 };
    if (event_sem_get(&p->room, deadline) < 0) {
        err_set(err, 0, NULL, "%s: all connections are busy", p->source);
        return LOOKUP_RETRY;
    }
    for (int tries = 0; tries < 2 && outcome == SQL_LOST; tries++) {
        struct sql_connection *c = take(p, &fault);
        if (c == NULL)
            break;
        outcome = sql_connection_ask(c, q, rows_max, deadline, arena, out, &fault);
        give_back(p, c);
    }
    event_sem_put(&p->room);
    if (outcome == SQL_DONE)
        return out->rows ? LOOKUP_FOUND : LOOKUP_NONE;
    *out = (struct sql_rows){ 0 };
    err_set(err, 0, NULL, "%s: %s", p->source, fault.text);
    return LOOKUP_RETRY;
}

void sql_pool_escape(struct str *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i], escaped = c == '\0' ? '0' : c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\032' ? 'Z' : c;

        if (escaped != c || c == '\\' || c == '\'' || c == '"')
            str_addc(out, '\\');
        str_addc(out, escaped);
    }
}
