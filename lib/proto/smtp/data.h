/*
 * smtp data - message content on the wire: dot-stuffing, line ends, the end of DATA
 *
 * Callers     smtpd and lmtpd (in), smtp client (out)
 * Invariants  pure; only CR LF "." CR LF ends DATA, whatever the peer's other lines end in: a bare LF ends a line of
 *             content, never the data (RFC 5321 4.1.1.4; "SMTP smuggling")
 *             a bare CR stays a byte of its line
 * Units       bytes; a piece is at most part_bytes long
 */
#ifndef PROTO_SMTP_DATA_H
#define PROTO_SMTP_DATA_H
#include "base/str.h"

enum smtp_data_piece {
    SMTP_DATA_LINE, /* the end of a line (or a whole one), without its line end */
    SMTP_DATA_PART, /* the line goes on */
};
typedef void (*smtp_data_fn)(void *ctx, enum smtp_data_piece, struct slice);

struct smtp_data {
    struct str carry; /* the start of a line whose end has not come yet */
    size_t part_bytes;
    bool chunked;    /* BDAT: no dots, no end */
    bool middle;     /* parts of this line went out already */
    bool after_crlf; /* the line before ended in CR LF */
    bool done;       /* the end of DATA was read */
    uint64_t bare_lf, bare_cr;
};
void smtp_data_init(struct smtp_data *, size_t part_bytes, bool chunked);
void smtp_data_free(struct smtp_data *);
/* Takes bytes as they came. Answers how many it took: all, or up to and with the end of DATA (then done is set). */
size_t smtp_data_feed(struct smtp_data *, struct slice, smtp_data_fn, void *ctx);
void smtp_data_finish(struct smtp_data *, smtp_data_fn, void *ctx); /* BDAT LAST: an open last line goes out */

/* One piece of a line in wire form: dot-stuffed when it starts a line, CR LF behind when it ends one. */
void smtp_data_stuff(struct str *out, struct slice piece, bool starts_line, bool ends_line);
#endif
