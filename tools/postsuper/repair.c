/*
 * postsuper repair - a queue that was copied, restored or left by a crash becomes usable
 *
 * Callers     postsuper.c
 * Invariants  no rename replaces a file; a message keeps its logs under its new name
 *             a second pass begins from the start, because renaming while reading a directory can show a name twice
 */
#include "postsuper.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "queue/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNFINISHED_SECONDS = 7 * 24 * 3600, PASSES_MAX = 3 };

static enum postsuper_repair how;
static size_t renamed; /* messages that have another id now */

static const char *const message_queues[] = { QUEUE_MAILDROP, QUEUE_INCOMING, QUEUE_ACTIVE, QUEUE_DEFERRED,
                                              QUEUE_HOLD };
static const char *const log_queues[] = { QUEUE_BOUNCE, QUEUE_DEFER, QUEUE_TRACE };
enum {
    MESSAGE_QUEUES = sizeof message_queues / sizeof *message_queues,
    LOG_QUEUES = sizeof log_queues / sizeof *log_queues
};

static int purge_directory(const char *queue)
{
    DIR *dir = opendir(queue);
    struct dirent *e;
    struct stat st;
    int rc = 0;

    if (dir == NULL) {
        log_warn("open directory %s: %s", queue, strerror(errno));
        return -1;
    }
    while ((e = readdir(dir)) != NULL) {
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
            queue_is_ready(&st) || st.st_mtime > time_now() - UNFINISHED_SECONDS)
            continue;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0) {
            log_debug("%s/%s: removed, was never finished", queue, e->d_name);
        } else if (errno != ENOENT) {
            log_warn("remove %s/%s: %s", queue, e->d_name, strerror(errno));
            rc = -1;
        }
    }
    closedir(dir);
    return rc;
}

int postsuper_purge(void)
{
    return purge_directory(QUEUE_MAILDROP) < 0 || purge_directory(QUEUE_INCOMING) < 0 ? -1 : 0;
}

static int rename_new(const char *from, const char *to_queue, const char *to_id)
{
    char to[QUEUE_PATH_BYTES];

    queue_path(to, to_queue, to_id);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != ENOENT || access(from, F_OK) < 0 || queue_mkdirs(to_queue, to_id) < 0)
        return -1;
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

/* A short name is used again once its inode is: it must hold the inode number of its own file. */
static bool right(const char *id, const struct stat *st)
{
    ino_t inode;

    if (queue_id_is_long(id) && !conf_enable_long_queue_ids)
        return false;
    return (queue_id_is_long(id) && how == POSTSUPER_REPAIR) ||
           (queue_id_inode(id, &inode) == 0 && inode == st->st_ino);
}

/* The id that this file should have: the old one's time with the file's inode number. */
static void right_id(char out[QUEUE_ID_BYTES], const char *id, const struct stat *st)
{
    int64_t usec;

    if (queue_id_usec(id, &usec) < 0)
        usec = (int64_t) st->st_mtime * 1000000; /* a name of somebody's own */
    queue_id_make(out, queue_id_is_long(id) && conf_enable_long_queue_ids, usec, st->st_ino);
}

/* 1: something was renamed, 0: all is well, -1 after a warning. */
static int repair_file(const char *queue, const char *path, const char *id, bool is_message)
{
    char want[QUEUE_PATH_BYTES], new_id[QUEUE_ID_BYTES], old[QUEUE_PATH_BYTES];
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    snprintf(new_id, sizeof new_id, "%s", id);
    if (is_message && !right(id, &st))
        right_id(new_id, id, &st);
    queue_path(want, queue, new_id);
    if (strcmp(path, want) == 0)
        return 0;
    if (rename_new(path, queue, new_id) < 0) {
        log_warn("rename %s to %s: %s", path, want, strerror(errno));
        return -1;
    }
    log_debug("renamed %s to %s", path, want);
    if (strcmp(id, new_id) == 0)
        return 1;
    renamed++;
    for (size_t i = 0; i < LOG_QUEUES; i++) {
        queue_path(old, log_queues[i], id);
        if (rename_new(old, log_queues[i], new_id) < 0 && errno != ENOENT)
            log_warn("rename %s for %s: %s", old, new_id, strerror(errno));
    }
    return 1;
}

static int repair_queue(const char *queue, bool is_message)
{
    struct queue_scan *scan = queue_scan_open(queue);
    const char *id, *path;
    int changed = 0;

    if (scan == NULL) {
        if (errno == ENOENT)
            return 0;
        log_warn("open directory %s: %s", queue, strerror(errno));
        return -1;
    }
    if (is_message)
        queue_scan_warn(scan);
    while ((id = queue_scan_next(scan, &path)) != NULL) {
        char *own_id = mem_strdup(id), *own_path = mem_strdup(path);
        int rc = repair_file(queue, own_path, own_id, is_message);
        free(own_id);
        free(own_path);
        if (rc < 0)
            changed = -1;
        else if (rc > 0 && changed >= 0)
            changed = 1;
    }
    queue_scan_free(&scan);
    return changed;
}

int postsuper_repair(enum postsuper_repair wanted)
{
    int rc = 0;

    how = wanted;
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        bool again = false;
        for (size_t i = 0; i < LOG_QUEUES; i++) {
            int n = repair_queue(log_queues[i], false);
            rc = n < 0 ? -1 : rc;
            again = again || n > 0;
        }
        for (size_t i = 0; i < MESSAGE_QUEUES; i++) {
            int n = repair_queue(message_queues[i], true);
            rc = n < 0 ? -1 : rc;
            again = again || n > 0;
        }
        if (!again)
            break;
    }
    if (renamed > 0) {
        postsuper_total("Renamed to match inode number", renamed);
        log_warn("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS");
    }
    return rc;
}
