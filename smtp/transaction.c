/*
 * transaction - one message in a session: MAIL, RCPT, DATA, and an outcome for each recipient
 *
 * Callers     attempt.c
 * Invariants  with PIPELINING commands go out in bursts of at most BURST recipients: neither side can block on a full
 *             pipe; without it each command waits for its reply
 *             a 5xx settles recipients for good; a 4xx and a lost connection leave them open for the next host
 *             a probe ends with the replies to RCPT: no DATA
 *             DATA answered 354 with no recipient accepted is ended with an empty message (RFC 2920 section 3.1)
 * Source      RFC 5321 3.3, 4.1.1; RFC 1870, 2033, 2920, 3461, 6152, 6531
 */
#include "smtp_internal.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include "proto/smtp/command.h"
#include <errno.h>
#include <stdio.h>

enum { BURST = 100, QUIT_CODE = 421 };

struct tx {
    struct session *s;
    struct attempt *a;
    size_t *open; /* indices of the recipients this transaction is about */
    bool *accepted;
    size_t count, accepted_count;
    bool mail_ok, closing; /* closing: the server said 421 */
};

static struct deliver_rcpt *rcpt_at(const struct tx *t, size_t i) { return &t->a->rq->rcpts[t->open[i]]; }

static void trouble_one(struct tx *t, size_t i, const struct why *why)
{
    struct why **slot = &t->a->rcpt_why[t->open[i]];

    if (*slot == NULL)
        *slot = arena_alloc(t->a->rq->arena, sizeof **slot);
    **slot = *why;
}

static void fail_one(struct tx *t, size_t i, const struct why *why)
{
    struct deliver_result result = { .relay = why->relay[0] ? why->relay : "none",
                                     .dsn = why->dsn,
                                     .text = why->text };

    if (rcpt_at(t, i)->outcome != DELIVER_OPEN)
        return;
    if (why->diag[0] != '\0') {
        result.diag_type = "smtp";
        result.diag_text = why->diag;
        result.mta_name = why->mta;
    }
    if (why->permanent)
        deliver_bounce(t->a->rq, rcpt_at(t, i), &result);
    else
        trouble_one(t, i, why);
}

static void fail(struct tx *t, bool accepted_only, const struct why *why)
{
    for (size_t i = 0; i < t->count; i++)
        if (!accepted_only || t->accepted[i])
            fail_one(t, i, why);
}

/* ---- what we say ---- */

static bool is_utf8(const struct tx *t)
{
    const struct deliver_request *rq = t->a->rq;

    if (!(rq->sendopts & DELIVER_UTF8_REQUESTED))
        return false;
    if (rq->sendopts & (DELIVER_UTF8_HEADER | DELIVER_UTF8_SENDER))
        return true;
    for (size_t i = 0; i < t->count; i++)
        if (!slice_is_ascii(slice_of(rcpt_at(t, i)->address)))
            return true;
    return false;
}

/* What this host cannot take at all. */
static bool is_able(struct tx *t, struct why *why)
{
    const struct session *s = t->s;
    uint64_t bytes = (uint64_t) t->a->rq->data_size;

    if (is_utf8(t) && !(s->features & SMTP_EHLO_SMTPUTF8)) {
        why_set(why, true, "5.6.7", "SMTPUTF8 is required, but was not offered by host %s", s->namaddr);
        return false;
    }
    if ((s->features & SMTP_EHLO_SIZE) && s->size_limit > 0 && bytes > s->size_limit) {
        why_set(why, true, "5.3.4", "message size %llu exceeds size limit %llu of server %s",
                (unsigned long long) bytes, (unsigned long long) s->size_limit, s->namaddr);
        return false;
    }
    return true;
}

static void say_mail(struct tx *t)
{
    const struct deliver_request *rq = t->a->rq;
    unsigned features = t->s->features;
    struct str line;

    str_init(&line, 0);
    str_adds(&line, "MAIL FROM:<");
    addr_quote(&line, slice_of(rq->sender));
    str_addc(&line, '>');
    if ((features & SMTP_EHLO_SIZE) && !content_may_change(t->s, rq))
        str_printf(&line, " SIZE=%lld", (long long) rq->data_size);
    if ((features & SMTP_EHLO_8BITMIME) && (strcmp(rq->encoding, "8bit") == 0 || is_utf8(t)))
        str_adds(&line, " BODY=8BITMIME");
    if (is_utf8(t))
        str_adds(&line, " SMTPUTF8");
    if (features & SMTP_EHLO_DSN) {
        if (*rq->envid != '\0') {
            str_adds(&line, " ENVID=");
            smtp_xtext_encode(&line, slice_of(rq->envid));
        }
        if (rq->ret == RET_FULL || rq->ret == RET_HDRS)
            str_printf(&line, " RET=%s", rq->ret == RET_FULL ? "FULL" : "HDRS");
    }
    session_say(t->s, "%s", line.p);
    str_free(&line);
}

static void add_notify(struct str *line, int notify)
{
    static const struct {
        int bit;
        const char *word;
    } words[] = { { NOTIFY_NEVER, "NEVER" },
                  { NOTIFY_SUCCESS, "SUCCESS" },
                  { NOTIFY_FAILURE, "FAILURE" },
                  { NOTIFY_DELAY, "DELAY" } };
    const char *separator = " NOTIFY=";

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (notify & words[i].bit) {
            str_printf(line, "%s%s", separator, words[i].word);
            separator = ",";
        }
}

static void add_orcpt(struct str *line, const struct deliver_rcpt *r)
{
    struct slice type, address = slice_of(r->orcpt);

    if (*r->orcpt != '\0' && slice_split(&address, ';', &type) && slice_is_ascii(address)) {
        str_printf(line, " ORCPT=%.*s;", (int) type.len, type.p);
        smtp_xtext_encode(line, address);
    } else if (*r->orcpt == '\0' && *r->original != '\0' && slice_is_ascii(slice_of(r->original))) {
        struct str quoted;

        str_init(&quoted, 0);
        addr_quote(&quoted, slice_of(r->original));
        str_adds(line, " ORCPT=rfc822;");
        smtp_xtext_encode(line, str_slice(&quoted));
        str_free(&quoted);
    }
}

static void say_rcpt(struct tx *t, size_t i)
{
    const struct deliver_rcpt *r = rcpt_at(t, i);
    struct str line;

    str_init(&line, 0);
    str_adds(&line, "RCPT TO:<");
    addr_quote(&line, slice_of(r->address));
    str_addc(&line, '>');
    if (t->s->features & SMTP_EHLO_DSN) {
        add_orcpt(&line, r);
        add_notify(&line, r->notify);
    }
    session_say(t->s, "%s", line.p);
    str_free(&line);
}

/* ---- what they say ---- */

static int hear(struct tx *t, int64_t seconds, const char *doing)
{
    struct why why;

    if (session_get(t->s, seconds, doing, &why) < 0) {
        fail(t, false, &why);
        return -1;
    }
    t->closing |= t->s->reply.code == QUIT_CODE;
    return 0;
}

static int hear_mail(struct tx *t)
{
    struct why why;

    if (hear(t, opt.mail_timeout, "sending MAIL FROM") < 0)
        return -1;
    t->mail_ok = t->s->reply.code / 100 == 2;
    if (!t->mail_ok) {
        session_refused(t->s, "MAIL FROM command", &why);
        fail(t, false, &why);
    }
    return 0;
}

static void sent(struct tx *t, size_t i)
{
    struct deliver_rcpt *r = rcpt_at(t, i);
    char text[WHY_BYTES], diag[WHY_BYTES];

    session_text(t->s, text, sizeof text);
    snprintf(diag, sizeof diag, "%s", text);
    if ((t->s->features & SMTP_EHLO_DSN) && !smtp_is_lmtp)
        r->notify &= ~NOTIFY_SUCCESS; /* the next host reports */
    deliver_sent(t->a->rq, r,
                 &(struct deliver_result){ .relay = t->s->relay,
                                           .dsn = t->s->reply.dsn[0] ? t->s->reply.dsn : "2.0.0",
                                           .text = text,
                                           .diag_type = "smtp",
                                           .diag_text = diag,
                                           .mta_name = t->s->host,
                                           .action = smtp_is_lmtp ? NULL : "relayed" });
}

static int hear_rcpt(struct tx *t, size_t i)
{
    struct why why;

    if (hear(t, opt.rcpt_timeout, "sending RCPT TO") < 0)
        return -1;
    if (!t->mail_ok)
        return 0;
    t->accepted[i] = t->s->reply.code / 100 == 2;
    t->accepted_count += t->accepted[i];
    if (!t->accepted[i]) {
        session_refused(t->s, "RCPT TO command", &why);
        fail_one(t, i, &why);
    } else if (deliver_verify(t->a->rq)) {
        sent(t, i);
    }
    return 0;
}

/* MAIL and all RCPT; *data: DATA was said too and waits for its reply. */
static int envelope(struct tx *t, bool *data)
{
    bool pipelining = (t->s->features & SMTP_EHLO_PIPELINING) != 0, heard_mail = false;
    size_t said = 0, heard = 0;

    *data = false;
    say_mail(t);
    if (!pipelining) {
        if (hear_mail(t) < 0)
            return -1;
        if (!t->mail_ok)
            return 0;
        heard_mail = true;
    }
    while (heard < t->count) {
        size_t burst = pipelining ? BURST : 1;

        for (; burst > 0 && said < t->count; burst--)
            say_rcpt(t, said++);
        if (pipelining && said == t->count && !deliver_verify(t->a->rq)) {
            session_say(t->s, "DATA");
            *data = true;
        }
        if (!heard_mail && hear_mail(t) < 0)
            return -1;
        heard_mail = true;
        for (; heard < said; heard++)
            if (hear_rcpt(t, heard) < 0)
                return -1;
        if (t->closing && !*data)
            return 0;
    }
    return 0;
}

static void end_reply(struct tx *t, size_t i)
{
    struct why why;

    if (t->s->reply.code / 100 == 2) {
        sent(t, i);
        return;
    }
    session_refused(t->s, "end of DATA command", &why);
    fail_one(t, i, &why);
}

/* SMTP: one reply for all. LMTP: one for each accepted recipient, in order. */
static int hear_end(struct tx *t)
{
    struct why why;
    bool heard = false;

    for (size_t i = 0; i < t->count; i++) {
        if (!t->accepted[i])
            continue;
        if ((!heard || smtp_is_lmtp) &&
            session_get(t->s, opt.data_done_timeout, "sending end of data -- message may be sent more than once",
                        &why) < 0) {
            fail(t, true, &why);
            return -1;
        }
        heard = true;
        t->closing |= t->s->reply.code == QUIT_CODE;
        end_reply(t, i);
    }
    return 0;
}

static int content(struct tx *t)
{
    struct why why;
    int status = content_send(t->s, t->a->rq);

    if (status == -2) { /* the server must not take what was sent so far for the message: the connection goes */
        why_set(&why, false, "4.3.0", "queue file cannot be read: %s", strerror(errno));
        log_warn("%s: %s", t->a->rq->queue_id, why.text);
        fail(t, true, &why);
        return -1;
    }
    if (status == 0) {
        stream_write(t->s->stream, ".\r\n", 3);
        return hear_end(t);
    }
    errno = stream_error(t->s->stream);
    session_lost(t->s, &why);
    fail(t, true, &why);
    return -1;
}

/* An empty message that nobody gets. */
static int empty_data(struct tx *t)
{
    struct why ignored;

    stream_write(t->s->stream, ".\r\n", 3);
    return session_get(t->s, opt.data_done_timeout, "sending end of data", &ignored);
}

static int data(struct tx *t, bool said)
{
    struct why why;

    if (!said) {
        if (!t->mail_ok || t->accepted_count == 0 || t->closing || deliver_verify(t->a->rq))
            return 0;
        session_say(t->s, "DATA");
    }
    if (session_get(t->s, opt.data_init_timeout, "sending DATA command", &why) < 0) {
        fail(t, true, &why);
        return -1;
    }
    t->closing |= t->s->reply.code == QUIT_CODE;
    if (t->s->reply.code / 100 == 3)
        return t->accepted_count > 0 ? content(t) : empty_data(t);
    if (t->accepted_count > 0) {
        session_refused(t->s, "DATA command", &why);
        fail(t, true, &why);
    }
    return 0;
}

/* Back to where MAIL may be said: not needed behind a message that was taken. */
static int reset(struct tx *t)
{
    struct why ignored;

    session_say(t->s, "RSET");
    return session_get(t->s, opt.quit_timeout, "sending RSET", &ignored) < 0 || t->s->reply.code / 100 != 2 ? -1 : 0;
}

int transaction(struct session *s, struct attempt *a)
{
    struct deliver_request *rq = a->rq;
    struct tx t = { .s = s,
                    .a = a,
                    .open = arena_alloc(rq->arena, rq->rcpt_count * sizeof *t.open),
                    .accepted = arena_alloc(rq->arena, rq->rcpt_count * sizeof *t.accepted) };
    struct why why;
    bool data_said;

    for (size_t i = 0; i < rq->rcpt_count; i++)
        if (rq->rcpts[i].outcome == DELIVER_OPEN)
            t.open[t.count++] = i;
    if (!is_able(&t, &why)) {
        snprintf(why.relay, sizeof why.relay, "%s", s->relay);
        fail(&t, false, &why);
        return 0;
    }
    if (envelope(&t, &data_said) < 0 || data(&t, data_said) < 0 || t.closing)
        return -1;
    return t.accepted_count > 0 && t.mail_ok && !deliver_verify(rq) ? 0 : reset(&t);
}
