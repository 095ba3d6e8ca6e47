/*
 * passwd_file - reads the files, finds lines in them
 *
 * Callers     see passwd_file.h
 * Invariants  `text` holds the file as it was at `seen`; `users` points into it
 */
#include "passwd_file.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1000 };
struct passwd_file {
    struct list node; /* of the many: the one asked for longest ago is first */
    char *path, *base;
    int directory_fd; /* -1: one of many */
    struct stat seen;
    char *text;
    size_t text_len;
    struct map *users; /* name to struct slice in text, what follows "user:" */
    int64_t looked_ms;
    int error; /* errno of the last try to read it; 0 */
    bool stale;
};

static struct map *named, *many; /* by path; they live as long as the process */
static struct list by_use;
static size_t many_bytes;

static void wipe_text(struct passwd_file *f)
{
    if (f->directory_fd < 0)
        many_bytes -= f->text_len;
    if (f->text)
        mem_wipe(f->text, f->text_len);
    free(f->text);
    f->text = NULL;
    f->text_len = 0;
    map_free(&f->users);
}

static void file_free(void *file)
{
    struct passwd_file *f = file;

    wipe_text(f);
    if (f->directory_fd >= 0)
        close(f->directory_fd);
    list_del(&f->node);
    free(f->path);
    free(f->base);
    free(f);
}

static void index_text(struct passwd_file *f)
{
    struct slice rest = slice_make(f->text, f->text_len), line;

    f->users = map_new(PASSWD_USERS_MAX, free);
    while (slice_split(&rest, '\n', &line)) {
        if (line.len > 0 && line.p[line.len - 1] == '\r')
            line.len--;
        ptrdiff_t colon = slice_find(line, ':');
        if (colon <= 0 || line.p[0] == '#')
            continue;
        struct slice name = slice_sub(line, 0, (size_t) colon), *value;
        if (map_get(f->users, name)) { /* the first of two wins, as in Dovecot's */
            log_warn("passwd-file %s: User %.*s exists more than once", f->path, (int) name.len, name.p);
            continue;
        }
        value = mem_new(sizeof *value);
        *value = slice_sub(line, (size_t) colon + 1, line.len);
        if (!map_set(f->users, name, value)) {
            free(value);
            log_warn("passwd-file %s: more than %d users: the rest is not used", f->path, PASSWD_USERS_MAX);
            return;
        }
    }
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int directory_of(const struct passwd_file *f) { return f->directory_fd < 0 ? AT_FDCWD : f->directory_fd; }
static const char *name_of(const struct passwd_file *f) { return f->directory_fd < 0 ? f->path : f->base; }

/* 0, or -1 with errno; the old text is kept then. */
static int load(struct passwd_file *f)
{
    int fd = openat(directory_of(f), name_of(f), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    ssize_t len;
    char *text;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > PASSWD_FILE_BYTES) {
        close(fd);
        errno = EFBIG;
        return -1;
    }
    text = mem_new((size_t) st.st_size + 1);
    len = file_read_all(fd, text, (size_t) st.st_size);
    int saved = errno;
    close(fd);
    if (len < 0) {
        free(text);
        errno = saved;
        return -1;
    }
    wipe_text(f);
    f->text = text;
    f->text_len = (size_t) len;
    f->seen = st;
    if (f->directory_fd < 0)
        many_bytes += f->text_len;
    index_text(f);
    return 0;
}

static void refresh(struct passwd_file *f)
{
    struct stat st;
    int64_t now = time_mono_ms();
    int error = 0;

    if (f->looked_ms != 0 && now - f->looked_ms < LOOK_EVERY_MS)
        return;
    f->looked_ms = now;
    if (fstatat(directory_of(f), name_of(f), &st, 0) != 0)
        error = errno;
    else if (same_file(&st, &f->seen) && f->error == 0)
        return;
    else if (load(f) != 0)
        error = errno;
    if (error == EACCES && f->directory_fd >= 0 && f->text) { /* root's file: a new process will read it */
        f->stale = true;
        return;
    }
    if (error != 0 && f->error != error && (error != ENOENT || f->directory_fd >= 0))
        log_warn("passwd-file %s: %s", f->path, strerror(error));
    if (error == ENOENT && f->directory_fd < 0)
        wipe_text(f);
    f->error = error;
}

static void tables_start(void)
{
    if (named)
        return;
    named = map_new(PASSWD_FILES_MAX, file_free);
    many = map_new(PASSWD_FILES_MAX, file_free);
    list_init(&by_use);
}

struct passwd_file *passwd_file_open(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct passwd_file *f;

    tables_start();
    if ((f = map_get(named, slice_of(path))) != NULL)
        return f;
    f = mem_new(sizeof *f);
    list_init(&f->node);
    f->path = mem_strdup(path);
    f->base = mem_strdup(slash ? slash + 1 : path);
    char *directory = slash == path ? mem_strdup("/") : mem_strndup(path, slash ? (size_t) (slash - path) : 0);
    f->directory_fd = open(*directory ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (f->directory_fd < 0)
        f->error = errno;
    if (f->error == 0 && load(f) != 0)
        f->error = errno;
    if (f->error != 0)
        log_error("passwd-file %s: %s", path, strerror(f->error));
    map_set(named, slice_of(path), f);
    return f;
}

static void make_room(const struct passwd_file *keep)
{
    while (!list_empty(&by_use) && (map_count(many) >= PASSWD_FILES_MAX || many_bytes > PASSWD_FILES_BYTES)) {
        struct passwd_file *oldest = list_entry(by_use.next, struct passwd_file, node);
        if (oldest == keep)
            return;
        map_del(many, slice_of(oldest->path));
    }
}

struct passwd_file *passwd_file_of(const char *path)
{
    struct slice rest = slice_of(path), part;
    struct passwd_file *f;

    if (rest.len >= PATH_MAX)
        return NULL;
    while (slice_split(&rest, '/', &part))
        if (slice_eq(part, "..") || part.len > NAME_MAX)
            return NULL;
    tables_start();
    if ((f = map_get(many, slice_of(path))) == NULL) {
        make_room(NULL);
        f = mem_new(sizeof *f);
        list_init(&f->node);
        f->path = mem_strdup(path);
        f->directory_fd = -1;
        map_set(many, slice_of(path), f);
    }
    list_del(&f->node);
    list_append(&by_use, &f->node);
    refresh(f);
    make_room(f);
    return f;
}

/* 0: there is a text. */
static enum lookup usable(struct passwd_file *f, struct err *err)
{
    if (f->directory_fd >= 0)
        refresh(f);
    if (f->error == ENOENT && f->directory_fd < 0)
        return LOOKUP_NONE;
    if (f->error == 0 && f->users)
        return LOOKUP_FOUND;
    err_set(err, 0, NULL, "%s: %s", f->path, strerror(f->error));
    return LOOKUP_RETRY;
}

enum lookup passwd_file_find(struct passwd_file *f, const char *user, struct slice *rest, struct err *err)
{
    enum lookup can = usable(f, err);

    if (can != LOOKUP_FOUND)
        return can;
    const struct slice *line = map_get(f->users, slice_of(user));
    if (line)
        *rest = *line;
    return line ? LOOKUP_FOUND : LOOKUP_NONE;
}

int passwd_file_each(struct passwd_file *f, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    struct slice name;
    void *value;
    enum lookup can = usable(f, err);

    if (can != LOOKUP_FOUND)
        return can == LOOKUP_NONE ? 0 : -1;
    for (size_t at = 0; map_next(f->users, &at, &name, &value);)
        fn(ctx, name);
    return 0;
}

bool passwd_file_stale(struct passwd_file *f)
{
    refresh(f);
    return f->stale;
}

void passwd_file_close_all(void)
{
    map_free(&named);
    map_free(&many);
}
