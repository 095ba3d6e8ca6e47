/*
 * transaction - one message: recipients, trace fields, delivery
 *
 * Callers     lmtp/session.c
 * Invariants  every recipient that was accepted gets one reply, in the order of RCPT
 * Errors      a recipient's failure is that recipient's alone
 * Source      RFC 2033 4.2; RFC 5321 4.4 (trace fields)
 */
#include "lmtpd.h"

#include "base/log.h"
#include "base/time.h"
#include "proto/addr/addr.h"

#include <stdlib.h>

enum { HEAD_BYTES = 16384, FOREIGN_AT_ONCE = 16 };

void lmtpd_reset(struct lmtpd_session *s)
{
    unsigned number = s->now.number;

    maildir_free(&s->now.message);
    mailboxd_content_free(&s->now.content);
    arena_free(&s->now.arena);
    free(s->now.rcpts);
    s->now = (struct lmtpd_transaction){ .number = number };
}

int lmtpd_add_recipient(struct lmtpd_session *s, const char *address, struct err *err)
{
    struct lmtpd_transaction *t = &s->now;
    struct lmtpd_rcpt rcpt = { .address = arena_strdup(t->arena, address) };
    struct str external;
    enum lookup found;

    if (t->count >= (size_t) lmtpd_recipient_limit)
        return err_set(err, 452, "4.5.3", "Too many recipients");
    found = userdb_find(address, "lmtp", t->arena, &rcpt.box, err);
    str_init(&external, 2 * ADDR_BYTES);
    addr_quote(&external, slice_of(address));
    if (found == LOOKUP_NONE) {
        (void) err_set(err, 550, "5.1.1", "<%s> User doesn't exist: %s", external.p, external.p);
    } else if (found == LOOKUP_FOUND && !rcpt.box.maildir) {
        log_warn("%s: to=<%s>: %s is no Maildir: its path in virtual_mailbox_maps must end in \"/\"", s->id,
                 external.p, rcpt.box.path);
        found = LOOKUP_RETRY;
    }
    if (found == LOOKUP_RETRY)
        (void) err_set(err, 451, "4.3.0", "<%s> Temporary internal error", external.p);
    str_free(&external);
    if (found != LOOKUP_FOUND)
        return -1;
    rcpt.foreign = mailboxd_needed(&rcpt.box);
    t->rcpts = mem_grow(t->rcpts, t->count + 1, sizeof *t->rcpts);
    t->rcpts[t->count++] = rcpt;
    return 0;
}

/* "ID", ":T2" for a later transaction of the connection, ":R2" for a later recipient. */
static void session_id(const struct lmtpd_session *s, size_t rcpt, struct str *out)
{
    str_adds(out, s->id);
    if (s->now.number > 1)
        str_printf(out, ":T%u", s->now.number);
    if (rcpt > 0)
        str_printf(out, ":R%zu", rcpt + 1);
}

/* With several recipients nothing may tell one of the others. */
static void trace_fields(const struct lmtpd_session *s, struct str *out)
{
    const struct lmtpd_transaction *t = &s->now;
    struct str sender, rcpt;
    char date[TIME_TEXT_BYTES];

    str_init(&sender, 2 * ADDR_BYTES);
    str_init(&rcpt, 2 * ADDR_BYTES);
    addr_quote(&sender, slice_of(t->sender));
    addr_quote(&rcpt, slice_of(t->rcpts[0].address));
    time_rfc5322(time_now(), date);
    str_printf(out, "Return-Path: <%s>\n", sender.p);
    if (t->count == 1)
        str_printf(out, "Delivered-To: %s\n", rcpt.p);
    str_printf(out, "Received: from %s", s->helo);
    if (*s->client)
        str_printf(out, " ([%s%s])", strchr(s->client, ':') ? "IPv6:" : "", s->client);
    str_printf(out, "\n\tby %s with LMTP\n\tid ", conf_myhostname);
    session_id(s, 0, out);
    str_printf(out, "\n\t(envelope-from <%s>)", sender.p);
    if (t->count == 1)
        str_printf(out, "\n\tfor <%s>", rcpt.p);
    str_printf(out, "; %s\n", date);
    str_free(&sender);
    str_free(&rcpt);
}

void lmtpd_begin(struct lmtpd_session *s)
{
    struct lmtpd_transaction *t = &s->now;
    struct str head;

    t->begun = true;
    for (size_t i = 0; i < t->count; i++)
        if (t->rcpts[i].foreign && t->content == NULL)
            t->content = mailboxd_content_new();
        else if (!t->rcpts[i].foreign && t->message == NULL) /* a mailbox that is broken must not stop the others */
            (void) maildir_begin(t->rcpts[i].box.path, MAILDIR_MAKE, 0, &t->message, &t->error);
    if (t->message)
        t->error = (struct err){ 0 };
    else if (t->error.code)
        log_warn("%s: from=<%s>: %s", s->id, t->sender, t->error.text);
    str_init(&head, HEAD_BYTES);
    trace_fields(s, &head);
    lmtpd_content(s, head.p, head.len);
    t->bytes = 0;
    str_free(&head);
}

void lmtpd_content(struct lmtpd_session *s, const void *p, size_t len)
{
    struct lmtpd_transaction *t = &s->now;

    if (t->refused.code)
        return;
    if (t->message)
        maildir_write(t->message, p, len);
    if (t->content)
        mailboxd_content_write(t->content, p, len);
    t->bytes += len;
    if (conf_message_size_limit > 0 && t->bytes > (uint64_t) conf_message_size_limit + HEAD_BYTES)
        (void) err_set(&t->refused, 552, "5.3.4", "Message size exceeds fixed limit");
}

void lmtpd_reply(struct lmtpd_session *s, const struct err *err)
{
    stream_printf(s->stream, "%d %s %s\r\n", err->code, err->dsn, err->text);
}

/* Takes the other accounts' recipients one by one; several fibers do. */
static void deliver_foreign(void *arg)
{
    struct lmtpd_transaction *t = arg;

    fiber_shield(true);
    while (t->next < t->count) {
        struct lmtpd_rcpt *rcpt = &t->rcpts[t->next++];
        if (!rcpt->foreign)
            continue;
        if (mailboxd_deliver(&rcpt->box, (struct slice){ "", 0 }, 0, t->content, &rcpt->bytes, &rcpt->result) == 0)
            rcpt->result = (struct err){ 0 };
        rcpt->done = true;
        event_cond_broadcast(&t->moved);
    }
    t->helpers--;
    event_cond_broadcast(&t->moved);
    fiber_shield(false);
}

static void begin_foreign(struct lmtpd_transaction *t)
{
    struct err why = t->refused.code ? t->refused : t->content_error;
    size_t foreign = 0;

    for (size_t i = 0; i < t->count; i++) {
        foreign += t->rcpts[i].foreign;
        if (why.code) {
            t->rcpts[i].result = why;
            t->rcpts[i].done = true;
        }
    }
    for (t->next = 0; t->helpers < foreign && t->helpers < FOREIGN_AT_ONCE && why.code == 0; t->helpers++)
        fiber_go("other accounts", deliver_foreign, t);
}

/* 0, and how many bytes it has in the mailbox. */
static int deliver_to(struct lmtpd_transaction *t, struct lmtpd_rcpt *rcpt, uint64_t *bytes, struct err *err)
{
    unsigned how = MAILDIR_MAKE | (rcpt->box.no_index ? MAILDIR_NO_INDEX : 0);

    if (rcpt->foreign) {
        while (!rcpt->done)
            event_cond_wait(&t->moved, EVENT_NEVER);
        *bytes = rcpt->bytes;
        *err = rcpt->result;
        return err->code ? -1 : 0;
    }
    *err = t->refused.code ? t->refused : t->error;
    if (err->code || maildir_deliver(t->message, rcpt->box.path, how, err) < 0)
        return -1;
    *bytes = maildir_bytes(t->message);
    return 0;
}

static void deliver_one(struct lmtpd_session *s, size_t i)
{
    struct lmtpd_transaction *t = &s->now;
    struct lmtpd_rcpt *rcpt = &t->rcpts[i];
    uint64_t bytes = 0;
    struct err err;
    struct str external, id;

    str_init(&external, 2 * ADDR_BYTES);
    str_init(&id, 128);
    addr_quote(&external, slice_of(rcpt->address));
    session_id(s, i, &id);
    if (deliver_to(t, rcpt, &bytes, &err) == 0) {
        log_info("%s: to=<%s>, from=<%s>, size=%llu, status=sent (saved in %s)", id.p, external.p, t->sender,
                 (unsigned long long) bytes, rcpt->box.path);
        stream_printf(s->stream, "250 2.0.0 <%s> %s Saved\r\n", external.p, id.p);
    } else {
        log_info("%s: to=<%s>, from=<%s>, status=%s (%s)", id.p, external.p, t->sender,
                 err.code >= 500 ? "refused" : "deferred", err.text);
        if (err.code == 451) /* paths and errno are the log's: the peer may be anybody */
            stream_printf(s->stream, "451 4.3.0 <%s> Temporary internal error\r\n", external.p);
        else if (err.code == 452)
            stream_printf(s->stream, "452 4.2.2 <%s> Quota exceeded (mailbox for user is full)\r\n", external.p);
        else
            stream_printf(s->stream, "%d %s <%s> %s\r\n", err.code, err.dsn, external.p, err.text);
    }
    str_free(&external);
    str_free(&id);
}

void lmtpd_deliver(struct lmtpd_session *s)
{
    struct lmtpd_transaction *t = &s->now;
    struct err err;

    if (t->message && maildir_end(t->message, &err) < 0)
        t->error = err;
    if (t->content && mailboxd_content_end(t->content, &err) < 0)
        t->content_error = err;
    fiber_shield(true); /* what was renamed is synced and answered, even when the service stops */
    begin_foreign(t);
    for (size_t i = 0; i < t->count; i++)
        deliver_one(s, i);
    while (t->helpers) /* they look at the transaction */
        event_cond_wait(&t->moved, EVENT_NEVER);
    if (stream_buffered(s->stream) == 0) /* the client waits for the answer, and for none of what follows it */
        (void) stream_flush(s->stream);
    fiber_shield(false);
}
