/*
 * dir - queue ids, and where in the queue directory a file of that id is
 *
 * Callers     every daemon and tool that touches the queue
 * Invariants  the working directory is the queue directory (the jail's root, or a tool's chdir): paths are relative
 *             an id holds the inode number of its file, so no two files of one file system share one
 *             a path is built from a valid id only: an invalid one is a panic, so check what comes from outside
 * Units       microseconds of CLOCK_REALTIME
 * Errors      0, or -1 with errno
 * Blocking    everything that names a path may wait for the disk: offload it where sessions wait
 */
#ifndef QUEUE_DIR_H
#define QUEUE_DIR_H
#include "base/str.h"
#include "conf/param.h"
#include <stdio.h>
#include <sys/stat.h>

enum { QUEUE_ID_BYTES = 256, QUEUE_PATH_BYTES = 700 };

#define QUEUE_MAILDROP "maildrop"
#define QUEUE_INCOMING "incoming"
#define QUEUE_ACTIVE   "active"
#define QUEUE_DEFERRED "deferred"
#define QUEUE_HOLD     "hold"
#define QUEUE_CORRUPT  "corrupt"
#define QUEUE_SAVED    "saved"
#define QUEUE_DEFER    "defer" /* logs, not messages */
#define QUEUE_BOUNCE   "bounce"
#define QUEUE_TRACE    "trace"

/* hash_queue_names (hash_queue_depth is in conf_global_params): list this table in the daemon's params. */
extern const struct param queue_params[];

bool queue_id_valid(const char *id); /* 1..255 of alphanumeric and '_' */
void queue_id_make(char out[QUEUE_ID_BYTES], bool long_form, int64_t usec, ino_t inode);
bool queue_id_is_long(const char *id);
/* The inode number in the name; -1 when the name holds none. */
int queue_id_inode(const char *id, ino_t *out);
/* The time in the name: all of it in a long id, the part below a second in a short one. -1: there is none. */
int queue_id_usec(const char *id, int64_t *out);

/* "deferred/4/4AA05AA49A9": hashed where hash_queue_names says so. */
void queue_path(char out[QUEUE_PATH_BYTES], const char *queue, const char *id);
int queue_mkdirs(const char *queue, const char *id); /* the hash directories of that path, 0700 */

/* Opens ID in that queue: O_NOFOLLOW, a regular file. flags as open(2). */
int queue_open(const char *queue, const char *id, int flags);
int queue_open_stat(const char *queue, const char *id, int flags, struct stat *out);
int queue_move(const char *id, const char *from, const char *to); /* rename; makes hash directories as needed */
int queue_remove(const char *queue, const char *id);
/* Finds the message in the queues maildrop, hold, incoming, active, deferred, corrupt: name of the queue, or NULL
 * with errno ENOENT or what went wrong. */
const char *queue_find(const char *id, struct stat *out);

/* Modes are data: 0700 complete, 0400 corrupt, 0040 "retry now" mark, 0010 force-expired. */
enum {
    QUEUE_MODE_OPEN = 0600,
    QUEUE_MODE_READY = 0700,
    QUEUE_MODE_CORRUPT = 0400,
    QUEUE_MODE_EXPIRE = 0010,
    QUEUE_MODE_UNTHROTTLE = 0040
};
static inline bool queue_is_ready(const struct stat *st) { return S_ISREG(st->st_mode) && (st->st_mode & S_IXUSR); }

/* The mtime of a file in incoming or deferred is the time of its next attempt. */
int queue_set_attempt(int fd, time_t when);

/* flock, as Postfix uses on Linux. 0; -1 with EWOULDBLOCK when another holds it and wait is false. */
int queue_lock(int fd, bool exclusive, bool wait);
int queue_unlock(int fd);

/* Walks the ids of one queue through its hash directories, in directory order. Names that are no ids are skipped. */
struct queue_scan;
struct queue_scan *queue_scan_open(const char *queue); /* NULL with errno */
void queue_scan_warn(struct queue_scan *);             /* from now on a name that is no id is warned of */
/* The next id, NULL at the end; *path is where it was found (which can be a wrong hash directory). Both are borrowed
 * until the next call. */
const char *queue_scan_next(struct queue_scan *, const char **path);
void queue_scan_free(struct queue_scan **);
#endif
