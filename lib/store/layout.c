/*
 * layout - where the mailbox of a name lies
 *
 * Maildir++: the INBOX is the root, a/b is .a.b below it. LAYOUT=fs: a/b is a/b. The INBOX, uidlists with what belongs
 * to them, and indexes may lie elsewhere, each in directories of the same names (the INBOX's: "INBOX").
 *
 * Callers     lib/store
 * Invariants  a path is "." (the INBOX) or relative to the root; no name leads out of the root: a component is never
 *             "..", and holds no slash
 *             what a link leads to is a mailbox, but not looked into for others
 * Errors      -1 with errno
 */
#include "base/log.h"
#include "base/mem.h"
#include "proto/imap/mailbox.h"
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, COMPONENT_BYTES = 255 };
static const char trash[] = "..DOVECOT-TRASHED"; /* mailboxes that are being deleted */

void store_places_given(const int fd[3], const char *hint, struct store_places *out)
{
    *out = (struct store_places){ .inbox_fd = fd[STORE_PLACE_INBOX],
                                  .control_fd = fd[STORE_PLACE_CONTROL],
                                  .index_fd = fd[STORE_PLACE_INDEX],
                                  .fs = strstr(hint, STORE_HINT_FS) != NULL,
                                  .no_index = strstr(hint, STORE_HINT_NO_INDEX) != NULL };
}

static bool component_valid(const struct store *st, struct slice part)
{
    static const char *const reserved[] = { ".", "..", "cur", "new", "tmp" };

    if (part.len == 0 || part.len > COMPONENT_BYTES)
        return false;
    for (size_t i = 0; st->places.fs && i < sizeof reserved / sizeof *reserved; i++)
        if (slice_eq(part, reserved[i]))
            return false;
    return !slice_starts(part, trash) && slice_find(part, '/') < 0 && (st->places.fs || slice_find(part, '.') < 0);
}

bool store_name_valid(const struct store *st, const char *name)
{
    struct slice rest = slice_of(name), part;
    struct str utf8;
    bool good = rest.len <= STORE_NAME_BYTES && name[0] != '~';

    for (size_t i = 0; i < rest.len; i++) /* "%" and "*" may stand there: Dovecot makes such names */
        good &= ascii_isprint(name[i]);
    while (good && slice_split(&rest, st->separator, &part))
        good = component_valid(st, part);
    if (!good)
        return false;
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
    char *plain, *path, to = st->places.fs ? '/' : '.';

    if (strcasecmp(name, "INBOX") == 0)
        return mem_strdup(".");
    if (!store_name_valid(st, name) || (!st->places.fs && strlen(name) + 1 > COMPONENT_BYTES))
        return NULL;
    plain = store_canonical(st, name);
    for (char *p = plain; *p; p++)
        if (*p == st->separator)
            *p = to;
    path = st->places.fs ? mem_strdup(plain) : mem_printf(".%s", plain);
    free(plain);
    return path;
}

/* NULL for directories that no name reaches. */
static char *name_of(const struct store *st, const char *path)
{
    char *name, *plain, from = st->places.fs ? '/' : '.';
    bool good;

    if (!st->places.fs && (path[0] != '.' || path[1] == '\0'))
        return NULL;
    name = mem_strdup(st->places.fs ? path : path + 1);
    for (char *p = name; *p; p++)
        if (*p == from)
            *p = st->separator;
        else if (*p == st->separator) /* LAYOUT=fs with "." as separator */
            *p = '/';
    plain = store_canonical(st, name);
    good = store_name_valid(st, name) && strcmp(plain, name) == 0 && strcmp(name, "INBOX") != 0;
    free(plain);
    if (good)
        return name;
    free(name);
    return NULL;
}

static bool is_directory(int at, const char *path)
{
    struct stat s;

    return fstatat(at, path, &s, 0) == 0 && S_ISDIR(s.st_mode);
}

bool store_is_mailbox(const struct store *st, const char *path)
{
    char *cur;
    bool is;

    if (!st->places.fs) /* as in Dovecot a directory is enough: opening it makes what is missing there */
        return is_directory(st->fd, path);
    cur = mem_printf("%s/cur", path);
    is = is_directory(st->fd, cur);
    free(cur);
    return is;
}

bool store_is_directory(const struct store *st, const char *path)
{
    return st->places.fs && is_directory(st->fd, path);
}

static DIR *open_dir(int at, const char *path)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL && fd >= 0)
        close(fd);
    return dir;
}

struct walk {
    struct store *st;
    store_each_fn fn;
    void *ctx;
    bool ended;
};

static void told(struct walk *w, const char *path)
{
    char *name = name_of(w->st, path);
    bool selectable = name && store_is_mailbox(w->st, path);

    if (selectable || (name && store_is_directory(w->st, path)))
        w->ended = !w->fn(w->ctx, name, path, selectable);
    free(name);
}

static void walk_flat(struct walk *w)
{
    DIR *dir = open_dir(w->st->fd, ".");
    struct dirent *e;

    while (dir && !w->ended && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        told(w, e->d_name);
        if (e->d_type == DT_LNK && !w->st->told_link && e->d_name[0] == '.' && !is_directory(w->st->fd, e->d_name)) {
            log_warn("%s/%s: a link that leads nowhere within this user's mail is no mailbox", w->st->root,
                     e->d_name);
            w->st->told_link = true;
        }
    }
    if (dir)
        closedir(dir);
}

static void walk_below(struct walk *w, const char *path, unsigned depth)
{
    DIR *dir = open_dir(w->st->fd, path);
    struct dirent *e;
    struct stat s;

    while (dir && !w->ended && (e = readdir(dir)) != NULL) {
        if (!component_valid(w->st, slice_of(e->d_name)) ||
            (e->d_type != DT_DIR && e->d_type != DT_LNK && e->d_type != DT_UNKNOWN))
            continue;
        char *below = strcmp(path, ".") == 0 ? mem_strdup(e->d_name) : mem_printf("%s/%s", path, e->d_name);
        told(w, below);
        if (depth < DEPTH_MAX && !w->ended && fstatat(w->st->fd, below, &s, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(s.st_mode))
            walk_below(w, below, depth + 1);
        free(below);
    }
    if (dir)
        closedir(dir);
}

void store_each(struct store *st, store_each_fn fn, void *ctx)
{
    struct walk w = { .st = st, .fn = fn, .ctx = ctx };

    if (st->places.fs)
        walk_below(&w, ".", 0);
    else
        walk_flat(&w);
}

struct below {
    const char *path;
    size_t len;
    char separator;
    bool found;
};

static bool is_below(void *ctx, const char *name, const char *path, bool selectable)
{
    struct below *b = ctx;

    (void) name, (void) selectable;
    b->found = strncmp(path, b->path, b->len) == 0 && path[b->len] == b->separator;
    return !b->found;
}

bool store_has_children(struct store *st, const char *path)
{
    struct below b = { path, strlen(path), st->places.fs ? '/' : '.', false };

    store_each(st, is_below, &b);
    return b.found;
}

int store_make_parents(int at, const char *path)
{
    char *copy = mem_strdup(path);
    int ret = 0;

    for (char *p = strchr(copy, '/'); p && ret == 0; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdirat(at, copy, 0700) < 0 && errno != EEXIST)
            ret = -1;
        *p = '/';
    }
    free(copy);
    return ret;
}

int store_make_maildir(int at, const char *path, bool folder)
{
    static const char *const parts[] = { "tmp", "new", "cur" }; /* LAYOUT=fs: cur makes the mailbox visible */
    bool here = strcmp(path, ".") == 0;                         /* the INBOX at each login */
    int fd, dir = at, keep;

    if (!here && (store_make_parents(at, path) < 0 || (mkdirat(at, path, 0700) < 0 && errno != EEXIST) ||
                  (dir = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
        return -1;
    for (size_t i = 0; i < 3; i++)
        if (mkdirat(dir, parts[i], 0700) < 0 && errno != EEXIST)
            goto fail;
    if (folder) {
        if ((fd = openat(dir, "maildirfolder", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
            goto fail;
        close(fd);
    }
    if (!here)
        close(dir);
    return 0;
fail:
    keep = errno;
    if (!here)
        close(dir);
    errno = keep;
    return -1;
}

static int beside(const struct store *st, const char *path)
{
    return strcmp(path, ".") == 0 && st->places.inbox_fd > 0 ? st->places.inbox_fd : st->fd;
}

int store_open_mail(const struct store *st, const char *path)
{
    return openat(beside(st, path), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a link is the user's own */
}

int store_stat_mail(const struct store *st, const char *path, struct stat *out)
{
    return fstatat(beside(st, path), path, out, 0);
}

int store_open_elsewhere(const struct store *st, int base_fd, const char *path)
{
    const char *there = strcmp(path, ".") != 0 ? path : st->places.fs ? "INBOX" : ".INBOX";
    int fd = openat(base_fd, there, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT && store_make_parents(base_fd, there) == 0 &&
        (mkdirat(base_fd, there, 0700) == 0 || errno == EEXIST))
        fd = openat(base_fd, there, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd;
}
