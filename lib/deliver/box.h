/*
 * box - Maildirs that stay open from one delivery to the next
 *
 * Opening and closing its directories and its index costs more system calls than writing a message into a Maildir.
 *
 * Callers     lib/deliver only
 * Invariants  before each use the name is looked up: a Maildir that was renamed, deleted or put in another's place is
 *             not delivered into under its old name
 *             at most DELIVER_BOXES_KEPT without a user are open, none longer than DELIVER_BOX_IDLE_MS: a file system
 *             can be unmounted then
 *             no symbolic link below the mailbox is followed
 * Errors      NULL with errno
 * Privilege   the process keeps one uid for its life: what it opened it may open again
 */
#ifndef DELIVER_BOX_H
#define DELIVER_BOX_H
#include "base/list.h"
#include "store/index.h"
#include <sys/types.h>

enum { DELIVER_BOXES_KEPT = 256, DELIVER_BOX_IDLE_MS = 5000 };
struct deliver_box {
    struct list node; /* the one used last first */
    char *path, *new_path;
    int dir_fd, tmp_fd, new_fd;
    dev_t device; /* of new/ */
    ino_t inode;
    struct index index; /* what is known of it */
    unsigned users;
    bool kept;
    int64_t used_ms;
};

/* make: missing directories are made, parents too. */
struct deliver_box *deliver_box_get(const char *path, bool make);
void deliver_box_put(struct deliver_box **); /* NULL: nothing */
/* Its tmp/ is gone: made again. 0; -1 with errno. */
int deliver_box_mend(struct deliver_box *);
/* Something about it is not as it should be: nobody else gets it, the next look-up opens it anew. */
void deliver_box_drop(struct deliver_box *);
#endif
