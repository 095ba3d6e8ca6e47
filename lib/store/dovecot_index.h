/*
 * dovecot_index - dovecot.index and dovecot.index.log, for what Dovecot keeps nowhere else: keywords beyond the letters
 *
 * The log is what both write: each reads what the other appended, so that such a keyword survives a swap in either
 * direction, and two servers on one Maildir see each other's.
 *
 * Callers     store/extra.c
 * Invariants  nothing in the files is trusted: what cannot be ends the reading there
 *             appending: under Dovecot's lock (fcntl, the whole log), whole records in one write, marked as changes
 *             that are in the mailbox already; behind anything but a whole record nothing is appended
 *             a record that names a UID not below uid_limit is left for a later reading
 * Errors      -1 with errno: ENOENT none there, EBADMSG none that we know, EAGAIN the lock is held for too long
 * Source      Dovecot's formats: index 7.x, log 1.x, little-endian (the only one written in the last years)
 */
#ifndef STORE_DOVECOT_INDEX_H
#define STORE_DOVECOT_INDEX_H
#include "base/str.h"
#include <sys/types.h>

enum { DOVECOT_INDEX_BYTES = 256 << 20, DOVECOT_LOG_BYTES = 64 << 20, DOVECOT_LOCK_SECONDS = 60 };

struct dovecot_index { /* as far as read; zero: nothing yet */
    uint32_t index_id, file_seq;
    uint64_t offset; /* in the log of that number: behind the last record read */
    uint32_t uid_validity, next_uid;
    uint64_t inode; /* of that log */
};
enum dovecot_event {
    DOVECOT_START,  /* what was handed over before is void: all follows */
    DOVECOT_NAME,   /* a keyword that the index knows, before the messages that have it */
    DOVECOT_ADD,    /* the messages first..last have it */
    DOVECOT_REMOVE, /* have it no more */
    DOVECOT_RESET,  /* have no keyword any more */
};
typedef void (*dovecot_index_fn)(void *ctx, enum dovecot_event, struct slice keyword, uint32_t first, uint32_t last);

/* Hands over what is new; one stat when nothing is. */
int dovecot_index_read(struct dovecot_index *, int dir_fd, uint32_t uid_limit, dovecot_index_fn, void *ctx);

/* The log, locked until its descriptor is closed; made for that UIDVALIDITY where there is none. Then read to the end,
 * then append. */
int dovecot_index_lock(int dir_fd, uint32_t uid_validity);
int dovecot_index_append(struct dovecot_index *, int fd, struct slice records);
struct uid_range {
    uint32_t first, last;
};
void dovecot_index_put_messages(struct str *out, const uint32_t *uids, size_t n); /* rising, from next_uid on */
void dovecot_index_put_keyword(struct str *out, bool add, const char *keyword, const struct uid_range *, size_t n);

/* Pure: for tests and fuzzing. parse_index: the whole file. parse_log: records from their first byte on; answers the
 * bytes of those handed over. */
int dovecot_index_parse(struct dovecot_index *, struct slice file, dovecot_index_fn, void *ctx);
size_t dovecot_index_parse_log(struct dovecot_index *, struct slice records, uint32_t uid_limit, dovecot_index_fn,
                               void *ctx);
#endif
