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
#include <unistd.h>

enum { HEAD_BYTES = 16384 };

void lmtpd_reset(struct lmtpd_session *s)
{
    unsigned number = s->now.number;

    maildir_free(&s->now.message);
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
    } else if (found == LOOKUP_FOUND && rcpt.box.uid != geteuid()) {
        log_warn(
            "%s: to=<%s>: its mailbox belongs to uid %u, this process runs as %u: set virtual_uid_maps = static:N",
            s->id, external.p, (unsigned) rcpt.box.uid, (unsigned) geteuid());
        found = LOOKUP_RETRY;
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

    t->error = (struct err){ 0 };
    for (size_t i = 0; i < t->count && t->message == NULL;
         i++) /* a mailbox that is broken must not stop the others */
        (void) maildir_begin(t->rcpts[i].box.path, MAILDIR_MAKE, 0, &t->message, &t->error);
    if (t->message == NULL) {
        log_warn("%s: from=<%s>: %s", s->id, t->sender, t->error.text);
        return;
    }
    t->error = (struct err){ 0 };
    str_init(&head, HEAD_BYTES);
    trace_fields(s, &head);
    maildir_write(t->message, head.p, head.len);
    str_free(&head);
}

void lmtpd_content(struct lmtpd_session *s, const void *p, size_t len)
{
    struct lmtpd_transaction *t = &s->now;

    if (t->message == NULL || t->error.code)
        return;
    maildir_write(t->message, p, len);
    if (conf_message_size_limit > 0 && maildir_bytes(t->message) > (uint64_t) conf_message_size_limit + HEAD_BYTES)
        (void) err_set(&t->error, 552, "5.3.4", "Message size exceeds fixed limit");
}

void lmtpd_reply(struct lmtpd_session *s, const struct err *err)
{
    stream_printf(s->stream, "%d %s %s\r\n", err->code, err->dsn, err->text);
}

static void deliver_one(struct lmtpd_session *s, size_t i)
{
    struct lmtpd_transaction *t = &s->now;
    struct lmtpd_rcpt *rcpt = &t->rcpts[i];
    struct err err = t->error;
    struct str external, id;

    str_init(&external, 2 * ADDR_BYTES);
    str_init(&id, 128);
    addr_quote(&external, slice_of(rcpt->address));
    session_id(s, i, &id);
    if (err.code == 0 && maildir_deliver(t->message, rcpt->box.path,
                                         MAILDIR_MAKE | (rcpt->box.no_index ? MAILDIR_NO_INDEX : 0), &err) == 0) {
        log_info("%s: to=<%s>, from=<%s>, size=%llu, status=sent (saved in %s)", id.p, external.p, t->sender,
                 (unsigned long long) maildir_bytes(t->message), rcpt->box.path);
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

    if (t->message && maildir_end(t->message, &err) < 0 && t->error.code == 0)
        t->error = err;
    if (t->message == NULL && t->error.code == 0)
        (void) err_set(&t->error, 451, "4.3.0", "no message");
    fiber_shield(true); /* what was renamed is synced and answered, even when the service stops */
    for (size_t i = 0; i < t->count; i++)
        deliver_one(s, i);
    fiber_shield(false);
}
