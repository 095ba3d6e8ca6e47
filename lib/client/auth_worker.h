/*
 * auth_worker - questions that run libraries of the system: PAM, and the accounts that nsswitch.conf leads to
 *
 * "pam" {service, user, password, rhost, setcred, session, uses}: answers "ok", "mismatch", "unknown", "expired",
 * "disabled" or "later" {user, why, said, fault}.
 * "password" {kind, user, password}: the same answers; kind "passwd" or "shadow": where the hash stands, which never
 * leaves the worker.
 * "account" {user}: "found" {user, uid, gid, home}, "none" or "later" {why}.
 * "uid", "gid" {name}: "found" {id}, "none" or "later" {why}.
 * "each" {first, last}, on a connection of its own: "user" {user} any number of times, then "end" {} or "later" {why}.
 *
 * Callers     authd; authd/auth-worker serves them
 * Invariants  a library that hangs delays nobody but who asked it: the answer is "later" after auth_worker_timeout
 * Ownership   texts live in the arena given
 * Errors      three answers; a worker that cannot be asked is "later", with words for a log and without any secret
 */
#ifndef CLIENT_AUTH_WORKER_H
#define CLIENT_AUTH_WORKER_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include <sys/types.h>

#define AUTH_WORKER_SERVICE  "private/auth-worker"
#define AUTH_WORKER_PROTOCOL "auth-worker"
enum {
    AUTH_WORKER_VERSION = 1,
    AUTH_WORKER_NAME_BYTES = 1024, /* of a user or a group */
    AUTH_WORKER_SERVICE_BYTES = 64,
    AUTH_WORKER_PASSWORD_BYTES = 4096,
    AUTH_WORKER_ADDRESS_BYTES = 256,
    AUTH_WORKER_TEXT_BYTES = 512, /* words for a log, or of a module for the client */
    AUTH_WORKER_HOME_BYTES = 4096,
    AUTH_WORKER_USES_MAX = 1000000,
    AUTH_WORKER_WAIT_MS = 140000, /* longer than auth_worker_timeout: the worker says itself that it is late */
};

enum auth_worker_verdict {
    AUTH_WORKER_OK,
    AUTH_WORKER_MISMATCH,
    AUTH_WORKER_UNKNOWN, /* no such user */
    AUTH_WORKER_EXPIRED,
    AUTH_WORKER_DISABLED,
    AUTH_WORKER_LATER,
    AUTH_WORKER_VERDICTS
};
extern const char *const auth_worker_verdict_name[AUTH_WORKER_VERDICTS]; /* on the wire */
struct auth_worker_said {
    const char *user; /* as the module has it in the end */
    const char *why;  /* for a log: which step, and the library's words; "" */
    const char *said; /* the module's own last words to the client; "" */
    bool fault;       /* `why` is for the administrator, and not about a password */
};
struct auth_worker_pam {
    const char *service, *user, *rhost; /* rhost "": unknown */
    struct slice password;
    bool setcred, session;
    int64_t uses; /* conversations that one process may have, at least 1 */
};
enum auth_worker_verdict auth_worker_pam(const struct auth_worker_pam *, struct arena *, struct auth_worker_said *);

/* kind: "passwd", "shadow". */
enum auth_worker_verdict auth_worker_password(const char *kind, const char *user, struct slice password,
                                              struct arena *, struct auth_worker_said *);

struct auth_worker_account {
    const char *user, *home; /* user: as it is written there */
    uid_t uid;
    gid_t gid;
};
enum lookup auth_worker_account(const char *user, struct arena *, struct auth_worker_account *, struct err *);
/* The number of a user or group by its name. */
enum lookup auth_worker_uid(const char *name, uint32_t *out, struct err *);
enum lookup auth_worker_gid(const char *name, uint32_t *out, struct err *);
/* Users whose uid is at least `first` and, unless `last` is 0, at most that. -1: some are missing. */
int auth_worker_each(uint32_t first, uint32_t last, void (*fn)(void *ctx, struct slice user), void *ctx,
                     struct err *);
#endif
