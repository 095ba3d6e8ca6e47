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
    int fd;                  /* of the file written there; -1: none yet */
    char *dir;
    struct str tmp;            /* its name in tmp/ while it stands there */
    bool delivered;            /* there */
    struct str listed;         /* its name in new/ while the index is to learn of it; "": nothing to tell */
    struct str buffer, header; /* buffer: the parser has not got it; or, of a whole message, the file */
    int64_t limit;
    uint64_t bytes, virtual;
    int error; /* errno of the first failure */
    bool ended;
    bool make;    /* directories that are missing */
    bool whole;   /* the message is what buffer holds */
    bool written; /* and so is the file */
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

/* A box with a new file in its tmp/; -1. later: 0 without one where the mailbox takes a message after the other, to be
 * made while the disk is at work on the journal. */
static int begin_file(const char *dir, unsigned how, struct deliver_box **box, struct str *name, int *out, bool later)
{
    for (int tries = 0;; tries++) {
        if ((*box = deliver_box_get(dir, how & MAILDIR_MAKE)) == NULL)
            return -1;
        if ((later && journal_ready((*box)->dir_fd)) || (*out = create_tmp(*box, name)) >= 0)
            return 0;
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
    m->make = how & MAILDIR_MAKE;
    str_init(&m->tmp, 1024);
    str_init(&m->listed, 1024);
    str_init(&m->buffer, 2 * WRITE_BYTES);
    str_init(&m->header, HEADER_BYTES);
    m->fd = -1;
    if (begin_file(dir, how, &m->box, &m->tmp, &m->fd, true) < 0) {
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
static void read_piece(struct maildir_message *m, const char *p, size_t len)
{
    size_t room = HEADER_BYTES - m->header.len;

    mime_parser_feed(m->parser, p, len);
    str_add(&m->header, p, len < room ? len : room);
}

static int make_file(struct maildir_message *m)
{
    if (m->fd < 0)
        m->fd = create_tmp(m->box, &m->tmp);
    if (m->fd < 0 && errno == ENOENT && m->make && deliver_box_mend(m->box) == 0)
        m->fd = create_tmp(m->box, &m->tmp);
    return m->fd < 0 ? -1 : 0;
}

static void take(struct maildir_message *m, const char *p, size_t len)
{
    if (m->error || len == 0)
        return;
    read_piece(m, p, len);
    if (make_file(m) < 0 || file_write_all(m->fd, p, len) < 0)
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

/* A message that fits the buffer is written while the journal's disk is at work on it. */
int maildir_end(struct maildir_message *m, struct err *err)
{
    m->whole = m->error == 0 && m->bytes == m->buffer.len;
    if (m->whole)
        read_piece(m, m->buffer.p, m->buffer.len);
    else
        flush(m);
    m->root = mime_parser_end(m->parser);
    m->parser = NULL;
    m->virtual = m->root->header.virtual + m->root->body.virtual;
    m->ended = true;
    return m->error ? fail(err, m->error, "error writing message in", m->dir) : 0;
}

/* A failure is that mailbox's alone: others have files of their own. */
static int write_out(struct maildir_message *m)
{
    if (m->whole && !m->written && (make_file(m) < 0 || file_write_all(m->fd, m->buffer.p, m->buffer.len) < 0))
        return -1;
    m->written = true;
    return 0;
}

static int copy_bytes(const struct maildir_message *m, int fd)
{
    char *buf;
    off_t at = 0;
    ssize_t n = 1;

    if (m->whole)
        return file_write_all(fd, m->buffer.p, m->buffer.len);
    buf = mem_array(COPY_BYTES, 1);
    while (at < (off_t) m->bytes && (n = pread(m->fd, buf, COPY_BYTES, at)) > 0) {
        if (file_write_all(fd, buf, (size_t) n) < 0) {
            n = -1;
            break;
        }
        at += n;
    }
    free(buf);
    if (n == 0)
        errno = EIO; /* it has become shorter */
    return n > 0 ? 0 : -1;
}

/* A second mailbox's own file. */
static int copy_file(struct maildir_message *m, const char *dir, unsigned how, struct deliver_box **box,
                     struct str *name)
{
    int fd, keep;

    if (begin_file(dir, how, box, name, &fd, false) < 0)
        return -1;
    if (copy_bytes(m, fd) == 0)
        return fd;
    keep = errno;
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

/* now: only where nobody has to be waited for. false: not told. */
static bool tell_index(const struct maildir_message *m, struct deliver_box *box, const struct str *base, bool now)
{
    struct str record;
    bool told = true;

    if (m->root->header.physical > m->header.len)
        return true;
    str_init(&record, INDEX_RECORD_BYTES);
    index_message_make(&record, str_slice(base), m->root,
                       slice_sub(str_slice(&m->header), 0, m->root->header.physical));
    if (record.len && now)
        told = index_add_message_now(&box->index, box->dir_fd, str_slice(&record));
    else if (record.len)
        index_add_message(&box->index, box->dir_fd, str_slice(&record));
    str_free(&record);
    return told;
}

static struct journal_batch *begin_journal(struct journal *journal, const struct maildir_message *m, int fd,
                                           const char *base)
{
    struct journal_message one = {
        .text = m->whole ? str_slice(&m->buffer) : (struct slice){ NULL, 0 }, .fd = fd, .name = base, .in_new = true
    };

    return journal ? journal_begin(journal, &one, 1) : NULL;
}

/* The message with its file in tmp/ of one mailbox. */
struct copy {
    struct maildir_message *m;
    struct deliver_box *box;
    int fd; /* -1: m's own, which may have to be made yet */
    const char *tmp;
    bool own, index; /* index: it has to learn of it */
};

/* It gets its name; and while the disk is busy the index learns of it, if nobody has it locked. */
static int name_copy(struct copy *c, const struct str *base, bool busy, struct err *err)
{
    struct maildir_message *m = c->m;
    int written = c->own ? write_out(m) : 0;

    if (c->own) { /* also what was written in part: it is to be removed */
        c->fd = m->fd;
        c->tmp = m->tmp.p;
    }
    if (written < 0)
        return fail(err, errno, "error writing message in", m->dir);
    if (publish(c->box, c->tmp, base->p) < 0)
        return fail(err, errno, "create maildir file in", c->box->path);
    if (c->index && busy)
        c->index = !tell_index(m, c->box, base, true);
    return 0;
}

static int settle(struct copy *c, const struct str *base, struct err *err)
{
    struct journal *journal = journal_for(c->box->dir_fd, false);
    struct journal_batch *batch = begin_journal(journal, c->m, c->fd, base->p);
    int ret = name_copy(c, base, batch != NULL, err);
    bool durable = journal && journal_end(&journal, batch, ret == 0);

    if (ret < 0) {
        if (c->tmp && *c->tmp)
            (void) unlinkat(c->box->tmp_fd, c->tmp, 0);
        deliver_box_drop(c->box);
        return ret;
    }
    if (!durable && event_sync(&(struct event_sync){ .fd = c->fd }, 1) < 0) { /* better twice than told lost */
        ret = fail(err, errno, "sync message in", c->box->path);
        (void) unlinkat(c->box->new_fd, base->p, 0);
    } else if (c->index && c->own) {
        str_set(&c->m->listed, base->p);
    } else if (c->index) {
        (void) tell_index(c->m, c->box, base, false);
    }
    return ret;
}

/* The file, written whole to tmp/, becomes a message of that mailbox. */
static int settle_copy(struct copy *c, struct err *err)
{
    struct str base;
    int ret;

    str_init(&base, 1024);
    file_name_new(&base, c->m->bytes, c->m->virtual);
    ret = settle(c, &base, err);
    str_free(&base);
    return ret;
}

int maildir_deliver(struct maildir_message *m, const char *dir, unsigned how, struct err *err)
{
    struct copy c = {
        .m = m, .box = m->box, .fd = m->fd, .tmp = m->tmp.p, .own = true, .index = !(how & MAILDIR_NO_INDEX)
    };
    struct str tmp;
    int ret;

    if (m->error || !m->ended)
        return fail(err, m->error ? m->error : EINVAL, "error writing message in", m->dir);
    if (!m->delivered && strcmp(dir, m->dir) == 0) {
        ret = settle_copy(&c, err);
        str_reset(&m->tmp);
        m->delivered = true;
        return ret;
    }
    str_init(&tmp, 1024);
    c.own = false;
    c.fd = copy_file(m, dir, how, &c.box, &tmp);
    if (c.fd < 0) {
        ret = fail(err, errno, "copy message into", dir);
    } else {
        c.tmp = tmp.p;
        ret = settle_copy(&c, err);
        close(c.fd);
        deliver_box_put(&c.box);
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
        (void) tell_index(m, m->box, &m->listed, false);
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
