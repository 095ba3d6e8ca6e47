/*
 * box - see box.h
 *
 * Callers     lib/deliver/maildir.c
 * Invariants  see box.h
 * Errors      NULL with errno
 */
#include "deliver/box.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"
#include "store/journal.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct map *boxes; /* path -> box; those that are kept */
static struct list by_use = { &by_use, &by_use };
static struct event_timer *sweeper;

/* Where others may write, directories are made for others too: of two accounts with mailboxes in one domain, the first
 * must not shut the second one out. above: the parent. */
static int make_directory(const char *path, mode_t above, bool last)
{
    mode_t keep;
    int ret;

    if (last || (above & (S_IWGRP | S_IWOTH)) == 0)
        return mkdir(path, 0700);
    keep = umask(0);
    ret = mkdir(path, above & 07777);
    umask(keep);
    return ret;
}

/* "a/b/c": directories that are missing are made, from the first on. */
static int make_parents(const char *dir)
{
    struct stat above;
    char *path = mem_strdup(dir);
    size_t len = strlen(path);
    int ret = 0;

    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    if (stat(dir[0] == '/' ? "/" : ".", &above) < 0)
        above.st_mode = 0;
    for (char *p = path + 1; ret == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char c = *p;
        *p = '\0';
        if (make_directory(path, above.st_mode, c == '\0') < 0 && errno != EEXIST) {
            struct stat st;
            int keep = errno; /* a directory above our reach may stand there already */
            if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
                errno = keep;
                ret = -1;
            }
        }
        if (stat(path, &above) < 0)
            above.st_mode = 0;
        *p = c;
        if (c == '\0')
            break;
    }
    free(path);
    return ret;
}

static int sub_dir(int dir_fd, const char *sub, bool make)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(dir_fd, sub, flags);

    if (fd < 0 && errno == ENOENT && make && store_make_maildir(dir_fd, ".", false) == 0)
        fd = openat(dir_fd, sub, flags);
    return fd;
}

static int open_parts(struct deliver_box *b, bool make)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC; /* a link is the administrator's own */
    struct stat st;

    b->dir_fd = open(b->path, flags);
    if (b->dir_fd < 0 && errno == ENOENT && make && make_parents(b->path) == 0)
        b->dir_fd = open(b->path, flags);
    if (b->dir_fd < 0 || (b->new_fd = sub_dir(b->dir_fd, "new", make)) < 0 ||
        (b->tmp_fd = sub_dir(b->dir_fd, "tmp", make)) < 0 || fstat(b->new_fd, &st) < 0)
        return -1;
    b->device = st.st_dev;
    b->inode = st.st_ino;
    return journal_restore(b->dir_fd, -1, b->path);
}

int deliver_box_mend(struct deliver_box *b)
{
    int fd = sub_dir(b->dir_fd, "tmp", true);

    if (fd < 0)
        return -1;
    close(b->tmp_fd);
    b->tmp_fd = fd;
    return 0;
}

static void free_box(struct deliver_box *b)
{
    int keep = errno;

    if (b->tmp_fd >= 0)
        close(b->tmp_fd);
    if (b->new_fd >= 0)
        close(b->new_fd);
    if (b->dir_fd >= 0)
        close(b->dir_fd);
    free(b->path);
    free(b->new_path);
    free(b);
    errno = keep;
}

void deliver_box_drop(struct deliver_box *b)
{
    if (!b->kept)
        return;
    b->kept = false;
    list_del(&b->node);
    (void) map_take(boxes, slice_of(b->path));
    if (b->users == 0)
        free_box(b);
}

/* Those nobody uses, the longest unused first, as long as there are more than that many kept, or they are that old. */
static void close_unused(size_t most, int64_t older_than_ms)
{
    struct list *at = by_use.prev;
    int64_t now = time_mono_ms();

    while (at != &by_use) {
        struct deliver_box *b = list_entry(at, struct deliver_box, node);
        if (map_count(boxes) <= most && now - b->used_ms < older_than_ms)
            return;
        at = at->prev;
        if (b->users == 0)
            deliver_box_drop(b);
    }
}

static void sweep(void *unused)
{
    (void) unused;
    close_unused(DELIVER_BOXES_KEPT, DELIVER_BOX_IDLE_MS);
    if (map_count(boxes))
        event_timer_reset(sweeper, DELIVER_BOX_IDLE_MS);
    else
        event_timer_free(&sweeper);
}

static void keep(struct deliver_box *b)
{
    if (fiber_self() == NULL) /* nobody would sweep */
        return;
    if (boxes == NULL)
        boxes = map_new(2 * DELIVER_BOXES_KEPT, NULL);
    if (map_count(boxes) >= DELIVER_BOXES_KEPT)
        close_unused(DELIVER_BOXES_KEPT - 1, INT64_MAX);
    if (!map_set(boxes, slice_of(b->path), b)) /* all are in use */
        return;
    b->kept = true;
    list_prepend(&by_use, &b->node);
    if (sweeper == NULL)
        sweeper = event_timer_new(DELIVER_BOX_IDLE_MS, sweep, NULL);
}

static struct deliver_box *open_box(const char *path, bool make)
{
    for (int tries = 0; tries < 2; tries++) {
        struct deliver_box *b = mem_new(sizeof *b);

        b->dir_fd = b->tmp_fd = b->new_fd = b->index.fd = -1;
        b->path = mem_strdup(path);
        b->new_path = mem_printf("%s/new", path);
        if (open_parts(b, make) == 0)
            return b;
        free_box(b);
        if (boxes == NULL || (errno != EMFILE && errno != ENFILE))
            break;
        close_unused(0, 0); /* the descriptors may be those of the others */
    }
    return NULL;
}

struct deliver_box *deliver_box_get(const char *path, bool make)
{
    struct deliver_box *b = boxes ? map_get(boxes, slice_of(path)) : NULL;
    struct file_look seen;

    if (b && (file_look(AT_FDCWD, b->new_path, &seen) < 0 || seen.inode != b->inode || seen.device != b->device)) {
        deliver_box_drop(b);
        b = NULL;
    }
    if (b) {
        list_del(&b->node);
        list_prepend(&by_use, &b->node);
    } else if ((b = open_box(path, make)) != NULL) {
        keep(b);
    } else {
        return NULL;
    }
    b->users++;
    b->used_ms = time_mono_ms();
    return b;
}

void deliver_box_put(struct deliver_box **pb)
{
    struct deliver_box *b = *pb;

    *pb = NULL;
    if (b && --b->users == 0 && !b->kept)
        free_box(b);
}
