/*
 * envelope - the records in front of the content and behind it
 *
 * Callers     message.c
 * Invariants  what a client may send stands in the tables; anything else is a protocol error and the message is
 *             refused
 *             A records that stand for other records (create_time, dsn_orig_rcpt...) become those
 */
#include "base/log.h"
#include "base/time.h"
#include "conf/param.h"
#include "proto/addr/addr.h"
#include "message.h"

#include <stdio.h>

static const char *keep(struct message *m, struct slice s) { return arena_strndup(m->arena, s.p, s.len); }

static int take_number(struct message *m, struct slice text, int64_t max, int64_t *out)
{
    if (slice_i64(slice_trim(text), 0, max, out) == 0)
        return 0;
    message_protocol_error(m, "bad number");
    return -1;
}

static void on_time(struct message *m, struct slice data)
{
    struct slice word;
    int64_t seconds, usec = 0;
    char number[24];

    if (!slice_word(&data, " ", &word) || slice_i64(word, 0, INT64_MAX / 1000000 - 1, &seconds) < 0 ||
        (slice_word(&data, " ", &word) && slice_i64(word, 0, 999999, &usec) < 0)) {
        message_protocol_error(m, "bad arrival time");
        return;
    }
    m->arrival_usec = seconds * 1000000 + usec;
    message_put(m, REC_TIME, arena_printf(m->arena, "%ld %ld", (long) seconds, (long) usec));
    snprintf(number, sizeof number, "%ld", (long) time_now());
    message_put_attr(m, "create_time", number);
}

static void on_sender(struct message *m, struct slice data)
{
    if (m->sender || m->arrival_usec == 0) {
        message_protocol_error(m, m->sender ? "second sender" : "sender before arrival time");
        return;
    }
    m->sender = address_canonical(m, keep(m, data), ENVELOPE_SENDER, REWRITING_LOCAL);
    if (m->sender == NULL)
        return;
    m->non_ascii = m->non_ascii || !slice_is_ascii(slice_of(m->sender));
    message_put(m, REC_FROM, m->sender);
}

static void put_warning_time(struct message *m)
{
    if (conf_delay_warning_time > 0)
        message_put(m, REC_WARN,
                    arena_printf(m->arena, "%15ld", (long) (m->arrival_usec / 1000000 + conf_delay_warning_time)));
}

static void on_recipient(struct message *m, struct slice data)
{
    if (m->sender == NULL) {
        message_protocol_error(m, "recipient before sender");
        return;
    }
    if (!m->recipients_begun && m->segment == SEGMENT_ENVELOPE)
        put_warning_time(m);
    recipient_add(m, keep(m, data));
    m->orig = m->orcpt = NULL;
    m->notify = 0;
}

static void on_flags(struct message *m, struct slice data)
{
    int64_t n;

    if (take_number(m, data, 0xffff, &n) == 0)
        m->flags |= (unsigned) n;
}

static void on_notify(struct message *m, struct slice data)
{
    int64_t n;

    if (take_number(m, data, 15, &n) == 0)
        m->notify = (int) n;
}

static void put_attribute(struct message *m, const char *name, struct slice value)
{
    if (++m->attributes > cleanup_attribute_limit) {
        log_warn("%s: queue file attribute count exceeds limit", message_id(m));
        message_fail(m, 451, "4.3.0", "Error: queue file write error");
        return;
    }
    if (m->recipients_begun)
        m->recipients_ended = true;
    message_put_attr(m, name, keep(m, value));
}

static void on_attribute(struct message *m, struct slice data)
{
    struct slice name, value;

    if (data.len > ATTRIBUTE_BYTES || record_split_attr(data, &name, &value) < 0) {
        message_protocol_error(m, "malformed attribute");
        return;
    }
    if (slice_eq(name, "dsn_orig_rcpt"))
        m->orcpt = keep(m, value);
    else if (slice_eq(name, "notify_flags"))
        on_notify(m, value);
    else if (slice_eq(name, "create_time"))
        return; /* ours was written with the arrival time */
    else if (slice_eq(name, "encoding"))
        m->encoding = keep(m, value);
    if (slice_eq(name, "rewrite_context"))
        m->rewriting = slice_eq(value, "local")             ? REWRITING_LOCAL
                       : *conf_remote_header_rewrite_domain ? REWRITING_REMOTE
                                                            : REWRITING_NONE;
    if (!slice_eq(name, "dsn_orig_rcpt") && !slice_eq(name, "notify_flags"))
        put_attribute(m, keep(m, name), value);
}

static void on_filter(struct message *m, struct slice data) { m->filter = keep(m, data); }
static void on_redirect(struct message *m, struct slice data) { m->redirect = keep(m, data); }
static void on_original(struct message *m, struct slice data) { m->orig = keep(m, data); }
static void on_orcpt(struct message *m, struct slice data) { m->orcpt = keep(m, data); }
static void on_envid(struct message *m, struct slice data) { put_attribute(m, "envelope_id", data); }
static void on_ret(struct message *m, struct slice data) { put_attribute(m, "ret_flags", data); }

static void on_verp(struct message *m, struct slice data)
{
    if (m->sender == NULL || *m->sender == '\0')
        message_protocol_error(m, "VERP without a sender");
    else if (!addr_verp_delimiters(data, conf_verp_delimiter_filter))
        message_protocol_error(m, "VERP delimiters that verp_delimiter_filter forbids");
    else
        message_put(m, REC_VERP, keep(m, data));
}

static void on_errors_to(struct message *m, struct slice data) { message_put(m, REC_ERTO, keep(m, data)); }
static void on_receipt_to(struct message *m, struct slice data) { message_put(m, REC_RRTO, keep(m, data)); }
static void on_nothing(struct message *m, struct slice data)
{
    (void) m;
    (void) data; /* C, c, W of a requeued message are made anew; I and P mean nothing any more */
}

static void on_full_name(struct message *m, struct slice data)
{
    m->full_name = keep(m, data);
    message_put(m, REC_FULL, m->full_name);
}

/* An old queue file's size record: only what the content itself does not show is taken over. */
static void on_size(struct message *m, struct slice data)
{
    struct queue_size size;

    if (queue_size_parse(data, &size) == 0)
        m->size.sendopts |= size.sendopts & (QUEUE_SMTPUTF8_ASKED | QUEUE_REQUIRETLS);
}

static void on_content(struct message *m, struct slice data)
{
    (void) data;
    if (m->sender == NULL)
        message_protocol_error(m, "content before sender");
    m->segment = SEGMENT_HEADER;
    content_begin(m);
}

static void on_end(struct message *m, struct slice data)
{
    (void) data;
    extracted_end(m);
    m->segment = SEGMENT_ENDED;
}

struct rule {
    int type;
    void (*run)(struct message *, struct slice);
};
static const struct rule envelope_rules[] = {
    { REC_SIZE, on_size },         { REC_TIME, on_time },
    { REC_CTIME, on_nothing },     { REC_FULL, on_full_name },
    { REC_INSPECT, on_nothing },   { REC_FILT, on_filter },
    { REC_FROM, on_sender },       { REC_RCPT, on_recipient },
    { REC_ORCP, on_original },     { REC_DONE, on_nothing },
    { REC_WARN, on_nothing },      { REC_ATTR, on_attribute },
    { REC_RDR, on_redirect },      { REC_FLGS, on_flags },
    { REC_VERP, on_verp },         { REC_DSN_ENVID, on_envid },
    { REC_DSN_RET, on_ret },       { REC_DSN_ORCPT, on_orcpt },
    { REC_DSN_NOTIFY, on_notify }, { REC_PRIO, on_nothing },
    { REC_MESG, on_content },      { 0, NULL },
};
static const struct rule extracted_rules[] = {
    { REC_FILT, on_filter },       { REC_RDR, on_redirect },
    { REC_FLGS, on_flags },        { REC_RCPT, on_recipient },
    { REC_ORCP, on_original },     { REC_DONE, on_nothing },
    { REC_ATTR, on_attribute },    { REC_ERTO, on_errors_to },
    { REC_RRTO, on_receipt_to },   { REC_DSN_ORCPT, on_orcpt },
    { REC_DSN_NOTIFY, on_notify }, { REC_VERP, on_verp },
    { REC_PRIO, on_nothing },      { REC_INSPECT, on_nothing },
    { REC_END, on_end },           { 0, NULL },
};

static void dispatch(struct message *m, const struct rule *rules, const struct record *rec)
{
    for (; rules->run; rules++)
        if (rules->type == rec->type) {
            if (!record_is_line(rec->data)) /* no address, name or attribute holds these */
                message_protocol_error(m, "NUL, CR or LF in the envelope");
            else
                rules->run(m, rec->data);
            return;
        }
    message_protocol_error(m, "unexpected record type");
}

void envelope_record(struct message *m, const struct record *rec) { dispatch(m, envelope_rules, rec); }
void extracted_record(struct message *m, const struct record *rec) { dispatch(m, extracted_rules, rec); }

static void add_sender_bcc(struct message *m)
{
    struct addresses found = { .arena = m->arena };

    switch (*m->sender ? alias_lookup(cleanup_maps.sender_bcc, m->sender, false, &found) : LOOKUP_NONE) {
    case LOOKUP_FOUND:
        for (size_t i = 0; i < found.count; i++)
            recipient_bcc(m, found.item[i]);
        break;
    case LOOKUP_RETRY: message_fail(m, 451, "4.3.0", "Error: queue file write error"); break;
    case LOOKUP_NONE: break;
    }
}

void extracted_end(struct message *m)
{
    if (message_failed(m))
        return;
    if (m->filter)
        message_put(m, REC_FILT, m->filter);
    if (m->redirect)
        message_put(m, REC_RDR, m->redirect);
    if (m->encoding)
        message_put_attr(m, "encoding", m->encoding);
    if (m->size.recipients && (m->flags & CLEANUP_BCC_OK)) {
        if (m->recipients_begun)
            m->recipients_ended = true;
        add_sender_bcc(m);
        recipient_bcc(m, cleanup_always_bcc);
    }
    if (m->size.recipients == 0)
        message_fail(m, 550, "5.1.0", "Error: no recipients specified");
    message_put(m, REC_END, "");
}
