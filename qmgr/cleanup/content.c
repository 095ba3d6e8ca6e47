/*
 * content - the records between M and X: header lines are put together, the body goes through
 *
 * Callers     message.c
 * Invariants  one logical header (at most header_size_limit bytes) is in memory at a time, the body never
 * Source      RFC 5322 2.2: a header ends at the first line that neither is a header nor continues one
 */
#include "base/log.h"
#include "conf/param.h"
#include "message.h"

void content_begin(struct message *m)
{
    if (m->recipients_begun)
        m->recipients_ended = true;
    message_put(m, REC_MESG, "");
    m->size.data_offset = message_failed(m) ? 0 : (int64_t) queue_writer_offset(m->writer);
}

/* The length of the name in front of the colon, 0 when the line is no header. */
static size_t header_name(struct slice line)
{
    size_t n = 0, end;

    while (n < line.len && line.p[n] > ' ' && line.p[n] < 127 && line.p[n] != ':')
        n++;
    for (end = n; end < line.len && (line.p[end] == ' ' || line.p[end] == '\t'); end++)
        continue;
    return n && end < line.len && line.p[end] == ':' ? n : 0;
}

static void put_body(struct message *m, const struct record *rec)
{
    if (!message_failed(m))
        queue_writer_record(m->writer, rec->type, rec->data);
}

static void flush_header(struct message *m)
{
    if (m->header.len == 0)
        return;
    if (m->header_cut)
        log_warn("%s: header over %ld bytes was cut: %.60s", message_id(m), (long) conf_header_size_limit,
                 m->header.p);
    if (!message_failed(m))
        header_field(m, str_slice(&m->header));
    str_reset(&m->header);
    m->header_cut = false;
}

static void add_text(struct message *m, struct slice text)
{
    size_t room = m->header.max - m->header.len;

    if (text.len > room) {
        text.len = room;
        m->header_cut = true;
    }
    str_addslice(&m->header, text);
}

static void end_headers(struct message *m)
{
    flush_header(m);
    if (!message_failed(m))
        header_end(m);
    m->segment = SEGMENT_BODY;
}

static void take_record(struct message *m, const struct record *rec)
{
    bool continues = m->piece;

    m->piece = rec->type == REC_CONT;
    if (m->segment == SEGMENT_BODY) {
        put_body(m, rec);
        return;
    }
    if (continues) { /* the rest of a long header line */
        add_text(m, rec->data);
        return;
    }
    if (rec->data.len && (rec->data.p[0] == ' ' || rec->data.p[0] == '\t') && m->header.len) {
        add_text(m, SLICE("\n"));
        add_text(m, rec->data);
        return;
    }
    if (header_name(rec->data)) {
        flush_header(m);
        add_text(m, rec->data);
        return;
    }
    end_headers(m);
    if (rec->data.len || rec->type != REC_NORM) /* text without the empty line in front of it: put one there */
        message_put(m, REC_NORM, "");
    put_body(m, rec);
}

static bool is_stray(char c) { return c == '\r' || c == '\n'; }

/* A line end inside a record would be one on the wire: "LF . CR LF" ends DATA for the next host, and what follows
 * would be its commands. */
void content_record(struct message *m, const struct record *rec)
{
    struct record clean = *rec;
    struct str text;

    if (!cleanup_replace_stray ||
        (memchr(rec->data.p, '\r', rec->data.len) == NULL && memchr(rec->data.p, '\n', rec->data.len) == NULL)) {
        take_record(m, rec);
        return;
    }
    str_init(&text, STR_UNLIMITED); /* as long as the record */
    str_addslice(&text, rec->data);
    for (size_t i = 0; i < text.len; i++)
        if (is_stray(text.p[i]))
            text.p[i] = ' ';
    clean.data = str_slice(&text);
    take_record(m, &clean);
    str_free(&text);
}

void content_end(struct message *m)
{
    if (m->segment == SEGMENT_HEADER)
        end_headers(m);
    if (m->piece && !message_failed(m)) /* the last line had no end */
        queue_writer_record(m->writer, REC_NORM, SLICE(""));
    m->piece = false;
    m->segment = SEGMENT_EXTRACTED;
    if (message_failed(m))
        return;
    m->size.data_bytes = (int64_t) queue_writer_offset(m->writer) - m->size.data_offset;
    m->size.content_bytes = m->size.data_bytes;
    if (conf_message_size_limit > 0 && m->size.data_bytes > conf_message_size_limit) {
        message_fail(m, 552, "5.3.4", "Error: message file too big");
        return;
    }
    message_put(m, REC_XTRA, "");
}
