/*
 * net - addresses and networks: "192.0.2.0/24", "[2001:db8::]/32"
 *
 * Callers     cidr tables, match lists; whoever compares addresses with configured networks
 * Invariants  pure; an IPv4-mapped IPv6 address counts as the IPv4 address
 */
#ifndef TABLE_NET_H
#define TABLE_NET_H
#include "base/err.h"
#include "base/str.h"

struct net {
    unsigned char addr[16];
    size_t bytes; /* 4 or 16 */
    int bits;     /* of the network; all of them for a single address */
};
int net_address(struct slice, struct net *out); /* "192.0.2.1", "2001:db8::1", "[...]"; -1: not an address */
int net_parse(struct slice, struct net *out, struct err *); /* with an optional /bits; -1 in Postfix's words */
bool net_holds(const struct net *network, const struct net *address);
#endif
