/*
 * maildir - the one delivery path into a Maildir
 *
 * A message is written once into tmp/ of the first mailbox while it arrives; then, for each mailbox: a name with its
 * sizes, rename into new/ (others get a copy first: two users' mailboxes share no file, or one could change the
 * other's mail), one fsync of the file. Only then the answer may be "delivered".
 *
 * Callers     lmtpd, local/virtual
 * Invariants  fsync comes after rename: in the other order a power cut leaves the message in tmp/
 *             no symbolic link below the mailbox is followed; nothing is overwritten
 *             the index learns what the parser saw, when there is room; a failure there is none. Of the first mailbox's
 *             file it learns at maildir_free: who waits for the answer need not wait for that
 * Units       bytes as stored: lines end in LF
 * Errors      -1 with a struct err: code and dsn say whether to try again
 * Privilege   the mail user; write access to the mailbox
 */
#ifndef DELIVER_MAILDIR_H
#define DELIVER_MAILDIR_H
#include "base/err.h"
#include "base/str.h"

enum maildir_how {
    MAILDIR_MAKE = 1,     /* missing directories are made, parents too */
    MAILDIR_NO_INDEX = 2, /* its index lies elsewhere, or nowhere */
};

struct maildir_message;
/* Opens a file in tmp/ of that Maildir. how: enum maildir_how; limit: most bytes, 0 for none. */
int maildir_begin(const char *dir, unsigned how, int64_t limit, struct maildir_message **out, struct err *);
/* Keeps its first error for maildir_end. */
void maildir_write(struct maildir_message *, const void *p, size_t len);
bool maildir_too_big(const struct maildir_message *);
/* The message is complete: 0, or -1 with what went wrong while writing. Then deliver it to mailboxes, the first one
 * that of maildir_begin. */
int maildir_end(struct maildir_message *, struct err *);
int maildir_deliver(struct maildir_message *, const char *dir, unsigned how, struct err *);
uint64_t maildir_bytes(const struct maildir_message *);
/* Removes what is left in tmp/; what was delivered stays, and the index learns of it: in a fiber it may wait for that. */
void maildir_free(struct maildir_message **);
/* At the end of a process that delivers, when nothing is being delivered: removes what it kept to be faster. */
void maildir_finish(void);
#endif
