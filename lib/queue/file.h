/*
 * file - write and read queue files
 *
 * Callers     cleanup and postdrop write; qmgr, delivery agents, bounce, showq and the tools read
 * Invariants  a file is complete when its owner may execute it (mode 0700); queue_writer_finish puts the size record
 *             in place, sets the mode, then calls fsync once: in the other order a power cut loses the mode
 *             a recipient is finished by overwriting the type byte of its R record with D
 *             readers follow p pointers (at most QUEUE_JUMPS_BACK backwards) and skip w padding
 * Units       bytes, offsets in the file
 * Errors      -1 with errno or struct err; the writer keeps its first error until finish. EBADMSG: a malformed file
 * Blocking    the writer buffers; queue_writer_finish waits for the disk as event_sync does
 */
#ifndef QUEUE_FILE_H
#define QUEUE_FILE_H
#include "base/err.h"
#include "base/mem.h"
#include "queue/dir.h"
#include "queue/record.h"

enum { QUEUE_JUMPS_BACK = 10000, QUEUE_BUFFER_BYTES = 64 << 10, QUEUE_SIZE_RECORD_BYTES = 97 };

/* The C record: six "%15ld". */
struct queue_size {
    int64_t data_bytes;  /* records between M and X; logged as size= */
    int64_t data_offset; /* of the first content record */
    int64_t recipients;
    int64_t qmgr_flags;    /* QUEUE_MIXED, and DSN_* << 1 of all recipients */
    int64_t content_bytes; /* the content as the sender would count it */
    int64_t sendopts;      /* QUEUE_SMTPUTF8_... */
};
enum {
    QUEUE_MIXED = 1,
    QUEUE_SMTPUTF8_ASKED = 1,
    QUEUE_SMTPUTF8_HEADER = 2,
    QUEUE_SMTPUTF8_SENDER = 4,
    QUEUE_TLS_NOT_REQUIRED = 16,
    QUEUE_REQUIRETLS = 32
};
void queue_size_text(const struct queue_size *, char out[QUEUE_SIZE_RECORD_BYTES]); /* ends in NUL: 95 characters */
int queue_size_parse(struct slice data, struct queue_size *out); /* also the 1, 3, 4, 5 fields of older versions */

/* ---- writing ---- */
struct queue_writer;
/* Creates QUEUE/usec.pid and renames it to its id at once. extra_mode: 0, or 0044 for maildrop. The file is locked
 * exclusively. NULL with errno. */
struct queue_writer *queue_writer_new(const char *queue, bool long_id, mode_t extra_mode);
const char *queue_writer_id(const struct queue_writer *);
const char *queue_writer_queue(const struct queue_writer *);
int64_t queue_writer_created_usec(const struct queue_writer *);
off_t queue_writer_offset(const struct queue_writer *); /* where the next record goes */
void queue_writer_record(struct queue_writer *, int type, struct slice data);
void queue_writer_raw(struct queue_writer *, struct slice records); /* whole, checked records */
int queue_writer_error(const struct queue_writer *);                /* errno of the first failure, 0 */
/* Renames into another queue (incoming -> hold) before finish. */
int queue_writer_move(struct queue_writer *, const char *queue);
/* Writes the rest, replaces the first record with *size (NULL: the file has none), sets the mode, fsyncs, closes,
 * frees. On failure the file is removed: nothing is left. */
int queue_writer_finish(struct queue_writer **, const struct queue_size *size);
void queue_writer_cancel(struct queue_writer **); /* removes the file */

/* May a user give his message this attribute? What sendmail writes, with values that delivery agents take; postdrop
 * and pickup let nothing else pass. */
enum { QUEUE_USER_WORD_BYTES = 1500 };
bool queue_user_attribute(struct slice name, struct slice value);

/* ---- reading ---- */
struct queue_reader;
struct queue_reader *queue_reader_new(int fd); /* borrows fd; reads by pread, the descriptor's offset stays */
void queue_reader_free(struct queue_reader **);
void queue_reader_seek(struct queue_reader *, off_t);
off_t queue_reader_tell(const struct queue_reader *);   /* where the next record will be read */
void queue_reader_raw(struct queue_reader *, bool raw); /* raw: p and w are handed out and not followed */
/* 1: a record, its offset in *offset (may be NULL), data borrowed until the next call; 0: end of file; -1: errno,
 * EBADMSG when malformed. */
int queue_reader_next(struct queue_reader *, struct record *out, off_t *offset);

struct queue_recipient {
    off_t offset;          /* of its R record: for queue_mark_done */
    const char *address;   /* internal form */
    const char *original;  /* as given at RCPT, "" when unknown */
    const char *dsn_orcpt; /* "rfc822;user@dom", "" when none */
    int notify;            /* DSN_* or 0 */
};
struct queue_envelope {
    struct arena *arena; /* owns all strings */
    struct queue_size size;
    bool sized; /* false: there was no C record, as in maildrop; data_offset and data_bytes are found all the same */
    int64_t arrival_usec; /* T record */
    int64_t create_time;  /* seconds; renewed by postsuper -r; the arrival where there is none */
    const char *sender;
    const char *full_name, *errors_to, *return_receipt, *filter, *redirect; /* "" when absent */
    const char *verp;                                                       /* two delimiters, or "" */
    const char *encoding;                                                   /* "7bit", "8bit", "" */
    const char *envelope_id;                                                /* DSN envid, decoded */
    const char *rewrite_context, *log_ident;
    const char *message_id; /* newer files only */
    int ret_flags, trace_flags;
    time_t warn_time;  /* 0: no W record */
    off_t warn_offset; /* of the W record, 0 when there is none */
    /* as logged: log_client_* of the first hop; client_*: the peer of this smtpd */
    const char *log_client_name, *log_client_address, *log_client_port, *log_helo_name, *log_protocol_name,
        *log_message_origin;
    const char *client_name, *client_address, *client_port, *helo_name, *protocol_name, *reverse_client_name,
        *client_address_type, *server_address, *server_port;
    const char *sasl_method, *sasl_username, *sasl_sender;
    size_t done; /* recipients already finished, before and among those read */
    struct queue_recipient *recipients;
    size_t recipient_count;
    off_t more; /* 0: all recipients were read; else go on there with queue_envelope_more */
};
/* Reads the envelope and the extracted segment; collects at most recipients_max unfinished recipients. 0; -1 with
 * *err: errno EBADMSG for a corrupt file, else a passing fault. */
int queue_envelope_read(int fd, size_t recipients_max, struct queue_envelope *out, struct err *err);
/* Replaces recipients by the next ones; their memory is the arena's. */
int queue_envelope_more(int fd, size_t recipients_max, struct queue_envelope *, struct err *err);
void queue_envelope_free(struct queue_envelope *);

int queue_mark_done(int fd, off_t recipient_offset); /* R -> D in place; already D is fine; else -1 EBADMSG */
int queue_set_warn_time(int fd, off_t warn_offset, time_t when); /* overwrites the W record; 0: was sent */

/* The content as a stream of lines, for smtp, lmtp, virtual, bounce. */
struct queue_content;
struct queue_content *queue_content_open(int fd, const struct queue_size *);
/* 1: a piece of a line, *ends_line when a line end follows it; 0: the end; -1 errno. */
int queue_content_next(struct queue_content *, struct slice *piece, bool *ends_line);
void queue_content_free(struct queue_content **);
#endif
