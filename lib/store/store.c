/*
 * store - see store.h
 *
 * Callers     imapd, pop3d, lib/deliver
 * Invariants  see layout.c for names and paths
 * Errors      enum store_why; store_error
 */
#include "store/store.h"
#include "base/log.h"
#include "base/mem.h"
#include "event/event.h"
#include "store/internal.h"
#include "store/journal.h"
#include "store/message.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 255 };
const struct store_special store_special_default[] = { { "Drafts", "\\Drafts" },   { "Sent", "\\Sent" },
                                                       { "Junk", "\\Junk" },       { "Trash", "\\Trash" },
                                                       { "Archive", "\\Archive" }, { NULL, NULL } };

enum store_why store_fail(struct store *st, enum store_why why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(st->error, sizeof st->error, fmt, ap);
    va_end(ap);
    return why;
}

enum store_why store_fail_errno(struct store *st, const char *what, const char *path)
{
    int keep = errno;

    snprintf(st->error, sizeof st->error, "cannot %s %s: %s", what, path, strerror(keep));
    errno = keep;
    return keep == ENOSPC || keep == EDQUOT ? STORE_FULL : STORE_FAILED;
}

const char *store_error(const struct store *st) { return st->error; }
char store_separator(const struct store *st) { return st->separator; }

int store_pause(int64_t ms)
{
    struct timespec ts = { ms / 1000, (ms % 1000) * 1000000 };

    return fiber_self() ? event_sleep(ms) : nanosleep(&ts, NULL);
}

static unsigned stores; /* open in this process */

int store_sync_fd(int fd, bool data_only)
{
    struct event_sync one = { .fd = fd, .data_only = data_only };

    return event_sync(&one, 1);
}

struct syncfs_job {
    int fd, error;
};

static void sync_file_system(void *arg)
{
    struct syncfs_job *j = arg;

    j->error = syncfs(j->fd) < 0 ? errno : 0;
}

int store_syncfs(int fd)
{
    struct syncfs_job job = { .fd = fd };

    if (fiber_self())
        event_offload(sync_file_system, &job);
    else
        sync_file_system(&job);
    errno = job.error;
    return job.error ? -1 : 0;
}

enum store_why store_open(const struct store_config *config, struct store **out)
{
    struct store *st = mem_new(sizeof *st);

    stores++;
    *out = st; /* also when it fails: for store_error; store_close is due either way */
    st->root = mem_strdup(config->root);
    st->separator = config->separator == '/' ? '/' : '.';
    st->special = config->special ? config->special : store_special_default;
    if (config->places)
        st->places = *config->places;
    st->fd = open(config->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (st->fd < 0 && errno == ENOENT && config->create && mkdir(config->root, 0700) == 0)
        st->fd = open(config->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (st->fd < 0)
        return store_fail_errno(st, "open", config->root);
    st->control_fd = st->places.control_fd > 0 ? st->places.control_fd : st->fd;
    if (config->create && store_make_maildir(st->places.inbox_fd > 0 ? st->places.inbox_fd : st->fd, ".", false) < 0)
        return store_fail_errno(st, "make a Maildir in", config->root);
    return STORE_OK;
}

void store_close(struct store **st)
{
    if (*st == NULL)
        return;
    if (--stores == 0)
        journal_finish();
    if ((*st)->fd >= 0)
        close((*st)->fd);
    free((*st)->root);
    free(*st);
    *st = NULL;
}

enum store_why store_exists(struct store *st, const char *name)
{
    char *path = store_path(st, name);
    enum store_why why;

    if (path == NULL)
        return store_fail(st, STORE_BAD_NAME, "not a mailbox name");
    if (strcmp(path, ".") == 0 || store_is_mailbox(st, path))
        why = STORE_OK;
    else
        why = store_is_directory(st, path) || store_has_children(st, path) ? STORE_NOSELECT : STORE_NONEXISTENT;
    free(path);
    return why;
}

enum store_why store_create(struct store *st, const char *name)
{
    size_t len = strlen(name);
    char *plain = mem_strndup(name, len && name[len - 1] == st->separator ? len - 1 : len), *path;
    enum store_why why = STORE_OK;

    path = store_path(st, plain);
    if (path == NULL)
        why = strlen(name) > PATH_BYTES && !st->places.fs ? STORE_LIMIT : STORE_BAD_NAME;
    else if (strcmp(path, ".") == 0 || store_is_mailbox(st, path))
        why = STORE_EXISTS;
    else if (st->places.fs && strcmp(name, plain) != 0) /* a place for children only */
        why = store_make_parents(st->fd, path) == 0 && mkdirat(st->fd, path, 0700) == 0 ? STORE_OK
              : errno == EEXIST                                                         ? STORE_EXISTS
                                : store_fail_errno(st, "create", path);
    else if (store_make_maildir(st->fd, path, !st->places.fs) < 0)
        why = errno == ENAMETOOLONG ? STORE_LIMIT : store_fail_errno(st, "create", path);
    free(path);
    free(plain);
    return why;
}

/* A directory and all below it, two levels deep as a Maildir is; links are removed, never followed. */
static int remove_tree(int at, const char *path, int depth)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    int ret = 0;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while ((e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if ((errno != EISDIR && errno != EPERM) || depth == 0 || remove_tree(dirfd(dir), e->d_name, depth - 1) < 0)
            ret = -1;
    }
    closedir(dir);
    return ret == 0 ? unlinkat(at, path, AT_REMOVEDIR) : -1;
}

/* Files of a mailbox in CONTROL= or INDEX=; LAYOUT=fs has those of its children below them. */
static void remove_files(int at, const char *path)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void) unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    (void) unlinkat(at, path, AT_REMOVEDIR);
}

/* LAYOUT=fs: the children's directories stay, and the mailbox is \Noselect then. */
static int move_parts(struct store *st, const char *path, const char *aside)
{
    static const char *const parts[] = { "cur", "new", "tmp" };

    if (mkdirat(st->fd, aside, 0700) < 0)
        return -1;
    for (size_t i = 0; i < 3; i++) {
        char *from = mem_printf("%s/%s", path, parts[i]), *to = mem_printf("%s/%s", aside, parts[i]);
        int ret = renameat(st->fd, from, st->fd, to), keep = errno;
        free(from);
        free(to);
        errno = keep;
        if (ret < 0 && (i == 0 || errno != ENOENT))
            return -1;
    }
    remove_files(st->fd, path);
    return 0;
}

enum store_why store_delete(struct store *st, const char *name)
{
    char *path = store_path(st, name), aside[64];
    enum store_why why = STORE_OK;

    if (path == NULL || strcmp(path, ".") == 0) {
        why = store_fail(st, STORE_BAD_NAME, "cannot be deleted");
    } else if (!store_is_mailbox(st, path)) {
        why = store_has_children(st, path) ? STORE_HAS_CHILDREN : STORE_NONEXISTENT;
        if (why == STORE_NONEXISTENT && store_is_directory(st, path))
            why = unlinkat(st->fd, path, AT_REMOVEDIR) == 0 ? STORE_OK : store_fail_errno(st, "remove", path);
    } else {
        /* Out of sight in one step, then file by file. No mailbox has such a name. */
        snprintf(aside, sizeof aside, "..DOVECOT-TRASHED.%ld.%ld", (long) getpid(), random());
        if ((st->places.fs ? move_parts(st, path, aside) : renameat(st->fd, path, st->fd, aside)) < 0)
            why = store_fail_errno(st, "delete", path);
        else if (unlinkat(st->fd, aside, 0) < 0 && /* a link goes alone: what it leads to may be others' */
                 remove_tree(st->fd, aside, 3) < 0)
            why = store_fail_errno(st, "remove", aside);
        if (why == STORE_OK && st->places.control_fd > 0)
            remove_files(st->places.control_fd, path);
        if (why == STORE_OK && st->places.index_fd > 0)
            remove_files(st->places.index_fd, path);
    }
    free(path);
    return why;
}

/* RFC 3501 6.3.5: renaming INBOX moves its messages. */
static enum store_why rename_inbox(struct store *st, const char *to)
{
    struct mailbox *box;
    struct mailbox_copied done;
    struct arena *a;
    uint32_t *seqs;
    enum store_why why = store_create(st, to);

    if (why || (why = mailbox_open(st, "INBOX", false, &box)))
        return why;
    a = arena_new();
    seqs = arena_alloc(a, (mailbox_count(box) + 1) * sizeof *seqs);
    for (uint32_t i = 0; i < mailbox_count(box); i++)
        seqs[i] = i + 1;
    why = mailbox_copy(box, seqs, mailbox_count(box), to, true, a, &done);
    arena_free(&a);
    mailbox_close(&box);
    return why;
}

struct renames {
    char *from[STORE_MAILBOXES_MAX];
    size_t count, len;
    const char *path;
};

static bool take_child(void *ctx, const char *name, const char *path, bool selectable)
{
    struct renames *r = ctx;

    (void) name, (void) selectable;
    if (strncmp(path, r->path, r->len) == 0 && (path[r->len] == '\0' || path[r->len] == '.'))
        r->from[r->count++] = mem_strdup(path);
    return r->count < STORE_MAILBOXES_MAX;
}

static int rename_at(int at, const char *from, const char *to)
{
    return store_make_parents(at, to) < 0 ? -1 : renameat(at, from, at, to);
}

/* LAYOUT=fs: directories that were there only for what went. */
static void remove_empty_parents(struct store *st, const char *path)
{
    char *up = mem_strdup(path), *slash;

    while ((slash = strrchr(up, '/')) != NULL) {
        *slash = '\0';
        if (unlinkat(st->fd, up, AT_REMOVEDIR) < 0)
            break;
    }
    free(up);
}

/* One directory, wherever it has its namesakes. */
static enum store_why rename_one(struct store *st, const char *from, const char *to)
{
    if (rename_at(st->fd, from, to) < 0)
        return errno == ENOTEMPTY || errno == EEXIST ? STORE_EXISTS
               : errno == ENAMETOOLONG               ? STORE_LIMIT
                                                     : store_fail_errno(st, "rename", from);
    if (st->places.fs)
        remove_empty_parents(st, from);
    if (st->places.control_fd > 0 && rename_at(st->places.control_fd, from, to) < 0 && errno != ENOENT)
        return store_fail_errno(st, "rename the control directory of", from);
    if (st->places.index_fd > 0 && rename_at(st->places.index_fd, from, to) < 0 && errno != ENOENT)
        log_warn("%s: cannot rename the index directory of %s: %s", st->root, from, strerror(errno));
    return STORE_OK;
}

/* Maildir++: the folder and its children, in any order: each is a directory of its own. */
static enum store_why rename_flat(struct store *st, const char *from, const char *to)
{
    struct renames *r = mem_new(sizeof *r);
    enum store_why why = STORE_OK;

    r->path = from;
    r->len = strlen(from);
    store_each(st, take_child, r);
    for (size_t i = 0; i < r->count && why == STORE_OK; i++) { /* all or none: a child's new name may be taken */
        char *target = mem_printf("%s%s", to, r->from[i] + r->len);
        if (strlen(target) > PATH_BYTES)
            why = STORE_LIMIT;
        else if (store_is_mailbox(st, target))
            why = STORE_EXISTS;
        free(target);
    }
    for (size_t i = 0; i < r->count; i++) {
        char *target = mem_printf("%s%s", to, r->from[i] + r->len);
        if (why == STORE_OK)
            why = rename_one(st, r->from[i], target);
        free(target);
        free(r->from[i]);
    }
    free(r);
    return why;
}

enum store_why store_rename(struct store *st, const char *from, const char *to)
{
    char *a = store_path(st, from), *b = store_path(st, to);
    size_t len = a ? strlen(a) : 0;
    enum store_why why;

    if (a == NULL || b == NULL || strcmp(b, ".") == 0)
        why = b && strcmp(b, ".") == 0 ? STORE_EXISTS : STORE_BAD_NAME;
    else if (store_is_mailbox(st, b))
        why = STORE_EXISTS;
    else if (strcmp(a, ".") == 0)
        why = rename_inbox(st, to);
    else if (!store_is_mailbox(st, a) && !store_is_directory(st, a) && !store_has_children(st, a))
        why = STORE_NONEXISTENT;
    else if (strncmp(b, a, len) == 0 && b[len] == (st->places.fs ? '/' : '.'))
        why = store_fail(st, STORE_BAD_NAME, "cannot be moved below itself");
    else
        why = st->places.fs ? rename_one(st, a, b) : rename_flat(st, a, b);
    free(a);
    free(b);
    return why;
}

enum store_why store_status(struct store *st, const char *name, bool size, struct store_status *out)
{
    struct mailbox_summary sum;
    struct mailbox *box;
    enum store_why why = size ? mailbox_open(st, name, true, &box) : mailbox_open_lazily(st, name, true, &box);
    uint64_t bytes;

    *out = (struct store_status){ 0 };
    if (why)
        return why;
    mailbox_summary(box, &sum);
    out->messages = sum.count;
    out->recent = sum.recent;
    out->unseen = sum.unseen;
    out->uid_next = mailbox_uid_next(box);
    out->uid_validity = mailbox_uid_validity(box);
    out->highest_modseq = box->modseq;
    for (uint32_t seq = 1; size && seq <= sum.count; seq++)
        if (message_size(box, seq, &bytes) == STORE_OK)
            out->size_bytes += bytes;
    mailbox_close(&box);
    return STORE_OK;
}
