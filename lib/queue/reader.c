/*
 * reader - the records of a queue file, pointers followed
 *
 * Callers     qmgr, delivery agents, bounce, showq, pickup, the tools: through queue/file.h
 * Invariants  reads by pread: a descriptor can be shared with other processes
 *             a jump backwards is counted, so that no file keeps a reader for ever
 * Errors      -1 with errno; EBADMSG: the file is damaged
 */
#include "queue/file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_BYTES = 8 << 10 }; /* an envelope and a small message; who reads on reads more at a time */

struct queue_reader {
    int fd;
    bool raw, ended; /* ended: the file does, where buf does */
    int jumps_back;
    off_t offset; /* of the next record */
    off_t base;   /* where in the file buf begins */
    struct str buf;
};

struct queue_reader *queue_reader_new(int fd)
{
    struct queue_reader *r = mem_new(sizeof *r);

    r->fd = fd;
    str_init(&r->buf, RECORD_BYTES + RECORD_HEAD_BYTES + QUEUE_BUFFER_BYTES);
    return r;
}

void queue_reader_free(struct queue_reader **r)
{
    if (*r == NULL)
        return;
    str_free(&(*r)->buf);
    free(*r);
    *r = NULL;
}

void queue_reader_seek(struct queue_reader *r, off_t to) { r->offset = to; }
off_t queue_reader_tell(const struct queue_reader *r) { return r->offset; }
void queue_reader_raw(struct queue_reader *r, bool raw) { r->raw = raw; }

/* Makes `need` bytes from offset on available; answers how many there are (fewer at the end of the file), -1. */
static ssize_t have_bytes(struct queue_reader *r, size_t need)
{
    if (r->offset < r->base || r->offset > r->base + (off_t) r->buf.len) {
        r->base = r->offset;
        r->ended = false;
        str_reset(&r->buf);
    }
    size_t skip = (size_t) (r->offset - r->base);
    if (r->buf.len - skip >= need)
        return (ssize_t) (r->buf.len - skip);
    str_drop(&r->buf, skip);
    r->base = r->offset;
    while (r->buf.len < need && !r->ended) {
        size_t want = r->buf.cap ? QUEUE_BUFFER_BYTES : FIRST_BYTES;
        if (want < need - r->buf.len)
            want = need - r->buf.len;
        str_reserve(&r->buf, want);
        size_t room = r->buf.cap - r->buf.len - 1;
        if (room < want)
            want = room;
        ssize_t n = pread(r->fd, r->buf.p + r->buf.len, want, r->base + (off_t) r->buf.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        r->ended = (size_t) n < want;
        r->buf.len += (size_t) n;
        r->buf.p[r->buf.len] = 0;
    }
    return (ssize_t) r->buf.len;
}

static int read_one(struct queue_reader *r, struct record *out)
{
    ssize_t have = have_bytes(r, RECORD_HEAD_BYTES);
    size_t len = 0;
    int head;

    if (have <= 0)
        return (int) have;
    head = record_head(r->buf.p + (r->offset - r->base), (size_t) have, &len);
    if (head > 0)
        have = have_bytes(r, (size_t) head + len);
    if (have < 0)
        return -1;
    if (head <= 0 || (size_t) have < (size_t) head + len) {
        errno = EBADMSG; /* a file that ends inside a record */
        return -1;
    }
    const char *p = r->buf.p + (r->offset - r->base);
    out->type = (unsigned char) *p;
    out->data = slice_make(p + head, len);
    r->offset += head + (off_t) len;
    return 1;
}

int queue_reader_next(struct queue_reader *r, struct record *out, off_t *offset)
{
    for (;;) {
        off_t at = r->offset;
        int rc = read_one(r, out);
        int64_t to;

        if (rc <= 0)
            return rc;
        if (offset)
            *offset = at;
        if (r->raw || (out->type != REC_PTR && out->type != REC_DTXT))
            return 1;
        if (out->type == REC_DTXT)
            continue;
        if (slice_i64(slice_trim(out->data), 0, INT64_MAX, &to) < 0 ||
            (to && to < at && ++r->jumps_back > QUEUE_JUMPS_BACK) || to == at) {
            errno = EBADMSG;
            return -1;
        }
        if (to)
            r->offset = to;
    }
}

struct queue_content {
    struct queue_reader *reader;
    bool ended;
};

struct queue_content *queue_content_open(int fd, const struct queue_size *size)
{
    struct queue_content *c = mem_new(sizeof *c);

    c->reader = queue_reader_new(fd);
    queue_reader_seek(c->reader, size->data_offset);
    return c;
}

int queue_content_next(struct queue_content *c, struct slice *piece, bool *ends_line)
{
    struct record rec;
    int rc;

    if (c->ended)
        return 0;
    rc = queue_reader_next(c->reader, &rec, NULL);
    if (rc < 0)
        return -1;
    if (rc == 1 && (rec.type == REC_NORM || rec.type == REC_CONT)) {
        *piece = rec.data;
        *ends_line = rec.type == REC_NORM;
        return 1;
    }
    if (rc == 0 || rec.type != REC_XTRA) {
        errno = EBADMSG; /* the content ends with X and nothing else */
        return -1;
    }
    c->ended = true;
    return 0;
}

void queue_content_free(struct queue_content **c)
{
    if (*c == NULL)
        return;
    queue_reader_free(&(*c)->reader);
    free(*c);
    *c = NULL;
}
