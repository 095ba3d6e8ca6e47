/*
 * content - the message from the queue file onto the wire
 *
 * Callers     transaction.c
 * Invariants  CR LF ends lines, dots are stuffed, a line longer than line_length_limit goes on behind CR LF and a
 *             blank (RFC 5321 4.5.3.1.6); the final "." is sent by the caller, so that a message that could not be
 *             read to its end is never taken for a whole one
 * Errors      -1 the connection, -2 the queue file
 */
#include "smtp_internal.h"
#include "proto/smtp/data.h"
#include "queue/file.h"

enum { FLUSH_BYTES = 16 << 10 };

struct line { /* where on the line we are */
    size_t column;
    bool starts;
};

static void put_piece(struct str *out, struct line *at, struct slice piece, bool ends)
{
    size_t most = opt.line_length_limit > 0 ? (size_t) opt.line_length_limit : SIZE_MAX;

    while (at->column + piece.len > most) {
        size_t room = most - at->column;

        smtp_data_stuff(out, slice_sub(piece, 0, room), at->starts, true);
        str_addc(out, ' ');
        piece = slice_sub(piece, room, piece.len);
        at->column = 1;
        at->starts = false;
    }
    smtp_data_stuff(out, piece, at->starts, ends);
    at->column = ends ? 0 : at->column + piece.len;
    at->starts = ends;
}

int content_send(struct session *s, const struct deliver_request *rq)
{
    struct queue_size size = { .data_bytes = rq->data_size,
                               .data_offset = rq->data_offset,
                               .content_bytes = rq->content_bytes };
    struct queue_content *content = queue_content_open(rq->fd, &size);
    struct line at = { .starts = true };
    struct slice piece;
    struct str out;
    bool ends;
    int got = -1;

    if (content == NULL)
        return -2;
    str_init(&out, 0);
    s->doing = "sending message body";
    stream_timeout(s->stream, opt.data_xfer_timeout * 1000);
    while (stream_error(s->stream) == 0 && (got = queue_content_next(content, &piece, &ends)) == 1) {
        put_piece(&out, &at, piece, ends);
        if (out.len < FLUSH_BYTES)
            continue;
        stream_write(s->stream, out.p, out.len);
        str_reset(&out);
    }
    if (got == 0 && !at.starts) /* the last line had no end */
        put_piece(&out, &at, SLICE(""), true);
    stream_write(s->stream, out.p, out.len);
    str_free(&out);
    queue_content_free(&content);
    return stream_error(s->stream) != 0 ? -1 : got < 0 ? -2 : 0;
}
