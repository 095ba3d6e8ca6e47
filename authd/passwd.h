/*
 * passwd - users in the form of a passwd-file, in text files or in lookup tables
 *
 *     user:{SCHEME}password:uid:gid:(gecos):home:(shell):extra fields
 *
 * A table's result is what follows "user:".
 *
 * Callers     authd/passdb/passwd.c, authd/userdb/passwd.c: the drivers passwd-file and table of both lists
 * Invariants  an entry once handed out lives in the caller's arena
 * Errors      three answers; a line that cannot be read is LOOKUP_RETRY for that user
 * Source      Dovecot 2.3, passwd-file; its args scheme= and username_format=
 */
#ifndef AUTHD_PASSWD_H
#define AUTHD_PASSWD_H
#include "request.h"

#define PASSWD_DEFAULT_SCHEME "CRYPT"
struct passwd_source;
struct passwd_entry {
    const char *password;         /* "" when not said */
    const char *uid, *gid, *home; /* "" when not said */
    struct authd_fields extra;    /* as written */
};

/* args: "[scheme=X] [username_format=%u] /path" or "... type:name type:name"; before the jail. NULL with words in err.
 * Tells the jail what must stay readable. Lives as long as the process. */
struct passwd_source *passwd_source_open(const char *parameter, const char *args, struct arena *, struct err *);
const char *passwd_source_scheme(const struct passwd_source *);
const char *passwd_source_key(const struct passwd_source *); /* the %variables that its answers depend on */
enum lookup passwd_source_find(struct passwd_source *, struct authd_request *, struct passwd_entry *out,
                               struct err *);
int passwd_source_each(struct passwd_source *, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *);
bool passwd_source_stale(struct passwd_source *);

/* Pure: what follows "user:". -1 when the line is no entry. */
int passwd_parse(struct slice rest, struct arena *, struct passwd_entry *out);
#endif
