/*
 * bounce - what the bounce, defer and trace services are asked
 *
 * Requests on private/bounce, private/defer, private/trace (protocol "bounce", one program):
 *   append {queue_id, recipient, original, orcpt, offset, notify, dsn, action, reason, [diag_type, diag_text],
 *           [mta_type, mta_name]}                         one more recipient in the log file of that message
 *   flush  {queue_id, sender, verp, envid, ret, encoding, smtputf8, arrival, fd}
 *           tell the sender about every recipient in the log, then remove the log
 *   warn   the same values as flush, to "defer": delayed mail; the log stays
 *   forget {queue_id}                                      remove the log, tell nobody
 *   one    the values of flush, then those of append: a failure without a log file
 * Answers: ok, or retry {reason}.
 *
 * Callers     lib/client/deliver.c (append), qmgr (flush, warn, forget), cleanup (one)
 * Invariants  "ok" to append on bounce and trace: the record is durable. On defer it is only written: the recipient
 *             stays in the queue file, and the log is a comment on it
 *             "ok" to flush: the notice is in the queue, durable, or nobody wanted one. Asked again after a crash, a
 *             second notice may be sent; none is lost
 * Errors      -1: the service could not do it, or not be asked: the caller keeps the recipient and tries later
 */
#ifndef CLIENT_BOUNCE_H
#define CLIENT_BOUNCE_H
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

#define BOUNCE_PROTOCOL "bounce"
enum { BOUNCE_VERSION = 2 };
enum bounce_log { BOUNCE_LOG_BOUNCE, BOUNCE_LOG_DEFER, BOUNCE_LOG_TRACE };

/* NOTIFY bits as they stand in queue files (0: the client said nothing). */
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
/* RET as in queue files. */
enum { RET_NONE = 0, RET_FULL = 1, RET_HDRS = 2 };

struct bounce_rcpt {       /* strings are borrowed; NULL counts as "" */
    const char *recipient; /* final recipient */
    const char *original;  /* before virtual aliasing, or "" */
    const char *orcpt;     /* DSN ORCPT, "rfc822;a@b", or "" */
    int64_t offset;        /* of its record in the queue file */
    int notify;            /* NOTIFY bits */
    const char *dsn;       /* "5.1.1" */
    const char *action;    /* failed delayed delivered relayed expanded deliverable undeliverable */
    const char *reason;    /* one line for people */
    const char *diag_type; /* "smtp", "X-Postfix" or "" */
    const char *diag_text; /* "550 5.1.1 no such user" or "" */
    const char *mta_type;  /* "dns", "X-Unix" or "" */
    const char *mta_name;  /* host that said so, or "" */
};
struct bounce_mail { /* the message the notice is about */
    const char *queue_id;
    const char *sender;   /* "" is the null sender */
    const char *verp;     /* two VERP delimiters, or "": each recipient's failure goes to an address of its own */
    const char *envid;    /* DSN ENVID, decoded, or "" */
    int ret;              /* RET_FULL, RET_HDRS or 0 */
    const char *encoding; /* "7bit", "8bit" or "" */
    bool smtputf8;
    int64_t arrival; /* seconds since 1970 */
    int fd;          /* its queue file, for the returned content; the caller keeps it */
};
int bounce_append(enum bounce_log, const char *queue_id, const struct bounce_rcpt *);
int bounce_flush(enum bounce_log, const struct bounce_mail *, struct err *);
int bounce_warn(const struct bounce_mail *, struct err *);
int bounce_forget(enum bounce_log, const char *queue_id);
int bounce_one(const struct bounce_mail *, const struct bounce_rcpt *, struct err *);
#endif
