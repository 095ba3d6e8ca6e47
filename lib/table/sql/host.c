/* host - where a database server is and how it has been lately; contract in host.h */
#include "table/sql/host.h"

#include "base/log.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <errmsg.h>

enum {
    FIRST_ASIDE_MS = 1000,
    FULL_MS = 5000,
    ADDRESSES_MS = 60000,
    ADDRESS_MIN_MS = 1000, /* what one of several addresses gets of the time to connect */
    OLD_ADDRESS_MS = 300,  /* how long the resolver is waited for where an old answer is at hand */
    ADDRESSES_BYTES = 4096,
    PORT_MAX = 65535,
};
static const char blanks[] = ", \t\r\n";
static sql_resolve_fn resolve;

void sql_pool_resolver(sql_resolve_fn fn) { resolve = fn; }

static bool is_literal(const char *name)
{
    unsigned char addr[16];

    return inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
}

/* "host", "host:port", "[v6]:port", "[v6]" or a bare IPv6 address. */
static int parse_inet(struct slice spec, struct sql_host *h, struct err *err)
{
    ptrdiff_t colon = slice_rfind(spec, ':');
    struct slice name = spec;
    uint64_t port = 0;

    h->name = mem_strndup(spec.p, spec.len);
    h->literal = is_literal(h->name);
    if (h->literal)
        return 0;
    free(h->name);
    if (colon >= 0 && (spec.p[0] != '[' || spec.p[spec.len - 1] != ']')) {
        name = slice_sub(spec, 0, (size_t) colon);
        if (slice_u64(slice_sub(spec, (size_t) colon + 1, SIZE_MAX), PORT_MAX, &port) < 0 || port == 0) {
            h->name = NULL;
            return err_set(err, 0, NULL, "bad port in hosts: %.*s", (int) spec.len, spec.p);
        }
    }
    if (name.len > 1 && name.p[0] == '[' && name.p[name.len - 1] == ']')
        name = slice_sub(name, 1, name.len - 2);
    h->port = (unsigned) port;
    h->name = mem_strndup(name.p, name.len);
    h->literal = is_literal(h->name);
    return name.len && strchr(h->name, '/') == NULL
               ? 0
               : err_set(err, 0, NULL, "bad host in hosts: %.*s", (int) spec.len, spec.p);
}

static int parse_one(struct slice spec, struct sql_host *h, struct err *err)
{
    *h = (struct sql_host){ .spec = mem_strndup(spec.p, spec.len) };
    if (slice_starts(spec, "unix:")) {
        h->local = true;
        h->name = mem_strndup(spec.p + 5, spec.len - 5);
        return spec.len > 5 ? 0 : err_set(err, 0, NULL, "bad host in hosts: %s", h->spec);
    }
    if (slice_starts(spec, "inet:"))
        spec = slice_sub(spec, 5, SIZE_MAX);
    if (parse_inet(spec, h, err) < 0)
        return -1;
    if (slice_caseeq(slice_of(h->name), "localhost")) { /* as in MySQL's own clients: the socket */
        h->local = true;
        free(h->name);
        h->name = NULL;
    }
    return 0;
}

int sql_hosts_parse(const char *hosts, struct sql_host **out, size_t *count, struct err *err)
{
    struct slice rest = slice_of(hosts ? hosts : ""), word;

    *out = mem_array(SQL_HOSTS, sizeof **out);
    for (*count = 0; slice_word(&rest, blanks, &word); ++*count) {
        if (*count == SQL_HOSTS)
            return err_set(err, 0, NULL, "more than %d hosts", SQL_HOSTS);
        if (parse_one(word, &(*out)[*count], err) < 0)
            return -1;
    }
    if (*count)
        return 0;
    *count = 1;
    return parse_one(SLICE("localhost"), &(*out)[0], err);
}

bool sql_host_sound(const struct sql_host *h) { return h->aside_until == 0; }
bool sql_host_due(const struct sql_host *h, int64_t now) { return h->aside_until && h->aside_until <= now; }

static size_t any_of(size_t count)
{
    uint32_t r = 0;

    if (count > 1 && getrandom(&r, sizeof r, 0) < 0)
        r = (uint32_t) time_mono_us();
    return r % count;
}

struct sql_host *sql_host_choose(struct sql_host *host, size_t count, int64_t now)
{
    struct sql_host *fit[SQL_HOSTS];
    size_t n = 0;
    int best = 0;

    for (size_t i = 0; i < count; i++) {
        struct sql_host *h = &host[i];
        int rank = sql_host_sound(h) ? 3 : sql_host_due(h, now) ? 1 : 0;
        rank += rank && h->local;
        if (h->opening || h->full_until > now || rank == 0 || rank < best)
            continue;
        if (rank > best)
            n = 0;
        best = rank;
        fit[n++] = h;
    }
    return n ? fit[any_of(n)] : NULL;
}

void sql_host_down(struct sql_host *h, const struct sql_fault *f, int64_t longest_ms)
{
    int64_t now = time_mono_ms(), aside = FIRST_ASIDE_MS;

    if (sql_fault_kind(f) == SQL_FULL && h->members) {
        h->full_until = now + FULL_MS;
        return;
    }
    for (unsigned i = 0; i < h->failures && aside < longest_ms; i++)
        aside *= 2;
    h->failures++;
    h->aside_until = now + (aside < longest_ms ? aside : longest_ms);
}

void sql_host_up(struct sql_host *h)
{
    h->aside_until = 0;
    h->failures = 0;
    h->full_until = 0;
    h->answered = time_mono_ms();
}

struct by_libc {
    const char *host;
    struct str *out;
    int rc;
};

static void ask_libc(void *arg)
{
    struct by_libc *l = arg;
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

static enum lookup libc_addresses(const char *host, struct str *out, struct err *err)
{
    struct by_libc l = { .host = host, .out = out };

    event_offload(ask_libc, &l);
    if (l.rc == 0)
        return LOOKUP_FOUND;
    err_set(err, 0, NULL, "%s", gai_strerror(l.rc));
    return l.rc == EAI_NONAME ? LOOKUP_NONE : LOOKUP_RETRY;
}

static void resolve_name(void *arg)
{
    struct sql_host *h = arg;
    struct str list;
    struct err err = { 0 };
    enum lookup found;

    str_init(&list, ADDRESSES_BYTES);
    found = resolve ? resolve(h->name, &list, &err) : libc_addresses(h->name, &list, &err);
    if (found == LOOKUP_FOUND && list.len) {
        free(h->addresses);
        h->addresses = str_take(&list);
        h->addresses_until = time_mono_ms() + ADDRESSES_MS;
    } else {
        snprintf(h->why, sizeof h->why, "no address of %.200s is known: %.200s", h->name,
                 found == LOOKUP_NONE ? "there is no such name" : err.text);
    }
    str_free(&list);
    h->resolving = NULL;
    event_cond_broadcast(&h->resolved);
}

static void wait_for_addresses(struct sql_host *h, int64_t deadline)
{
    int64_t now = time_mono_ms();

    if (h->addresses && h->addresses_until > now)
        return;
    if (h->resolving == NULL) {
        snprintf(h->why, sizeof h->why, "no address of %.200s is known: no answer from DNS", h->name);
        h->resolving = fiber_new("sql resolve", resolve_name, h);
        fiber_detach(h->resolving);
    }
    if (h->addresses && deadline > now + OLD_ADDRESS_MS)
        deadline = now + OLD_ADDRESS_MS;
    while (h->resolving && event_cond_wait(&h->resolved, deadline) == 0)
        ;
}

/* Numeric addresses of the host, blanks between, the one that answered last first; the caller's to free. */
static char *addresses_of(struct sql_host *h, int64_t deadline)
{
    struct slice rest, word;
    struct str order;

    if (h->literal)
        return mem_strdup(h->name);
    wait_for_addresses(h, deadline);
    str_init(&order, ADDRESSES_BYTES);
    for (int good = 1; good >= 0; good--)
        for (rest = slice_of(h->addresses); slice_word(&rest, " ", &word);)
            if (slice_eq(word, h->good) == good) {
                str_addslice(&order, word);
                str_addc(&order, ' ');
            }
    return str_take(&order);
}

static struct sql_connection *connect_inet(struct sql_host *h, const struct sql_connect *how, int64_t timeout_ms,
                                           struct sql_fault *fault)
{
    int64_t end = time_mono_ms() + timeout_ms;
    char *list = addresses_of(h, end);
    struct sql_address to = { .name = h->literal ? NULL : h->name, .port = h->port };
    struct sql_connection *c = NULL;
    struct slice rest = slice_of(list), word, more;
    size_t left = 0;

    for (more = rest; slice_word(&more, " ", &word);)
        left++;
    if (left == 0) {
        fault->code = CR_UNKNOWN_HOST;
        snprintf(fault->text, sizeof fault->text, "%s", h->why);
    }
    for (; c == NULL && left > 0 && slice_word(&rest, " ", &word); left--) {
        char *numeric = mem_strndup(word.p, word.len);
        int64_t now = time_mono_ms(), share = (end - now) / (int64_t) left;
        to.numeric = numeric;
        c = sql_connection_open(how, &to, now + (share > ADDRESS_MIN_MS ? share : ADDRESS_MIN_MS), fault);
        if (c)
            snprintf(h->good, sizeof h->good, "%s", numeric);
        free(numeric);
    }
    free(list);
    return c;
}

struct sql_connection *sql_host_connect(struct sql_host *h, const struct sql_connect *how, int64_t timeout_ms,
                                        struct sql_fault *fault)
{
    struct sql_address to = { .path = h->name };

    *fault = (struct sql_fault){ 0 };
    if (!h->local)
        return connect_inet(h, how, timeout_ms, fault);
    return sql_connection_open(how, &to, time_mono_ms() + timeout_ms, fault);
}
