/*
 * smtp data - the streaming machine that takes dots away, and its inverse
 *
 * Callers     see data.h
 * Invariants  no line is copied when it lies whole in the input
 * Source      RFC 5321 4.5.2 (transparency), 2.3.8 (lines), RFC 3030 (BDAT)
 */
#include "proto/smtp/data.h"

void smtp_data_init(struct smtp_data *d, size_t part_bytes, bool chunked)
{
    *d = (struct smtp_data){ .part_bytes = part_bytes < 2 ? 2 : part_bytes, .chunked = chunked, .after_crlf = true };
    str_init(&d->carry, STR_UNLIMITED); /* bounded by part_bytes: smtp_data_feed empties it */
}

void smtp_data_free(struct smtp_data *d) { str_free(&d->carry); }

static void count_cr(struct smtp_data *d, struct slice s)
{
    const char *at = s.p, *end = s.p + s.len;

    while (at < end && (at = memchr(at, '\r', (size_t) (end - at))) != NULL) {
        d->bare_cr++;
        at++;
    }
}

/* The dot is looked at only where a line starts. */
static struct slice unstuff(const struct smtp_data *d, struct slice s)
{
    if (!d->chunked && !d->middle && s.len > 1 && s.p[0] == '.')
        return slice_sub(s, 1, s.len);
    return s;
}

/* Bytes of a line that does not end here, cut into parts. A trailing CR may belong to a CR LF: it is kept back. */
static void parts(struct smtp_data *d, smtp_data_fn fn, void *ctx)
{
    while (d->carry.len > d->part_bytes) {
        size_t take = d->part_bytes;
        struct slice piece;

        if (d->carry.p[take - 1] == '\r')
            take--;
        piece = slice_make(d->carry.p, take);
        count_cr(d, piece);
        fn(ctx, SMTP_DATA_PART, unstuff(d, piece));
        d->middle = true;
        str_drop(&d->carry, take);
    }
}

/* A whole rest of a line with its LF. False: it was the end of DATA. */
static bool line(struct smtp_data *d, struct slice s, smtp_data_fn fn, void *ctx)
{
    bool crlf = s.len > 1 && s.p[s.len - 2] == '\r', was_crlf = d->after_crlf;
    struct slice text = slice_sub(s, 0, s.len - (crlf ? 2 : 1));

    d->after_crlf = crlf;
    if (!d->chunked && !d->middle && crlf && was_crlf && text.len == 1 && text.p[0] == '.')
        return false;
    if (!crlf)
        d->bare_lf++;
    count_cr(d, text);
    text = unstuff(d, text);
    while (text.len > d->part_bytes) {
        fn(ctx, SMTP_DATA_PART, slice_sub(text, 0, d->part_bytes));
        text = slice_sub(text, d->part_bytes, text.len);
    }
    fn(ctx, SMTP_DATA_LINE, text);
    d->middle = false;
    return true;
}

size_t smtp_data_feed(struct smtp_data *d, struct slice in, smtp_data_fn fn, void *ctx)
{
    size_t at = 0;

    while (at < in.len && !d->done) {
        const char *lf = memchr(in.p + at, '\n', in.len - at);
        size_t end = lf ? (size_t) (lf - in.p) + 1 : in.len;
        struct slice s = slice_sub(in, at, end - at);

        at = end;
        if (lf != NULL && d->carry.len == 0) {
            d->done = !line(d, s, fn, ctx);
            continue;
        }
        str_addslice(&d->carry, s);
        if (lf != NULL) {
            d->done = !line(d, str_slice(&d->carry), fn, ctx);
            str_reset(&d->carry);
        } else {
            parts(d, fn, ctx);
        }
    }
    return at;
}

void smtp_data_finish(struct smtp_data *d, smtp_data_fn fn, void *ctx)
{
    if (d->carry.len || d->middle) {
        count_cr(d, str_slice(&d->carry));
        fn(ctx, SMTP_DATA_LINE, str_slice(&d->carry));
        str_reset(&d->carry);
        d->middle = false;
    }
}

void smtp_data_stuff(struct str *out, struct slice piece, bool starts_line, bool ends_line)
{
    if (starts_line && piece.len && piece.p[0] == '.')
        str_addc(out, '.');
    str_addslice(out, piece);
    if (ends_line)
        str_add(out, "\r\n", 2);
}
