/*
 * sql - one question of authd to a dovecot-sql.conf.ext, through proxymap
 *
 * Callers     authd/passdb/sql.c, authd/userdb/sql.c; sql_cache_key: authd/passdb/oauth2.c too
 * Invariants  every variable of the request goes along; proxymap, which alone reads the file, writes them into the query
 *             a password that will be claimed (request->will_claim) is asked together with what the userdb will be
 *             asked then: one question less a login
 *             a column that is NULL is no field, but for "password": that one is there without a value
 * Errors      three answers; proxymap away, database away, a file that is not served: LOOKUP_RETRY
 */
#ifndef AUTHD_SQL_H
#define AUTHD_SQL_H
#include "client/proxymap.h"
#include "request.h"

int sql_source_check(const char *args, struct err *); /* at start: is it a path? */
enum lookup sql_ask(const char *source, enum proxymap_query, struct authd_request *, struct authd_fields *row,
                    struct proxymap_about *, struct err *);
/* What a user_query has answered along with the password, until the login is claimed: of use for FORESEEN_MS, while the
 * variables of its text have the values it was asked with. A text that uses the password is not foreseen. */
struct sql_foreseen;
struct sql_foreseen *sql_foreseen_copy(const struct sql_foreseen *, struct arena *); /* NULL gives NULL */
/* The names of variables that a query uses, as a text of %variables: for struct passdb's cache_key. Owned by *key. */
void sql_cache_key(const char **key, const char *variables);
#endif
