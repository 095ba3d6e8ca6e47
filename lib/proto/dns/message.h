/*
 * dns message - the answers of a DNS packet as records
 *
 * Callers     master/resolver decodes packets; lib/client/dns hands the records to those who asked
 * Invariants  pure; follows the CNAME chain from the question and keeps the records of the type asked for at its end
 *             at most DNS_RECORDS records are kept; names are at most 253 bytes of printable ASCII without a final
 *             dot, a name that cannot be written so (control bytes, dots inside a label) makes its record unusable
 *             and is left out
 * Errors      -1: not a DNS answer, or truncated inside; the caller's answer is "later"
 * Source      RFC 1035 section 4, RFC 3596 (AAAA), RFC 2782 (SRV), RFC 6698 (TLSA)
 */
#ifndef PROTO_DNS_MESSAGE_H
#define PROTO_DNS_MESSAGE_H
#include "base/mem.h"
#include "base/str.h"

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_TLSA = 52
};
enum { DNS_RECORDS = 100, DNS_NAME_BYTES = 256, DNS_DATA_BYTES = 4096 };

struct dns_record {
    uint16_t type;
    uint16_t preference;   /* MX preference, SRV priority */
    uint16_t weight, port; /* SRV */
    const char *name;      /* MX, SRV, PTR, NS, CNAME: a host; "" is the root (null MX, RFC 7505) */
    struct slice data;     /* A: 4 bytes, AAAA: 16, TXT: the strings joined, TLSA: the rdata */
};
struct dns_message {
    int rcode;             /* 0 NOERROR, 3 NXDOMAIN, ... */
    uint32_t ttl;          /* smallest of the records kept, seconds; 0 without any */
    const char *canonical; /* end of the CNAME chain */
    size_t count;
    struct dns_record *records; /* in the arena */
};
int dns_message_parse(struct slice packet, struct arena *, struct dns_message *out);
/* "4.3.2.1.in-addr.arpa" or the ip6.arpa name of an address of 4 or 16 bytes. */
void dns_reverse_name(const unsigned char *addr, size_t len, struct str *out);
#endif
