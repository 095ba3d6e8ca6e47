/*
 * copy - one maildrop file becomes a message of cleanup
 *
 * Callers     pickup.c
 * Invariants  a file of a user is hostile input: only the records and attributes that postdrop lets through are
 *             passed on; a file that postsuper requeued belongs to mail_owner and begins with a size record
 */
#ifndef PICKUP_COPY_H
#define PICKUP_COPY_H
#include "queue/file.h"

enum copy_result {
    COPY_DONE,    /* queued: the file can go */
    COPY_LATER,   /* a passing fault, or the file is not complete yet */
    COPY_CORRUPT, /* not a maildrop file */
    COPY_REFUSED, /* *err says why, for good */
};
/* flags: of lib/client/cleanup.h; content_filter may be "". */
enum copy_result copy_message(int fd, const struct stat *, const char *id, unsigned flags, const char *content_filter,
                              struct err *err);
bool copy_is_requeued(int fd, const struct stat *); /* by postsuper -r */
#endif
