/*
 * named - the tables of all services that authd/proxymap serves, as the configuration names them
 *
 * "proxy:TYPE:NAME" and "mysql:NAME" in a value of main.cf, in a -o of master.cf or in the default of a parameter, wherever
 * they stand in it: lists, restrictions and their classes, members of a union; "sql:FILE" in auth_passdb and auth_userdb,
 * "oauth2:FILE" in auth_passdb.
 * Pattern files ("/file" in a list) are not looked into.
 *
 * Callers     authd/proxymap and authd/oauth2, which serve nothing else; tools/postfix, which checks their files
 * Invariants  conf_registry_open comes first, else the defaults of other daemons' parameters do not count
 */
#ifndef TABLE_NAMED_H
#define TABLE_NAMED_H
#include "base/str.h"

/* name: "type:name", or the path of the file */
enum table_named_kind { TABLE_NAMED_TABLE, TABLE_NAMED_SQL, TABLE_NAMED_OAUTH2 };
/* The same name may come more than once. */
void table_named(void (*fn)(void *ctx, enum table_named_kind, struct slice name), void *ctx);
#endif
