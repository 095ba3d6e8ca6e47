/*
 * rewrite - an address in canonical form, and where mail for it goes
 *
 * Callers     smtpd (checks), cleanup (addresses), qmgr (routing); qmgr/rewrite answers, with the names below
 * Invariants  addresses are in internal form, without quotes: the last "@" separates the domain
 *             identical questions are answered from a cache of REWRITE_CACHE_ENTRIES that keeps an answer for
 *             REWRITE_CACHE_MS; LOOKUP_RETRY is never cached, and a route that may be refused only for who asked
 *             before it was asked for: a domain added a moment ago is one of ours
 * Ownership   answers are copied into the caller's str or arena
 * Errors      LOOKUP_FOUND or LOOKUP_RETRY, never LOOKUP_NONE: a table of rewrite failed, or rewrite could not be
 *             asked
 */
#ifndef CLIENT_REWRITE_H
#define CLIENT_REWRITE_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#define REWRITE_SERVICE  "private/rewrite"
#define REWRITE_PROTOCOL "rewrite"
/* Requests "rewrite" {context, address} -> "ok" {address}; "resolve" {sender, address} -> "ok" {transport, nexthop,
 * recipient, class, routed}; either -> "retry" {}. */
enum { REWRITE_VERSION = 1, REWRITE_ADDRESS_BYTES = 8192, REWRITE_CACHE_MS = 1000, REWRITE_CACHE_ENTRIES = 1000 };

/* local: mail of this host, incomplete addresses get $myorigin and, where configured, $mydomain.
 * remote: mail of strangers, completed with $remote_header_rewrite_domain. */
enum rewrite_context { REWRITE_LOCAL, REWRITE_REMOTE };
enum lookup rewrite_canonical(enum rewrite_context, const char *address, struct str *out); /* appends to *out */
/* A source-route-free address of a domain with a dot in it: canonical in any context, whatever the parameters of
 * qmgr/rewrite say, so rewrite_canonical does not ask for it. */
bool rewrite_complete(const char *address);

enum rewrite_class {
    REWRITE_CLASS_LOCAL,           /* mydestination, an address literal of this host */
    REWRITE_CLASS_VIRTUAL_ALIAS,   /* virtual_alias_domains */
    REWRITE_CLASS_VIRTUAL_MAILBOX, /* virtual_mailbox_domains */
    REWRITE_CLASS_RELAY,           /* relay_domains */
    REWRITE_CLASS_DEFAULT,         /* elsewhere */
};
struct rewrite_route {
    const char *transport; /* service of master.cf: "smtp", "lmtp", "virtual", "error", ... */
    const char *nexthop;   /* "[host]:port", a domain, a path; for error: "5.1.1 reason" */
    const char *recipient; /* canonical, what the delivery agent gets */
    enum rewrite_class class;
    bool routed; /* the sender chose a route (user%elsewhere@here): never a reason to relay */
    bool error;  /* the transport is error_service_name: nexthop holds DSN status and words */
};
/* sender: "" is the null sender. The strings of *out live in the arena. */
enum lookup rewrite_resolve(const char *sender, const char *address, struct arena *, struct rewrite_route *out);
/* The same, for who would refuse a route of class DEFAULT or an error: such an answer is not used when it was asked for before
 * since_us (time_mono_us), the moment at which the caller's own client asked. */
enum lookup rewrite_resolve_since(int64_t since_us, const char *sender, const char *address, struct arena *,
                                  struct rewrite_route *out);
void rewrite_flush(void); /* forget cached answers */
#endif
