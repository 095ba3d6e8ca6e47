/*
 * passdb - who is it: the databases of auth_passdb, asked in their order
 *
 * Callers     authd_verify, authd_credentials: the mechanisms (authd/mech.c), in a fiber, for they may wait
 *             authd_passdb_lookup: PASS of the master protocol
 *             struct passdb_driver: one for each file of authd/passdb/
 * Invariants  what the chain does with the answer of one database is Dovecot's: deny, pass, master, skip,
 *             result_success, result_failure, result_internalfail, mechanisms, username_filter
 *             a user who does not exist costs the hash of the last one who did: time tells nobody who exists
 *             no password reaches the log; copies are wiped
 * Errors      a database that cannot be asked and a field that cannot be obeyed are VERIFY_LATER, never "wrong"; a
 *             stored password that cannot be used matches none, with a warning (Dovecot 2.3.19; a secret for a
 *             challenge that cannot be used is VERIFY_LATER)
 */
#ifndef AUTHD_PASSDB_H
#define AUTHD_PASSDB_H
#include "client/auth_worker.h"
#include "db.h"
#include "request.h"

enum verify_answer {
    VERIFY_OK,
    VERIFY_FAIL,
    VERIFY_LATER,
    VERIFY_DISABLED, /* the user exists and may not log in, whatever the password: code=user_disabled */
    VERIFY_EXPIRED,  /* the password was right and is too old: code=pass_expired */
};

/* The request has a name (authd_request_name; without one the answer is VERIFY_FAIL, after the usual time). On OK the
 * request's user, fields and userdb say who it is: a master login has become the user that was asked for. */
enum verify_answer authd_verify(struct authd_request *, struct slice password);

/* For mechanisms that never see the password. schemes: names of the stored forms the mechanism can work with, any
 * case, in the order of preference for the log; ends with NULL. On OK *stored is "{SCHEME}text", in the request's
 * arena: who asked wipes it (mem_wipe), checks the client's proof against it, and only then the user is known. A user
 * whose password is stored otherwise is VERIFY_FAIL, with a line in the log. */
enum verify_answer authd_credentials(struct authd_request *, const char *const *schemes, const char **stored);

/* The user's entry without a password check; fields are in the request. */
enum lookup authd_passdb_lookup(struct authd_request *, struct err *);

int authd_passdb_open(const char *parameter, const char *list); /* before the jail; -1 after logging */
int authd_passdb_start(void);                                   /* in the jail, in a fiber */
bool authd_passdb_stale(void);
/* True when at least one database can serve a mechanism. */
enum passdb_need { PASSDB_NEEDS_PASSWORD, PASSDB_NEEDS_STORED, PASSDB_NEEDS_TOKENS }; /* STORED: the stored secret */
bool authd_passdb_serves(const char *mech, enum passdb_need);

/* --- drivers --- */

/* What one database says of one password. */
enum passdb_answer {
    PASSDB_OK,
    PASSDB_UNKNOWN,  /* no such user */
    PASSDB_MISMATCH, /* a user, and not that password */
    PASSDB_DISABLED,
    PASSDB_EXPIRED,
    PASSDB_LATER,
    PASSDB_NO_SCHEME, /* a user whose secret cannot be used in this way */
    PASSDB_NEXT,      /* noauthenticate: the fields count, who it is must another database say */
};
struct passdb {
    const struct passdb_driver *driver;
    struct db_entry entry;
    unsigned number;    /* in auth_passdb, from 1 */
    void *state;        /* the driver's, set by its open */
    const char *scheme; /* of stored passwords without "{...}"; the driver's, or as its args say */
    /* The variables that the answer depends on, as a text of %variables: the key of auth_cache. NULL: never cached. */
    const char *cache_key;
};
struct passdb_driver {
    const char *name;
    bool tokens;        /* it knows tokens from passwords */
    bool remembers;     /* its answers may have been remembered on the way, but for those to request->fresh */
    const char *scheme; /* default of struct passdb's */
    /* Before the jail; passdb->entry.args is what the administrator wrote behind "driver:". -1 with words in err. */
    int (*open)(struct passdb *, struct arena *, struct err *);
    int (*start)(struct passdb *, struct err *); /* in the jail; may be NULL */
    bool (*stale)(struct passdb *); /* the process must start anew to see what has changed; may be NULL */
    /* What is known of request->user: "password" ("{SCHEME}text", or of `scheme`) and Dovecot's extra fields, into
     * *row. With verify it tells only whether there is such a user; verify alone: not even that. */
    enum lookup (*lookup)(struct passdb *, struct authd_request *, struct authd_fields *row, struct err *);
    /* Checks the password itself (PAM, a token): fields into *row. Any other answer than PASSDB_OK with words in err. */
    enum passdb_answer (*verify)(struct passdb *, struct authd_request *, struct slice password,
                                 struct authd_fields *row, struct err *);
};
extern const struct passdb_driver passdb_oauth2, passdb_pam, passdb_passwd, passdb_passwd_file, passdb_shadow,
    passdb_sql, passdb_static, passdb_table;
enum passdb_answer passdb_worker_answer(enum auth_worker_verdict);
#endif
