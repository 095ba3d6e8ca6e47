/*
 * userdb - where the mailbox of an address is, and whose it is
 *
 * Answers come from virtual_mailbox_maps, virtual_uid_maps and virtual_gid_maps, opened before the jail, or, when
 * userdb_service names a socket ("private/auth-userdb", or a real Dovecot's), from there.
 *
 * Callers     lmtpd, local/virtual
 * Invariants  a path never leads out of virtual_mailbox_base; tables may not build it from the address ($1)
 *             uid and gid are at least virtual_minimum_uid and 1; but for "virtual", within first_valid_uid ..
 *             last_valid_gid too
 * Ownership   texts live in the arena given
 * Errors      three answers; wrong configuration is LOOKUP_RETRY with a warning in the log
 */
#ifndef CLIENT_USERDB_H
#define CLIENT_USERDB_H
#include "base/err.h"
#include "base/mem.h"
#include "conf/param.h"
#include <sys/types.h>

extern const struct param userdb_params[]; /* list it in the daemon's params */
struct userdb_mailbox {
    const char *path;       /* absolute; a Maildir's ends in "/" */
    bool maildir, no_index; /* no_index: mail_location puts its index elsewhere */
    uid_t uid;
    gid_t gid;
    const char *user; /* the address without its extension where that was found */
    const char *home; /* absolute; NULL: not known */
};
void userdb_open(void); /* before the jail: needs the right to read the tables */
/* The directory that holds all mailboxes as far as the configuration tells: virtual_mailbox_base, else what stands
 * before the first variable of mail_location. "" when there is none. After userdb_open. */
const char *userdb_base(void);
/* address: internal form, "user+ext@domain". protocol: "lmtp", "virtual". */
enum lookup userdb_find(const char *address, const char *protocol, struct arena *, struct userdb_mailbox *out,
                        struct err *);
#endif
