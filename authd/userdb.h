/*
 * userdb - where does that user live: the databases of auth_userdb, asked in their order
 *
 * Callers     authd/master.c: USER, REQUEST and LIST; struct userdb_driver: one for each file of authd/userdb/
 * Invariants  what the chain does with the answer of one database is Dovecot's: skip, result_success, result_failure,
 *             result_internalfail, username_filter
 * Errors      three answers; any database that cannot be asked makes NONE of the others "later"
 */
#ifndef AUTHD_USERDB_H
#define AUTHD_USERDB_H
#include "db.h"
#include "request.h"

/* uid, gid (as numbers), home, mail and whatever else is said are in the request's `userdb` then; its user may have
 * changed. */
enum lookup authd_userdb(struct authd_request *, struct err *);
/* One field into the request's `userdb`, with what it means; also of a passdb's userdb_ fields. -1 with words. */
int authd_userdb_set(struct authd_request *, const struct authd_field *, struct err *);
/* The dovecot-sql.conf.ext that authd_userdb would ask first; NULL: another driver is. */
const char *authd_userdb_sql_source(const struct authd_request *);
/* Each user that the databases can list; -1: some could not. */
int authd_userdb_each(void (*fn)(void *ctx, struct slice user), void *ctx);

int authd_userdb_open(const char *parameter, const char *list); /* before the jail; -1 after logging */
bool authd_userdb_stale(void);

struct userdb_lister { /* for drivers that list by a function of another shape */
    void (*fn)(void *ctx, struct slice user);
    void *ctx;
};
struct userdb {
    const struct userdb_driver *driver;
    struct db_entry entry;
    unsigned number;       /* in auth_userdb, from 1 */
    void *state;           /* the driver's, set by its open */
    const char *cache_key; /* as struct passdb's */
};
struct userdb_driver {
    const char *name;
    bool fills; /* its fields are added where no earlier database has said them; others replace */
    int (*open)(struct userdb *, struct arena *, struct err *); /* before the jail; -1 with words */
    bool (*stale)(struct userdb *);                             /* may be NULL */
    enum lookup (*lookup)(struct userdb *, struct authd_request *, struct authd_fields *row, struct err *);
    /* NULL: there is nothing to list (prefetch). */
    int (*each)(struct userdb *, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *);
};
extern const struct userdb_driver userdb_passwd, userdb_passwd_file, userdb_prefetch, userdb_sql, userdb_static,
    userdb_table, userdb_virtual;
#endif
