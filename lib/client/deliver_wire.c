/*
 * deliver_wire - a delivery request as a frame, and back
 *
 * Callers     deliver.c, qmgr
 * Invariants  names stand in one table, used by both directions; a request without recipients is malformed
 * Errors      deliver_decode: NULL; deliver_ask: -1
 */
#include "client/deliver.h"
#include "base/log.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t at;
} texts[] = {
#define TEXT(field)                                     \
    {                                                   \
#field, offsetof(struct deliver_request, field) \
    }
    TEXT(queue_id),      TEXT(transport),   TEXT(nexthop),        TEXT(sender),          TEXT(encoding),
    TEXT(envid),         TEXT(client_name), TEXT(client_address), TEXT(client_port),     TEXT(client_protocol),
    TEXT(client_helo),   TEXT(log_origin),  TEXT(log_ident),      TEXT(rewrite_context), TEXT(sasl_method),
    TEXT(sasl_username), TEXT(sasl_sender),
#undef TEXT
};
static const struct {
    const char *name;
    size_t at;
} numbers[] = {
#define NUMBER(field)                                   \
    {                                                   \
#field, offsetof(struct deliver_request, field) \
    }
    NUMBER(data_offset), NUMBER(data_size), NUMBER(content_bytes), NUMBER(arrival_us), NUMBER(active_us),
#undef NUMBER
};

static const char **text_at(const struct deliver_request *rq, size_t at)
{
    return (const char **) (void *) ((char *) (uintptr_t) rq + at);
}

static int64_t *number_at(const struct deliver_request *rq, size_t at)
{
    return (int64_t *) (void *) ((char *) (uintptr_t) rq + at);
}

struct msg *deliver_encode(const struct deliver_request *rq)
{
    struct msg *m = msg_new("deliver");

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *value = *text_at(rq, texts[i].at);
        msg_put_str(m, texts[i].name, value ? value : "");
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        msg_put_num(m, numbers[i].name, *number_at(rq, numbers[i].at));
    msg_put_num(m, "ret", rq->ret);
    msg_put_num(m, "trace_flags", rq->trace_flags);
    msg_put_num(m, "sendopts", rq->sendopts);
    msg_put_num(m, "rcpt_count", (int64_t) rq->rcpt_count);
    for (size_t i = 0; i < rq->rcpt_count; i++) {
        const struct deliver_rcpt *r = &rq->rcpts[i];
        char place[64];

        snprintf(place, sizeof place, "%lld %d", (long long) r->offset, r->notify);
        msg_put_str(m, "place", place);
        msg_put_str(m, "rcpt", r->address);
        msg_put_str(m, "original", r->original ? r->original : "");
        msg_put_str(m, "orcpt", r->orcpt ? r->orcpt : "");
    }
    msg_lend_fd(m, rq->fd);
    return m;
}

static bool take_text(struct msg *in, struct arena *arena, const char *name, const char **out)
{
    struct slice value;

    if (!msg_next(in, name, DELIVER_ADDRESS_BYTES, &value) || memchr(value.p, '\0', value.len) != NULL)
        return false;
    *out = arena_strndup(arena, value.p, value.len);
    return true;
}

static bool take_rcpt(struct msg *in, struct arena *arena, struct deliver_rcpt *r)
{
    struct slice place, word;
    uint64_t offset, notify;

    if (!msg_next(in, "place", 64, &place) || !slice_word(&place, " ", &word) ||
        slice_u64(word, INT64_MAX, &offset) < 0 || !slice_word(&place, " ", &word) ||
        slice_u64(word, 15, &notify) < 0 || place.len != 0)
        return false;
    r->offset = (int64_t) offset;
    r->notify = (int) notify;
    return take_text(in, arena, "rcpt", &r->address) && take_text(in, arena, "original", &r->original) &&
           take_text(in, arena, "orcpt", &r->orcpt);
}

struct deliver_request *deliver_decode(struct msg *in)
{
    struct arena *arena = arena_new();
    struct deliver_request *rq = arena_alloc(arena, sizeof *rq);
    bool ok = true;

    rq->arena = arena;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *text_at(rq, texts[i].at) = arena_strdup(arena, msg_get_str(in, texts[i].name, DELIVER_TEXT_BYTES));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *number_at(rq, numbers[i].at) = msg_get_num(in, numbers[i].name, 0, INT64_MAX);
    rq->ret = (int) msg_get_num(in, "ret", 0, 3);
    rq->trace_flags = (unsigned) msg_get_num(in, "trace_flags", 0, 0xffff);
    rq->sendopts = (unsigned) msg_get_num(in, "sendopts", 0, 0xffff);
    rq->rcpt_count = (size_t) msg_get_num(in, "rcpt_count", 1, DELIVER_RCPTS_MAX);
    rq->rcpts = arena_alloc(arena, rq->rcpt_count * sizeof *rq->rcpts);
    for (size_t i = 0; i < rq->rcpt_count && ok; i++)
        ok = take_rcpt(in, arena, &rq->rcpts[i]);
    rq->fd = msg_take_fd(in);
    if (msg_done(in) && ok && rq->rcpt_count > 0 && rq->fd >= 0)
        return rq;
    if (rq->fd >= 0)
        close(rq->fd);
    arena_free(&arena);
    return NULL;
}

int deliver_ask(struct stream *s, const struct deliver_request *rq, struct deliver_answer *out)
{
    struct msg *m = deliver_encode(rq);
    int status = msg_send(s, m, 1);
    bool ok;

    msg_free(&m);
    if (status < 0 || stream_flush(s) < 0 || msg_recv(s, &m) < 0) {
        errno = errno == EBADMSG ? EPROTO : errno;
        return -1;
    }
    *out = (struct deliver_answer){ 0 };
    ok = slice_eq(slice_of(msg_name(m)), "done");
    if (ok) {
        out->deferred = (size_t) msg_get_num(m, "deferred", 0, (int64_t) rq->rcpt_count);
        out->logs = (unsigned) msg_get_num(m, "logs", 0, DELIVER_LOGS);
        snprintf(out->dead_dsn, sizeof out->dead_dsn, "%s", msg_get_str(m, "dsn", ERR_DSN_BYTES - 1));
        snprintf(out->dead_reason, sizeof out->dead_reason, "%s", msg_get_str(m, "reason", DELIVER_TEXT_BYTES - 1));
        ok = msg_done(m);
    }
    int error = slice_eq(slice_of(msg_name(m)), "malformed") ? EBADMSG : EPROTO;
    msg_free(&m);
    errno = error;
    return ok ? 0 : -1;
}
