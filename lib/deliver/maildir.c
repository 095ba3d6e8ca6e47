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
#include "deliver/box.h"
#include "event/event.h"
#include "store/filename.h"
#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITE_BYTES = 1 << 16, HEADER_BYTES = 1 << 16, COPY_BYTES = 1 << 20 };

struct maildir_message {
    struct deliver_box *box; /* the first one */
    int fd;                  /* of the file written there */
    char *dir;
    struct str tmp;    /* its name in tmp/ while it stands there; "" after the first delivery */
    struct str listed; /* its name in new/ while the index is to learn of it; "": nothing to tell */
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

static int create_tmp(const struct deliver_box *box, struct str *name)
{
    str_set(name, "");
    file_name_new(name, FILE_SIZE_UNKNOWN, FILE_SIZE_UNKNOWN);
    return openat(box->tmp_fd, name->p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* A box with a new file in its tmp/; -1. */
static int begin_file(const char *dir, unsigned how, struct deliver_box **box, struct str *name)
{
    for (int tries = 0;; tries++) {
        int fd;

        if ((*box = deliver_box_get(dir, how & MAILDIR_MAKE)) == NULL)
            return -1;
        if ((fd = create_tmp(*box, name)) >= 0)
            return fd;
        int keep = errno;
        deliver_box_drop(*box); /* without its tmp/, perhaps */
        deliver_box_put(box);
        errno = keep;
        if (keep != ENOENT || tries)
            return -1;
    }
}

int maildir_begin(const char *dir, unsigned how, int64_t limit, struct maildir_message **out, struct err *err)
{
    struct maildir_message *m = mem_new(sizeof *m);
    int keep;

    *out = NULL;
    m->dir = mem_strdup(dir);
    m->limit = limit;
    str_init(&m->tmp, 1024);
    str_init(&m->listed, 1024);
    str_init(&m->buffer, 2 * WRITE_BYTES);
    str_init(&m->header, HEADER_BYTES);
    m->fd = begin_file(dir, how, &m->box, &m->tmp);
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

/* The parser sees large pieces, not lines. */
static void take(struct maildir_message *m, const char *p, size_t len)
{
    size_t room = HEADER_BYTES - m->header.len;

    if (m->error || len == 0)
        return;
    mime_parser_feed(m->parser, p, len);
    str_add(&m->header, p, len < room ? len : room);
    if (file_write_all(m->fd, p, len) < 0)
        m->error = errno;
}

static void flush(struct maildir_message *m)
{
    take(m, m->buffer.p, m->buffer.len);
    str_reset(&m->buffer);
}

void maildir_write(struct maildir_message *m, const void *p, size_t len)
{
    if (m->error || len == 0)
        return;
    m->bytes += len;
    if (m->limit > 0 && m->bytes > (uint64_t) m->limit) {
        m->error = EFBIG;
        return;
    }
    if (len >= WRITE_BYTES) {
        flush(m);
        take(m, p, len);
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

/* A second mailbox's own file. */
static int copy_file(struct maildir_message *m, const char *dir, unsigned how, struct deliver_box **box,
                     struct str *name)
{
    int fd = begin_file(dir, how, box, name), keep;
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
    (void) unlinkat((*box)->tmp_fd, name->p, 0);
    deliver_box_put(box);
    errno = keep;
    return -1;
}

/* tmp/NAME becomes new/BASE. renameat would replace: RENAME_NOREPLACE, where the file system knows it. */
static int publish(const struct deliver_box *box, const char *tmp, const char *base)
{
    int ret = renameat2(box->tmp_fd, tmp, box->new_fd, base, RENAME_NOREPLACE);

    return ret < 0 && errno == EINVAL ? renameat(box->tmp_fd, tmp, box->new_fd, base) : ret;
}

static void tell_index(const struct maildir_message *m, struct deliver_box *box, const struct str *base)
{
    struct str record;

    if (m->root->header.physical > m->header.len)
        return;
    str_init(&record, INDEX_RECORD_BYTES);
    index_message_make(&record, str_slice(base), m->root,
                       slice_sub(str_slice(&m->header), 0, m->root->header.physical));
    if (record.len)
        index_add_message(&box->index, box->dir_fd, str_slice(&record));
    str_free(&record);
}

static int make_durable(const struct deliver_box *box, int fd, const char *base)
{
    struct event_sync whole = { .fd = fd };
    struct journal_message one = { .fd = fd, .name = base, .in_new = true };
    struct journal *journal = journal_for(box->dir_fd, false);

    return journal && journal_take(&journal, &one, 1) ? 0 : event_sync(&whole, 1);
}

/* The file, written whole to tmp/, becomes a message of that mailbox. */
static int settle(struct maildir_message *m, struct deliver_box *box, int fd, const char *tmp, unsigned how,
                  struct err *err)
{
    struct str base;
    int ret = 0;

    str_init(&base, 1024);
    file_name_new(&base, m->bytes, m->virtual);
    if (publish(box, tmp, base.p) < 0) {
        ret = fail(err, errno, "create maildir file in", box->path);
        (void) unlinkat(box->tmp_fd, tmp, 0);
        deliver_box_drop(box);
    } else if (make_durable(box, fd, base.p) < 0) { /* not durable: better delivered twice than told lost */
        ret = fail(err, errno, "sync message in", box->path);
        (void) unlinkat(box->new_fd, base.p, 0);
    } else if (!(how & MAILDIR_NO_INDEX)) {
        if (fd == m->fd)
            str_set(&m->listed, base.p);
        else
            tell_index(m, box, &base);
    }
    str_free(&base);
    return ret;
}

int maildir_deliver(struct maildir_message *m, const char *dir, unsigned how, struct err *err)
{
    struct deliver_box *box;
    struct str tmp;
    int fd, ret;

    if (m->error || !m->ended)
        return fail(err, m->error ? m->error : EINVAL, "error writing message in", m->dir);
    if (m->tmp.len && strcmp(dir, m->dir) == 0) {
        ret = settle(m, m->box, m->fd, m->tmp.p, how, err);
        str_reset(&m->tmp);
        return ret;
    }
    str_init(&tmp, 1024);
    fd = copy_file(m, dir, how, &box, &tmp);
    if (fd < 0) {
        ret = fail(err, errno, "copy message into", dir);
    } else {
        ret = settle(m, box, fd, tmp.p, how, err);
        close(fd);
        deliver_box_put(&box);
    }
    str_free(&tmp);
    return ret;
}

void maildir_free(struct maildir_message **pm)
{
    struct maildir_message *m = *pm;

    if (m == NULL)
        return;
    if (m->parser)
        (void) mime_parser_end(m->parser);
    if (m->listed.len)
        tell_index(m, m->box, &m->listed);
    if (m->tmp.len)
        (void) unlinkat(m->box->tmp_fd, m->tmp.p, 0);
    if (m->fd >= 0)
        close(m->fd);
    deliver_box_put(&m->box);
    arena_free(&m->arena);
    str_free(&m->tmp);
    str_free(&m->listed);
    str_free(&m->buffer);
    str_free(&m->header);
    free(m->dir);
    free(m);
    *pm = NULL;
}

void maildir_finish(void) { journal_finish(); }
