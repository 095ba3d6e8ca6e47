/*
 * passwd - reads the passwd-file, finds users in it
 *
 * Callers     see passwd.h
 * Invariants  `text` holds the file as it was at `seen`; `users` points into it
 */
#include "passwd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "table/table.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1000 };

/* One table a process, for as long as it lives. */
static struct {
    struct maps *maps; /* for "type:name" */
    char *directory, *base;
    int directory_fd;
    struct stat seen;
    char *text;
    size_t text_len;
    struct map *users; /* name to struct slice in text, what follows "user:" */
    int64_t looked_ms;
    bool broken, stale;
} passwd = { .directory_fd = -1 };

static void wipe_text(void)
{
    if (passwd.text)
        mem_wipe(passwd.text, passwd.text_len);
    free(passwd.text);
    passwd.text = NULL;
    passwd.text_len = 0;
    map_free(&passwd.users);
}

static void index_text(void)
{
    struct slice rest = slice_make(passwd.text, passwd.text_len), line;

    passwd.users = map_new(PASSWD_USERS_MAX, free);
    while (slice_split(&rest, '\n', &line)) {
        line = slice_trim(line);
        ptrdiff_t colon = slice_find(line, ':');
        if (colon <= 0 || line.p[0] == '#')
            continue;
        struct slice name = slice_sub(line, 0, (size_t) colon), *value;
        if (map_get(passwd.users, name)) /* the first of two wins, as in Dovecot's */
            continue;
        value = mem_new(sizeof *value);
        *value = slice_sub(line, (size_t) colon + 1, line.len);
        if (!map_set(passwd.users, name, value)) {
            free(value);
            log_warn("%s/%s: more than %d users: the rest is not used", passwd.directory, passwd.base,
                     PASSWD_USERS_MAX);
            return;
        }
    }
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* 0, or -1 with errno; the old text is kept then. */
static int load(void)
{
    int fd = openat(passwd.directory_fd, passwd.base, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
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
    wipe_text();
    passwd.text = text;
    passwd.text_len = (size_t) len;
    passwd.seen = st;
    index_text();
    return 0;
}

static void refresh(void)
{
    struct stat st;
    int64_t now = time_mono_ms();

    if (now - passwd.looked_ms < LOOK_EVERY_MS)
        return;
    passwd.looked_ms = now;
    if (fstatat(passwd.directory_fd, passwd.base, &st, 0) == 0) {
        if (same_file(&st, &passwd.seen) && !passwd.broken)
            return;
        if (load() == 0) {
            passwd.broken = false;
            return;
        }
        if (errno == EACCES) { /* root's file: a new process will read it; until then the old text serves */
            passwd.stale = true;
            return;
        }
    }
    if (!passwd.broken)
        log_warn("%s/%s: %s", passwd.directory, passwd.base, strerror(errno));
    passwd.broken = true;
}

int passwd_open(const char *spec, const char **watch)
{
    const char *slash = strrchr(spec, '/');

    *watch = NULL;
    if (spec[0] == '\0')
        return 0;
    if (spec[0] != '/') {
        passwd.maps = maps_new("auth_passwd_file", spec, TABLE_FOLD);
        return 0;
    }
    passwd.directory = slash == spec ? mem_strdup("/") : mem_strndup(spec, (size_t) (slash - spec));
    passwd.base = mem_strdup(slash + 1);
    passwd.directory_fd = open(passwd.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *watch = passwd.directory;
    if (passwd.directory_fd < 0 || load() != 0) {
        log_error("auth_passwd_file: %s: %s", spec, strerror(errno));
        return -1;
    }
    return 0;
}

void passwd_close(void)
{
    wipe_text();
    maps_free(&passwd.maps);
    if (passwd.directory_fd >= 0)
        close(passwd.directory_fd);
    passwd.directory_fd = -1;
    free(passwd.directory);
    free(passwd.base);
    passwd.directory = passwd.base = NULL;
}

bool passwd_stale(void)
{
    if (passwd.base)
        refresh();
    return passwd.stale;
}
const char *passwd_kind(void) { return passwd.maps ? "table" : "passwd-file"; }

int passwd_parse(struct slice rest, struct arena *a, struct passwd_entry *out)
{
    enum { PASSWORD, UID, GID, GECOS, HOME, SHELL, FIELDS };
    const char *field[FIELDS] = { "", "", "", "", "", "" };
    struct slice part, word;

    *out = (struct passwd_entry){ 0 };
    for (size_t n = 0; n < FIELDS && slice_split(&rest, ':', &part); n++) {
        if (memchr(part.p, '\0', part.len))
            return -1;
        field[n] = arena_strndup(a, part.p, part.len);
    }
    out->password = field[PASSWORD];
    out->uid = field[UID];
    out->gid = field[GID];
    out->home = field[HOME];
    if (rest.p == NULL)
        return 0;
    while (slice_word(&rest, " \t", &word)) {
        ptrdiff_t eq = slice_find(word, '=');
        struct slice name = eq < 0 ? word : slice_sub(word, 0, (size_t) eq);
        struct slice value = eq < 0 ? SLICE("") : slice_sub(word, (size_t) eq + 1, word.len);

        if (out->extras == PASSWD_EXTRA_MAX || memchr(word.p, '\0', word.len))
            return -1;
        out->extra[out->extras++] = (struct passwd_extra){ arena_strndup(a, name.p, name.len),
                                                           arena_strndup(a, value.p, value.len) };
    }
    return 0;
}

const char *passwd_extra(const struct passwd_entry *e, const char *name)
{
    for (size_t n = 0; n < e->extras; n++)
        if (strcmp(e->extra[n].name, name) == 0)
            return e->extra[n].value;
    return NULL;
}

static enum lookup parsed(const char *user, struct slice line, struct arena *a, struct passwd_entry *out,
                          struct err *err)
{
    if (passwd_parse(line, a, out) == 0)
        return LOOKUP_FOUND;
    err_set(err, 0, NULL, "the entry of %s cannot be read", user);
    return LOOKUP_RETRY;
}

static enum lookup find_in_tables(const char *user, struct arena *a, struct passwd_entry *out, struct err *err)
{
    struct str value;
    enum lookup found;

    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_find(passwd.maps, user, false, &value);
    if (found == LOOKUP_FOUND)
        found = parsed(user, str_slice(&value), a, out, err);
    else if (found == LOOKUP_RETRY)
        err_set(err, 0, NULL, "%s: lookup error", maps_list(passwd.maps));
    mem_wipe(value.p, value.len);
    str_free(&value);
    return found;
}

enum lookup passwd_find(const char *user, struct arena *a, struct passwd_entry *out, struct err *err)
{
    if (passwd.maps)
        return find_in_tables(user, a, out, err);
    if (passwd.base == NULL)
        return LOOKUP_NONE;
    refresh();
    if (passwd.broken) {
        err_set(err, 0, NULL, "%s/%s cannot be read", passwd.directory, passwd.base);
        return LOOKUP_RETRY;
    }
    const struct slice *line = map_get(passwd.users, slice_of(user));
    return line ? parsed(user, *line, a, out, err) : LOOKUP_NONE;
}

int passwd_each(void (*fn)(void *ctx, struct slice user), void *ctx)
{
    struct slice name;
    void *value;

    if (passwd.base == NULL)
        return -1;
    refresh();
    if (passwd.broken)
        return -1;
    for (size_t at = 0; map_next(passwd.users, &at, &name, &value);)
        fn(ctx, name);
    return 0;
}
