/* dns - asks the resolver and unpacks its reply; contract in dns.h */
#include "client/dns.h"
#include "client/dns_wire.h"

#include "base/log.h"
#include "base/time.h"
#include "ipc/client.h"
#include "proto/addr/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { FIXED_BYTES = 9, RECORD_BYTES = FIXED_BYTES + DNS_NAME_BYTES + DNS_DATA_BYTES, WHY_BYTES = 300 };
#define V_NXDOMAIN  "nxdomain"
#define V_SECURE    "secure"
#define V_TTL       "ttl"
#define V_CANONICAL "canonical"
#define V_WHY       "why"
#define V_RECORD    "record"

static const char *const status_name[] = {
    [LOOKUP_FOUND] = "found", [LOOKUP_NONE] = "none", [LOOKUP_RETRY] = "retry"
};

static void put16(struct str *s, unsigned v)
{
    str_addc(s, (char) (v >> 8));
    str_addc(s, (char) v);
}

/* A record on the wire: type, preference, weight, port (two bytes each), name length, name, data. */
struct msg *dns_wire_reply(const struct dns_reply *r)
{
    struct msg *m = msg_new(status_name[r->status]);
    struct str s;

    str_init(&s, RECORD_BYTES);
    msg_put_num(m, V_NXDOMAIN, r->nxdomain);
    msg_put_num(m, V_SECURE, r->secure);
    msg_put_num(m, V_TTL, r->ttl);
    msg_put_str(m, V_CANONICAL, r->canonical ? r->canonical : "");
    msg_put_str(m, V_WHY, r->why ? r->why : "");
    for (size_t i = 0; i < r->count; i++) {
        const struct dns_record *rec = &r->records[i];
        size_t name_len = strlen(rec->name);
        str_reset(&s);
        put16(&s, rec->type);
        put16(&s, rec->preference);
        put16(&s, rec->weight);
        put16(&s, rec->port);
        str_addc(&s, (char) name_len);
        str_add(&s, rec->name, name_len);
        str_addslice(&s, rec->data);
        msg_put(m, V_RECORD, str_slice(&s));
    }
    str_free(&s);
    return m;
}

static uint16_t take16(const unsigned char *p) { return (uint16_t) (p[0] << 8 | p[1]); }

static int read_record(struct slice v, struct arena *arena, struct dns_record *out)
{
    const unsigned char *p = (const unsigned char *) v.p;

    if (v.len < FIXED_BYTES || v.len - FIXED_BYTES < p[8])
        return -1;
    *out = (struct dns_record){ take16(p), take16(p + 2), take16(p + 4), take16(p + 6), NULL, { NULL, 0 } };
    out->name = arena_strndup(arena, v.p + FIXED_BYTES, p[8]);
    size_t at = FIXED_BYTES + (size_t) p[8];
    out->data = slice_make(arena_strndup(arena, v.p + at, v.len - at), v.len - at);
    if ((out->type == DNS_A && out->data.len != 4) || (out->type == DNS_AAAA && out->data.len != 16))
        return -1;
    return 0;
}

int dns_wire_read(struct msg *m, struct dns_reply *out)
{
    struct dns_record *records = arena_alloc(out->arena, DNS_RECORDS * sizeof *records);
    struct slice v;
    int status = -1;

    for (int i = 0; i <= LOOKUP_RETRY; i++)
        if (strcmp(msg_name(m), status_name[i]) == 0)
            status = i;
    if (status < 0)
        return -1;
    out->status = (enum lookup) status;
    out->nxdomain = msg_get_num(m, V_NXDOMAIN, 0, 1) != 0;
    out->secure = msg_get_num(m, V_SECURE, 0, 1) != 0;
    out->ttl = (uint32_t) msg_get_num(m, V_TTL, 0, UINT32_MAX);
    out->canonical = arena_strdup(out->arena, msg_get_str(m, V_CANONICAL, DNS_NAME_BYTES));
    out->why = arena_strdup(out->arena, msg_get_str(m, V_WHY, WHY_BYTES));
    out->records = records;
    for (out->count = 0; msg_next(m, V_RECORD, RECORD_BYTES, &v); out->count++)
        if (out->count == DNS_RECORDS || read_record(v, out->arena, &records[out->count]) < 0)
            return -1;
    return msg_done(m) ? 0 : -1;
}

static struct ipc_client *resolver(void)
{
    static struct ipc_client *client;

    if (client == NULL)
        client = ipc_client_new("private/resolver", DNS_PROTOCOL, DNS_PROTOCOL_VERSION);
    return client;
}

static enum lookup later(struct dns_reply *out, const char *why)
{
    out->status = LOOKUP_RETRY;
    out->count = 0;
    out->why = arena_strdup(out->arena, why);
    return LOOKUP_RETRY;
}

enum lookup dns_lookup(const char *name, enum dns_type type, struct dns_reply *out)
{
    struct msg *m = msg_new(DNS_REQUEST);
    struct msg *reply;

    *out = (struct dns_reply){ .arena = arena_new(), .canonical = "", .why = "" };
    msg_put_str(m, DNS_V_NAME, name);
    msg_put_num(m, DNS_V_TYPE, type);
    reply = ipc_call(resolver(), &m, true, time_mono_ms() + DNS_TIMEOUT_MS);
    if (reply == NULL)
        return later(out, "the resolver service cannot be asked");
    if (dns_wire_read(reply, out) < 0) {
        log_warn("malformed reply from the resolver service to the question for %s", name);
        later(out, "malformed reply from the resolver service");
    }
    msg_free(&reply);
    return out->status;
}

void dns_reply_free(struct dns_reply *r) { arena_free(&r->arena); }

static enum lookup literal(const char *host, int families, struct dns_reply *out)
{
    unsigned char addr[16];
    int type = inet_pton(AF_INET, host, addr) == 1 ? DNS_A : inet_pton(AF_INET6, host, addr) == 1 ? DNS_AAAA : 0;
    size_t len = type == DNS_A ? 4 : 16;

    if (type == 0)
        return LOOKUP_RETRY;
    *out = (struct dns_reply){ .arena = arena_new(), .why = "" };
    out->canonical = arena_strdup(out->arena, host);
    if (!(families & (type == DNS_A ? DNS_IPV4 : DNS_IPV6))) {
        out->status = LOOKUP_NONE;
        return LOOKUP_NONE;
    }
    struct dns_record *r = arena_alloc(out->arena, sizeof *r);
    r->type = (uint16_t) type;
    r->name = "";
    r->data = slice_make(arena_strndup(out->arena, (const char *) addr, len), len);
    out->records = r;
    out->count = 1;
    out->status = LOOKUP_FOUND;
    return LOOKUP_FOUND;
}

/* Moves b's records behind a's. */
static void join(struct dns_reply *a, struct dns_reply *b)
{
    struct dns_record *all = arena_alloc(a->arena, (a->count + b->count + 1) * sizeof *all);

    if (a->count)
        memcpy(all, a->records, a->count * sizeof *all);
    for (size_t i = 0; i < b->count; i++) {
        struct dns_record r = b->records[i];
        r.name = arena_strdup(a->arena, r.name);
        r.data.p = arena_strndup(a->arena, r.data.p, r.data.len);
        all[a->count + i] = r;
    }
    a->records = all;
    a->count += b->count;
    a->secure = a->secure && b->secure;
    a->nxdomain = a->nxdomain && b->nxdomain;
}

enum lookup dns_addresses(const char *host, int families, struct dns_reply *out)
{
    struct dns_reply second;

    if (literal(host, families, out) != LOOKUP_RETRY)
        return out->status;
    if (families != (DNS_IPV4 | DNS_IPV6))
        return dns_lookup(host, families == DNS_IPV6 ? DNS_AAAA : DNS_A, out);
    dns_lookup(host, DNS_AAAA, out);
    dns_lookup(host, DNS_A, &second);
    if (out->status == LOOKUP_FOUND || second.status == LOOKUP_FOUND) {
        join(out, &second);
        out->status = LOOKUP_FOUND;
    } else if (second.status == LOOKUP_RETRY) {
        later(out, second.why);
    }
    dns_reply_free(&second);
    return out->status;
}

static bool leads_back(const struct dns_reply *r, const unsigned char *addr, size_t len)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->records[i].data.len == len && memcmp(r->records[i].data.p, addr, len) == 0)
            return true;
    return false;
}

void dns_peer_name(const struct sockaddr *sa, socklen_t sa_len, struct dns_peer *out)
{
    unsigned char addr[16];
    size_t len = 0;
    struct dns_reply r;
    struct str name;

    *out = (struct dns_peer){ .reverse = LOOKUP_NONE, .forward = LOOKUP_NONE };
    snprintf(out->reverse_name, sizeof out->reverse_name, "unknown");
    if (sa && sa->sa_family == AF_INET && sa_len >= sizeof(struct sockaddr_in)) {
        memcpy(addr, (const char *) sa + offsetof(struct sockaddr_in, sin_addr), len = 4);
    } else if (sa && sa->sa_family == AF_INET6 && sa_len >= sizeof(struct sockaddr_in6)) {
        struct in6_addr in6;
        memcpy(&in6, (const char *) sa + offsetof(struct sockaddr_in6, sin6_addr), sizeof in6);
        len = IN6_IS_ADDR_V4MAPPED(&in6) ? 4 : 16;
        memcpy(addr, in6.s6_addr + (16 - len), len);
    }
    if (len == 0)
        return;
    str_init(&name, DNS_NAME_BYTES);
    dns_reverse_name(addr, len, &name);
    out->reverse = dns_lookup(name.p, DNS_PTR, &r);
    str_free(&name);
    /* What is no host name could forge a line of the log: "x[192.0.2.1]: SASL LOGIN authentication failed". */
    if (out->reverse == LOOKUP_FOUND && r.count && addr_domain_valid(slice_of(r.records[0].name)))
        snprintf(out->reverse_name, sizeof out->reverse_name, "%s", r.records[0].name);
    else if (out->reverse == LOOKUP_FOUND)
        out->reverse = LOOKUP_NONE;
    dns_reply_free(&r);
    out->forward = out->reverse;
    if (out->reverse != LOOKUP_FOUND)
        return;
    out->forward = dns_lookup(out->reverse_name, len == 4 ? DNS_A : DNS_AAAA, &r);
    if (out->forward == LOOKUP_FOUND && !leads_back(&r, addr, len))
        out->forward = LOOKUP_NONE;
    dns_reply_free(&r);
}
