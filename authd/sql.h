/*
 * sql - one question of authd to a dovecot-sql.conf.ext, through proxymap
 *
 * Callers     authd/passdb/sql.c, authd/userdb/sql.c; sql_cache_key: authd/passdb/oauth2.c too
 * Invariants  every variable of the request goes along; proxymap, which alone reads the file, writes them into the query
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
/* The names of variables that a query uses, as a text of %variables: for struct passdb's cache_key. Owned by *key. */
void sql_cache_key(const char **key, const char *variables);
#endif
