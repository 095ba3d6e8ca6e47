/*
 * store - see store.h
 *
 * Callers     imapd, pop3d, lib/deliver
 * Invariants  no name leads out of the root: "/" never stands in a path, "." separates, ".." cannot come to be
 * Errors      enum store_why; store_error
 */
#include "store/store.h"
#include "base/mem.h"
#include "event/event.h"
#include "proto/imap/mailbox.h"
#include "store/internal.h"
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

struct sync_arg {
    int fd, ret, err;
    bool data_only;
};

static void sync_now(void *p)
{
    struct sync_arg *arg = p;

    arg->ret = arg->data_only ? fdatasync(arg->fd) : fsync(arg->fd);
    arg->err = errno;
}

int store_sync_fd(int fd, bool data_only)
{
    struct sync_arg arg = { .fd = fd, .data_only = data_only };

    if (fiber_self())
        event_offload(sync_now, &arg);
    else
        sync_now(&arg);
    errno = arg.err;
    return arg.ret;
}

int store_make_maildir(int at, const char *path)
{
    static const char *const parts[] = { "tmp", "new", "cur" };
    char sub[PATH_BYTES + 32];
    int fd;

    if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
        return -1;
    for (size_t i = 0; i < 3; i++) {
        snprintf(sub, sizeof sub, "%s/%s", path, parts[i]);
        if (mkdirat(at, sub, 0700) < 0 && errno != EEXIST)
            return -1;
    }
    if (strcmp(path, ".") == 0)
        return 0;
    snprintf(sub, sizeof sub, "%s/maildirfolder", path);
    fd = openat(at, sub, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

enum store_why store_open(const struct store_config *config, struct store **out)
{
    struct store *st = mem_new(sizeof *st);

    *out = st; /* also when it fails: for store_error; store_close is due either way */
    st->root = mem_strdup(config->root);
    st->separator = config->separator == '/' ? '/' : '.';
    st->special = config->special ? config->special : store_special_default;
    st->fd = open(config->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (st->fd < 0 && errno == ENOENT && config->create && mkdir(config->root, 0700) == 0)
        st->fd = open(config->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (st->fd < 0)
        return store_fail_errno(st, "open", config->root);
    if (config->create && store_make_maildir(st->fd, ".") < 0)
        return store_fail_errno(st, "make a Maildir in", config->root);
    return STORE_OK;
}

void store_close(struct store **st)
{
    if (*st == NULL)
        return;
    if ((*st)->fd >= 0)
        close((*st)->fd);
    free((*st)->root);
    free(*st);
    *st = NULL;
}

bool store_name_valid(const struct store *st, const char *name)
{
    size_t len = strlen(name);
    struct str utf8;
    bool good;

    if (len == 0 || len > STORE_NAME_BYTES || name[0] == st->separator || name[len - 1] == st->separator)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!ascii_isprint(name[i])) /* "%" and "*" too: Dovecot makes such names, and they must stay reachable */
            return false;
        if (name[i] == st->separator ? name[i + 1] == st->separator : name[i] == '/' || name[i] == '.')
            return false;
        if (name[i] == '~' && i == 0)
            return false;
    }
    str_init(&utf8, 4 * STORE_NAME_BYTES);
    good = imap_mailbox_decode(slice_of(name), &utf8) == 0;
    str_free(&utf8);
    return good;
}

char *store_canonical(const struct store *st, const char *name)
{
    char *copy = mem_strdup(name);

    if (strncasecmp(copy, "INBOX", 5) == 0 && (copy[5] == '\0' || copy[5] == st->separator))
        memcpy(copy, "INBOX", 5);
    return copy;
}

char *store_path(const struct store *st, const char *name)
{
    char *path, *p;

    if (strcasecmp(name, "INBOX") == 0)
        return mem_strdup(".");
    if (!store_name_valid(st, name) || strlen(name) + 1 > PATH_BYTES)
        return NULL;
    name = p = store_canonical(st, name);
    path = mem_printf(".%s", name);
    free(p);
    for (p = path + 1; *p; p++)
        if (*p == st->separator)
            *p = '.';
    return path;
}

/* NULL for directories that are no folder. */
char *store_name_of(const struct store *st, const char *path)
{
    char *name, *p;

    if (strcmp(path, ".") == 0)
        return mem_strdup("INBOX");
    if (path[0] != '.' || path[1] == '\0' || path[1] == '.')
        return NULL;
    name = mem_strdup(path + 1);
    for (p = name; *p; p++)
        if (*p == '.')
            *p = st->separator;
    if (!store_name_valid(st, name) || strcasecmp(name, "INBOX") == 0) {
        free(name);
        return NULL;
    }
    return name;
}

/* As in Dovecot a directory is enough: opening it makes what is missing there. */
bool store_is_mailbox(const struct store *st, const char *path)
{
    struct stat s;

    return fstatat(st->fd, path, &s, 0) == 0 && S_ISDIR(s.st_mode);
}

static DIR *open_root(struct store *st)
{
    int fd = openat(st->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL && fd >= 0)
        close(fd);
    return dir;
}

/* Does a folder ".a.b..." exist below path ".a"? */
static bool has_children(struct store *st, const char *path)
{
    DIR *dir = open_root(st);
    struct dirent *e;
    size_t len = strlen(path);
    bool found = false;

    while (dir && !found && (e = readdir(dir)) != NULL)
        found = strncmp(e->d_name, path, len) == 0 && e->d_name[len] == '.' && store_is_mailbox(st, e->d_name);
    if (dir)
        closedir(dir);
    return found;
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
        why = has_children(st, path) ? STORE_NOSELECT : STORE_NONEXISTENT;
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
        why = strlen(name) > PATH_BYTES ? STORE_LIMIT : STORE_BAD_NAME;
    else if (strcmp(path, ".") == 0 || store_is_mailbox(st, path))
        why = STORE_EXISTS;
    else if (store_make_maildir(st->fd, path) < 0)
        why = store_fail_errno(st, "create", path);
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

enum store_why store_delete(struct store *st, const char *name)
{
    char *path = store_path(st, name), aside[64];
    enum store_why why = STORE_OK;

    if (path == NULL || strcmp(path, ".") == 0) {
        why = store_fail(st, STORE_BAD_NAME, "cannot be deleted");
    } else if (!store_is_mailbox(st, path)) {
        why = has_children(st, path) ? STORE_HAS_CHILDREN : STORE_NONEXISTENT;
    } else {
        /* Out of sight in one step, then file by file. "..": no folder's name begins so. */
        snprintf(aside, sizeof aside, "..DOVECOT-TRASHED.%ld.%ld", (long) getpid(), random());
        if (renameat(st->fd, path, st->fd, aside) < 0)
            why = store_fail_errno(st, "delete", path);
        else if (unlinkat(st->fd, aside, 0) < 0 && /* a link goes alone: what it leads to may be others' */
                 remove_tree(st->fd, aside, 3) < 0)
            why = store_fail_errno(st, "remove", aside);
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
    size_t count;
};

/* The folder and its children, in any order: each is a directory of its own. */
static enum store_why rename_paths(struct store *st, const char *from, const char *to)
{
    struct renames *r = mem_new(sizeof *r);
    size_t len = strlen(from);
    DIR *dir = open_root(st);
    struct dirent *e;
    enum store_why why = STORE_OK;

    while (dir && (e = readdir(dir)) != NULL && r->count < STORE_MAILBOXES_MAX)
        if (strncmp(e->d_name, from, len) == 0 && (e->d_name[len] == '\0' || e->d_name[len] == '.'))
            r->from[r->count++] = mem_strdup(e->d_name);
    if (dir)
        closedir(dir);
    for (size_t i = 0; i < r->count && why == STORE_OK; i++) { /* all or none: a child's new name may be taken */
        char *target = mem_printf("%s%s", to, r->from[i] + len);
        if (strlen(target) > PATH_BYTES)
            why = STORE_LIMIT;
        else if (store_is_mailbox(st, target))
            why = STORE_EXISTS;
        free(target);
    }
    for (size_t i = 0; i < r->count; i++) {
        char *target = mem_printf("%s%s", to, r->from[i] + len);
        if (why == STORE_OK && renameat(st->fd, r->from[i], st->fd, target) < 0)
            why = errno == ENOTEMPTY || errno == EEXIST ? STORE_EXISTS : store_fail_errno(st, "rename", r->from[i]);
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
    else if (!store_is_mailbox(st, a) && !has_children(st, a))
        why = STORE_NONEXISTENT;
    else if (strncmp(b, a, len) == 0 && b[len] == '.')
        why = store_fail(st, STORE_BAD_NAME, "cannot be moved below itself");
    else
        why = rename_paths(st, a, b);
    free(a);
    free(b);
    return why;
}

enum store_why store_status(struct store *st, const char *name, bool size, struct store_status *out)
{
    struct mailbox *box;
    enum store_why why = mailbox_open(st, name, true, &box);
    uint64_t bytes;

    *out = (struct store_status){ 0 };
    if (why)
        return why;
    out->messages = mailbox_count(box);
    out->recent = mailbox_recent(box);
    out->uid_next = mailbox_uid_next(box);
    out->uid_validity = mailbox_uid_validity(box);
    out->highest_modseq = box->modseq;
    for (uint32_t seq = 1; seq <= box->count; seq++) {
        out->unseen += !(mailbox_mail(box, seq)->flags & MAIL_SEEN);
        if (size && message_size(box, seq, &bytes) == STORE_OK)
            out->size_bytes += bytes;
    }
    mailbox_close(&box);
    return STORE_OK;
}
