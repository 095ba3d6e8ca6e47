/*
 * mailboxd - delivers into a mailbox that belongs to another account than the caller's
 *
 * lmtpd and virtual run as one account. For a mailbox of another one (or outside of what their jail lets them reach)
 * they hand the message, as a descriptor, to a process of that account: master's spawner starts it (program
 * "mailboxd"), it delivers what it is handed, and ends when it has been idle for mailboxd_idle_time.
 *
 * Callers     lmtpd, local/virtual (mailboxd_deliver); local/mailboxd (mailboxd_serve)
 * Invariants  0 of mailboxd_deliver: the copy is in the mailbox's new/ and on disk
 *             a caller has at most mailboxd_process_limit such processes. Deliveries that wait for one are served in
 *             the order they came; a process that is busy without a pause gives way to them
 *             what is handed over is sealed: no user's process can change what the next one delivers
 * Units       bytes as stored: lines end in LF
 * Errors      -1 with a struct err as maildir_deliver's; a process that dies answers 451 for all that it had
 * Privilege   uid, gid and directory come from the caller's tables or authd; master and the spawner check the range
 */
#ifndef CLIENT_MAILBOXD_H
#define CLIENT_MAILBOXD_H
#include "base/str.h"
#include "client/userdb.h"

#define MAILBOXD_PROGRAM "mailboxd"
enum { MAILBOXD_HEAD_BYTES = 1 << 16, MAILBOXD_PATH_BYTES = 4096 };

extern const struct param mailboxd_params[]; /* list it in the daemon's params */

/* True when this process cannot deliver there itself. */
bool mailboxd_needed(const struct userdb_mailbox *);

/* A message in memory, for one or more mailboxes. All messages that a process holds this way have together at most
 * mailboxd_memory_limit bytes; one that is alone may be longer. */
struct mailboxd_content;
struct mailboxd_content *mailboxd_content_new(void);
void mailboxd_content_write(struct mailboxd_content *, const void *p, size_t len); /* keeps its first error */
/* Complete: 0, or -1 with what went wrong. Then it may be delivered. */
int mailboxd_content_end(struct mailboxd_content *, struct err *);
void mailboxd_content_free(struct mailboxd_content **);

/* head: written before the content. limit: most bytes of the file, 0 for none. *bytes: what the file has. */
int mailboxd_deliver(const struct userdb_mailbox *, struct slice head, int64_t limit, const struct mailboxd_content *,
                     uint64_t *bytes, struct err *);

/* The other end. path is the Maildir below the process's directory. */
struct mailboxd_order {
    const char *path;
    struct slice head;
    bool no_index;
    int64_t limit;
    int content_fd; /* mailboxd_serve closes it */
    uint64_t content_bytes;
};
typedef int (*mailboxd_fn)(const struct mailboxd_order *, uint64_t *bytes, struct err *);
/* Serves the channel to its end, several orders at a time, each in a fiber. */
void mailboxd_serve(int control_fd, mailboxd_fn);
#endif
