/*
 * connection - one connection to a database server, driven without blocking
 *
 * Callers     lib/table/sql only
 * Invariants  used by one fiber at a time, but for sql_connection_abort; every wait ends at the deadline given
 * Ownership   who opened it closes it, in a fiber
 * Errors      SQL_LOST: the connection is of no further use, another may answer; SQL_FAULT: the server said no to
 *             this question
 */
#ifndef TABLE_SQL_CONNECTION_H
#define TABLE_SQL_CONNECTION_H
#include "table/sql/fault.h"
#include "table/sql/pool.h"

enum sql_outcome { SQL_DONE, SQL_FAULT, SQL_LOST };
enum { SQL_STATEMENTS = 32 }; /* prepared statements a connection keeps: more than SQL_TOGETHER */

struct sql_address {
    const char *path;    /* of a unix socket, or NULL */
    const char *numeric; /* else this address */
    const char *name;    /* what a certificate is compared with */
    unsigned port;
};
/* Called while a question is unanswered: after first_ms, then after as many milliseconds as it says. */
struct sql_watch {
    int64_t first_ms;
    int64_t (*fn)(void *ctx);
    void *ctx;
};
struct sql_connection;
int sql_connection_library(struct err *); /* before the jail: plug-ins and tables of libmariadb; -1: unusable */
bool sql_connection_charset_safe(const char *charset); /* false: text in it cannot be escaped */
struct sql_connection *sql_connection_open(const struct sql_connect *, const struct sql_address *, int64_t deadline,
                                           struct sql_fault *); /* NULL: see the fault */
enum sql_outcome sql_connection_ask(struct sql_connection *, const struct sql_question *, size_t rows_max,
                                    int64_t deadline, const struct sql_watch *, struct arena *, struct sql_rows *out,
                                    struct sql_fault *);
/* Several questions with parameters, written in one piece; fn for each that was answered, in their order, while the rest
 * is on its way. What fn has not seen is to be asked again. SQL_DONE, or SQL_LOST. */
typedef void (*sql_answered_fn)(void *ctx, size_t which, const struct sql_rows *);
enum sql_outcome sql_connection_ask_together(struct sql_connection *, const struct sql_question *const *,
                                             size_t count, size_t rows_max, int64_t deadline,
                                             const struct sql_watch *, sql_answered_fn, void *ctx,
                                             struct sql_fault *);
/* Rows one by one, as they arrive: *had_rows tells whether fn had one (then nobody may ask again). Text and
 * parameters as in sql_connection_ask; fn may wait, and ends it with -1. */
enum sql_outcome sql_connection_each(struct sql_connection *, const struct sql_question *, int64_t deadline,
                                     const struct sql_watch *, sql_row_fn, void *ctx, bool *had_rows,
                                     struct sql_fault *);
bool sql_connection_sound(const struct sql_connection *); /* false: only good for closing */
void sql_connection_abort(struct sql_connection *);       /* its question, asked in another fiber, is lost at once */
void sql_connection_close(struct sql_connection **);
#endif
