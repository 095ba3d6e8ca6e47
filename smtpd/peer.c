/*
 * smtpd peer - who is at the other end
 *
 * Callers     session.c
 * Invariants  a name is used only when it leads back to the address; else "unknown"
 * Errors      a name server that does not answer makes the name "unknown" for this session and the status TEMP, so
 *             that restrictions on it defer
 * Source      RFC 5321 4.1.3 for address literals
 */
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "client/dns.h"

#include <arpa/inet.h>

static void set_names(struct smtpd_peer *p, const char *name, const char *reverse, enum smtpd_name_status name_status,
                      enum smtpd_name_status reverse_status)
{
    p->name = name;
    p->reverse_name = reverse;
    p->name_status = name_status;
    p->reverse_status = reverse_status;
}

static void look_up(struct smtpd_session *s, const struct service_peer *from)
{
    struct smtpd_peer *p = &s->peer;
    struct dns_peer dns;
    const char *reverse;

    dns_peer_name(from->addr, from->addr_len, &dns);
    if (dns.reverse != LOOKUP_FOUND) {
        enum smtpd_name_status why = dns.reverse == LOOKUP_RETRY ? SMTPD_NAME_TEMP : SMTPD_NAME_PERM;

        set_names(p, "unknown", "unknown", why, why);
        return;
    }
    reverse = arena_strdup(s->arena, dns.reverse_name);
    if (dns.forward == LOOKUP_FOUND) {
        set_names(p, reverse, reverse, SMTPD_NAME_OK, SMTPD_NAME_OK);
        return;
    }
    log_warn("hostname %s does not resolve to address %s%s", reverse, p->address,
             dns.forward == LOOKUP_RETRY ? ": Temporary failure in name resolution" : "");
    set_names(p, "unknown", reverse, dns.forward == LOOKUP_RETRY ? SMTPD_NAME_TEMP : SMTPD_NAME_FORGED,
              SMTPD_NAME_OK);
}

/* "::ffff:192.0.2.1" is an IPv4 client on an IPv6 socket. */
static const char *unmap(const char *address, int *family)
{
    struct in_addr v4;

    if (*family == AF_INET6 && strncasecmp(address, "::ffff:", 7) == 0 && inet_pton(AF_INET, address + 7, &v4) == 1) {
        *family = AF_INET;
        return address + 7;
    }
    return address;
}

void smtpd_peer_namaddr(struct smtpd_session *s)
{
    struct smtpd_peer *p = &s->peer;

    p->namaddr = smtpd_client_port_logging && *p->port
                     ? arena_printf(s->arena, "%s[%s]:%s", p->name, p->address, p->port)
                     : arena_printf(s->arena, "%s[%s]", p->name, p->address);
}

void smtpd_peer_init(struct smtpd_session *s, const struct service_peer *from)
{
    struct smtpd_peer *p = &s->peer;
    char host[64], port[16];

    *p = (struct smtpd_peer){ .family = AF_UNSPEC,
                              .address = "127.0.0.1",
                              .rfc_address = "127.0.0.1",
                              .port = "0",
                              .server_address = "127.0.0.1",
                              .server_port = "0" };
    if (from != NULL && from->addr != NULL &&
        (from->addr->sa_family == AF_INET || from->addr->sa_family == AF_INET6)) {
        int ignored = from->addr->sa_family;

        io_address_text(from->addr, from->addr_len, host, port);
        p->family = from->addr->sa_family;
        p->address = arena_strdup(s->arena, unmap(host, &p->family));
        p->port = arena_strdup(s->arena, port);
        p->rfc_address = p->family == AF_INET6 ? arena_printf(s->arena, "IPv6:%s", p->address) : p->address;
        if (from->server_addr != NULL) {
            io_address_text(from->server_addr, from->server_addr_len, host, port);
            p->server_address = arena_strdup(s->arena, unmap(host, &ignored));
            p->server_port = arena_strdup(s->arena, port);
        }
        if (smtpd_peername_lookup)
            look_up(s, from);
        else
            set_names(p, "unknown", "unknown", SMTPD_NAME_PERM, SMTPD_NAME_PERM);
    } else {
        set_names(p, "localhost", "localhost", SMTPD_NAME_OK, SMTPD_NAME_OK);
    }
    smtpd_peer_namaddr(s);
}
