/*
 * mysql - the table types "mysql" (mysql_table(5)) and "sql" (a dovecot-sql.conf.ext), answered by this process
 *
 * Callers     authd/proxymap, tools/postmap: sql_tables_register() before the first table is opened. Everybody else has
 *             the "mysql" of lib/table/proxy.c, which asks proxymap
 * Invariants  files are read when a table is opened: before the jail; a changed file makes the process stale
 * Errors      as lib/table: a file with a wrong line is a table that answers RETRY, with the reason in the log
 */
#ifndef TABLE_SQL_MYSQL_H
#define TABLE_SQL_MYSQL_H
#include "table/sql/dovecot.h"
#include "table/table.h"

void sql_tables_register(void);

/* One asker's next look-ups, each of use only if all before find nothing: sends the first and those behind it that will
 * probably be needed, together, so that table_lookup_asked with the same *asked has to wait less. How many of them it has
 * seen to, at least 1; ask for the rest when it comes to that. Tables that are not "mysql", or NULL, are left alone. Only statements
 * that begin with SELECT are asked before it is known that they are needed, and only of tables that answered well and
 * quickly the last time. Which are needed is guessed from what the tables answered lately: an answer never is. */
struct sql_next {
    struct table *table;
    const char *key; /* borrowed until sql_asked_end */
};
size_t sql_ask_ahead(const struct sql_next *, size_t count, struct table_asked *);
void sql_asked_end(struct table_asked *);
/* Questions to a table "sql:/file". Those of a password may give one row, those of a user the first of several. fresh: no
 * remembered answer will do. */
enum lookup sql_source_ask(struct table *, enum sql_dovecot_query, bool fresh, const struct var_scope *,
                           struct arena *, struct sql_rows *out, struct err *);
/* iterate_query: each row as it arrives; see sql_pool_each. */
int sql_source_each(struct table *, sql_row_fn, void *ctx, struct err *);
const struct sql_dovecot *sql_source_config(const struct table *); /* NULL when the table cannot be used */
#endif
