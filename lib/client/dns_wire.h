/*
 * dns_wire - the words of the resolver's one request
 *
 * Callers     master/resolver and lib/client/dns.c, nobody else
 * Request     lookup {name, type}; reply: status found|none|retry, nxdomain, secure, ttl, canonical, why, record...
 */
#ifndef CLIENT_DNS_WIRE_H
#define CLIENT_DNS_WIRE_H
#include "client/dns.h"
#include "ipc/msg.h"

#define DNS_PROTOCOL "resolver"
#define DNS_REQUEST  "lookup"
#define DNS_V_NAME   "name"
#define DNS_V_TYPE   "type"
enum { DNS_PROTOCOL_VERSION = 1 };

struct msg *dns_wire_reply(const struct dns_reply *);
/* Fills *out, whose arena is set; -1: malformed. */
int dns_wire_read(struct msg *, struct dns_reply *out);
#endif
