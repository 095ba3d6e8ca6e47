/*
 * match - pattern lists of main.cf: mydestination, relay_domains, mynetworks, ...
 *
 * Patterns, separated by commas or blanks, first match wins: "!" negates, "/file" reads patterns from a file,
 * "type:table" is a lookup (only that it is there counts), anything else is a string, a domain or a network.
 * A domain matches its subdomains when parent_domain_matches_subdomains names the parameter, else only as ".domain".
 *
 * Callers     smtpd, qmgr/rewrite, cleanup, lmtp: everything with a list parameter
 * Invariants  files and tables are opened by match_new: before the jail
 * Errors      FOUND: listed; NONE: not listed; RETRY: a table or file of the list failed, after a warning
 */
#ifndef TABLE_MATCH_H
#define TABLE_MATCH_H
#include "base/err.h"
#include <stdbool.h>

struct match;
struct match *match_new(const char *parameter, const char *patterns); /* never NULL; patterns may be "" */
void match_free(struct match **);
bool match_empty(const struct match *);
enum lookup match_domain(struct match *, const char *name);                    /* relay_domains, mydestination, ... */
enum lookup match_string(struct match *, const char *text);                    /* whole strings only, case folded */
enum lookup match_address(struct match *, const char *numeric);                /* mynetworks: addresses, networks */
enum lookup match_host(struct match *, const char *name, const char *numeric); /* name or address: *_clients lists */

/* Is this the domain of a local recipient? mydestination, or [address] of inet_interfaces or proxy_interfaces.
 * Opens its tables at the first call: call match_local_open() before the jail. */
void match_local_open(void);
enum lookup match_local(const char *domain);
#endif
