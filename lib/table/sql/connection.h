/*
 * connection - one connection to a database server, driven without blocking
 *
 * Callers     pool.c only
 * Invariants  used by one fiber at a time; every wait ends at the deadline given
 * Ownership   who opened it closes it, in a fiber
 * Errors      SQL_LOST: the connection is of no further use, another may answer; SQL_FAULT: the server said no to
 *             this question and the connection is sound
 */
#ifndef TABLE_SQL_CONNECTION_H
#define TABLE_SQL_CONNECTION_H
#include "base/list.h"
#include "table/sql/pool.h"

enum sql_outcome { SQL_DONE, SQL_FAULT, SQL_LOST };
enum { SQL_STATEMENTS = 32 }; /* prepared statements a connection keeps */

struct sql_address {
    const char *path;    /* of a unix socket, or NULL */
    const char *numeric; /* else this address */
    const char *name;    /* what a certificate is compared with */
    unsigned port;
};
struct sql_fault {
    unsigned code; /* of the server or libmariadb */
    char text[ERR_TEXT_BYTES];
};
struct sql_connection;
void sql_connection_library(void); /* before the jail: plug-ins and tables of libmariadb */
struct sql_connection *sql_connection_open(const struct sql_connect *, const struct sql_address *, int64_t deadline,
                                           struct sql_fault *); /* NULL: see the fault */
enum sql_outcome sql_connection_ask(struct sql_connection *, const struct sql_question *, size_t rows_max,
                                    int64_t deadline, struct arena *, struct sql_rows *out, struct sql_fault *);
bool sql_connection_sound(const struct sql_connection *); /* false: only good for closing */
void sql_connection_close(struct sql_connection **);
#endif
