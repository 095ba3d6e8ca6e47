/* imapd/section - finding and sending parts of messages. Contract: section.h */
#include "section.h"
#include "base/log.h"

#include <stdio.h>

enum { CHUNK_BYTES = 8192, FIELDS_BYTES = MIME_HEADER_BYTES };

static enum store_why need_parts(struct imapd_message *m)
{
    return m->root ? STORE_OK : message_parts(m->box, m->seq, m->arena, &m->root);
}

static enum store_why need_file(struct imapd_message *m)
{
    return m->file ? STORE_OK : message_open(m->box, m->seq, &m->file);
}

void imapd_message_close(struct imapd_message *m)
{
    if (m->file)
        message_close(&m->file);
}

static struct mime_part *part_of(struct imapd_message *m, const struct imap_section *s)
{
    char path[IMAP_PART_DEPTH * 11];
    size_t len = 0;

    path[0] = 0;
    for (size_t i = 0; i < s->depth; i++)
        len += (size_t) snprintf(path + len, sizeof path - len, i ? ".%u" : "%u", s->part[i]);
    return mime_part_find(m->root, slice_make(path, len));
}

struct range {
    uint64_t start, physical, virtual;
};

static struct range header_of(const struct mime_part *p)
{
    return (struct range){ p->start, p->header.physical, p->header.virtual };
}

static struct range body_of(const struct mime_part *p)
{
    return (struct range){ p->start + p->header.physical, p->body.physical, p->body.virtual };
}

/* False: no such thing in this message. */
static bool range_of(struct imapd_message *m, const struct imap_section *s, struct range *out)
{
    struct mime_part *part = part_of(m, s);

    if (part == NULL)
        return false;
    if (s->depth && s->what != IMAP_SECTION_ALL && s->what != IMAP_SECTION_MIME) {
        if (part->kind != MIME_MESSAGE || part->child == NULL)
            return false;
        part = part->child; /* HEADER and TEXT are those of the message inside */
    }
    switch (s->what) {
    case IMAP_SECTION_ALL:
        *out = body_of(part);
        if (s->depth == 0)
            *out = (struct range){ part->start, part->header.physical + part->body.physical,
                                   part->header.virtual + part->body.virtual };
        return true;
    case IMAP_SECTION_TEXT: *out = body_of(part); return true;
    case IMAP_SECTION_HEADER:
    case IMAP_SECTION_MIME:
    case IMAP_SECTION_FIELDS:
    case IMAP_SECTION_FIELDS_NOT: *out = header_of(part); return true;
    }
    return false;
}

static bool named(const struct imap_section *s, struct slice name)
{
    for (size_t i = 0; i < s->field_count; i++) {
        if (name.len == s->fields[i].len && slice_caseeq(name, s->fields[i].p))
            return true;
    }
    return false;
}

/* A header, its fields sifted, with the empty line at the end. */
static enum store_why sift(struct imapd_message *m, const struct imap_section *s, struct range r, struct str *out)
{
    struct str header;
    struct slice rest;
    struct mime_field field;
    enum store_why why = need_file(m);

    if (why != STORE_OK)
        return why;
    str_init(&header, FIELDS_BYTES);
    message_range(m->file, r.start, r.physical, 0);
    for (;;) {
        char chunk[4096];
        ssize_t n = message_read(m->file, chunk, sizeof chunk);

        if (n < 0) {
            str_free(&header);
            return STORE_FAILED;
        }
        str_add(&header, chunk, (size_t) n);
        if (n == 0 || str_over(&header)) /* a header past the limit is shown up to there */
            break;
    }
    rest = str_slice(&header);
    while (mime_field_next(&rest, &field)) {
        if (field.name.len && named(s, field.name) == (s->what == IMAP_SECTION_FIELDS))
            str_addslice(out, field.whole);
    }
    str_free(&header);
    str_add(out, "\r\n", 2);
    return STORE_OK;
}

/* HEADER.FIELDS of the message itself: the index knows many of them. */
static enum store_why known_fields(struct imapd_message *m, const struct imap_section *s, struct str *out)
{
    const char **names = arena_alloc(m->arena, s->field_count * sizeof *names);
    enum store_why why;

    for (size_t i = 0; i < s->field_count; i++)
        names[i] = s->fields[i].p;
    why = message_fields(m->box, m->seq, names, s->field_count, out);
    str_add(out, "\r\n", 2);
    return why;
}

static void clip(const struct imap_fetch_item *item, struct imapd_section *out)
{
    uint64_t total = out->bytes;

    if (!item->partial)
        return;
    out->offset = item->offset < total ? item->offset : total;
    out->bytes = total - out->offset < item->length ? total - out->offset : item->length;
}

enum store_why imapd_section_find(struct imapd_message *m, const struct imap_fetch_item *item,
                                  struct imapd_section *out)
{
    const struct imap_section *s = &item->section;
    bool fields = s->what == IMAP_SECTION_FIELDS || s->what == IMAP_SECTION_FIELDS_NOT;
    enum store_why why;
    struct range r;

    *out = (struct imapd_section){ .text = { NULL, 0 } };
    if (s->depth == 0 && s->what == IMAP_SECTION_FIELDS) {
        r = (struct range){ 0 };
    } else if (s->depth == 0 && s->what == IMAP_SECTION_ALL) { /* the file, whatever its parts are */
        if ((why = need_file(m)) != STORE_OK)
            return why;
        r = (struct range){ 0, message_physical_bytes(m->file), message_virtual_bytes(m->file) };
    } else {
        if ((why = need_parts(m)) != STORE_OK)
            return why;
        if (!range_of(m, s, &r)) {
            out->text = slice_of("");
            return STORE_OK;
        }
    }
    if (fields) {
        struct str text;

        str_init(&text, FIELDS_BYTES + 2);
        why = s->depth == 0 && s->what == IMAP_SECTION_FIELDS ? known_fields(m, s, &text) : sift(m, s, r, &text);
        out->text = slice_make(arena_strndup(m->arena, text.p, text.len), text.len);
        out->bytes = text.len;
        str_free(&text);
    } else {
        why = need_file(m);
        out->start = r.start;
        out->physical = r.physical;
        out->bytes = r.virtual;
    }
    clip(item, out);
    return why;
}

/* The literal was announced with more bytes than the file turned out to have: its name, or what is known of it, tells more
 * lines than it has (a file that a power cut filled with zeros, or a foreign program's name). Blanks keep the session. */
static int fill_up(struct imapd_message *m, struct stream *io, uint64_t left)
{
    static const char blanks[] = "                                                                ";

    log_warn("%s: UID %u has %llu bytes less than its name says: blanks are sent for them", mailbox_name(m->box),
             mailbox_mail(m->box, m->seq)->uid, (unsigned long long) left);
    while (left && stream_error(io) == 0) {
        size_t n = left < sizeof blanks - 1 ? (size_t) left : sizeof blanks - 1;
        stream_write(io, blanks, n);
        left -= n;
    }
    return stream_error(io) ? -1 : 0;
}

int imapd_section_send(struct imapd_message *m, const struct imapd_section *s, struct stream *io)
{
    uint64_t left = s->bytes;
    char chunk[CHUNK_BYTES];

    if (s->text.p) {
        stream_write(io, s->text.p + s->offset, (size_t) s->bytes);
        return 0;
    }
    if (left == 0)
        return 0;
    if (message_is_crlf(m->file))
        return stream_sendfile(io, message_fd(m->file), (off_t) (s->start + s->offset), (size_t) left);
    message_range(m->file, s->start, s->physical, s->offset);
    while (left) {
        ssize_t n = message_read(m->file, chunk, left < sizeof chunk ? (size_t) left : sizeof chunk);

        if (n < 0)
            return -1;
        if (n == 0)
            return fill_up(m, io, left);
        stream_write(io, chunk, (size_t) n);
        if (stream_error(io))
            return -1;
        left -= (uint64_t) n;
        fiber_slice();
    }
    return 0;
}
