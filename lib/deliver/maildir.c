/*
 * maildir - see maildir.h
 *
 * Callers     lmtpd, local/virtual
 * Invariants  see maildir.h
 * Errors      -1 with *err; texts are Postfix's where virtual(8) has words for it
 */
#include "deliver/maildir.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "event/event.h"
#include "store/filename.h"
#include "store/index.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BYTES = 1 << 16, HEADER_BYTES = 1 << 16, COPY_BYTES = 1 << 20 };

struct maildir_message {
    int dir_fd, fd; /* of the first mailbox and of the file written there */
    char *dir;      /* of the first mailbox */
    struct str tmp; /* "tmp/NAME" while it stands there; "" after the first delivery */
    struct str buffer, header;
    int64_t limit;
    uint64_t bytes, virtual;
    int error; /* errno of the first failure */
    bool ended;
    struct arena *arena;
    struct mime_parser *parser;
    struct mime_part *root;
};

static int fail(struct err *err, int why, const char *what, const char *where)
{
    bool full = why == ENOSPC || why == EDQUOT;
    int code = why == EDQUOT ? 452 : why == EFBIG ? 552 : 451;
    const char *dsn = why == EDQUOT ? "4.2.2" : why == EFBIG ? "5.2.3" : full ? "4.3.1" : "4.2.0";

    return err_set(err, code, dsn, "maildir delivery failed: %s %s: %s", what, where, strerror(why));
}

/* "a/b/c": directories that are missing are made, from the first on. */
static int make_parents(const char *dir)
{
    char *path = mem_strdup(dir);
    size_t len = strlen(path);
    int ret = 0;

    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    for (char *p = path + 1; ret == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char c = *p;
        *p = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST) {
            struct stat st;
            int keep = errno; /* a directory above our reach may stand there already */
            if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
                errno = keep;
                ret = -1;
            }
        }
        *p = c;
        if (c == '\0')
            break;
    }
    free(path);
    return ret;
}

static int open_dir(const char *dir, unsigned how)
{
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT && how & MAILDIR_MAKE && make_parents(dir) == 0)
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && how & MAILDIR_MAKE && fstatat(fd, "new", &st, AT_SYMLINK_NOFOLLOW) < 0 &&
        store_make_maildir(fd, ".", false) < 0) {
        int keep = errno;
        close(fd);
        errno = keep;
        return -1;
    }
    return fd;
}

/* Opens NAME in "tmp" or "new" of the mailbox without following a link there. */
static int sub_dir(int dir_fd, const char *sub)
{
    return openat(dir_fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int create_tmp(int dir_fd, struct str *name)
{
    int tmp_fd = sub_dir(dir_fd, "tmp"), fd, keep;

    if (tmp_fd < 0)
        return -1;
    str_set(name, "");
    file_name_new(name, FILE_SIZE_UNKNOWN, FILE_SIZE_UNKNOWN);
    fd = openat(tmp_fd, name->p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    keep = errno;
    close(tmp_fd);
    errno = keep;
    return fd;
}

static void remove_tmp(int dir_fd, const char *name)
{
    int tmp_fd = sub_dir(dir_fd, "tmp");

    if (tmp_fd >= 0) {
        (void) unlinkat(tmp_fd, name, 0);
        close(tmp_fd);
    }
}

int maildir_begin(const char *dir, unsigned how, int64_t limit, struct maildir_message **out, struct err *err)
{
    struct maildir_message *m = mem_new(sizeof *m);
    int keep;

    *out = NULL;
    m->fd = -1;
    m->dir = mem_strdup(dir);
    m->limit = limit;
    str_init(&m->tmp, 1024);
    str_init(&m->buffer, 2 * WRITE_BYTES);
    str_init(&m->header, HEADER_BYTES);
    m->dir_fd = open_dir(dir, how);
    if (m->dir_fd >= 0)
        m->fd = create_tmp(m->dir_fd, &m->tmp);
    if (m->fd < 0) {
        keep = errno;
        if (keep == EACCES || keep == EPERM)
            log_warn("maildir access problem for UID/GID=%u/%u: create maildir file in %s: %s", (unsigned) geteuid(),
                     (unsigned) getegid(), dir, strerror(keep));
        str_reset(&m->tmp);
        maildir_free(&m);
        return fail(err, keep, "create maildir file in", dir);
    }
    m->arena = arena_new();
    m->parser = mime_parser_new(m->arena);
    *out = m;
    return 0;
}

static void flush(struct maildir_message *m)
{
    if (m->error == 0 && m->buffer.len && file_write_all(m->fd, m->buffer.p, m->buffer.len) < 0)
        m->error = errno;
    str_reset(&m->buffer);
}

void maildir_write(struct maildir_message *m, const void *bytes, size_t len)
{
    const char *p = bytes;
    size_t room = HEADER_BYTES - m->header.len;

    if (m->error || len == 0)
        return;
    m->bytes += len;
    if (m->limit > 0 && m->bytes > (uint64_t) m->limit) {
        m->error = EFBIG;
        return;
    }
    mime_parser_feed(m->parser, p, len);
    str_add(&m->header, p, len < room ? len : room);
    if (len >= WRITE_BYTES) {
        flush(m);
        if (m->error == 0 && file_write_all(m->fd, p, len) < 0)
            m->error = errno;
        return;
    }
    str_add(&m->buffer, p, len);
    if (m->buffer.len >= WRITE_BYTES)
        flush(m);
}

bool maildir_too_big(const struct maildir_message *m) { return m->error == EFBIG; }
uint64_t maildir_bytes(const struct maildir_message *m) { return m->bytes; }

int maildir_end(struct maildir_message *m, struct err *err)
{
    flush(m);
    m->root = mime_parser_end(m->parser);
    m->parser = NULL;
    m->virtual = m->root->header.virtual + m->root->body.virtual;
    m->ended = true;
    return m->error ? fail(err, m->error, "error writing message in", m->dir) : 0;
}

struct sync_arg {
    int fd, ret, err;
};

static void sync_now(void *p)
{
    struct sync_arg *arg = p;

    arg->ret = fsync(arg->fd);
    arg->err = errno;
}

static int sync_file(int fd)
{
    struct sync_arg arg = { .fd = fd };

    if (fiber_self())
        event_offload(sync_now, &arg);
    else
        sync_now(&arg);
    errno = arg.err;
    return arg.ret;
}

/* A second mailbox's own file. */
static int copy_file(struct maildir_message *m, int dir_fd, struct str *name)
{
    int fd = create_tmp(dir_fd, name), keep;
    char *buf;
    off_t at = 0;
    ssize_t n = 1;

    if (fd < 0)
        return -1;
    buf = mem_array(COPY_BYTES, 1);
    while (at < (off_t) m->bytes && (n = pread(m->fd, buf, COPY_BYTES, at)) > 0) {
        if (file_write_all(fd, buf, (size_t) n) < 0) {
            n = -1;
            break;
        }
        at += n;
    }
    free(buf);
    if (n > 0 && at == (off_t) m->bytes)
        return fd;
    keep = n < 0 ? errno : EIO;
    close(fd);
    remove_tmp(dir_fd, name->p);
    errno = keep;
    return -1;
}

/* tmp/NAME becomes new/BASE. renameat would replace: RENAME_NOREPLACE, where the file system knows it. */
static int publish(int dir_fd, const char *tmp, const char *base)
{
    int tmp_fd = sub_dir(dir_fd, "tmp"), new_fd = sub_dir(dir_fd, "new"), ret = -1, keep;

    if (tmp_fd >= 0 && new_fd >= 0) {
        ret = renameat2(tmp_fd, tmp, new_fd, base, RENAME_NOREPLACE);
        if (ret < 0 && errno == EINVAL)
            ret = renameat(tmp_fd, tmp, new_fd, base);
    }
    keep = errno;
    if (tmp_fd >= 0)
        close(tmp_fd);
    if (new_fd >= 0)
        close(new_fd);
    errno = keep;
    return ret;
}

static void tell_index(struct maildir_message *m, int dir_fd, const struct str *base)
{
    struct str record;

    if (m->root->header.physical > m->header.len)
        return;
    str_init(&record, INDEX_RECORD_BYTES);
    index_message_make(&record, str_slice(base), m->root,
                       slice_sub(str_slice(&m->header), 0, m->root->header.physical));
    if (record.len)
        index_add_message(dir_fd, str_slice(&record));
    str_free(&record);
}

static int deliver_into(struct maildir_message *m, int dir_fd, bool first, const char *dir, unsigned how,
                        struct err *err)
{
    struct str base, tmp;
    int fd = m->fd, ret = -1;

    str_init(&base, 1024);
    str_init(&tmp, 1024);
    if (first)
        str_adds(&tmp, m->tmp.p);
    else
        fd = copy_file(m, dir_fd, &tmp);
    file_name_new(&base, m->bytes, m->virtual);
    if (fd < 0) {
        ret = fail(err, errno, "copy message into", dir);
    } else if (publish(dir_fd, tmp.p, base.p) < 0) {
        ret = fail(err, errno, "create maildir file in", dir);
        remove_tmp(dir_fd, tmp.p);
    } else if (sync_file(fd) < 0) {
        int why = errno, new_fd = sub_dir(dir_fd, "new");
        if (new_fd >= 0) { /* not durable: better delivered twice than told lost */
            (void) unlinkat(new_fd, base.p, 0);
            close(new_fd);
        }
        ret = fail(err, why, "sync message in", dir);
    } else {
        if (!(how & MAILDIR_NO_INDEX))
            tell_index(m, dir_fd, &base);
        ret = 0;
    }
    if (first)
        str_reset(&m->tmp);
    else if (fd >= 0)
        close(fd);
    str_free(&base);
    str_free(&tmp);
    return ret;
}

int maildir_deliver(struct maildir_message *m, const char *dir, unsigned how, struct err *err)
{
    bool first = m->tmp.len && strcmp(dir, m->dir) == 0;
    int dir_fd, ret;

    if (m->error || !m->ended)
        return fail(err, m->error ? m->error : EINVAL, "error writing message in", m->dir);
    if (first)
        return deliver_into(m, m->dir_fd, true, dir, how, err);
    if ((dir_fd = open_dir(dir, how)) < 0)
        return fail(err, errno, "create maildir file in", dir);
    ret = deliver_into(m, dir_fd, false, dir, how, err);
    close(dir_fd);
    return ret;
}

void maildir_free(struct maildir_message **pm)
{
    struct maildir_message *m = *pm;

    if (m == NULL)
        return;
    if (m->parser)
        (void) mime_parser_end(m->parser);
    if (m->tmp.len)
        remove_tmp(m->dir_fd, m->tmp.p);
    if (m->fd >= 0)
        close(m->fd);
    if (m->dir_fd >= 0)
        close(m->dir_fd);
    arena_free(&m->arena);
    str_free(&m->tmp);
    str_free(&m->buffer);
    str_free(&m->header);
    free(m->dir);
    free(m);
    *pm = NULL;
}
