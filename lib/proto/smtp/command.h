/*
 * smtp command - command lines of SMTP and LMTP
 *
 * Callers     smtpd, lmtpd (servers); sendmail -bs through smtpd
 * Invariants  pure; slices of the results borrow the line
 * Errors      -1 and *err holds the reply to send, in Postfix's words; *out is then unspecified
 * Source      RFC 5321 4.1, RFC 1870, RFC 3030, RFC 3461, RFC 4865, RFC 4954, RFC 6152, RFC 6531
 */
#ifndef PROTO_SMTP_COMMAND_H
#define PROTO_SMTP_COMMAND_H
#include "base/err.h"
#include "base/str.h"

/* The verb (up to the first blank; "MAIL FROM:<a>" gives "MAIL") and the rest without surrounding blanks. */
void smtp_command_split(struct slice line, struct slice *verb, struct slice *rest);

/* "FROM:<a@b> SIZE=3" with keyword "FROM:": the address in internal form, and what follows it. Lenient forms of
 * Postfix ("FROM :<a>", "FROM: <a>", no angle brackets) unless strict. -1 without *err: the caller's words differ. */
enum smtp_path_problem { SMTP_PATH_OK, SMTP_PATH_NO_KEYWORD, SMTP_PATH_SYNTAX };
enum smtp_path_problem smtp_command_path(struct slice rest, const char *keyword, bool strict, bool empty_ok,
                                         struct str *internal, struct slice *params);

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };
enum smtp_ret { SMTP_RET_NONE = 0, SMTP_RET_FULL = 1, SMTP_RET_HDRS = 2 }; /* values of queue files */
enum smtp_notify { SMTP_NOTIFY_NEVER = 1, SMTP_NOTIFY_SUCCESS = 2, SMTP_NOTIFY_FAILURE = 4, SMTP_NOTIFY_DELAY = 8 };
enum { SMTP_ENVID_BYTES = 100, SMTP_ORCPT_BYTES = 500 }; /* RFC 3461 4.4, 4.2 */

enum smtp_mail_seen {
    SMTP_MAIL_SIZE = 1,
    SMTP_MAIL_BODY = 2,
    SMTP_MAIL_RET = 4,
    SMTP_MAIL_ENVID = 8,
    SMTP_MAIL_AUTH = 16,
    SMTP_MAIL_SMTPUTF8 = 32,
    SMTP_MAIL_HOLDFOR = 64,
};
struct smtp_mail_params {
    unsigned seen;    /* enum smtp_mail_seen */
    uint64_t size;    /* octets */
    uint64_t holdfor; /* seconds */
    enum smtp_body body;
    enum smtp_ret ret;
    struct slice envid; /* xtext, checked; queue files keep it decoded */
    struct slice auth;  /* xtext, checked; "<>" for nobody */
};
enum smtp_rcpt_seen { SMTP_RCPT_NOTIFY = 1, SMTP_RCPT_ORCPT = 2 };
struct smtp_rcpt_params {
    unsigned seen;
    unsigned notify;         /* enum smtp_notify */
    struct slice orcpt_type; /* "rfc822" */
    struct slice orcpt;      /* xtext as the client wrote it, checked */
};
/* One parameter a call of the table, "allowed" names what the server offers (others: 555 5.5.4 Unsupported option).
 */
int smtp_mail_params(struct slice params, unsigned allowed, struct smtp_mail_params *out, struct err *err);
int smtp_rcpt_params(struct slice params, unsigned allowed, struct smtp_rcpt_params *out, struct err *err);

/* "BDAT 86 LAST" without the verb. */
int smtp_command_bdat(struct slice rest, uint64_t *octets, bool *last);

/* xtext.c: RFC 3461 section 4; utf-8-addr-xtext of RFC 6533 section 3 reads \x{HEX} too. */
void smtp_xtext_encode(struct str *out, struct slice);
int smtp_xtext_decode(struct str *out, struct slice);
int smtp_uxtext_decode(struct str *out, struct slice);
void smtp_uxtext_encode(struct str *out, struct slice); /* UTF-8 to \x{HEX}, all ASCII */
#endif
