/*
 * message - from open to commit: records in, one durable queue file out
 *
 * Callers     cleanup.c
 * Errors      the first failure is what the client hears; its file does not survive
 */
#include "message.h"
#include "base/log.h"
#include "base/time.h"
#include "client/qmgr.h"
#include "conf/param.h"
#include "event/event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANNOUNCING_MAX = 100 };
static int announcing; /* messages that qmgr is being told of */

struct message *message_new(unsigned flags, struct err *err)
{
    struct message *m = mem_new(sizeof *m);
    char size[QUEUE_SIZE_RECORD_BYTES];

    m->writer = queue_writer_new(QUEUE_INCOMING, conf_enable_long_queue_ids, 0);
    if (m->writer == NULL) {
        log_warn("create queue file in %s: %s", QUEUE_INCOMING, strerror(errno));
        err_set(err, 451, "4.3.0", "Error: queue file write error");
        free(m);
        return NULL;
    }
    m->arena = arena_new();
    str_init(&m->header, (size_t) conf_header_size_limit);
    m->flags = flags;
    /* As Postfix: without a word of the client its headers are a stranger's. */
    m->rewriting = *conf_remote_header_rewrite_domain ? REWRITING_REMOTE : REWRITING_NONE;
    queue_size_text(&m->size, size); /* its place; the values come last */
    queue_writer_record(m->writer, REC_SIZE, slice_of(size));
    return m;
}

const char *message_id(const struct message *m) { return queue_writer_id(m->writer); }

bool message_failed(const struct message *m) { return m->err.code != 0; }

void message_fail(struct message *m, int code, const char *dsn, const char *text)
{
    if (m->err.code == 0)
        err_set(&m->err, code, dsn, "%s", text);
}

void message_protocol_error(struct message *m, const char *what)
{
    log_warn("%s: cleanup: client sent bad records: %s", message_id(m), what);
    message_fail(m, 451, "4.3.0", "Error: internal protocol error");
}

void message_put(struct message *m, int type, const char *data)
{
    if (!message_failed(m))
        queue_writer_record(m->writer, type, slice_of(data));
}

void message_put_attr(struct message *m, const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    char *text = arena_alloc(m->arena, name_len + value_len + 2);

    memcpy(text, name, name_len);
    text[name_len] = '=';
    memcpy(text + name_len + 1, value, value_len);
    message_put(m, REC_ATTR, text);
}

static void one_record(struct message *m, const struct record *rec)
{
    switch (m->segment) {
    case SEGMENT_ENVELOPE: envelope_record(m, rec); return;
    case SEGMENT_HEADER:
    case SEGMENT_BODY:
        if (rec->type == REC_NORM || rec->type == REC_CONT)
            content_record(m, rec);
        else if (rec->type == REC_XTRA)
            content_end(m);
        else
            message_protocol_error(m, "unexpected record type in the content");
        return;
    case SEGMENT_EXTRACTED: extracted_record(m, rec); return;
    case SEGMENT_ENDED: message_protocol_error(m, "record behind the end"); return;
    }
}

void message_records(struct message *m, struct slice records)
{
    struct record rec;
    int rc = 0;

    while (!message_failed(m) && records.len && (rc = record_get(&records, &rec)) == 1) {
        one_record(m, &rec);
        int error = queue_writer_error(m->writer);
        if (error) {
            log_warn("%s: write queue file: %s", message_id(m), strerror(error));
            message_fail(m, 451, "4.3.0", "Error: queue file write error");
        }
    }
    if (!message_failed(m) && records.len && rc <= 0)
        message_protocol_error(m, "a record is torn");
}

static int write_file(struct message *m, const char *id)
{
    if ((m->flags & CLEANUP_HOLD) && queue_writer_move(m->writer, QUEUE_HOLD) < 0) {
        log_warn("%s: move to %s: %s", id, QUEUE_HOLD, strerror(errno));
        return -1;
    }
    if (queue_writer_finish(&m->writer, &m->size) == 0)
        return 0;
    log_warn("%s: write queue file: %s", id, strerror(errno));
    return -1;
}

static void tell(void *arg)
{
    char *id = arg;

    (void) qmgr_arrived(id);
    free(id);
    announcing--;
}

/* The mail is safe and its client need not wait for the queue manager, which finds by its next scan what it was not
 * told: a message that is announced while it does not listen is not worth a fiber. */
static void announce(const char *id)
{
    if (announcing == ANNOUNCING_MAX)
        return;
    announcing++;
    fiber_go("arrived", tell, mem_strdup(id));
}

int message_commit(struct message *m, struct err *err)
{
    char id[QUEUE_ID_BYTES];

    if (m->segment != SEGMENT_ENDED && !message_failed(m))
        message_protocol_error(m, "no end record");
    if (message_failed(m)) {
        *err = m->err;
        return -1;
    }
    snprintf(id, sizeof id, "%s", message_id(m));
    if (m->flags & CLEANUP_DISCARD)
        return 0; /* message_free removes the file: the client believes it was taken, as was ordered */
    if ((m->flags & CLEANUP_SMTPUTF8) ||
        ((m->flags & CLEANUP_AUTOUTF8) && (m->non_ascii || (m->size.sendopts & QUEUE_SMTPUTF8_HEADER))))
        m->size.sendopts |= QUEUE_SMTPUTF8_ASKED;
    if (m->sender && !slice_is_ascii(slice_of(m->sender)))
        m->size.sendopts |= QUEUE_SMTPUTF8_SENDER;
    if (write_file(m, id) < 0)
        return err_set(err, 451, "4.3.0", "Error: queue file write error");
    if ((m->flags & CLEANUP_HOLD) == 0)
        announce(id);
    return 0;
}

void message_free(struct message **m)
{
    if (*m == NULL)
        return;
    queue_writer_cancel(&(*m)->writer);
    if ((*m)->seen)
        map_free(&(*m)->seen);
    str_free(&(*m)->header);
    arena_free(&(*m)->arena);
    free(*m);
    *m = NULL;
}
