/*
 * mailboxd_internal - what the files of lib/client/mailboxd share
 *
 * On a process's channel, frames with ids, both ends trusting each other's form and nothing else:
 *   deliver {path, head, no_index, limit, bytes} + content     answered by done {code, dsn, text, bytes}
 * code 0: delivered.
 */
#ifndef CLIENT_MAILBOXD_INTERNAL_H
#define CLIENT_MAILBOXD_INTERNAL_H
#include "client/mailboxd.h"

#define MAILBOXD_W_DELIVER "deliver"
#define MAILBOXD_W_DONE    "done"
enum { MAILBOXD_ORDERS = 16 }; /* that one process has at a time */

struct mailboxd_content {
    int fd;
    uint64_t bytes, counted; /* counted: what it takes of the limit */
    int error;               /* errno of the first failure */
    struct str buffer;
};
extern int64_t mailboxd_memory_limit;
#endif
