/* dir - queue ids, paths and the moves between queues; contract in dir.h */
#include "queue/dir.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    SHORT_USEC_DIGITS = 5,
    LONG_USEC_DIGITS = 4,
    LONG_SECONDS_DIGITS = 6,
    HASH_DEPTH_MAX = 3,
    QUEUE_NAME_MAX = 64
};
_Static_assert(QUEUE_NAME_MAX + 1 + 2 * HASH_DEPTH_MAX + QUEUE_ID_BYTES <= QUEUE_PATH_BYTES, "a path has room");

static const char *hash_queue_names = "deferred, defer";
const struct param queue_params[] = {
    { .name = "hash_queue_names",
      .type = PARAM_STRING,
      .str = &hash_queue_names,
      .def = "deferred, defer",
      .doc = "Queues whose files are spread over subdirectories named for the first characters of the file name." },
    { .type = PARAM_END },
};

/* No vowels, so that no id is a word; base 51 goes without the last letter, which separates the inode number. */
static const char digits52[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

static const char hex_digits[] = "0123456789ABCDEF";

bool queue_id_valid(const char *id)
{
    size_t n = 0;

    for (; id[n]; n++)
        if (n >= QUEUE_ID_BYTES - 1 || !(ascii_isalnum(id[n]) || id[n] == '_'))
            return false;
    return n > 0;
}

static void put_base(struct str *out, uint64_t value, unsigned base, size_t width)
{
    char buf[32];
    size_t n = 0;

    do {
        buf[n++] = digits52[value % base];
        value /= base;
    } while (value);
    while (n < width)
        buf[n++] = digits52[0];
    while (n)
        str_addc(out, buf[--n]);
}

static int get_base(struct slice in, unsigned base, uint64_t *out)
{
    uint64_t v = 0;

    if (in.len == 0)
        return -1;
    for (size_t i = 0; i < in.len; i++) {
        const char *at = in.p[i] ? memchr(digits52, in.p[i], base) : NULL;
        if (at == NULL || v > (UINT64_MAX - base) / base)
            return -1;
        v = v * base + (uint64_t) (at - digits52);
    }
    *out = v;
    return 0;
}

void queue_id_make(char out[QUEUE_ID_BYTES], bool long_form, int64_t usec, ino_t inode)
{
    struct str s;

    if (!long_form) {
        snprintf(out, QUEUE_ID_BYTES, "%05X%lX", (unsigned) (usec % 1000000), (unsigned long) inode);
        return;
    }
    str_init(&s, QUEUE_ID_BYTES - 1);
    put_base(&s, (uint64_t) (usec / 1000000), 52, LONG_SECONDS_DIGITS);
    put_base(&s, (uint64_t) (usec % 1000000), 52, LONG_USEC_DIGITS);
    str_addc(&s, 'z');
    put_base(&s, (uint64_t) inode, 51, 1);
    memcpy(out, s.p, s.len + 1);
    str_free(&s);
}

/* Where the 'z' of a long id is, NULL in a short one. */
static const char *long_mark(const char *id)
{
    const char *z = strrchr(id, 'z');

    return z && z - id >= LONG_SECONDS_DIGITS + LONG_USEC_DIGITS ? z : NULL;
}

bool queue_id_is_long(const char *id) { return long_mark(id) != NULL; }

int queue_id_inode(const char *id, ino_t *out)
{
    const char *z = long_mark(id);
    uint64_t v;

    if (z) {
        if (get_base(slice_of(z + 1), 51, &v) < 0)
            return -1;
    } else {
        char *end;
        if (strlen(id) <= SHORT_USEC_DIGITS || strspn(id, hex_digits) != strlen(id))
            return -1;
        errno = 0;
        v = strtoull(id + SHORT_USEC_DIGITS, &end, 16);
        if (errno)
            return -1;
    }
    *out = (ino_t) v;
    return 0;
}

int queue_id_usec(const char *id, int64_t *out)
{
    const char *z = long_mark(id);
    uint64_t seconds, usec = 0;

    if (z == NULL) {
        for (size_t i = 0; i < SHORT_USEC_DIGITS; i++) {
            const char *digit = id[i] ? strchr(hex_digits, id[i]) : NULL;
            if (digit == NULL)
                return -1;
            usec = usec * 16 + (uint64_t) (digit - hex_digits);
        }
        seconds = 0;
    } else if (get_base(slice_make(id, (size_t) (z - id) - LONG_USEC_DIGITS), 52, &seconds) < 0 ||
               get_base(slice_make(z - LONG_USEC_DIGITS, LONG_USEC_DIGITS), 52, &usec) < 0) {
        return -1;
    }
    if (usec >= 1000000 || seconds > INT64_MAX / 1000000 - 1)
        return -1;
    *out = (int64_t) (seconds * 1000000 + usec);
    return 0;
}

static bool is_hashed(const char *queue)
{
    struct slice rest = slice_of(hash_queue_names), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_eq(word, queue))
            return true;
    return false;
}

/* The characters that choose the directories. */
static void hash_key(char key[SHORT_USEC_DIGITS + 1], const char *id)
{
    const char *z = long_mark(id);
    uint64_t usec;

    if (z && get_base(slice_make(z - LONG_USEC_DIGITS, LONG_USEC_DIGITS), 52, &usec) == 0) {
        char hex[20];
        snprintf(hex, sizeof hex, "%05lX", (unsigned long) usec);
        memcpy(key, hex, SHORT_USEC_DIGITS);
        key[SHORT_USEC_DIGITS] = 0;
        return;
    }
    for (size_t i = 0; i < SHORT_USEC_DIGITS; i++)
        key[i] = i < strlen(id) ? id[i] : '_';
    key[SHORT_USEC_DIGITS] = 0;
}

void queue_path(char out[QUEUE_PATH_BYTES], const char *queue, const char *id)
{
    char key[SHORT_USEC_DIGITS + 1], *end = out;
    size_t len = strnlen(queue, QUEUE_NAME_MAX);

    if (!queue_id_valid(id))
        log_panic("queue_path: invalid queue id \"%s\"", id);
    memcpy(end, queue, len);
    end += len;
    *end++ = '/';
    if (is_hashed(queue)) {
        int64_t depth = conf_hash_queue_depth > HASH_DEPTH_MAX ? HASH_DEPTH_MAX : conf_hash_queue_depth;
        hash_key(key, id);
        for (int64_t i = 0; i < depth; i++) {
            *end++ = key[i];
            *end++ = '/';
        }
    }
    memcpy(end, id, strlen(id) + 1); /* below QUEUE_ID_BYTES: it is valid */
}

int queue_mkdirs(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    queue_path(path, queue, id);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (strchr(path, '/') && mkdir(path, 0700) < 0 && errno != EEXIST)
            return -1;
        *slash = '/';
    }
    return 0;
}

int queue_open(const char *queue, const char *id, int flags)
{
    struct stat st;

    return queue_open_stat(queue, id, flags, &st);
}

int queue_open_stat(const char *queue, const char *id, int flags, struct stat *st)
{
    char path[QUEUE_PATH_BYTES];
    int fd;

    queue_path(path, queue, id);
    fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, QUEUE_MODE_OPEN);
    if (fd < 0 && errno == ENOENT && (flags & O_CREAT) && queue_mkdirs(queue, id) == 0)
        fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, QUEUE_MODE_OPEN);
    if (fd < 0)
        return -1;
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

int queue_move(const char *id, const char *from, const char *to)
{
    char old[QUEUE_PATH_BYTES], new[QUEUE_PATH_BYTES];

    queue_path(old, from, id);
    queue_path(new, to, id);
    if (rename(old, new) == 0)
        return 0;
    if (errno != ENOENT || access(old, F_OK) < 0 || queue_mkdirs(to, id) < 0)
        return -1;
    return rename(old, new);
}

int queue_remove(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    queue_path(path, queue, id);
    return unlink(path);
}

const char *queue_find(const char *id, struct stat *out)
{
    static const char *const queues[] = { QUEUE_MAILDROP, QUEUE_HOLD,     QUEUE_INCOMING,
                                          QUEUE_ACTIVE,   QUEUE_DEFERRED, QUEUE_CORRUPT };
    char path[QUEUE_PATH_BYTES];

    if (!queue_id_valid(id)) {
        errno = ENOENT;
        return NULL;
    }
    /* Twice: a file that moves from incoming to active while we look is in neither the first time. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
            queue_path(path, queues[i], id);
            if (lstat(path, out) == 0)
                return queues[i];
            if (errno != ENOENT)
                return NULL;
        }
    errno = ENOENT;
    return NULL;
}

int queue_set_attempt(int fd, time_t when)
{
    struct timespec both[2] = { { .tv_sec = when }, { .tv_sec = when } };

    return futimens(fd, both);
}

int queue_lock(int fd, bool exclusive, bool wait)
{
    int rc;

    do {
        rc = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB));
    } while (rc < 0 && errno == EINTR);
    return rc;
}

int queue_unlock(int fd) { return flock(fd, LOCK_UN); }

struct queue_scan {
    DIR *dir[HASH_DEPTH_MAX + 1];
    size_t path_len[HASH_DEPTH_MAX + 1];
    int depth; /* of the innermost open directory; -1: none */
    bool warn;
    char path[QUEUE_PATH_BYTES];
};

struct queue_scan *queue_scan_open(const char *queue)
{
    struct queue_scan *s = mem_new(sizeof *s);

    s->path_len[0] = (size_t) snprintf(s->path, sizeof s->path, "%.64s", queue);
    s->dir[0] = opendir(s->path);
    if (s->dir[0] == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void queue_scan_warn(struct queue_scan *s) { s->warn = true; }

static bool enter_directory(struct queue_scan *s, const char *name)
{
    struct stat st;

    if (s->depth >= HASH_DEPTH_MAX || strlen(name) != 1 || lstat(s->path, &st) < 0 || !S_ISDIR(st.st_mode))
        return false;
    s->dir[s->depth + 1] = opendir(s->path);
    if (s->dir[s->depth + 1] == NULL)
        return false;
    s->depth++;
    s->path_len[s->depth] = strlen(s->path);
    return true;
}

const char *queue_scan_next(struct queue_scan *s, const char **path)
{
    while (s->depth >= 0) {
        struct dirent *e = readdir(s->dir[s->depth]);
        if (e == NULL) {
            closedir(s->dir[s->depth]);
            s->depth--;
            continue;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        size_t at = s->path_len[s->depth];
        snprintf(s->path + at, sizeof s->path - at, "/%s", e->d_name);
        if (!queue_id_valid(e->d_name)) {
            if (s->warn)
                log_warn("bogus file name: %s", s->path);
            continue;
        }
        if (e->d_type == DT_DIR || (e->d_type == DT_UNKNOWN && strlen(e->d_name) == 1)) {
            enter_directory(s, e->d_name);
            continue;
        }
        if (path)
            *path = s->path;
        return s->path + at + 1;
    }
    return NULL;
}

void queue_scan_free(struct queue_scan **s)
{
    if (*s == NULL)
        return;
    for (; (*s)->depth >= 0; (*s)->depth--)
        closedir((*s)->dir[(*s)->depth]);
    free(*s);
    *s = NULL;
}
