/*
 * dovecot - dovecot-sql.conf.ext of Dovecot 2.3: where the database is, and the queries of passdb and userdb
 *
 * Callers     mysql.c ("sql:" sources), through it authd/proxymap
 * Invariants  no value of a line gets into an error or the log: connect holds the password
 *             %variables go into a query as question.h says: none of them becomes SQL
 * Ownership   all texts live in the arena of the struct
 * Errors      -1 with "FILE line N: reason"; names that nothing obeys are warned of
 */
#ifndef TABLE_SQL_DOVECOT_H
#define TABLE_SQL_DOVECOT_H
#include "conf/var.h"
#include "table/sql/pool.h"

enum sql_dovecot_query { SQL_DOVECOT_PASSWORD, SQL_DOVECOT_USER, SQL_DOVECOT_ITERATE, SQL_DOVECOT_QUERIES };
struct sql_dovecot {
    struct arena *arena;
    struct sql_connect connect;
    const char *default_pass_scheme;
    const char *query[SQL_DOVECOT_QUERIES];
    const char *variables[SQL_DOVECOT_QUERIES]; /* names that the query uses, blanks between; a name may come twice */
};
int sql_dovecot_parse(const char *file, struct slice text, struct sql_dovecot *out, struct err *);
void sql_dovecot_free(struct sql_dovecot *);
/* scope: get and ctx are used. FOUND: *out can be asked; NONE: a variable in it is no UTF-8, so nobody is meant; RETRY
 * with *err. */
enum lookup sql_dovecot_question(const struct sql_dovecot *, enum sql_dovecot_query, const struct var_scope *,
                                 struct arena *, struct sql_question *out, struct err *);
#endif
