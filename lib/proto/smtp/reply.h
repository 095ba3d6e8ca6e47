/*
 * smtp reply - what a server answers, read by the client; and what EHLO announces
 *
 * Callers     smtp (SMTP and LMTP client), bounce's tests
 * Invariants  pure; text is bounded by SMTP_REPLY_BYTES: what exceeds it is dropped, the reply still ends
 * Source      RFC 5321 4.2, RFC 2034 (enhanced status codes), RFC 5321 4.1.1.1
 */
#ifndef PROTO_SMTP_REPLY_H
#define PROTO_SMTP_REPLY_H
#include "base/str.h"

enum { SMTP_REPLY_BYTES = 16384, SMTP_REPLY_LINES = 1000, SMTP_DSN_BYTES = 16 };

struct smtp_reply {
    int code;                 /* 100..599; 0 before the first line */
    char dsn[SMTP_DSN_BYTES]; /* of the last line that has one; "" else */
    struct str text;          /* the lines as they came, joined by LF */
    size_t lines;
};
void smtp_reply_init(struct smtp_reply *);
void smtp_reply_free(struct smtp_reply *);
void smtp_reply_reset(struct smtp_reply *); /* before each reply */
enum smtp_reply_step { SMTP_REPLY_MORE, SMTP_REPLY_DONE, SMTP_REPLY_BAD };
/* One line without its line end. BAD: no three digits, another code than before, too many lines. */
enum smtp_reply_step smtp_reply_line(struct smtp_reply *, struct slice);
struct slice smtp_reply_words(struct slice line); /* a line of the text without code and status */
/* "2.1.0" at the start: its length, 0 when there is none. The class must be that of the code, when code is not 0. */
size_t smtp_dsn_len(struct slice text, int code);

enum smtp_feature {
    SMTP_EHLO_PIPELINING = 1,
    SMTP_EHLO_SIZE = 2,
    SMTP_EHLO_STARTTLS = 4,
    SMTP_EHLO_AUTH = 8,
    SMTP_EHLO_ENHANCEDSTATUSCODES = 16,
    SMTP_EHLO_8BITMIME = 32,
    SMTP_EHLO_DSN = 64,
    SMTP_EHLO_SMTPUTF8 = 128,
    SMTP_EHLO_CHUNKING = 256,
    SMTP_EHLO_VRFY = 512,
    SMTP_EHLO_ETRN = 1024,
    SMTP_EHLO_XCLIENT = 2048,
    SMTP_EHLO_XFORWARD = 4096,
    SMTP_EHLO_REQUIRETLS = 8192,
};
struct smtp_ehlo {
    unsigned features; /* enum smtp_feature */
    uint64_t size;     /* octets; 0: no fixed limit */
    struct slice auth; /* mechanisms, blank separated; borrows the text */
    struct slice host; /* first word of the first line */
};
/* Reads the text of a 250 reply to EHLO or LHLO; ignored: keywords (blank or comma separated) to pass over. */
void smtp_ehlo_parse(const struct smtp_reply *, const char *ignored, struct smtp_ehlo *out);
/* The bit of a keyword, 0 for one unknown: smtpd_discard_ehlo_keywords uses it too. */
unsigned smtp_ehlo_feature(struct slice keyword);
#endif
