/*
 * request - one authentication or lookup: who asks, which names, what is known so far
 *
 * Callers     authd/client.c and authd/master.c make one for each AUTH, USER, PASS; the mechanisms and the databases
 *             read and change it
 * Invariants  every text lives in `arena`, and so does the request; `user` is always in its one spelling
 *             (authd/username.h) or ""
 * Source      Dovecot 2.3: its auth request and the variables of its passdb and userdb settings
 */
#ifndef AUTHD_REQUEST_H
#define AUTHD_REQUEST_H
#include "base/err.h"
#include "fields.h"

/* Who asks, as AUTH, USER or PASS said: numbers are text as they came; "" where nothing was said. */
struct authd_peer {
    const char *service, *lip, *rip, *lport, *rport, *real_lip, *real_rip, *real_lport, *real_rport, *session,
        *local_name, *client_id, *cert_username, *session_pid, *realm, *application;
    const char *secured; /* "", "secured" or "TLS" */
    bool no_penalty, valid_client_cert, debug;
};

struct authd_request {
    struct authd_peer peer;
    const char *mech; /* "PLAIN"; "" for USER and PASS */
    struct arena *arena;

    const char *user;          /* who it is, as far as known; the databases are asked for this name */
    const char *original_user; /* as the client wrote it */
    const char *login_user;  /* a master login: whom the master wants to be, until the password was right; or NULL */
    const char *master_user; /* and then: who gave the password; or NULL */

    struct authd_fields fields; /* for the client: words behind user= of OK and PASS */
    struct authd_fields userdb; /* userdb_* of the passdb, without the prefix */
    bool prefetched;            /* the passdb has answered the userdb's question too */
    bool nodelay;               /* a failure is told at once */
    bool will_claim;            /* a right password is followed by a question to the userdb at once */
    bool fresh;                 /* no answer that was remembered somewhere will do */
    bool successful;            /* a passdb has taken the password */
    bool restricted;            /* a passdb knows the user, and lets nobody in now (fail, allow_nets) */
    bool found;                 /* a userdb knows the user */
    bool tempfail;              /* a userdb says that the user is away for now */
    int64_t delay_until;        /* Unix time before which a success is not told; 0 */
    uint64_t attempt;           /* of user and password, under this process's key: which guesses are the same; 0 */
    /* Before a password is looked at: waits as long as the client's failures demand. false: nobody waits for the answer
     * any more. NULL: no waiting. */
    bool (*hold)(struct authd_request *);
    void *holder;
    int64_t valid_until;    /* Unix time up to which what a passdb has just said may be remembered; 0: no limit */
    const char *reason;     /* what a client may be told of its failure; NULL */
    const char *openid;     /* where a client of OAUTHBEARER finds out how to get a token; "" */
    const char *database;   /* driver that answered last, for the log */
    const char *password;   /* %w: while the password is checked; else "" */
    const char *client_pid; /* %p, as text */

    struct sql_foreseen *foreseen; /* the userdb's answer, told with the password's (authd/sql.h); NULL */
};

struct dovecot_auth_line;
/* The words of AUTH, USER, PASS from word `from` on. */
struct authd_peer authd_peer_parse(const struct dovecot_auth_line *, size_t from, struct arena *);
/* peer and mech outlive the request; NULL in peer counts as "". */
struct authd_request *authd_request_new(struct arena *, const struct authd_peer *, const char *mech);

/* All that a later question about this user may need, in another arena. */
struct authd_request *authd_request_copy(const struct authd_request *, struct arena *);

/* The name as the client gave it; with auth_master_user_separator also "user*master". -1: it can belong to nobody;
 * `user` stays "" and err holds words for the log. */
int authd_request_name(struct authd_request *, struct slice name, struct err *);
/* Whom the user wants to be (SASL's authorization identity), before the password is checked: the masters' passdbs
 * are asked then. The user's own name, and "", change nothing. -1 as above. */
int authd_request_login_as(struct authd_request *, struct slice name, struct err *);

/* What a database says: another name ("user"), another part of it ("username", "domain"). -1 with words. */
enum authd_rename { AUTHD_RENAME_USER, AUTHD_RENAME_LOCAL, AUTHD_RENAME_DOMAIN };
int authd_request_rename(struct authd_request *, enum authd_rename, const char *value, struct err *);

/* All variables with their values, for who expands texts elsewhere (proxymap): at most AUTHD_VARIABLES_MAX. */
enum { AUTHD_VARIABLES_MAX = 40 };
struct authd_variable {
    const char *name, *value;
};
size_t authd_request_variables(const struct authd_request *, struct authd_variable out[AUTHD_VARIABLES_MAX]);
/* The same, and the fields found so far as "passdb:name" and "userdb:name", in the request's arena. */
struct authd_variable *authd_request_all_variables(const struct authd_request *, size_t *count);

/* Texts with Dovecot's %variables: of this request, in its arena. NULL with words: one that does not exist. */
const char *authd_format(struct authd_request *, const char *text, struct err *);
const char *authd_format_path(struct authd_request *, const char *text, struct err *); /* no value adds a "/" */
/* The same, appended to *out; put says how a value is written. -1 with words. */
int authd_format_with(struct authd_request *, const char *text,
                      void (*put)(void *ctx, struct str *out, struct slice value), struct str *out, struct err *);
int authd_format_check(const char *text, struct err *); /* at start */

/* One line for the log: "sql(user,rip,<session>): text", as Dovecot's. */
void authd_request_info(const struct authd_request *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void authd_request_warn(const struct authd_request *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void authd_request_debug(const struct authd_request *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* with auth_debug */
#endif
