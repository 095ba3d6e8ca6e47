/*
 * dns - ask the resolver daemon
 *
 * Callers     smtp (MX, addresses), smtpd (host names, domain checks); nobody else opens port 53
 * Invariants  three answers: LOOKUP_NONE only when the name server said so (NXDOMAIN or no such records); time-outs,
 *             SERVFAIL, bogus answers and a resolver that cannot be asked are LOOKUP_RETRY
 * Ownership   the reply and all it points at is one arena: dns_reply_free
 * Source      RFC 1035; RFC 5321 section 5.1 for who uses MX how
 */
#ifndef CLIENT_DNS_H
#define CLIENT_DNS_H
#include "base/err.h"
#include "base/mem.h"
#include "proto/dns/message.h"
#include <stdbool.h>
#include <sys/socket.h>

struct dns_reply {
    enum lookup status;
    bool nxdomain;         /* NONE because the name does not exist at all */
    bool secure;           /* validated by DNSSEC */
    uint32_t ttl;          /* seconds */
    const char *canonical; /* the name at the end of the CNAME chain */
    const char *why;       /* for RETRY: words for a log line */
    size_t count;
    const struct dns_record *records;
    struct arena *arena;
};
enum { DNS_TIMEOUT_MS = 30000 };

enum lookup dns_lookup(const char *name, enum dns_type, struct dns_reply *out); /* always fills *out; free it */
void dns_reply_free(struct dns_reply *);

/* Addresses of a host, IPv6 and IPv4 as `families` says, or of an address literal without asking. The reply's records
 * are A and AAAA. NONE only when all families say none. */
enum { DNS_IPV4 = 1, DNS_IPV6 = 2 };
enum lookup dns_addresses(const char *host, int families, struct dns_reply *out);
/* The name of an address (PTR), and whether that name leads back to it. name is "unknown" unless FOUND. */
struct dns_peer {
    enum lookup reverse; /* the PTR question */
    enum lookup forward; /* the way back: FOUND, NONE (does not resolve to the address), RETRY */
    char reverse_name[DNS_NAME_BYTES];
};
void dns_peer_name(const struct sockaddr *, socklen_t, struct dns_peer *out);
#endif
