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
};
struct lmtpd_transaction {
    struct arena *arena;
    const char *sender; /* internal form; NULL: no MAIL yet */
    struct lmtpd_rcpt *rcpts;
    size_t count;
    unsigned number;                 /* of the connection's transactions: ":T2" in the ids */
    struct maildir_message *message; /* while its bytes come in */
    struct err error;                /* why there is none; code 0: there is one */
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
