/*
 * downgrade - see downgrade.h
 *
 * The tree tells where headers and bodies lie; what a part declares is read from its header while that passes, since
 * several Content-Transfer-Encoding fields may stand there and the last known one counts.
 */
#include "proto/mime/downgrade.h"
#include "proto/mime/lex.h"

#include <strings.h>

enum { FIELD_BYTES = 4096, LINE_COLUMNS = 72 };
#define FIELD_NAME "Content-Transfer-Encoding"

struct mime_downgrade {
    mime_downgrade_put *put;
    void *ctx;
    const struct mime_part *part; /* whose header or body, or what follows it, is passing */
    uint64_t at;
    bool in_line, in_header;
    bool eight;                     /* the part's header says 8bit or binary */
    bool encode_line;               /* this line is of such a body */
    enum { NOT, MAYBE, HELD } hold; /* `field` is a Content-Transfer-Encoding field, or may yet become one */
    char blank;                     /* a blank that ends the line so far, or 0 */
    struct str field;               /* each line of it ended by LF */
    struct str line;                /* quoted-printable */
};

static const struct mime_part *following(const struct mime_part *part)
{
    if (part->child)
        return part->child;
    while (part && !part->next)
        part = part->parent;
    return part ? part->next : NULL;
}

static void put_field(struct mime_downgrade *d)
{
    struct slice rest = str_slice(&d->field);
    ptrdiff_t end;

    while ((end = slice_find(rest, '\n')) >= 0) {
        d->put(d->ctx, slice_sub(rest, 0, (size_t) end), true);
        rest = slice_sub(rest, (size_t) end + 1, rest.len);
    }
    if (rest.len > 0)
        d->put(d->ctx, rest, false);
    str_reset(&d->field);
    d->hold = NOT;
}

/* The field is whole: what does it say, and does it stay? */
static void end_field(struct mime_downgrade *d)
{
    struct slice whole = str_slice(&d->field);
    struct lex lex;
    struct str token;

    if (d->hold == MAYBE)
        put_field(d);
    if (d->hold == NOT)
        return;
    str_init(&token, FIELD_BYTES);
    size_t colon = (size_t) slice_find(whole, ':') + 1;
    lex_init(&lex, slice_sub(whole, colon, whole.len));
    if (lex_skip(&lex) >= 0 && lex_token(&lex, &token) >= 0) {
        struct slice word = str_slice(&token);

        if (slice_caseeq(word, "8bit") || slice_caseeq(word, "binary"))
            d->eight = true;
        else if (slice_caseeq(word, "7bit") || slice_caseeq(word, "base64") || slice_caseeq(word, "quoted-printable"))
            d->eight = false;
    }
    str_free(&token);
    if (d->eight) {
        str_reset(&d->field);
        d->hold = NOT;
    } else {
        put_field(d);
    }
}

static void end_header(struct mime_downgrade *d)
{
    end_field(d);
    d->in_header = false;
    if (!d->eight)
        return;
    bool composite = d->part->kind == MIME_MULTIPART || d->part->kind == MIME_MESSAGE;
    d->put(d->ctx, slice_of(composite ? FIELD_NAME ": 7bit" : FIELD_NAME ": quoted-printable"), true);
    d->eight = !composite;
}

/* Is this the start of a Content-Transfer-Encoding field? 1; 0 no; -1 more of the line will tell. */
static int begins_field(struct slice line, bool whole)
{
    size_t name = sizeof FIELD_NAME - 1;

    if (strncasecmp(line.p, FIELD_NAME, line.len < name ? line.len : name) != 0)
        return 0;
    if (line.len < name)
        return whole ? 0 : -1;
    while (name < line.len && (line.p[name] == ' ' || line.p[name] == '\t'))
        name++;
    return name < line.len ? line.p[name] == ':' : whole ? 0 : -1;
}

static void header_piece(struct mime_downgrade *d, struct slice piece, bool ends)
{
    bool starts = !d->in_line && !(piece.len > 0 && (piece.p[0] == ' ' || piece.p[0] == '\t'));

    if (starts) {
        end_field(d);
        if (piece.len == 0 && ends)
            end_header(d);
        else
            d->hold = MAYBE;
    }
    if (d->hold == NOT || d->field.len + piece.len + ends > FIELD_BYTES) { /* no transfer encoding is that long */
        put_field(d);
        d->put(d->ctx, piece, ends);
        return;
    }
    str_addslice(&d->field, piece);
    if (d->hold == MAYBE) {
        int is = begins_field(str_slice(&d->field), ends);

        d->hold = is < 0 ? MAYBE : is ? HELD : NOT;
    }
    if (d->hold == NOT) {
        d->put(d->ctx, str_slice(&d->field), ends);
        str_reset(&d->field);
    } else if (ends) {
        str_addc(&d->field, '\n');
    }
}

static void put_char(struct mime_downgrade *d, unsigned char c, bool literal)
{
    if (d->line.len > LINE_COLUMNS) {
        str_addc(&d->line, '=');
        d->put(d->ctx, str_slice(&d->line), true);
        str_reset(&d->line);
    }
    if (literal)
        str_addc(&d->line, (char) c);
    else
        str_printf(&d->line, "=%02X", c);
}

static void body_piece(struct mime_downgrade *d, struct slice piece, bool ends)
{
    for (size_t i = 0; i < piece.len; i++) {
        unsigned char c = (unsigned char) piece.p[i];

        if (d->blank)
            put_char(d, (unsigned char) d->blank, true);
        d->blank = c == ' ' || c == '\t' ? (char) c : 0;
        if (!d->blank)
            put_char(d, c, c > ' ' && c < 127 && c != '=');
    }
    if (!ends)
        return;
    if (d->blank)
        put_char(d, (unsigned char) d->blank, false);
    d->blank = 0;
    d->put(d->ctx, str_slice(&d->line), true);
    str_reset(&d->line);
}

/* A line begins: whose is it? */
static void find_part(struct mime_downgrade *d)
{
    const struct mime_part *next;

    if (d->in_header && d->at >= d->part->start + d->part->header.physical)
        end_header(d);
    while ((next = following(d->part)) != NULL && next->start <= d->at) {
        d->part = next;
        d->eight = false;
        d->in_header = d->at < next->start + next->header.physical;
    }
    uint64_t body = d->part->start + d->part->header.physical;
    d->encode_line = d->eight && d->at >= body && d->at < body + d->part->body.physical;
}

struct mime_downgrade *mime_downgrade_new(struct arena *a, const struct mime_part *root, mime_downgrade_put *put,
                                          void *ctx)
{
    struct mime_downgrade *d = arena_alloc(a, sizeof *d);

    d->put = put;
    d->ctx = ctx;
    d->part = root;
    d->in_header = root->header.physical > 0;
    str_init(&d->field, FIELD_BYTES);
    str_init(&d->line, LINE_COLUMNS + sizeof "=XX=");
    return d;
}

void mime_downgrade_feed(struct mime_downgrade *d, struct slice piece, bool ends)
{
    if (!d->in_line)
        find_part(d);
    if (d->in_header)
        header_piece(d, piece, ends);
    else if (d->encode_line)
        body_piece(d, piece, ends);
    else
        d->put(d->ctx, piece, ends);
    d->at += piece.len + ends;
    d->in_line = !ends;
}

void mime_downgrade_end(struct mime_downgrade *d)
{
    if (d->in_header) {
        bool held = d->hold == HELD;

        end_field(d);
        if (d->eight && d->in_line && !held) /* the new field wants a line of its own */
            d->put(d->ctx, SLICE(""), true);
        end_header(d);
    }
    if (d->blank)
        put_char(d, (unsigned char) d->blank, false);
    if (d->line.len > 0)
        d->put(d->ctx, str_slice(&d->line), false);
    str_free(&d->field);
    str_free(&d->line);
}
