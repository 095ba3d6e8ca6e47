/*
 * authd - who is this: the master and userdb side of authd
 *
 * Callers     dispatcher (private/auth-master), lmtpd and virtual through lib/client/userdb (private/auth-userdb)
 * Invariants  works with a real Dovecot's sockets too; connections are kept, each carries one question at a time, so
 *             questions of several fibers run side by side
 *             uid and gid are answered as authd says them: who changes uid by them checks the range
 * Units       milliseconds of time_mono_ms() for deadlines
 * Errors      three answers; a connection that breaks, a FAIL and a line one cannot read are LOOKUP_RETRY
 * Source      Dovecot's auth-protocol.txt, "Master" part, version 1.1
 */
#ifndef CLIENT_AUTHD_H
#define CLIENT_AUTHD_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/location.h"
#include <sys/types.h>

#define AUTHD_MASTER_SERVICE "private/auth-master"
#define AUTHD_USERDB_SERVICE "private/auth-userdb"

enum { AUTHD_COOKIE_BYTES = 33, AUTHD_CONNECTIONS = 32, AUTHD_EXTRA_MAX = 64 };

struct authd_extra {
    const char *name, *value;
};
/* All text lives in the arena that the caller gave. */
struct authd_user {
    const char *user; /* canonical: after auth_username_format and realm */
    bool has_uid, has_gid;
    uid_t uid;
    gid_t gid;
    const char *home;    /* absolute, without a slash at the end; else by mail_home; "" when unknown */
    const char *mail;    /* "maildir:/var/mail/u", %variables expanded; else by mail_location; "" when unknown */
    const char *maildir; /* absolute directory of the INBOX, from mail and home; "" when neither tells */
    struct mail_location location; /* the same in full */
    const char *problem;           /* why there is none, for the log; "" */
    size_t extras;                 /* what else was said: "quota_rule", ... */
    struct authd_extra extra[AUTHD_EXTRA_MAX];
};

struct authd_client;
/* service: AUTHD_MASTER_SERVICE, AUTHD_USERDB_SERVICE or what a parameter names. */
struct authd_client *authd_client_new(const char *service);
void authd_client_free(struct authd_client **);

/* Userdb: `protocol` is "lmtp", "imap", ... */
enum lookup authd_client_user(struct authd_client *, const char *protocol, struct slice user, struct arena *,
                              struct authd_user *out, int64_t deadline, struct err *);
/* Master: claims the finished authentication `request` of the login process `client_pid`; once. */
enum lookup authd_client_request(struct authd_client *, const char *protocol, uint32_t client_pid, uint32_t request,
                                 const char *cookie, struct arena *, struct authd_user *out, int64_t deadline,
                                 struct err *);

/* Are these ids within first_valid_uid .. last_valid_gid? False after logging, in Dovecot's words. */
bool authd_ids_permitted(const char *user, int64_t uid, int64_t gid);
const char *authd_user_extra(const struct authd_user *, const char *name); /* NULL when it was not said */
/* The words of a USER reply from word `from` on; shared with tests. */
struct dovecot_auth_line;
int authd_user_parse(const struct dovecot_auth_line *, size_t from, const char *protocol, struct arena *,
                     struct authd_user *out, struct err *);
#endif
