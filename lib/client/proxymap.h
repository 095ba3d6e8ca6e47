/*
 * proxymap - questions of a dovecot-sql.conf.ext, answered by authd/proxymap: it alone holds the database's password
 *
 * Callers     authd
 * Invariants  a source is served when a passdb or userdb of the configuration names it: source is the file's path, as it
 *             stands there behind "sql:"
 *             one question may give one row; a text with a NUL byte is no answer
 * Ownership   rows live in the arena given; those of proxymap_sql_each until fn returns
 * Errors      three answers; RETRY with *err fit for a log, never with the text of a variable
 */
#ifndef CLIENT_PROXYMAP_H
#define CLIENT_PROXYMAP_H
#include "base/err.h"
#include "base/mem.h"
#include <stdbool.h>

struct proxymap_var { /* of conf/var.h: long names; "userdb:x" and "passdb:x" too. What is not given is unknown */
    const char *name, *value;
};
struct proxymap_row {
    size_t columns;
    const char **name, **value; /* value NULL: SQL NULL */
};
enum proxymap_query { PROXYMAP_PASSWORD, PROXYMAP_USER };
struct proxymap_about { /* the query, told with FOUND and NONE */
    const char *default_pass_scheme;
    const char *variables; /* names that its text uses, blanks between: what the answer depends on */
};
/* user_query of another file, or the same one: asked along with a password for the same variables */
struct proxymap_then {
    const char *source;
    bool found; /* false: ask it by itself: it found nothing, or there was no answer, or none was tried */
    struct proxymap_row row;
    const char *variables; /* as struct proxymap_about */
};
/* In a fiber. fresh: no remembered answer will do; of `then` one may. about and then may be NULL. */
enum lookup proxymap_sql(const char *source, enum proxymap_query, bool fresh, const struct proxymap_var *,
                         size_t vars, struct arena *, struct proxymap_row *out, struct proxymap_about *about,
                         struct proxymap_then *then, struct err *);
/* iterate_query: fn for each row, as they arrive; it may wait. -1: rows are missing. */
int proxymap_sql_each(const char *source, void (*fn)(void *ctx, const struct proxymap_row *), void *ctx,
                      struct err *);
#endif
