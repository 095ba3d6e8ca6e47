/* cleanup - sends one message's records, in frames; contract in cleanup.h */
#include "client/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "ipc/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_MAX = 16, IDLE_MS = 5000, ID_BYTES = 256, FIRST_BYTES = 8000 /* most messages need no more */ };

struct cleanup {
    struct stream *stream;
    struct str pending; /* records not yet sent */
    bool ended;         /* E was given */
    int error;          /* errno of the first failure */
    char id[ID_BYTES];
};
static struct { /* connections between two messages */
    struct stream *stream;
    int64_t since_ms;
} idle[IDLE_MAX];
static size_t idle_count;

static const struct {
    const char *word;
    unsigned flag;
} overrides[] = {
    { "no_unknown_recipient_checks", 0 }, /* smtpd's own */
    { "no_address_mappings", CLEANUP_BCC_OK | CLEANUP_MAP_OK },
    { "no_header_body_checks", CLEANUP_FILTER },
    { "no_milters", CLEANUP_MILTER },
};

int cleanup_override(const char *options, unsigned *flags)
{
    struct slice rest = slice_of(options), word;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        size_t i = 0;
        while (i < sizeof overrides / sizeof *overrides && !slice_caseeq(word, overrides[i].word))
            i++;
        if (i == sizeof overrides / sizeof *overrides)
            return -1;
        *flags &= ~overrides[i].flag;
    }
    return 0;
}

static struct stream *take_idle(void)
{
    while (idle_count) {
        struct stream *s = idle[--idle_count].stream;
        if (time_mono_ms() - idle[idle_count].since_ms < IDLE_MS)
            return s; /* if it has ended, its first use shows it */
        stream_free(&s);
    }
    return NULL;
}

static void keep_idle(struct stream **s)
{
    int64_t now = time_mono_ms();

    if (idle_count == IDLE_MAX || now - idle[0].since_ms >= IDLE_MS) { /* the oldest goes */
        if (idle_count) {
            stream_free(&idle[0].stream);
            memmove(&idle[0], &idle[1], --idle_count * sizeof idle[0]);
        }
    }
    idle[idle_count].stream = *s;
    idle[idle_count++].since_ms = now;
    *s = NULL;
}

static int ask_open(struct cleanup *c, unsigned flags, int64_t deadline, struct err *err)
{
    struct msg *m = msg_new(CLEANUP_OPEN), *answer = NULL;
    int rc;

    msg_put_num(m, "flags", flags);
    stream_deadline(c->stream, deadline);
    rc = msg_send(c->stream, m, 1);
    msg_free(&m);
    if (rc < 0 || msg_recv(c->stream, &answer) < 0)
        return -1;
    if (strcmp(msg_name(answer), CLEANUP_DONE) == 0) { /* refused: says why */
        err->code = (int) msg_get_num(answer, "code", 400, 599);
        snprintf(err->dsn, sizeof err->dsn, "%s", msg_get_str(answer, "dsn", sizeof err->dsn - 1));
        snprintf(err->text, sizeof err->text, "%s", msg_get_str(answer, "reason", CLEANUP_REASON_BYTES));
        rc = -2;
    } else {
        snprintf(c->id, sizeof c->id, "%s", msg_get_str(answer, "queue_id", sizeof c->id - 1));
        rc = strcmp(msg_name(answer), CLEANUP_OPENED) == 0 && msg_done(answer) && c->id[0] ? 0 : -1;
    }
    msg_free(&answer);
    return rc;
}

struct cleanup *cleanup_open(unsigned flags, int64_t deadline, struct err *err)
{
    struct cleanup *c = mem_new(sizeof *c);
    int rc = -1;

    str_init(&c->pending, RECORD_BYTES + CLEANUP_DATA_BYTES + RECORD_HEAD_BYTES);
    str_reserve(&c->pending, FIRST_BYTES);
    c->stream = take_idle();
    if (c->stream && (rc = ask_open(c, flags, deadline, err)) == -1)
        stream_free(&c->stream); /* it ended while idle: nothing was begun, ask again */
    if (c->stream == NULL) {
        c->stream = ipc_open("public/cleanup", CLEANUP_PROTOCOL, CLEANUP_VERSION, deadline);
        rc = c->stream ? ask_open(c, flags, deadline, err) : -1;
    }
    if (rc == 0)
        return c;
    if (rc == -1)
        err_set(err, 451, "4.3.0", "Error: queue file write error");
    stream_free(&c->stream);
    str_free(&c->pending);
    free(c);
    return NULL;
}

const char *cleanup_id(const struct cleanup *c) { return c->id; }
bool cleanup_failed(const struct cleanup *c) { return c->error != 0; }

static void send_pending(struct cleanup *c)
{
    struct msg *m;

    if (c->error || c->pending.len == 0)
        return;
    m = msg_new(CLEANUP_DATA);
    msg_put(m, "records", str_slice(&c->pending));
    if (msg_send(c->stream, m, 0) < 0)
        c->error = errno ? errno : EPIPE;
    msg_free(&m);
    str_reset(&c->pending);
}

void cleanup_record(struct cleanup *c, int type, struct slice data)
{
    if (data.len > RECORD_BYTES) {
        c->error = c->error ? c->error : EMSGSIZE;
        return;
    }
    record_put(&c->pending, type, data);
    c->ended = type == REC_END;
    if (c->pending.len >= CLEANUP_DATA_BYTES)
        send_pending(c);
}

void cleanup_printf(struct cleanup *c, int type, const char *fmt, ...)
{
    struct str text;
    va_list ap;

    str_init(&text, RECORD_BYTES);
    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    cleanup_record(c, type, str_slice(&text));
    str_free(&text);
}

void cleanup_attr(struct cleanup *c, const char *name, const char *value)
{
    struct str text;

    str_init(&text, RECORD_BYTES);
    str_adds(&text, name);
    str_addc(&text, '=');
    str_adds(&text, value);
    cleanup_record(c, REC_ATTR, str_slice(&text));
    str_free(&text);
}

static int read_done(struct cleanup *c, struct err *err)
{
    struct msg *m = NULL;
    int code = 0, rc;

    if (msg_recv(c->stream, &m) < 0)
        return -1;
    rc = strcmp(msg_name(m), CLEANUP_DONE) == 0 ? 0 : -1;
    if (rc == 0) {
        code = (int) msg_get_num(m, "code", 250, 599);
        const char *dsn = msg_get_str(m, "dsn", sizeof err->dsn - 1);
        const char *reason = msg_get_str(m, "reason", CLEANUP_REASON_BYTES);
        if (!msg_done(m))
            rc = -1;
        else if (code >= 400)
            err_set(err, code, dsn, "%s", reason);
        else if (code != 250)
            rc = -1;
    }
    msg_free(&m);
    return rc < 0 ? -1 : code;
}

int cleanup_end(struct cleanup **cleanup, int64_t deadline, struct err *err)
{
    struct cleanup *c = *cleanup;
    struct msg *m;
    int code = -1;

    if (!c->ended)
        cleanup_record(c, REC_END, SLICE(""));
    if (c->error == 0) {
        m = msg_new(CLEANUP_END);
        msg_put(m, "records", str_slice(&c->pending));
        stream_deadline(c->stream, deadline);
        if (msg_send(c->stream, m, 2) == 0)
            code = read_done(c, err);
        msg_free(&m);
    }
    if (code > 0) {
        stream_deadline(c->stream, EVENT_NEVER);
        keep_idle(&c->stream);
    } else {
        err_set(err, 451, "4.3.0", "Error: queue file write error");
    }
    cleanup_cancel(cleanup);
    return code == 250 ? 0 : -1;
}

void cleanup_cancel(struct cleanup **c)
{
    if (*c == NULL)
        return;
    stream_free(&(*c)->stream);
    str_free(&(*c)->pending);
    free(*c);
    *c = NULL;
}
