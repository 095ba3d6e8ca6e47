/*
 * lmtpd - what the files of the LMTP server share
 *
 * Callers     lmtp/ only
 * Invariants  a transaction lives from MAIL to its last reply; its texts live in its arena
 */
#ifndef LMTP_LMTPD_H
#define LMTP_LMTPD_H
#include "base/err.h"
#include "base/mem.h"
#include "client/mailboxd.h"
#include "client/userdb.h"
#include "deliver/maildir.h"
#include "io/stream.h"
#include "service/service.h"

extern const struct param lmtpd_params[];
extern int64_t lmtpd_recipient_limit, lmtpd_timeout, lmtpd_sessions_per_process;

enum { LMTPD_ID_BYTES = 48 };
struct lmtpd_rcpt {
    const char *address; /* as the client gave it, internal form */
    struct userdb_mailbox box;
    bool foreign;      /* another account's: delivered by mailboxd */
    bool done;         /* foreign: what follows is known */
    struct err result; /* code 0: delivered, with so many bytes */
    uint64_t bytes;
};
struct lmtpd_transaction {
    struct arena *arena;
    const char *sender; /* internal form; NULL: no MAIL yet */
    struct lmtpd_rcpt *rcpts;
    size_t count;
    unsigned number;                  /* of the connection's transactions: ":T2" in the ids */
    bool begun;                       /* the content has */
    uint64_t bytes;                   /* of the content, so far */
    struct err refused;               /* the message, for everybody; code 0: it is not */
    struct maildir_message *message;  /* for this account's mailboxes */
    struct err error;                 /* why there is none; code 0: there is one, or no such recipient */
    struct mailboxd_content *content; /* for those of other accounts; NULL: there is no such recipient */
    struct err content_error;
    size_t next;             /* of the other accounts' recipients: those before are being delivered to */
    size_t helpers;          /* fibers that deliver to them */
    struct event_cond moved; /* one of either is done */
};
struct lmtpd_session {
    struct stream *stream;
    char id[LMTPD_ID_BYTES];
    char client[64]; /* numeric address; "" through a unix socket */
    char helo[256];
    struct lmtpd_transaction now;
};

void lmtpd_session(struct stream *, const struct service_peer *);

/* transaction.c */
void lmtpd_reset(struct lmtpd_session *); /* back to before MAIL */
/* Looks the recipient up; 0, or -1 with the reply. */
int lmtpd_add_recipient(struct lmtpd_session *, const char *address, struct err *);
void lmtpd_begin(struct lmtpd_session *); /* the content begins: trace fields into the first mailbox's tmp/ */
void lmtpd_content(struct lmtpd_session *, const void *p, size_t len);
void lmtpd_deliver(struct lmtpd_session *); /* one reply for each recipient */
void lmtpd_reply(struct lmtpd_session *, const struct err *);
#endif
