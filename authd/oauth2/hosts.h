/*
 * hosts - names that /etc/hosts knows: an identity server beside us may have no other
 *
 * Callers     authd/oauth2/http.c
 * Invariants  pure
 * Source      hosts(5)
 */
#ifndef OAUTH2_HOSTS_H
#define OAUTH2_HOSTS_H
#include "base/str.h"

/* Appends the addresses of the name, as URLs have them ("192.0.2.1", "[2001:db8::1]"), commas between. How many. */
size_t hosts_find(struct slice text, const char *name, struct str *out);
#endif
