/*
 * passwd - the table of users: a passwd-file, or any table whose results are lines of one
 *
 *     user:{SCHEME}password:uid:gid:(gecos):home:(shell):extra fields
 *
 * Callers     authd/verify.c, authd/userdb.c, authd/master.c
 * Invariants  a passwd-file is read whole and read again when it has changed, looked at once a second at most; an
 *             entry once handed out lives in the caller's arena
 * Errors      three answers; a file that cannot be read is LOOKUP_RETRY for everybody
 * Privilege   opened before the jail; read again with authd's own rights: a file that only root can read makes
 *             passwd_stale() true when it changes, and the process starts anew
 */
#ifndef AUTHD_PASSWD_H
#define AUTHD_PASSWD_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { PASSWD_FILE_BYTES = 256 << 20, PASSWD_USERS_MAX = 2000000, PASSWD_EXTRA_MAX = 64 };
#define PASSWD_DEFAULT_SCHEME "CRYPT"

struct passwd_extra {
    const char *name, *value;
};
struct passwd_entry {
    const char *password;         /* "{SCHEME}text", or "" */
    const char *uid, *gid, *home; /* "" when not said */
    size_t extras;
    struct passwd_extra extra[PASSWD_EXTRA_MAX];
};

/* spec: of auth_passwd_file: a path, tables as "cdb:/path", or "". *watch: the directory that must stay readable. */
int passwd_open(const char *spec, const char **watch);
void passwd_close(void);
enum lookup passwd_find(const char *user, struct arena *, struct passwd_entry *out, struct err *);
bool passwd_stale(void);
/* Calls fn for each user of a passwd-file; -1 when the table cannot be listed. */
int passwd_each(void (*fn)(void *ctx, struct slice user), void *ctx);
const char *passwd_extra(const struct passwd_entry *, const char *name); /* NULL when absent */
const char *passwd_kind(void);                                           /* "passwd-file" or "table", for the log */

/* Pure: what follows "user:". -1 when the line is no entry. */
int passwd_parse(struct slice rest, struct arena *, struct passwd_entry *out);
#endif
