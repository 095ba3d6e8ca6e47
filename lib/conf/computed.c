/*
 * computed - what the machine says where main.cf is silent; interfaces are asked by getifaddrs, names by gethostname
 */
#include "conf/computed.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "conf/param.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

enum { HOST_BYTES = 256, MAILNAME_BYTES = 4096 };

/* A name that main.cf or an override sets, else NULL: computed names must not ask for each other's defaults. */
static const char *explicit(const char *name) { return conf_is_set(name) ? conf_value(name) : NULL; }

static const char *hostname(struct arena *a)
{
    char host[HOST_BYTES] = "";
    const char *domain;

    if (gethostname(host, sizeof host - 1) < 0 || host[0] == 0)
        return "localhost.localdomain";
    if (strchr(host, '.'))
        return arena_strdup(a, host);
    domain = explicit("mydomain");
    return arena_printf(a, "%s.%s", host, domain && *domain ? domain : "localdomain");
}

static const char *domain_of(struct arena *a)
{
    static bool busy; /* "myhostname = mail.$mydomain" without a mydomain asks for itself */
    const char *host, *dot;

    if (busy)
        return "localdomain";
    busy = true;
    host = explicit("myhostname");
    busy = false;
    if (host == NULL)
        host = hostname(a);
    dot = strchr(host, '.');
    return dot && dot[1] ? arena_strdup(a, dot + 1) : "localdomain";
}

static int prefix_bits(const unsigned char *mask, size_t bytes)
{
    int bits = 0;

    for (size_t i = 0; i < bytes; i++)
        for (unsigned b = 0x80; b && (mask[i] & b); b >>= 1)
            bits++;
    return bits;
}

static int class_bits(const unsigned char *addr)
{
    return addr[0] < 128 ? 8 : addr[0] < 192 ? 16 : addr[0] < 224 ? 24 : 32;
}

/* Is this one of the addresses that inet_interfaces names? Names other than all and loopback-only are compared as
 * numbers; a host name there has no default network of its own. */
static bool listens(const char *interfaces, const char *text, bool loopback)
{
    struct slice rest = slice_of(interfaces), word;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        if (slice_eq(word, "all") || (loopback && slice_eq(word, "loopback-only")))
            return true;
        if (word.len > 2 && word.p[0] == '[')
            word = slice_sub(word, 1, word.len - 2);
        if (slice_caseeq(word, text) || (loopback && slice_caseeq(word, "localhost")))
            return true;
    }
    return false;
}

static void add_network(struct str *out, const struct ifaddrs *i, const char *style, const char *interfaces)
{
    bool six = i->ifa_addr->sa_family == AF_INET6;
    size_t bytes = six ? 16 : 4;
    unsigned char addr[16], mask[16];
    char text[INET6_ADDRSTRLEN];
    int bits = (int) bytes * 8;

    if (six) {
        memcpy(addr, &((const struct sockaddr_in6 *) (const void *) i->ifa_addr)->sin6_addr, 16);
        memcpy(mask, &((const struct sockaddr_in6 *) (const void *) i->ifa_netmask)->sin6_addr, 16);
    } else {
        memcpy(addr, &((const struct sockaddr_in *) (const void *) i->ifa_addr)->sin_addr, 4);
        memcpy(mask, &((const struct sockaddr_in *) (const void *) i->ifa_netmask)->sin_addr, 4);
    }
    inet_ntop(six ? AF_INET6 : AF_INET, addr, text, sizeof text);
    if (!listens(interfaces, text, i->ifa_flags & IFF_LOOPBACK))
        return;
    if (strcmp(style, "host") != 0)
        bits = strcmp(style, "class") == 0 && !six ? class_bits(addr) : prefix_bits(mask, bytes);
    for (size_t b = 0; b < bytes; b++) {
        int keep = bits - (int) b * 8;
        addr[b] = (unsigned char) (addr[b] & (keep >= 8 ? 0xff : keep <= 0 ? 0 : 0xff << (8 - keep)));
    }
    inet_ntop(six ? AF_INET6 : AF_INET, addr, text, sizeof text);
    str_printf(out, six ? "%s[%s]/%d" : "%s%s/%d", out->len ? " " : "", text, bits);
}

static const char *networks(struct arena *a)
{
    const char *style = conf_value("mynetworks_style"), *interfaces = conf_value("inet_interfaces");
    const char *protocols = conf_value("inet_protocols"), *answer;
    struct ifaddrs *list = NULL;
    struct str out;

    if (style == NULL || interfaces == NULL || protocols == NULL)
        return "127.0.0.1/32";
    str_init(&out, STR_UNLIMITED);
    if (getifaddrs(&list) < 0)
        log_warn("list the network interfaces: %s", strerror(errno));
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        int family = i->ifa_addr && i->ifa_netmask && (i->ifa_flags & IFF_UP) ? i->ifa_addr->sa_family : AF_UNSPEC;
        if ((family == AF_INET && strcmp(protocols, "ipv6") != 0) ||
            (family == AF_INET6 && strcmp(protocols, "ipv4") != 0))
            add_network(&out, i, style, interfaces);
    }
    freeifaddrs(list);
    answer = out.len ? arena_strdup(a, out.p) : "127.0.0.1/32";
    str_free(&out);
    return answer;
}

const char *computed_default(const char *name, struct arena *a)
{
    if (strcmp(name, "myhostname") == 0)
        return hostname(a);
    if (strcmp(name, "mydomain") == 0)
        return domain_of(a);
    if (strcmp(name, "mynetworks") == 0)
        return networks(a);
    if (strcmp(name, "config_directory") == 0)
        return conf_dir();
    if (strcmp(name, "process_name") == 0)
        return program_invocation_short_name;
    if (strcmp(name, "process_id") == 0)
        return arena_printf(a, "%ld", (long) getpid());
    return NULL;
}

const char *computed_mailname(const char *path, struct arena *a)
{
    struct str text;
    struct slice line;
    const char *answer = NULL;

    str_init(&text, MAILNAME_BYTES);
    if (file_read(path, &text) < 0) {
        log_warn("myorigin: open %s: %s", path, strerror(errno));
    } else {
        struct slice rest = str_slice(&text);
        if (slice_split(&rest, '\n', &line) && (line = slice_trim(line)).len)
            answer = arena_strndup(a, line.p, line.len);
    }
    str_free(&text);
    return answer;
}
