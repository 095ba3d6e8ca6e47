/*
 * smtpd cmd mail - MAIL
 *
 * Callers     smtpd/command.c
 * Invariants  a transaction exists only after the reply 250
 * Source      RFC 5321 4.1.1.2; order of the checks and words are Postfix's
 */
#include "check/check.h"
#include "cmd/cmd.h"
#include "params.h"

#include "base/log.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include "proto/smtp/reply.h"

static unsigned allowed_params(const struct smtpd_session *s)
{
    unsigned allowed = SMTP_MAIL_SIZE | SMTP_MAIL_BODY;

    if (!(s->hidden & SMTP_EHLO_DSN))
        allowed |= SMTP_MAIL_RET | SMTP_MAIL_ENVID;
    if (conf_smtputf8_enable && !(s->hidden & SMTP_EHLO_SMTPUTF8))
        allowed |= SMTP_MAIL_SMTPUTF8;
    if (smtpd_sasl_auth_enable)
        allowed |= SMTP_MAIL_AUTH;
    return allowed;
}

static int in_order(struct smtpd_session *s)
{
    if (smtpd_helo_required && s->helo == NULL) {
        smtpd_reply(s, "503 5.5.1 Error: send HELO/EHLO first");
        return -1;
    }
    if (s->mail.data != SMTPD_NO_DATA) {
        smtpd_reply(s, "503 5.5.1 Error: MAIL after BDAT");
        return -1;
    }
    if (s->mail.active) {
        smtpd_reply(s, "503 5.5.1 Error: nested MAIL command");
        return -1;
    }
    return smtpd_rate_event(s, SMTPD_RATE_MAIL);
}

static int syntax(struct smtpd_session *s, struct slice args, struct str *sender, struct smtp_mail_params *params)
{
    struct slice rest = { 0 };
    struct err err;

    switch (smtp_command_path(args, "FROM:", smtpd_strict_rfc821_envelopes, true, sender, &rest)) {
    case SMTP_PATH_NO_KEYWORD: smtpd_reply(s, "501 5.5.4 Syntax: MAIL FROM:<address>"); return -1;
    case SMTP_PATH_SYNTAX:
        log_warn("Illegal address syntax from %s in MAIL command: %.*s", s->peer.namaddr,
                 (int) (args.len > 5 ? args.len - 5 : 0), args.len > 5 ? args.p + 5 : "");
        smtpd_reply(s, "501 5.1.7 Bad sender address syntax");
        return -1;
    case SMTP_PATH_OK: break;
    }
    if (smtp_mail_params(rest, allowed_params(s), params, &err)) {
        smtpd_reply_err(s, &err);
        return -1;
    }
    if (!(params->seen & SMTP_MAIL_SMTPUTF8) && conf_smtputf8_enable && conf_strict_smtputf8 &&
        !slice_is_ascii(str_slice(sender))) {
        smtpd_reply(s, "553 5.6.7 Must declare SMTPUTF8 to send unicode address");
        return -1;
    }
    return 0;
}

/* The parameters borrow the line: what stays is copied. */
static void begin(struct smtpd_session *s, const char *sender, const struct smtp_mail_params *params)
{
    struct smtpd_mail *m = &s->mail;

    m->arena = arena_new();
    m->active = true;
    m->sender = arena_strdup(m->arena, sender);
    m->params = *params;
    m->params.envid.p = arena_strndup(m->arena, params->envid.p ? params->envid.p : "", params->envid.len);
    m->params.auth.p = arena_strndup(m->arena, params->auth.p ? params->auth.p : "", params->auth.len);
    m->smtputf8 = params->seen & SMTP_MAIL_SMTPUTF8;
    m->arrival_us = time_now_us();
}

int smtpd_cmd_mail(struct smtpd_session *s, struct slice args)
{
    struct smtp_mail_params params;
    struct str sender;
    const char *denied;
    struct err err;
    int answer = -1;

    if (in_order(s))
        return -1;
    smtpd_session_reset_mail(s);
    s->mail_us = time_mono_us();
    str_init(&sender, ADDR_BYTES * 2);
    if (syntax(s, args, &sender, &params)) {
        str_free(&sender);
        return -1;
    }
    if (s->protocol == NULL)
        s->protocol = "SMTP";
    if (smtpd_check_size(params.size, &err)) {
        smtpd_reply_err(s, &err);
    } else if ((denied = smtpd_check_mail(s, sender.p)) != NULL) {
        smtpd_reply(s, "%s", denied);
    } else {
        begin(s, sender.p, &params);
        smtpd_reply(s, "250 2.1.0 Ok");
        answer = 0;
    }
    s->sender_log = NULL;
    str_free(&sender);
    return answer;
}
