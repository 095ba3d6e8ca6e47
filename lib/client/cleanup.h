/*
 * cleanup - hand one message to the cleanup daemon
 *
 * The caller writes queue records in this order: T, [c], [F], A..., S, {[o] [n] [O] R}..., M, {N | L}..., X, {A,
 * R...}, E. cleanup answers after the queue file is durable and the queue manager was told.
 *
 * Callers     smtpd, pickup, bounce, local (forwarding), verify; the daemon itself uses the names
 * Invariants  one open message a struct cleanup; the connection is kept for the next message of this process
 *             nothing is queued unless cleanup_end answered 0; after a failure nothing is left behind
 * Errors      struct err with code, dsn and text fit for an SMTP reply ("451" "4.3.0" "Error: queue file write
 *             error")
 */
#ifndef CLIENT_CLEANUP_H
#define CLIENT_CLEANUP_H
#include "base/err.h"
#include "base/str.h"
#include "queue/record.h"

#define CLEANUP_PROTOCOL "cleanup"
enum { CLEANUP_VERSION = 2, CLEANUP_DATA_BYTES = 64 << 10, CLEANUP_REASON_BYTES = 500 };
#define CLEANUP_OPEN   "open" /* flags -> opened queue_id */
#define CLEANUP_OPENED "opened"
#define CLEANUP_DATA   "data" /* records: whole records; no answer */
#define CLEANUP_END    "end"  /* records: the last ones -> done code dsn reason */
#define CLEANUP_DONE   "done"

enum cleanup_flag {
    CLEANUP_FILTER = 1,      /* header_checks, body_checks */
    CLEANUP_HOLD = 2,        /* into hold/ */
    CLEANUP_DISCARD = 4,     /* swallow it */
    CLEANUP_BCC_OK = 8,      /* always_bcc and the bcc maps apply */
    CLEANUP_MAP_OK = 16,     /* canonical, masquerade and virtual alias apply */
    CLEANUP_MILTER = 32,     /* non_smtpd_milters apply */
    CLEANUP_SMTP_REPLY = 64, /* the caller has an SMTP client waiting */
    CLEANUP_SMTPUTF8 = 128,  /* the sender asked for SMTPUTF8 */
    CLEANUP_AUTOUTF8 = 256,  /* find out whether it is needed */
    /* What the callers start from, before receive_override_options. */
    CLEANUP_EXTERNAL = CLEANUP_FILTER | CLEANUP_BCC_OK | CLEANUP_MAP_OK | CLEANUP_MILTER, /* smtpd, pickup */
    CLEANUP_INTERNAL = CLEANUP_MAP_OK,                                                    /* bounce, verify */
};
/* receive_override_options: "no_unknown_recipient_checks, no_address_mappings, no_header_body_checks, no_milters"
 * taken off the flags; -1 for an unknown word. */
int cleanup_override(const char *options, unsigned *flags);

struct cleanup;
/* The queue id is known from here on. NULL with *err when the service cannot be reached or has no room: 451 4.3.0. */
struct cleanup *cleanup_open(unsigned flags, int64_t deadline, struct err *err);
const char *cleanup_id(const struct cleanup *);
/* Buffered, sent in large frames; an error is kept and shows at cleanup_end. */
void cleanup_record(struct cleanup *, int type, struct slice data);
void cleanup_printf(struct cleanup *, int type, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void cleanup_attr(struct cleanup *, const char *name, const char *value);
bool cleanup_failed(const struct cleanup *); /* so that a sender of much data can stop sending */
/* Sends E if it was not, waits for the answer, frees. 0: the message is safe on disk. */
int cleanup_end(struct cleanup **, int64_t deadline, struct err *err);
void cleanup_cancel(struct cleanup **); /* gives the message up; the daemon removes its file */
#endif
