/*
 * content - the message from the queue file onto the wire
 *
 * Callers     transaction.c
 * Invariants  CR LF ends lines, dots are stuffed, a line longer than line_length_limit goes on behind CR LF and a
 *             blank (RFC 5321 4.5.3.1.6); the final "." is sent by the caller, so that a message that could not be
 *             read to its end is never taken for a whole one; a server without 8BITMIME gets 8-bit parts of MIME mail as
 *             quoted-printable (RFC 6152 3)
 * Errors      -1 the connection, -2 the queue file
 */
#include "smtp_internal.h"
#include "proto/mime/downgrade.h"
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

struct wire {
    struct session *s;
    struct line at;
    struct str out;
};

static void put(void *ctx, struct slice piece, bool ends)
{
    struct wire *w = ctx;

    put_piece(&w->out, &w->at, piece, ends);
    if (w->out.len < FLUSH_BYTES)
        return;
    stream_write(w->s->stream, w->out.p, w->out.len);
    str_reset(&w->out);
}

/* Every piece of the content through fn, while the connection lives. 0; -2 the queue file. */
static int each_piece(struct session *s, const struct deliver_request *rq, mime_downgrade_put *fn, void *ctx)
{
    struct queue_size size = { .data_bytes = rq->data_size,
                               .data_offset = rq->data_offset,
                               .content_bytes = rq->content_bytes };
    struct queue_content *content = queue_content_open(rq->fd, &size);
    struct slice piece;
    bool ends;
    int got = -1;

    if (content == NULL)
        return -2;
    while (stream_error(s->stream) == 0 && (got = queue_content_next(content, &piece, &ends)) == 1)
        fn(ctx, piece, ends);
    queue_content_free(&content);
    return got < 0 ? -2 : 0;
}

static void parse(void *parser, struct slice piece, bool ends)
{
    mime_parser_feed(parser, piece.p, piece.len);
    if (ends)
        mime_parser_feed(parser, "\n", 1);
}

static void downgrade(void *d, struct slice piece, bool ends) { mime_downgrade_feed(d, piece, ends); }

/* In two passes: what a part is shows in its header only after the header has been sent. */
static int send_downgraded(struct wire *w, const struct deliver_request *rq)
{
    struct arena *a = arena_new();
    struct mime_parser *parser = mime_parser_new(a);
    int status = each_piece(w->s, rq, parse, parser);
    const struct mime_part *root = mime_parser_end(parser);

    if (status == 0) {
        struct mime_downgrade *d = mime_downgrade_new(a, root, put, w);

        status = each_piece(w->s, rq, downgrade, d);
        mime_downgrade_end(d);
    }
    arena_free(&a);
    return status;
}

bool content_may_change(const struct session *s, const struct deliver_request *rq)
{
    return !opt.keep_8bit && !(s->features & SMTP_EHLO_8BITMIME) && strcmp(rq->encoding, "7bit") != 0;
}

int content_send(struct session *s, const struct deliver_request *rq)
{
    struct wire w = { .s = s, .at = { .starts = true } };

    str_init(&w.out, 0);
    s->doing = "sending message body";
    stream_timeout(s->stream, opt.data_xfer_timeout * 1000);
    int status = content_may_change(s, rq) ? send_downgraded(&w, rq) : each_piece(s, rq, put, &w);
    if (status == 0 && !w.at.starts) /* the last line had no end */
        put_piece(&w.out, &w.at, SLICE(""), true);
    stream_write(s->stream, w.out.p, w.out.len);
    str_free(&w.out);
    return stream_error(s->stream) != 0 ? -1 : status;
}
