/*
 * local - which domains are this host's own
 *
 * Invariants  the addresses of the machine are read when match_local_open is called: a jail hides them
 */
#include "base/log.h"
#include "conf/param.h"
#include "table/internal.h"
#include "table/match.h"
#include "table/net.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

enum { OWN_MAX = 1000 };
static struct match *destinations;
static struct net own[OWN_MAX];
static size_t own_count;

static void add_own(const struct sockaddr *sa)
{
    struct net n = { .bytes = 4, .bits = 32 };

    if (own_count == OWN_MAX)
        return;
    if (sa->sa_family == AF_INET) {
        memcpy(n.addr, &((const struct sockaddr_in *) (const void *) sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        n.bytes = 16;
        n.bits = 128;
        memcpy(n.addr, &((const struct sockaddr_in6 *) (const void *) sa)->sin6_addr, 16);
    } else {
        return;
    }
    own[own_count++] = n;
}

static void add_interfaces(bool loopback_only)
{
    struct ifaddrs *list = NULL;

    if (getifaddrs(&list) < 0)
        log_warn("list the network interfaces: %s", strerror(errno));
    for (const struct ifaddrs *i = list; i; i = i->ifa_next)
        if (i->ifa_addr && (!loopback_only || i->ifa_flags & IFF_LOOPBACK))
            add_own(i->ifa_addr);
    freeifaddrs(list);
}

static void add_host(const char *parameter, const char *host)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
    int error = getaddrinfo(host, NULL, &hints, &list);

    if (error) {
        log_warn("%s: %s: %s", parameter, host, gai_strerror(error));
        return;
    }
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        add_own(a->ai_addr);
    freeaddrinfo(list);
}

static void add_names(const char *parameter, const char *list)
{
    struct slice rest = slice_of(list), word;
    char host[256];

    while (slice_word(&rest, ", \t\r\n", &word)) {
        if (slice_eq(word, "all") || slice_eq(word, "loopback-only")) {
            add_interfaces(slice_eq(word, "loopback-only"));
            continue;
        }
        if (word.len > 2 && word.p[0] == '[')
            word = slice_sub(word, 1, word.len - 2);
        if (word.len >= sizeof host)
            continue;
        memcpy(host, word.p, word.len);
        host[word.len] = 0;
        add_host(parameter, host);
    }
}

void match_local_open(void)
{
    if (destinations)
        return;
    destinations = match_new("mydestination", conf_mydestination);
    add_names("inet_interfaces", conf_inet_interfaces);
    add_names("proxy_interfaces", conf_proxy_interfaces);
}

bool match_local_is_plain(void)
{
    match_local_open();
    return match_is_plain(destinations);
}

enum lookup match_local(const char *domain)
{
    struct slice s = slice_of(domain);
    char name[256];
    struct net address;

    match_local_open();
    if (s.len > 1 && s.p[s.len - 1] == '.' && s.p[s.len - 2] != '.')
        s.len--; /* one trailing dot */
    if (s.len == 0 || s.len >= sizeof name)
        return LOOKUP_NONE;
    if (s.p[0] == '[' && s.p[s.len - 1] == ']') {
        struct slice literal = slice_sub(s, 1, s.len - 2);
        if (slice_casestarts(literal, "IPv6:"))
            literal = slice_sub(literal, 5, literal.len);
        if (net_address(literal, &address) == 0)
            for (size_t i = 0; i < own_count; i++)
                if (net_holds(&own[i], &address))
                    return LOOKUP_FOUND;
    }
    memcpy(name, s.p, s.len);
    name[s.len] = 0;
    return match_domain(destinations, name);
}
