/*
 * authd - what the parts of authd share: parameters and the fields of an answer
 *
 * Callers     the files of authd/
 * Invariants  set before the jail, constant afterwards
 */
#ifndef AUTHD_AUTHD_H
#define AUTHD_AUTHD_H
#include "base/list.h"
#include "base/map.h"
#include "io/stream.h"
#include "request.h"
#include "service/service.h"
#include "username.h"

enum {
    AUTHD_REQUEST_SECONDS = 150, /* for one authentication, and for a master to claim it */
    AUTHD_REQUESTS_MAX = 1000,   /* open at a time on one connection */
    AUTHD_CLAIMS_MAX = 20000,    /* logins waiting for their master */
    AUTHD_COOKIE_RANDOM_BYTES = 16,
};

extern struct username_rules authd_username_rules;
extern int64_t authd_failure_delay_seconds, authd_hash_limit;
extern bool authd_verbose, authd_debug, authd_debug_passwords, authd_penalty;
extern const char *authd_verbose_passwords;
extern const char *authd_mechanisms, *authd_passdbs, *authd_userdbs, *authd_realms, *authd_anonymous_username;
extern bool authd_username_from_cert, authd_require_client_cert;
extern const struct param authd_params[];
extern struct service_path authd_paths[];

/* Before the jail: a directory (or file) that must stay readable behind it. The text outlives the process's start. */
void authd_may_read(const char *path);
/* Logs what is wrong with a parameter's value, with the file and line that set it. */
void authd_parameter_error(const char *name, const struct err *);

/* Logins that wait for their master. */
void authd_claim_start(void);
bool authd_claim_put(const char *cookie, uint32_t id, uint32_t client_pid,
                     const struct authd_request *); /* copies it; false: too many */
/* NULL: nobody has made that login. The caller frees the request's arena. */
struct authd_request *authd_claim_take(const char *cookie, uint32_t id, uint32_t client_pid);
size_t authd_claims(void);
/* Tells the master of this pid, if it has asked for it, of a login, with what the userdb knows: then that one has the claim,
 * and nobody else. May wait for the userdb. false: it has not asked, or there is nothing to tell. */
bool authd_master_tell(uint64_t master, const char *cookie, uint32_t id, uint32_t client_pid,
                       const struct authd_request *);

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
/* only: a client of this uid is told of no other user's mail; AUTHD_ANY_UID: of everybody's. */
#define AUTHD_ANY_UID ((uid_t) -1)
void authd_master_serve(struct stream *, bool master, uid_t only);
#endif
