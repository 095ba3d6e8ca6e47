/*
 * envelope - what a queue file says about its message, and who is still to get it
 *
 * Callers     qmgr, showq, bounce, delivery agents: through queue/file.h
 * Invariants  every string lives in the envelope's arena; ENVELOPE_BYTES bounds what one read may keep
 *             attributes in front of an R belong to that recipient
 * Errors      -1 with *err; errno EBADMSG for a damaged file, anything else passes
 */
#include "queue/file.h"
#include "base/time.h"

#include <errno.h>
#include <unistd.h>

enum { ENVELOPE_BYTES = 64 << 20 };

/* Attributes that are strings of struct queue_envelope. */
static const struct {
    const char *name;
    size_t at;
} attributes[] = {
#define FIELD(f) offsetof(struct queue_envelope, f)
    { "encoding", FIELD(encoding) },
    { "envelope_id", FIELD(envelope_id) },
    { "rewrite_context", FIELD(rewrite_context) },
    { "log_ident", FIELD(log_ident) },
    { "message_id", FIELD(message_id) },
    { "log_client_name", FIELD(log_client_name) },
    { "log_client_address", FIELD(log_client_address) },
    { "log_client_port", FIELD(log_client_port) },
    { "log_helo_name", FIELD(log_helo_name) },
    { "log_protocol_name", FIELD(log_protocol_name) },
    { "log_message_origin", FIELD(log_message_origin) },
    { "client_name", FIELD(client_name) },
    { "client_address", FIELD(client_address) },
    { "client_port", FIELD(client_port) },
    { "helo_name", FIELD(helo_name) },
    { "protocol_name", FIELD(protocol_name) },
    { "reverse_client_name", FIELD(reverse_client_name) },
    { "client_address_type", FIELD(client_address_type) },
    { "server_address", FIELD(server_address) },
    { "server_port", FIELD(server_port) },
    { "sasl_method", FIELD(sasl_method) },
    { "sasl_username", FIELD(sasl_username) },
    { "sasl_sender", FIELD(sasl_sender) },
};
/* Record types that are strings of struct queue_envelope. */
static const struct {
    int type;
    size_t at;
} records[] = {
    { REC_FULL, FIELD(full_name) }, { REC_ERTO, FIELD(errors_to) }, { REC_RRTO, FIELD(return_receipt) },
    { REC_VERP, FIELD(verp) },      { REC_FILT, FIELD(filter) },    { REC_RDR, FIELD(redirect) },
#undef FIELD
};

static const char **text_field(struct queue_envelope *e, size_t at)
{
    return (const char **) (void *) ((char *) e + at);
}

struct walk { /* one pass over the records */
    struct queue_reader *reader;
    struct queue_envelope *e;
    size_t max, room;
    const char *original, *orcpt; /* of the recipient to come */
    int64_t notify;
    bool size_seen, time_seen, content_seen, end_seen, resumed;
};

static const char *keep(struct queue_envelope *e, struct slice text)
{
    return arena_strndup(e->arena, text.p, text.len);
}

static void forget_recipient(struct walk *w)
{
    w->original = w->orcpt = "";
    w->notify = 0;
}

static int add_attribute(struct walk *w, struct slice data)
{
    struct queue_envelope *e = w->e;
    struct slice name, value;
    int64_t n;

    if (record_split_attr(data, &name, &value) < 0)
        return 0; /* older versions wrote attributes without a value */
    if (slice_eq(name, "dsn_orig_rcpt")) {
        w->orcpt = keep(e, value);
    } else if (slice_eq(name, "notify_flags")) {
        return slice_i64(value, 0, 15, &w->notify);
    } else if (slice_eq(name, "create_time")) {
        return slice_i64(value, 0, INT64_MAX, &e->create_time);
    } else if (slice_eq(name, "ret_flags")) {
        if (slice_i64(value, 0, 3, &n) < 0)
            return -1;
        e->ret_flags = (int) n;
    } else if (slice_eq(name, "trace_flags")) {
        if (slice_i64(value, 0, INT32_MAX, &n) < 0)
            return -1;
        e->trace_flags = (int) n;
    } else {
        for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
            if (slice_eq(name, attributes[i].name))
                *text_field(e, attributes[i].at) = keep(e, value);
    }
    return 0;
}

static void add_recipient(struct walk *w, struct slice address, off_t offset)
{
    struct queue_envelope *e = w->e;

    if (e->recipient_count == w->room) {
        w->room = w->room ? 2 * w->room : 16;
        struct queue_recipient *grown = arena_alloc(e->arena, w->room * sizeof *grown);
        if (e->recipient_count)
            memcpy(grown, e->recipients, e->recipient_count * sizeof *grown);
        e->recipients = grown;
    }
    e->recipients[e->recipient_count++] = (struct queue_recipient){ .offset = offset,
                                                                    .address = keep(e, address),
                                                                    .original = w->original,
                                                                    .dsn_orcpt = w->orcpt,
                                                                    .notify = (int) w->notify };
}

static int add_time(struct walk *w, struct slice data)
{
    struct slice word;
    int64_t seconds, usec = 0;

    if (!slice_word(&data, " ", &word) || slice_i64(word, 0, INT64_MAX / 1000000 - 1, &seconds) < 0)
        return -1;
    if (slice_word(&data, " ", &word) && slice_i64(word, 0, 999999, &usec) < 0)
        return -1;
    if (!w->time_seen)
        w->e->arrival_usec = seconds * 1000000 + usec;
    w->time_seen = true;
    return 0;
}

/* Where reading goes on behind the content. */
static int skip_content(struct walk *w)
{
    struct queue_size *s = &w->e->size;

    if (w->content_seen) /* a second M: the file points at its own content */
        return -1;
    w->content_seen = true;
    if (s->data_offset <= 0) { /* a maildrop file, or a very old one: walk through the content to know where it is */
        struct record rec;
        off_t at = 0;
        int rc;
        s->data_offset = queue_reader_tell(w->reader);
        while ((rc = queue_reader_next(w->reader, &rec, &at)) == 1 && rec.type != REC_XTRA)
            if (rec.type == REC_END)
                return -1;
        s->data_bytes = at - s->data_offset;
        return rc == 1 && s->data_bytes >= 0 ? 0 : -1;
    }
    if (s->data_bytes > INT64_MAX - s->data_offset)
        return -1;
    queue_reader_seek(w->reader, (off_t) (s->data_offset + s->data_bytes));
    return 0;
}

/* 1: go on; 0: enough; -1: malformed. */
static int take(struct walk *w, const struct record *rec, off_t offset)
{
    struct queue_envelope *e = w->e;
    int64_t n;

    switch (rec->type) {
    case REC_SIZE:
        if (w->size_seen)
            return 1;
        w->size_seen = w->e->sized = true;
        return queue_size_parse(rec->data, &e->size) < 0 ? -1 : 1;
    case REC_TIME: return add_time(w, rec->data) < 0 ? -1 : 1;
    case REC_CTIME: return slice_i64(rec->data, 0, INT64_MAX, &e->create_time) < 0 ? -1 : 1;
    case REC_FROM:
        if (e->sender == NULL)
            e->sender = keep(e, rec->data);
        return 1;
    case REC_ATTR: return add_attribute(w, rec->data) < 0 ? -1 : 1;
    case REC_DSN_ENVID: e->envelope_id = keep(e, rec->data); return 1;
    case REC_DSN_RET:
        if (slice_i64(rec->data, 0, 3, &n) < 0)
            return -1;
        e->ret_flags = (int) n;
        return 1;
    case REC_DSN_ORCPT: w->orcpt = keep(e, rec->data); return 1;
    case REC_DSN_NOTIFY: return slice_i64(rec->data, 0, 15, &w->notify) < 0 ? -1 : 1;
    case REC_ORCP: w->original = keep(e, rec->data); return 1;
    case REC_RCPT:
        if (e->recipient_count >= w->max) {
            e->more = offset;
            return w->resumed ? 0 : 1; /* the first pass reads on: more may follow that is of the message */
        }
        add_recipient(w, rec->data, offset);
        forget_recipient(w);
        return 1;
    case REC_DONE:
        if (e->more == 0)
            e->done++;
        forget_recipient(w);
        return 1;
    case REC_DRCP: forget_recipient(w); return 1;
    case REC_WARN:
        if (slice_i64(slice_trim(rec->data), 0, INT64_MAX, &n) < 0)
            return -1;
        e->warn_time = (time_t) n;
        e->warn_offset = offset;
        return 1;
    case REC_MESG: return skip_content(w) < 0 ? -1 : 1;
    case REC_END: w->end_seen = true; return 0;
    default:
        for (size_t i = 0; i < sizeof records / sizeof *records; i++)
            if (records[i].type == rec->type)
                *text_field(e, records[i].at) = keep(e, rec->data);
        return 1;
    }
}

static int run(struct walk *w, off_t from, struct err *err)
{
    struct queue_envelope *e = w->e;
    struct record rec;
    off_t offset, group = from, resume = 0;
    int rc, go = 1;

    queue_reader_seek(w->reader, from);
    forget_recipient(w);
    while (go == 1) {
        if (w->original[0] == 0 && w->orcpt[0] == 0 && w->notify == 0)
            group = queue_reader_tell(w->reader); /* where what belongs to the next recipient begins */
        rc = queue_reader_next(w->reader, &rec, &offset);
        if (rc < 0 && errno != EBADMSG) {
            int saved = errno;
            err_set(err, 451, "4.3.0", "read queue file: %s", strerror(saved));
            errno = saved;
            return -1;
        }
        go = rc == 1 ? take(w, &rec, offset) : -1;
        if (e->more && resume == 0)
            resume = group;
        if (go == 1 && arena_bytes(e->arena) > ENVELOPE_BYTES)
            go = -1;
    }
    if (go < 0) {
        err_set(err, 451, "4.3.0", "malformed queue file");
        errno = EBADMSG;
        return -1;
    }
    e->more = resume;
    return 0;
}

int queue_envelope_read(int fd, size_t recipients_max, struct queue_envelope *out, struct err *err)
{
    struct walk w = { .e = out, .max = recipients_max };
    int rc;

    *out = (struct queue_envelope){ .arena = arena_new() };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        *text_field(out, attributes[i].at) = "";
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        *text_field(out, records[i].at) = "";
    w.reader = queue_reader_new(fd);
    rc = run(&w, 0, err);
    queue_reader_free(&w.reader);
    if (rc == 0 && (!w.time_seen || out->sender == NULL)) {
        err_set(err, 451, "4.3.0", "malformed queue file: no %s", w.time_seen ? "sender" : "arrival time");
        errno = EBADMSG;
        rc = -1;
    }
    if (rc < 0) {
        int saved = errno;
        queue_envelope_free(out);
        errno = saved;
        return -1;
    }
    if (strlen(out->verp) != 2)
        out->verp = "";
    if (out->create_time == 0)
        out->create_time = out->arrival_usec / 1000000;
    return 0;
}

int queue_envelope_more(int fd, size_t recipients_max, struct queue_envelope *e, struct err *err)
{
    struct walk w = { .e = e, .max = recipients_max, .size_seen = true, .time_seen = true, .resumed = true };
    off_t from = e->more;
    int rc;

    e->recipients = NULL;
    e->recipient_count = 0;
    e->more = 0;
    if (from == 0)
        return 0;
    /* Behind the content no M follows; in front of it the walk jumps over it once. */
    w.content_seen = from > (off_t) e->size.data_offset && e->size.data_offset > 0;
    w.reader = queue_reader_new(fd);
    rc = run(&w, from, err);
    queue_reader_free(&w.reader);
    return rc;
}

void queue_envelope_free(struct queue_envelope *e)
{
    arena_free(&e->arena);
    *e = (struct queue_envelope){ 0 };
}

int queue_mark_done(int fd, off_t recipient_offset)
{
    char type;
    ssize_t n = pread(fd, &type, 1, recipient_offset);

    if (n < 0)
        return -1;
    if (n == 1 && type == REC_DONE)
        return 0;
    if (n != 1 || type != REC_RCPT) {
        errno = EBADMSG;
        return -1;
    }
    type = REC_DONE;
    n = pwrite(fd, &type, 1, recipient_offset);
    if (n == 0)
        errno = ENOSPC;
    return n == 1 ? 0 : -1;
}

int queue_set_warn_time(int fd, off_t warn_offset, time_t when)
{
    struct str rec;
    char head[2] = { 0, 0 };
    ssize_t n = pread(fd, head, sizeof head, warn_offset);

    if (n != sizeof head || head[0] != REC_WARN || head[1] != 15) {
        errno = n < 0 ? errno : EBADMSG;
        return -1;
    }
    str_init(&rec, 32);
    record_printf(&rec, REC_WARN, "%15ld", (long) when);
    n = pwrite(fd, rec.p, rec.len, warn_offset);
    if (n >= 0 && (size_t) n != rec.len) {
        errno = ENOSPC;
        n = -1;
    }
    str_free(&rec);
    return n < 0 ? -1 : 0;
}

static bool number_upto(struct slice value, int64_t max)
{
    int64_t n;

    return slice_i64(value, 0, max, &n) == 0;
}

static bool word_upto(struct slice value, size_t max)
{
    if (value.len > max)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char) value.p[i] <= ' ' || value.p[i] == 127)
            return false;
    return true;
}

bool queue_user_attribute(struct slice name, struct slice value)
{
    if (slice_eq(name, "rewrite_context"))
        return slice_eq(value, "local") || slice_eq(value, "remote");
    if (slice_eq(name, "encoding") || slice_eq(name, "envelope_id"))
        return word_upto(value, QUEUE_USER_WORD_BYTES);
    if (slice_eq(name, "dsn_orig_rcpt"))
        return value.len <= QUEUE_USER_WORD_BYTES && slice_find(value, ';') > 0 &&
               word_upto(slice_sub(value, 0, (size_t) slice_find(value, ';')), QUEUE_USER_WORD_BYTES);
    if (slice_eq(name, "trace_flags"))
        return number_upto(value, 0xffff);
    return (slice_eq(name, "ret_flags") && number_upto(value, 3)) ||
           (slice_eq(name, "notify_flags") && number_upto(value, 15));
}
