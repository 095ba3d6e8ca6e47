/*
 * keywords - names of keywords: the first 26 in dovecot-keywords, more as extra.c learns them
 *
 * Callers     store/mailbox.c, store/scan.c, store/save.c, store/copy.c
 * Invariants  a letter never changes its name; the file is replaced under the uidlist's dotlock
 * Source      Dovecot: lines "<n> <keyword>", n from 0 to 25
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/dotlock.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define KEYWORDS_NAME "dovecot-keywords"
enum { FILE_BYTES = 65536 };

/* RFC 3501 atom, not beginning with a backslash; "]" is an atom's too. */
bool mailbox_keyword_valid(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > STORE_KEYWORD_BYTES)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!ascii_isprint(name[i]) || strchr(" (){%*\"\\", name[i]))
            return false;
    return true;
}

/* A keyword beyond the letters got one: from now on the files' names say who has it. */
static void drop(struct mailbox *box, int k)
{
    struct slice key;
    void *value;

    (void) mailbox_load(box); /* one that cannot be loaded knows no message */
    free(box->keywords[k]);
    box->keywords[k] = NULL;
    for (size_t at = 0; map_next(view_items(box), &at, &key, &value);)
        ((struct item *) value)->mail.keywords &= ~(1ull << k);
}

static void take_line(struct mailbox *box, struct slice line)
{
    struct slice number;
    uint64_t n;
    char *name;

    if (!slice_split(&line, ' ', &number) || line.p == NULL || slice_u64(number, FILE_KEYWORDS - 1, &n) < 0)
        return;
    name = mem_strndup(line.p, line.len);
    for (int k = FILE_KEYWORDS; k < STORE_KEYWORDS_MAX; k++)
        if (box->keywords[k] && strcasecmp(box->keywords[k], name) == 0)
            drop(box, k);
    if (mailbox_keyword_valid(name) && (box->keywords[n] == NULL || strcmp(box->keywords[n], name) != 0)) {
        free(box->keywords[n]);
        box->keywords[n] = name;
        box->keywords_changed = true;
    } else {
        free(name);
    }
}

int keywords_read(struct mailbox *box)
{
    struct stat st;
    struct str text;
    struct slice rest, line;
    int fd;
    char buf[4096];
    ssize_t n;

    if (fstatat(box->control_fd, KEYWORDS_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (box->keywords_inode == (uint64_t) st.st_ino && box->keywords_size == (uint64_t) st.st_size &&
        box->keywords_mtime_ns == store_mtime_ns(&st))
        return 0;
    if (!S_ISREG(st.st_mode) || (fd = openat(box->control_fd, KEYWORDS_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        return errno == ENOENT ? 0 : -1;
    str_init(&text, FILE_BYTES);
    while (!str_over(&text) && (n = file_read_all(fd, buf, sizeof buf)) > 0)
        str_add(&text, buf, (size_t) n);
    close(fd);
    rest = str_slice(&text);
    while (slice_split(&rest, '\n', &line))
        take_line(box, line);
    str_free(&text);
    box->keywords_inode = (uint64_t) st.st_ino;
    box->keywords_size = (uint64_t) st.st_size;
    box->keywords_mtime_ns = store_mtime_ns(&st);
    return 0;
}

static int find(const struct mailbox *box, const char *name)
{
    for (int k = 0; k < STORE_KEYWORDS_MAX; k++)
        if (box->keywords[k] && strcasecmp(box->keywords[k], name) == 0)
            return k;
    return -1;
}

/* Dovecot reads the file again when its mtime is of another second, so each version has a later one than the version
 * before: else what we write in the second of what it read stays unseen, and it gives the letter again. */
static int write_whole(struct mailbox *box, int fd, struct slice text)
{
    int64_t before = box->keywords_mtime_ns / 1000000000, now = time_now();
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                 { .tv_sec = (time_t) (now > before ? now : before + 1) } };

    return file_write_all(fd, text.p, text.len) < 0 || futimens(fd, times) < 0 || store_sync_fd(fd, false) < 0 ? -1
                                                                                                               : 0;
}

static int write_file(struct mailbox *box)
{
    static const char fresh[] = KEYWORDS_NAME ".tmp";
    struct str text;
    int ret = -1, keep, fd;

    str_init(&text, FILE_BYTES);
    for (int k = 0; k < FILE_KEYWORDS; k++)
        if (box->keywords[k])
            str_printf(&text, "%d %s\n", k, box->keywords[k]);
    (void) unlinkat(box->control_fd, fresh, 0); /* of one that died: the uidlist's lock is ours */
    fd = openat(box->control_fd, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && (ret = write_whole(box, fd, str_slice(&text))) == 0)
        ret = renameat(box->control_fd, fresh, box->control_fd, KEYWORDS_NAME);
    keep = errno;
    if (fd >= 0)
        close(fd);
    if (ret < 0)
        (void) unlinkat(box->control_fd, fresh, 0);
    str_free(&text);
    errno = keep;
    return ret;
}

static bool letters_full(const struct mailbox *box)
{
    for (int k = 0; k < FILE_KEYWORDS; k++)
        if (box->keywords[k] == NULL)
            return false;
    return true;
}

/* A number is this view's own: the index keeps it with the name, Dovecot's log has the name alone. */
static enum store_why make_extra(struct mailbox *box, const char *name, int *k)
{
    if (box->index_fd < 0)
        return store_fail(box->store, STORE_LIMIT, "%s: more than %d keywords need an index", box->path,
                          FILE_KEYWORDS);
    for (*k = FILE_KEYWORDS; *k < STORE_KEYWORDS_MAX && box->keywords[*k]; ++*k)
        ;
    if (*k == STORE_KEYWORDS_MAX)
        return store_fail(box->store, STORE_LIMIT, "%s: more than %d keywords", box->path, STORE_KEYWORDS_MAX);
    box->keywords[*k] = mem_strdup(name);
    box->keywords_changed = true;
    return STORE_OK;
}

/* Under the lock. */
static enum store_why make(struct mailbox *box, const char *name, int *k)
{
    if (keywords_read(box) < 0)
        return store_fail_errno(box->store, "read dovecot-keywords of", box->path);
    if ((*k = find(box, name)) >= 0)
        return STORE_OK;
    if (letters_full(box))
        return make_extra(box, name, k);
    for (*k = 0; box->keywords[*k]; ++*k)
        ;
    box->keywords[*k] = mem_strdup(name);
    box->keywords_changed = true;
    if (write_file(box) < 0) {
        free(box->keywords[*k]);
        box->keywords[*k] = NULL;
        return store_fail_errno(box->store, "write dovecot-keywords of", box->path);
    }
    return STORE_OK;
}

enum store_why keywords_bits(struct mailbox *box, const char *const *names, bool create, uint64_t *bits)
{
    enum store_why why = STORE_OK;
    bool locked = false;
    int k;

    *bits = 0;
    for (; names && *names && why == STORE_OK; names++) {
        if ((k = find(box, *names)) < 0 && create) {
            if (!mailbox_keyword_valid(*names)) {
                why = store_fail(box->store, STORE_BAD_NAME, "not a keyword");
                break;
            }
            if (!locked && (box->lock_fd = together_lock(box)) < 0)
                return store_fail_errno(box->store, "lock", box->path);
            locked = true;
            why = make(box, *names, &k);
        }
        if (why == STORE_OK && k >= 0)
            *bits |= 1ull << k;
    }
    if (locked)
        scan_unlock(box);
    return why;
}

int keywords_extra(struct mailbox *box, const char *name, bool create)
{
    int k = find(box, name);

    if (k >= 0)
        return k;
    if (!create || !letters_full(box)) /* Dovecot's log names it first, then it gets its letter */
        return -1;
    if (make_extra(box, name, &k) == STORE_OK)
        return k;
    if (!box->keywords_told)
        log_warn("%s: keyword %s is not shown: more than %d in this mailbox", box->path, name, STORE_KEYWORDS_MAX);
    box->keywords_told = true;
    return -1;
}

size_t mailbox_keyword_count(const struct mailbox *box)
{
    size_t n = STORE_KEYWORDS_MAX;

    while (n && box->keywords[n - 1] == NULL)
        n--;
    return n;
}

const char *mailbox_keyword(const struct mailbox *box, size_t n)
{
    if (n >= mailbox_keyword_count(box))
        return NULL;
    return box->keywords[n] ? box->keywords[n] : "";
}
