/*
 * bounce internal - what the files of the bounce daemon share
 *
 * logfile.c writes and reads the log of one message, report.c makes the text of a notice, notify.c decides who gets
 * one and sends it through cleanup.
 *
 * Callers     qmgr/bounce/ only
 */
#ifndef QMGR_BOUNCE_INTERNAL_H
#define QMGR_BOUNCE_INTERNAL_H
#include "base/err.h"
#include "base/str.h"
#include "client/bounce.h"
#include "conf/param.h"
#include "ipc/msg.h"

enum { LOGFILE_BYTES = 64 << 20, LOGFILE_LINE_BYTES = 8192 };

/* logfile.c */
void logfile_format(const struct bounce_rcpt *, struct str *out); /* pure */
/* Takes the next recipient's record off *rest; strings are copied into buf, which is reset. False at the end. */
bool logfile_next(struct slice *rest, struct str *buf, struct bounce_rcpt *out);
int logfile_append(const char *queue, const char *id, struct slice record, bool durable); /* -1 with errno */
int logfile_read(const char *queue, const char *id, struct str *out);                     /* -1 with errno */
int logfile_remove(const char *queue, const char *id);                                    /* absent is fine */

/* report.c: pure */
enum report_kind { REPORT_FAILURE, REPORT_DELAY, REPORT_SUCCESS, REPORT_STATUS };
struct report {
    enum report_kind kind;
    const struct bounce_mail *mail;
    bool postmaster;       /* the copy for the postmaster */
    const char *to;        /* who gets it, internal form */
    const char *notice_id; /* queue id of the notice */
    const char *host, *mail_name;
    int64_t now, retry_until; /* seconds since 1970 */
    int64_t delay_hours, lifetime_days;
    struct slice log; /* the records */
    bool headers_only;
};
bool report_wants(enum report_kind, const struct bounce_rcpt *); /* does NOTIFY ask for this kind of notice? */
size_t report_count(enum report_kind, struct slice log);         /* recipients it would name */
void report_boundary(const struct report *, struct str *out);
void report_head(const struct report *, struct str *out); /* header up to the original message, lines end in LF */
void report_tail(const struct report *, struct str *out);

/* notify.c */
extern const struct param notify_params[];
int notify_send(enum report_kind, const struct bounce_mail *, struct slice log, struct err *);
#endif
