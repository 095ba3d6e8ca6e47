/*
 * rewrite internal - what the files of qmgr/rewrite share
 *
 * Addresses are in internal form: the last "@" separates the domain.
 */
#ifndef QMGR_REWRITE_INTERNAL_H
#define QMGR_REWRITE_INTERNAL_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/rewrite.h"
#include "conf/param.h"

extern const struct param rewrite_params[];
extern bool rewrite_swap_bangpath, rewrite_percent_hack, rewrite_at_myorigin, rewrite_dot_mydomain,
    rewrite_resolve_null_domain;
extern const char *rewrite_relayhost_maps, *rewrite_relayhost_null_key, *rewrite_default_transport_maps,
    *rewrite_default_transport_null_key, *rewrite_relocated_maps;

/* canonical.c: rewrites *address in place. */
void rewrite_form(enum rewrite_context, struct str *address);
/* resolve.c: opens tables and lists; before the jail. */
void rewrite_open(void);
enum lookup rewrite_route_of(const char *sender, const char *address, struct arena *, struct rewrite_route *out);
/* transport.c */
void rewrite_transport_open(void);
enum lookup rewrite_transport(const char *recipient, struct slice domain, struct str *transport, struct str *nexthop);
/* Splits "transport:nexthop"; an empty half leaves what is there. */
void rewrite_split(struct slice value, struct slice *transport, struct slice *nexthop);
#endif
