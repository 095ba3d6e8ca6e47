/*
 * hosts - the hosts and addresses of a destination, in the order to try
 *
 * Callers     attempt.c
 * Invariants  a DNS fault is never "no such domain"; hosts as good as ourselves or worse are left out of an MX list
 *             (RFC 5321 section 5.1), and when nothing is left the mail loops
 * Source      RFC 5321 5.1, RFC 7505 (null MX)
 */
#include "smtp_internal.h"
#include "client/dns.h"
#include "conf/param.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

enum { OWN_MAX = 256, SMTP_PORT = 25 };

static struct in6_addr own[OWN_MAX]; /* IPv4 as mapped addresses */
static size_t own_count;

static bool as_in6(const struct sockaddr *sa, struct in6_addr *out)
{
    memset(out, 0, sizeof *out);
    if (sa->sa_family == AF_INET6) {
        *out = ((const struct sockaddr_in6 *) (const void *) sa)->sin6_addr;
        return true;
    }
    if (sa->sa_family != AF_INET)
        return false;
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    memcpy(&out->s6_addr[12], &((const struct sockaddr_in *) (const void *) sa)->sin_addr, 4);
    return true;
}

static void own_text(const char *text)
{
    struct sockaddr_storage any = { .ss_family = AF_INET };

    if (own_count == OWN_MAX)
        return;
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *) &any)->sin_addr) != 1) {
        any.ss_family = AF_INET6;
        if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *) &any)->sin6_addr) != 1)
            return; /* a name: only its own DNS could say more */
    }
    if (as_in6((struct sockaddr *) &any, &own[own_count]))
        own_count++;
}

static void own_list(const char *list)
{
    struct slice rest = slice_of(list), word;

    while (slice_word(&rest, ", \t\r\n[]", &word)) {
        char text[64];
        if (word.len < sizeof text) {
            snprintf(text, sizeof text, "%.*s", (int) word.len, word.p);
            own_text(text);
        }
    }
}

void hosts_own_addresses(void)
{
    struct ifaddrs *all;
    bool every = strcasecmp(conf_inet_interfaces, "all") == 0;

    own_list(conf_inet_interfaces);
    own_list(conf_proxy_interfaces);
    if (strcasecmp(conf_inet_interfaces, "loopback-only") == 0)
        own_list("127.0.0.1, ::1");
    if (!every || getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
        if (i->ifa_addr != NULL && own_count < OWN_MAX && as_in6(i->ifa_addr, &own[own_count]))
            own_count++;
    freeifaddrs(all);
}

bool hosts_is_own(const struct sockaddr *sa)
{
    struct in6_addr addr;

    if (!as_in6(sa, &addr))
        return false;
    for (size_t i = 0; i < own_count; i++)
        if (memcmp(&own[i], &addr, sizeof addr) == 0)
            return true;
    return false;
}

static uint32_t random32(void)
{
    uint32_t out = 0; /* no entropy yet: the order stays as DNS gave it */

    return getrandom(&out, sizeof out, GRND_NONBLOCK) == sizeof out ? out : 0;
}

static int before(const struct host *a, const struct host *b, int family_first)
{
    if (a->preference != b->preference)
        return a->preference < b->preference ? -1 : 1;
    if (family_first != 0 && a->addr.ss_family != b->addr.ss_family)
        return a->addr.ss_family == family_first ? -1 : 1;
    return a->shuffle < b->shuffle ? -1 : a->shuffle > b->shuffle;
}

void hosts_sort(struct host *list, size_t count, const char *preference)
{
    int family = strcmp(preference, "ipv4") == 0 ? AF_INET : strcmp(preference, "ipv6") == 0 ? AF_INET6 : 0;

    for (size_t i = 1; i < count; i++) /* insertion: a list is short, and equal ones keep their order */
        for (size_t k = i; k > 0 && before(&list[k], &list[k - 1], family) < 0; k--) {
            struct host swap = list[k];
            list[k] = list[k - 1];
            list[k - 1] = swap;
        }
}

static int families(void)
{
    const char *protocols = conf_inet_protocols;
    bool all = strstr(protocols, "all") != NULL;

    return (all || strstr(protocols, "ipv4") ? DNS_IPV4 : 0) | (all || strstr(protocols, "ipv6") ? DNS_IPV6 : 0);
}

static void set_address(struct host *h, const struct dns_record *r, int port)
{
    if (r->type == DNS_A && r->data.len == 4) {
        struct sockaddr_in *sa = (struct sockaddr_in *) &h->addr;
        sa->sin_family = AF_INET;
        sa->sin_port = htons((uint16_t) port);
        memcpy(&sa->sin_addr, r->data.p, 4);
        h->len = sizeof *sa;
    } else if (r->type == DNS_AAAA && r->data.len == 16) {
        struct sockaddr_in6 *sa = (struct sockaddr_in6 *) &h->addr;
        sa->sin6_family = AF_INET6;
        sa->sin6_port = htons((uint16_t) port);
        memcpy(&sa->sin6_addr, r->data.p, 16);
        h->len = sizeof *sa;
    }
}

/* Adds the addresses of one host; FOUND, NONE or RETRY, the latter two with *why. */
static enum lookup add_host(const char *name, uint16_t preference, int port, struct arena *arena, struct hosts *out,
                            struct why *why)
{
    struct dns_reply reply;
    enum lookup found = dns_addresses(name, families(), &reply);

    if (found == LOOKUP_RETRY)
        why_set(why, false, "4.4.3",
                "Host or domain name not found. Name service error for name=%s type=A: Host not found, try again",
                name);
    if (found == LOOKUP_NONE)
        why_set(why, true, "5.4.4", "Host or domain name not found. Name service error for name=%s type=A: %s", name,
                reply.nxdomain ? "Host not found" : "Host found but no data record of requested type");
    for (size_t i = 0; found == LOOKUP_FOUND && i < reply.count && out->count < HOSTS_MAX; i++) {
        struct host h = { .name = arena_strdup(arena, name), .preference = preference };

        set_address(&h, &reply.records[i], port);
        h.shuffle = opt.randomize ? random32() : (uint32_t) out->count;
        if (h.len > 0)
            out->list[out->count++] = h;
    }
    dns_reply_free(&reply);
    return found;
}

/* We are in the list: our own entry and all that are no better go. */
static void cut_own(struct hosts *hosts, int port, bool *cut)
{
    uint32_t best = UINT32_MAX;
    size_t kept = 0;

    *cut = false;
    if (port != SMTP_PORT)
        return;
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts_is_own((struct sockaddr *) &hosts->list[i].addr) && hosts->list[i].preference < best)
            best = hosts->list[i].preference;
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->list[i].preference < best)
            hosts->list[kept++] = hosts->list[i];
    *cut = kept < hosts->count;
    hosts->count = kept;
}

static int mx_hosts(const struct nexthop *n, const struct dns_reply *mx, int port, struct arena *arena,
                    struct hosts *out, struct why *why)
{
    bool retry = false, cut;
    struct why one;

    if (mx->count == 1 && mx->records[0].name[0] == '\0') {
        why_set(why, true, "5.1.10", "Domain %s does not accept mail (nullMX)", n->host);
        return -1;
    }
    for (size_t i = 0; i < mx->count; i++)
        if (mx->records[i].name[0] != '\0' &&
            add_host(mx->records[i].name, mx->records[i].preference, port, arena, out, &one) == LOOKUP_RETRY) {
            *why = one;
            retry = true;
        }
    cut_own(out, port, &cut);
    if (out->count > 0)
        return 0;
    if (cut)
        why_set(why, true, "5.4.6", "mail for %s loops back to myself", n->host);
    else if (!retry)
        why_set(
            why, !opt.defer_no_mx_address, opt.defer_no_mx_address ? "4.4.4" : "5.4.4",
            "Host or domain name not found. Name service error for name=%s type=MX: no MX host has a valid address",
            n->host);
    return -1;
}

int hosts_find(const struct nexthop *n, struct arena *arena, struct hosts *out, struct why *why)
{
    int port = nexthop_port(n->port[0] ? n->port : opt.tcp_port), status = 0;
    struct dns_reply mx;
    enum lookup found = LOOKUP_NONE;

    *out = (struct hosts){ .list = arena_alloc(arena, HOSTS_MAX * sizeof *out->list) };
    if (port < 0) {
        why_set(why, false, "4.3.5", "mail system configuration error: unknown service %s", opt.tcp_port);
        return -1;
    }
    if (n->literal || smtp_is_lmtp || opt.disable_dns) {
        status = add_host(n->host, 0, port, arena, out, why) == LOOKUP_FOUND ? 0 : -1;
        hosts_sort(out->list, out->count, opt.address_preference);
        return status;
    }
    found = dns_lookup(n->host, DNS_MX, &mx);
    if (found == LOOKUP_FOUND)
        status = mx_hosts(n, &mx, port, arena, out, why);
    else if (found == LOOKUP_NONE && mx.nxdomain) {
        why_set(why, true, "5.4.4",
                "Host or domain name not found. Name service error for name=%s type=MX: Host not found", n->host);
        status = -1;
    } else if (found == LOOKUP_RETRY && !opt.ignore_mx_error) {
        why_set(why, false, "4.4.3",
                "Host or domain name not found. Name service error for name=%s type=MX: Host not found, try again",
                n->host);
        status = -1;
    } else
        status = add_host(n->host, 0, port, arena, out, why) == LOOKUP_FOUND ? 0 : -1;
    dns_reply_free(&mx);
    hosts_sort(out->list, out->count, opt.address_preference);
    return status;
}
