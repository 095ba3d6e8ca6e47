/*
 * record - the typed records that queue files are made of
 *
 * A record is a type byte, a length (7 bits a byte, least significant group first, the high bit says "more follows")
 * and the data, without a terminator.
 *
 * Callers     lib/queue/file.c, lib/client/cleanup.c, cleanup, pickup, postdrop, postcat, postsuper
 * Invariants  pure: bytes in, struct out; nothing here reads a descriptor
 * Units       bytes; a record longer than RECORD_BYTES is malformed
 * Errors      record_get answers 0 when the input ends inside the record, -1 when it is malformed
 */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H
#include "base/str.h"
#include <sys/types.h>

enum { RECORD_BYTES = 1 << 20, RECORD_HEAD_BYTES = 6 };

enum record_type {
    REC_SIZE = 'C',    /* first record: see struct queue_size */
    REC_TIME = 'T',    /* arrival "seconds microseconds" */
    REC_CTIME = 'c',   /* sender's form of A create_time */
    REC_FULL = 'F',    /* full name of the sender, for From: */
    REC_INSPECT = 'I', /* inspector, of old versions */
    REC_FILT = 'L',    /* envelope and extracted: content filter "transport:nexthop"; in the content see REC_CONT */
    REC_FROM = 'S',    /* sender, internal form, "" for the null sender */
    REC_DONE = 'D',    /* recipient that is finished */
    REC_RCPT = 'R',    /* recipient */
    REC_ORCP = 'O',    /* original recipient, in front of its R */
    REC_DRCP = '/',    /* recipient taken back by a milter */
    REC_WARN = 'W',    /* time of the delay warning, "%15ld" */
    REC_ATTR = 'A',    /* "name=value" */
    REC_KILL = 'K',    /* killed message */
    REC_RDR = '>',     /* redirect all recipients there */
    REC_FLGS = 'f',    /* to cleanup only: flags to add, decimal; never in a file */
    REC_DELAY = 'd',   /* to cleanup only: defer by so many seconds; never in a file */
    REC_MILT_COUNT = 'm', /* to cleanup only; never in a file */
    REC_MESG = 'M',       /* empty: the content starts behind it */
    REC_CONT = 'L',       /* content: text that the next record continues */
    REC_NORM = 'N',       /* content: text that ends a line (the line end itself is not stored) */
    REC_DTXT = 'w',       /* padding */
    REC_XTRA = 'X',       /* empty: the extracted segment starts */
    REC_RRTO = 'r',       /* return-receipt-to */
    REC_ERTO = 'e',       /* errors-to */
    REC_PRIO = 'P',
    REC_PTR = 'p',        /* "%15ld" offset where reading goes on; 0: no jump */
    REC_VERP = 'V',       /* VERP delimiters */
    REC_DSN_RET = '<',    /* "1" full, "2" headers; sender's form of A ret_flags */
    REC_DSN_ENVID = 'i',  /* sender's form of A envelope_id */
    REC_DSN_ORCPT = 'o',  /* sender's form of A dsn_orig_rcpt */
    REC_DSN_NOTIFY = 'n', /* sender's form of A notify_flags */
    REC_END = 'E',        /* empty */
};

/* notify_flags of a recipient (RFC 3461), ret_flags of a message */
enum { DSN_NEVER = 1, DSN_SUCCESS = 2, DSN_FAILURE = 4, DSN_DELAY = 8, DSN_RET_FULL = 1, DSN_RET_HDRS = 2 };

struct record {
    int type;
    struct slice data; /* borrowed from the input */
};

void record_put(struct str *out, int type, struct slice data);
void record_puts(struct str *out, int type, const char *data);
void record_printf(struct str *out, int type, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void record_attr(struct str *out, const char *name, const char *value); /* A name=value */
/* Takes one record off the front of *in: 1; 0 when more bytes are needed (*in unchanged); -1 malformed. */
int record_get(struct slice *in, struct record *out);
/* A record's head at p (at least one byte): its length in bytes, the data length in *data_bytes. 0 and -1 as above.
 */
int record_head(const char *p, size_t have, size_t *data_bytes);
const char *record_name(int type); /* "sender", "named_attribute": postcat's words; NULL for an unknown type */
/* "name=value" into its halves; -1 without '=' or with an empty name. */
/* No NUL, CR or LF: fit for an envelope, whose values end up in lines of SMTP and of log files. */
bool record_is_line(struct slice data);
int record_split_attr(struct slice data, struct slice *name, struct slice *value);
#endif
