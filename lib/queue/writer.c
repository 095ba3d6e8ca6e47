/*
 * writer - one queue file while it is written
 *
 * Callers     cleanup, postdrop: through queue/file.h
 * Invariants  up to QUEUE_BUFFER_BYTES stay in memory, so a small message is one write with its size record in place
 *             the first error is kept; after it nothing is written
 * Errors      finish answers -1 with errno and leaves no file
 */
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "event/event.h"
#include "queue/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { CREATE_TRIES = 20, FIRST_BYTES = 8000 /* most messages need no more */ };

struct queue_writer {
    int fd, error;
    mode_t extra_mode;
    int64_t created_usec;
    off_t written; /* bytes in the file; what follows is in buf */
    struct str buf;
    bool expected; /* by event_sync: what is being written will soon be synced */
    const char *queue;
    char id[QUEUE_ID_BYTES];
};

static int create_file(const char *queue, mode_t mode, char path[QUEUE_PATH_BYTES], int64_t *usec)
{
    static long pid; /* makes the name likely to be free: O_EXCL decides */

    if (pid == 0)
        pid = (long) getpid();
    for (int i = 0; i < CREATE_TRIES; i++) {
        *usec = time_now_us();
        snprintf(path, QUEUE_PATH_BYTES, "%.64s/%ld.%ld", queue, (long) (*usec % 1000000), pid);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
        usleep(1); /* the name is the clock's: another message of this process has this microsecond */
    }
    return -1;
}

struct queue_writer *queue_writer_new(const char *queue, bool long_id, mode_t extra_mode)
{
    struct queue_writer *w = mem_new(sizeof *w);
    char temp[QUEUE_PATH_BYTES], path[QUEUE_PATH_BYTES];
    struct stat st;
    int keep;

    str_init(&w->buf, QUEUE_BUFFER_BYTES + RECORD_BYTES + RECORD_HEAD_BYTES);
    str_reserve(&w->buf, FIRST_BYTES);
    w->queue = queue;
    w->extra_mode = extra_mode;
    w->fd = create_file(queue, QUEUE_MODE_OPEN | extra_mode, temp, &w->created_usec);
    if (w->fd < 0)
        goto fail;
    if (fstat(w->fd, &st) < 0 || queue_lock(w->fd, true, false) < 0)
        goto fail_unlink;
    queue_id_make(w->id, long_id, w->created_usec, st.st_ino);
    queue_path(path, queue, w->id);
    if (rename(temp, path) < 0 && (errno != ENOENT || queue_mkdirs(queue, w->id) < 0 || rename(temp, path) < 0))
        goto fail_unlink;
    w->expected = true;
    event_sync_expect(true);
    return w;

fail_unlink:
    keep = errno;
    (void) unlink(temp);
    close(w->fd);
    errno = keep;
fail:
    keep = errno;
    str_free(&w->buf);
    free(w);
    errno = keep;
    return NULL;
}

const char *queue_writer_id(const struct queue_writer *w) { return w->id; }
const char *queue_writer_queue(const struct queue_writer *w) { return w->queue; }
int64_t queue_writer_created_usec(const struct queue_writer *w) { return w->created_usec; }
off_t queue_writer_offset(const struct queue_writer *w) { return w->written + (off_t) w->buf.len; }
int queue_writer_error(const struct queue_writer *w) { return w->error; }

static void write_out(struct queue_writer *w)
{
    if (w->error == 0 && file_write_all(w->fd, w->buf.p, w->buf.len) < 0)
        w->error = errno ? errno : EIO;
    w->written += (off_t) w->buf.len;
    str_reset(&w->buf);
}

void queue_writer_record(struct queue_writer *w, int type, struct slice data)
{
    if (data.len > RECORD_BYTES) {
        w->error = w->error ? w->error : EMSGSIZE;
        return;
    }
    record_put(&w->buf, type, data);
    if (w->buf.len >= QUEUE_BUFFER_BYTES)
        write_out(w);
}

void queue_writer_raw(struct queue_writer *w, struct slice records)
{
    while (records.len) {
        struct slice part = slice_sub(records, 0, QUEUE_BUFFER_BYTES);
        str_addslice(&w->buf, part);
        records = slice_sub(records, part.len, records.len);
        if (w->buf.len >= QUEUE_BUFFER_BYTES)
            write_out(w);
    }
}

int queue_writer_move(struct queue_writer *w, const char *queue)
{
    if (queue_move(w->id, w->queue, queue) < 0)
        return -1;
    w->queue = queue;
    return 0;
}

static void put_size(struct queue_writer *w, const struct queue_size *size)
{
    char text[QUEUE_SIZE_RECORD_BYTES];
    struct str head;

    queue_size_text(size, text);
    str_init(&head, QUEUE_SIZE_RECORD_BYTES);
    record_puts(&head, REC_SIZE, text);
    if (w->written == 0 && w->buf.len >= head.len)
        memcpy(w->buf.p, head.p, head.len);
    else if (pwrite(w->fd, head.p, head.len, 0) != (ssize_t) head.len)
        w->error = w->error ? w->error : errno ? errno : EIO;
    str_free(&head);
}

static void no_more_expected(struct queue_writer *w)
{
    if (w->expected)
        event_sync_expect(false);
    w->expected = false;
}

static void writer_free(struct queue_writer **w)
{
    no_more_expected(*w);
    str_free(&(*w)->buf);
    free(*w);
    *w = NULL;
}

int queue_writer_finish(struct queue_writer **writer, const struct queue_size *size)
{
    struct queue_writer *w = *writer;
    int error;

    if (size)
        put_size(w, size);
    write_out(w);
    /* The mode first: one fsync makes data, mode and name durable together. */
    struct event_sync file = { .fd = w->fd };
    no_more_expected(w);
    if (w->error == 0 && (fchmod(w->fd, QUEUE_MODE_READY | w->extra_mode) < 0 || event_sync(&file, 1) < 0))
        w->error = errno;
    error = w->error;
    if (error) {
        queue_writer_cancel(writer);
        errno = error;
        return -1;
    }
    close(w->fd); /* nothing is left to be written: fsync has told all there is to tell */
    writer_free(writer);
    return 0;
}

void queue_writer_cancel(struct queue_writer **w)
{
    if (*w == NULL)
        return;
    if (queue_remove((*w)->queue, (*w)->id) < 0 && errno != ENOENT)
        log_warn("%s: remove unfinished queue file: %s", (*w)->id, strerror(errno));
    close((*w)->fd);
    writer_free(w);
}

void queue_size_text(const struct queue_size *s, char out[QUEUE_SIZE_RECORD_BYTES])
{
    snprintf(out, QUEUE_SIZE_RECORD_BYTES, "%15ld %15ld %15ld %15ld %15ld %15ld", (long) s->data_bytes,
             (long) s->data_offset, (long) s->recipients, (long) s->qmgr_flags, (long) s->content_bytes,
             (long) s->sendopts);
}

int queue_size_parse(struct slice data, struct queue_size *out)
{
    int64_t *field[] = { &out->data_bytes, &out->data_offset,   &out->recipients,
                         &out->qmgr_flags, &out->content_bytes, &out->sendopts };
    struct slice word;
    size_t n = 0;

    *out = (struct queue_size){ 0 };
    while (n < sizeof field / sizeof *field && slice_word(&data, " ", &word))
        if (slice_i64(word, 0, INT64_MAX, field[n++]) < 0)
            return -1;
    return n ? 0 : -1;
}
