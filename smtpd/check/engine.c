/*
 * smtpd check engine - walks restriction lists and words the verdicts
 *
 * Callers     smtpd/cmd (the functions smtpd_check_STAGE), the restriction families
 * Invariants  the first permit or reject of a list ends it; defer_if_permit spoils a permit, defer_if_reject a reject
 *             a permit of the relay list does not end the recipient list
 *             "sendmail -bs" is judged by nobody: who may run it may run sendmail
 * Source      postfix.md section 5
 */
#include "check/check.h"
#include "params.h"

#include "base/log.h"
#include "base/time.h"
#include "client/cleanup.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/statvfs.h>

enum { LIST_DEPTH = 100 };

__attribute__((format(printf, 4, 0))) static void set_reply(char out[SMTPD_REPLY_BYTES], int code, const char *dsn,
                                                            const char *fmt, va_list ap)
{
    int at = snprintf(out, SMTPD_REPLY_BYTES, "%d %c%s ", code, '0' + code / 100, dsn + 1);

    if (at > 0 && at < SMTPD_REPLY_BYTES)
        vsnprintf(out + at, SMTPD_REPLY_BYTES - (size_t) at, fmt, ap);
}

/* What is in c->reply becomes the verdict, or a warning. */
static enum smtpd_verdict refused(struct smtpd_check *c)
{
    if (c->warn) {
        smtpd_log_action(c->s, "reject_warning", c->reply);
        return SMTPD_DUNNO;
    }
    return SMTPD_REJECT;
}

enum smtpd_verdict smtpd_refuse(struct smtpd_check *c, int code, const char *dsn, const char *fmt, ...)
{
    va_list ap;

    /* defer_if_reject: what would be refused for good may be the fault of something that failed for now. */
    if (code / 100 == 5 && c->defer_if_reject.active && !c->warn) {
        snprintf(c->reply, sizeof c->reply, "%s", c->defer_if_reject.text);
        c->code = c->defer_if_reject.code;
        return SMTPD_REJECT;
    }
    va_start(ap, fmt);
    set_reply(c->reply, code, dsn, fmt, ap);
    va_end(ap);
    c->code = code;
    return refused(c);
}

enum smtpd_verdict smtpd_refuse_retry(struct smtpd_check *c, const char *object)
{
    bool warn = c->warn;
    enum smtpd_verdict v;

    c->warn = false; /* nothing was found out: nobody may pass because of it */
    v = smtpd_refuse(c, 451, "4.3.0", "<%s>: Temporary lookup failure", object);
    c->warn = warn;
    return v;
}

static void remember(struct smtpd_session *s, struct smtpd_defer *d, int code, const char *dsn, const char *fmt,
                     va_list ap)
{
    char text[SMTPD_REPLY_BYTES];

    if (d->active)
        return; /* the first reason stays */
    d->active = true;
    d->code = code;
    d->dsn = dsn;
    set_reply(text, code, dsn, fmt, ap);
    d->text = arena_strdup(s->arena, text);
}

enum smtpd_verdict smtpd_defer_if_permit(struct smtpd_check *c, int code, const char *dsn, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (c->warn) {
        set_reply(c->reply, code, dsn, fmt, ap);
        smtpd_log_action(c->s, "reject_warning", c->reply);
    } else {
        remember(c->s, &c->s->defer_if_permit, code, dsn, fmt, ap);
    }
    va_end(ap);
    return SMTPD_DUNNO;
}

enum smtpd_verdict smtpd_defer_if_reject(struct smtpd_check *c, int code, const char *dsn, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!c->warn)
        remember(c->s, &c->defer_if_reject, code, dsn, fmt, ap);
    va_end(ap);
    return SMTPD_DUNNO;
}

enum smtpd_verdict smtpd_run_list(struct smtpd_check *c, const struct smtpd_list *list)
{
    enum smtpd_verdict v = SMTPD_DUNNO;
    bool warn = c->warn; /* in front of a class it holds for all of the class */

    if (++c->depth > LIST_DEPTH) {
        log_warn("restriction list %s: lists inside lists more than %d deep", list->name, LIST_DEPTH);
        v = smtpd_refuse(c, 451, "4.3.5", "Server configuration error");
    }
    for (size_t i = 0; v == SMTPD_DUNNO && i < list->count; i++) {
        const struct smtpd_item *item = &list->items[i];

        v = item->restriction ? item->restriction->run(c, item) : smtpd_run_list(c, item->list);
        /* warn_if_reject holds for the one that follows. */
        if (c->warn && (item->restriction == NULL || item->restriction->run != smtpd_check_warn_if_reject))
            c->warn = warn;
    }
    c->depth--;
    return v;
}

static const char *refusal(struct smtpd_check *c)
{
    smtpd_log_action(c->s, "reject", c->reply);
    if (c->s->denied == NULL)
        c->s->denied = arena_alloc(c->s->arena, SMTPD_REPLY_BYTES);
    snprintf(c->s->denied, SMTPD_REPLY_BYTES, "%s", c->reply);
    return c->s->denied;
}

/* One stage's own list. */
static enum smtpd_verdict run_stage(struct smtpd_check *c, enum smtpd_stage stage, const char *object,
                                    const char *class)
{
    c->stage = stage;
    c->object = object;
    c->class = class;
    c->warn = false;
    c->defer_if_reject.active = false;
    return smtpd_run_list(c, smtpd_compiled(stage));
}

static void begin(struct smtpd_check *c, struct smtpd_session *s)
{
    memset(c, 0, offsetof(struct smtpd_check, reply));
    c->s = s;
    c->since_us = time_mono_us();
    c->code = 0;
}

static enum smtpd_verdict run_client(struct smtpd_check *c)
{
    return run_stage(c, SMTPD_STAGE_CLIENT, c->s->peer.namaddr, "Client host");
}

static enum smtpd_verdict run_helo(struct smtpd_check *c)
{
    return c->s->helo ? run_stage(c, SMTPD_STAGE_HELO, c->s->helo, "Helo command") : SMTPD_DUNNO;
}

static enum smtpd_verdict run_sender(struct smtpd_check *c, const char *sender)
{
    /* VRFY has no sender. */
    return sender ? run_stage(c, SMTPD_STAGE_SENDER, sender, "Sender address") : SMTPD_DUNNO;
}

const char *smtpd_check_client(struct smtpd_session *s)
{
    struct smtpd_check c;

    if (smtpd_delay_reject || s->alone)
        return NULL;
    begin(&c, s);
    return run_client(&c) == SMTPD_REJECT ? refusal(&c) : NULL;
}

const char *smtpd_check_helo(struct smtpd_session *s, const char *name)
{
    struct smtpd_check c;
    const char *before = s->helo, *answer = NULL;

    if (smtpd_delay_reject || s->alone)
        return NULL;
    begin(&c, s);
    s->helo = name;
    if (run_helo(&c) == SMTPD_REJECT)
        answer = refusal(&c);
    s->helo = before;
    return answer;
}

const char *smtpd_check_mail(struct smtpd_session *s, const char *sender)
{
    struct smtpd_check c;

    if (smtpd_delay_reject || s->alone)
        return NULL;
    begin(&c, s);
    s->sender_log = sender;
    return run_sender(&c, sender) == SMTPD_REJECT ? refusal(&c) : NULL;
}

static enum smtpd_verdict run_relay_and_recipient(struct smtpd_check *c, const char *recipient)
{
    enum smtpd_stage order[2] = { SMTPD_STAGE_RELAY, SMTPD_STAGE_RECIPIENT };
    enum smtpd_verdict v = SMTPD_DUNNO;

    if (!smtpd_relay_before_recipient_restrictions) {
        order[0] = SMTPD_STAGE_RECIPIENT;
        order[1] = SMTPD_STAGE_RELAY;
    }
    for (size_t i = 0; i < 2 && v != SMTPD_REJECT; i++)
        v = run_stage(c, order[i], recipient, "Recipient address");
    return v;
}

/* What no list names but holds for every recipient. */
static enum smtpd_verdict run_unlisted(struct smtpd_check *c, const char *recipient)
{
    enum smtpd_verdict v = SMTPD_DUNNO;

    c->warn = false;
    c->defer_if_reject.active = false;
    if (c->s->mail.actions.flags & CLEANUP_DISCARD)
        return v;
    c->object = recipient;
    c->class = "Recipient address";
    if (smtpd_reject_unlisted_recipient && !c->recipient_known)
        v = smtpd_unlisted_recipient(c);
    if (v != SMTPD_REJECT && smtpd_reject_unlisted_sender && !c->sender_known)
        v = smtpd_unlisted_sender(c);
    return v;
}

const char *smtpd_check_rcpt(struct smtpd_session *s, const char *recipient)
{
    struct smtpd_check c;
    struct smtpd_defer kept = s->defer_if_permit;
    enum smtpd_verdict v = SMTPD_DUNNO;
    const char *answer = NULL;

    /* RFC 5321 4.5.1: mail for "postmaster" without a domain is taken from anybody, whatever is refused otherwise. */
    if (s->alone || strcasecmp(recipient, "postmaster") == 0)
        return NULL;
    begin(&c, s);
    s->recipient = recipient;
    if (smtpd_delay_reject) {
        s->defer_if_permit.active = false;
        v = run_client(&c);
        if (v != SMTPD_REJECT)
            v = run_helo(&c);
        if (v != SMTPD_REJECT)
            v = run_sender(&c, s->mail.sender);
    }
    if (v != SMTPD_REJECT)
        v = run_relay_and_recipient(&c, recipient);
    if (v != SMTPD_REJECT)
        v = run_unlisted(&c, recipient);
    if (v != SMTPD_REJECT && s->defer_if_permit.active) {
        snprintf(c.reply, sizeof c.reply, "%s", s->defer_if_permit.text);
        v = SMTPD_REJECT;
    }
    if (v == SMTPD_REJECT)
        answer = refusal(&c);
    s->defer_if_permit = kept; /* of the stages before, the same for each recipient */
    return answer;
}

static const char *check_late(struct smtpd_session *s, enum smtpd_stage stage, const char *object, const char *class)
{
    struct smtpd_check c;
    struct smtpd_defer kept = s->defer_if_permit;
    const char *answer = NULL;
    enum smtpd_verdict v;

    if (s->alone)
        return NULL;
    begin(&c, s);
    s->recipient = s->mail.rcpt_count == 1 ? s->mail.rcpt : NULL;
    v = run_stage(&c, stage, object, class);
    if (v != SMTPD_REJECT && s->defer_if_permit.active) {
        snprintf(c.reply, sizeof c.reply, "%s", s->defer_if_permit.text);
        v = SMTPD_REJECT;
    }
    if (v == SMTPD_REJECT)
        answer = refusal(&c);
    s->defer_if_permit = kept;
    return answer;
}

const char *smtpd_check_data(struct smtpd_session *s)
{
    return check_late(s, SMTPD_STAGE_DATA, "DATA", "Data command");
}

const char *smtpd_check_end_of_data(struct smtpd_session *s)
{
    return check_late(s, SMTPD_STAGE_END_OF_DATA, "END-OF-MESSAGE", "End-of-data");
}

static int queue_fd = -1; /* the queue directory: how much room is left */

void smtpd_check_pre_jail(void)
{
    queue_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    match_local_open();
    smtpd_generic_pre_jail();
    smtpd_unlisted_pre_jail();
    smtpd_login_pre_jail();
    smtpd_compile_all();
}

int smtpd_check_size(uint64_t size, struct err *err)
{
    struct statvfs fs;
    uint64_t room, limit = (uint64_t) conf_message_size_limit;

    if (limit > 0 && size > limit)
        return err_set(err, 552, "5.3.4", "Message size exceeds fixed limit");
    if (queue_fd < 0 || fstatvfs(queue_fd, &fs) < 0)
        return 0; /* cleanup finds out */
    room = (uint64_t) fs.f_bavail * fs.f_frsize;
    if (conf_queue_minfree > 0 &&
        (room <= (uint64_t) conf_queue_minfree || room - (uint64_t) conf_queue_minfree <= size))
        return err_set(err, 452, "4.3.1", "Insufficient system storage");
    if (room / 3 * 2 < limit || room <= size) {
        log_warn("not enough free space in mail queue: %llu bytes < 1.5*message size limit",
                 (unsigned long long) room);
        return err_set(err, 452, "4.3.1", "Insufficient system storage");
    }
    return 0;
}
