/*
 * authd - what the parts of authd share: parameters and the fields of an answer
 *
 * Callers     the files of authd/
 * Invariants  set before the jail, constant afterwards
 */
#ifndef AUTHD_AUTHD_H
#define AUTHD_AUTHD_H
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/stream.h"
#include "username.h"

enum {
    AUTHD_REQUEST_SECONDS = 150, /* for one authentication, and for a master to claim it */
    AUTHD_REQUESTS_MAX = 1000,   /* open at a time on one connection */
    AUTHD_CLAIMS_MAX = 100000,   /* logins waiting for their master */
    AUTHD_FIELDS_MAX = 96,       /* words of one answer */
    AUTHD_COOKIE_RANDOM_BYTES = 16,
};

extern struct username_rules authd_username_rules;
extern int64_t authd_failure_delay_seconds, authd_hash_limit;
extern bool authd_verbose;
extern const char *authd_mail_location;

/* Words "name=value" behind the user of an answer. */
struct authd_fields {
    size_t count;
    struct {
        const char *name, *value; /* value NULL: a bare word */
    } field[AUTHD_FIELDS_MAX];
};
void authd_fields_add(struct authd_fields *, const char *name, const char *value);
void authd_fields_write(const struct authd_fields *, struct str *line);

/* Who asks, for the log. */
struct authd_peer {
    const char *rip, *session;
};

/* Passdb: is this the user's password? */
enum verify_answer { VERIFY_OK, VERIFY_FAIL, VERIFY_LATER };
struct verify_result {
    const char *user; /* canonical; "" when the name is impossible */
    struct authd_fields fields;
    bool nodelay;
};
enum verify_answer authd_verify(struct slice user, struct slice password, const struct authd_peer *, struct arena *,
                                struct verify_result *);
/* The passdb's fields without a password check: PASS of the master protocol. */
enum lookup authd_verify_lookup(struct slice user, struct arena *, struct verify_result *, struct err *);

/* Userdb: where does that user live? */
int authd_userdb_open(void); /* before the jail */
void authd_userdb_close(void);
enum lookup authd_userdb(struct slice user, struct arena *, const char **canonical, struct authd_fields *,
                         struct err *);

/* Logins that wait for their master. */
struct authd_claim {
    char *user, *mechanism;
    uint32_t client_pid;
};
void authd_claim_start(void);
bool authd_claim_put(const char *cookie, uint32_t request, uint32_t client_pid, const char *user,
                     const char *mechanism); /* false: too many */
bool authd_claim_take(const char *cookie, uint32_t request, uint32_t client_pid, struct authd_claim *out);
void authd_claim_free(struct authd_claim *);
size_t authd_claims(void);

/* Connections are kept by who asks: a process that is to end must end them itself. A client's goes as soon as it has
 * no request open, a master's when no login waits for it any more. */
struct authd_conn {
    struct list node;
    int fd;
    const struct map *requests; /* NULL: a master's */
};
void authd_conn_start(void);
void authd_conn_add(struct authd_conn *);
void authd_conn_remove(struct authd_conn *);

/* One connection each, until its end. */
void authd_client_serve(struct stream *, bool login);
void authd_master_serve(struct stream *, bool master);
#endif
