/*
 * cache - answers of databases, remembered: auth_cache_size, auth_cache_ttl, auth_cache_negative_ttl
 *
 * Callers     authd/passdb.c, authd/userdb.c; CACHE-FLUSH of authd/master.c
 * Invariants  at most auth_cache_size bytes, what was not asked for longest goes first; 0: nothing is remembered
 *             an answer is known again by the values of the variables that its database has used (struct cache_key)
 *             texts are wiped when they go: there are passwords among them
 * Units       seconds, bytes
 */
#ifndef AUTHD_CACHE_H
#define AUTHD_CACHE_H
#include "request.h"

extern int64_t cache_size, cache_ttl_seconds, cache_negative_ttl_seconds; /* parameters, authd/params.c */

/* Which question: of which database ("passdb 1"), with which values. */
struct cache_key {
    struct str text;
};
/* variables: a text of %variables, all that the answer depends on. -1: nothing may be remembered of this question. */
int cache_key_make(struct cache_key *, const char *database, const char *variables, struct authd_request *);
void cache_key_free(struct cache_key *);

enum cache_age { CACHE_NONE, CACHE_FRESH, CACHE_EXPIRED };
struct cache_answer {
    enum lookup found;          /* FOUND or NONE */
    struct authd_fields fields; /* copies, in the arena given */
    bool matched;               /* the last password compared with it was right */
    int64_t age_seconds;
};
enum cache_age cache_get(const struct cache_key *, struct arena *, struct cache_answer *);
void cache_put(const struct cache_key *, const char *user, enum lookup found, const struct authd_fields *);
void cache_matched(const struct cache_key *, bool matched);
/* What was just put is nothing any more from that Unix time on, not even while its database is away. */
void cache_until(const struct cache_key *, int64_t unix_seconds);
/* user NULL: all. How many answers went. */
size_t cache_flush(const char *user);
void cache_report(void); /* hits, misses and bytes, to the log */
#endif
