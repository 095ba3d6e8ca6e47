/*
 * smtpd cmd rcpt - RCPT
 *
 * Callers     smtpd/command.c
 * Invariants  250 only after all restrictions permitted it and cleanup has it
 * Source      RFC 5321 4.1.1.3, 4.5.3.1.10 (452 for too many)
 */
#include "check/check.h"
#include "cmd/cmd.h"
#include "params.h"

#include "base/log.h"
#include "proto/addr/addr.h"
#include "proto/smtp/reply.h"

static int in_order(struct smtpd_session *s)
{
    if (!s->mail.active) {
        smtpd_reply(s, "503 5.5.1 Error: need MAIL command");
        return -1;
    }
    if (s->mail.data != SMTPD_NO_DATA) {
        smtpd_reply(s, "503 5.5.1 Error: RCPT after BDAT");
        return -1;
    }
    return smtpd_rate_event(s, SMTPD_RATE_RCPT);
}

static int syntax(struct smtpd_session *s, struct slice args, struct str *rcpt, struct smtp_rcpt_params *params)
{
    unsigned allowed = s->hidden & SMTP_EHLO_DSN ? 0 : SMTP_RCPT_NOTIFY | SMTP_RCPT_ORCPT;
    struct slice rest = { 0 };
    struct err err;

    switch (smtp_command_path(args, "TO:", smtpd_strict_rfc821_envelopes, false, rcpt, &rest)) {
    case SMTP_PATH_NO_KEYWORD: smtpd_reply(s, "501 5.5.4 Syntax: RCPT TO:<address>"); return -1;
    case SMTP_PATH_SYNTAX:
        log_warn("Illegal address syntax from %s in RCPT command: %.*s", s->peer.namaddr,
                 (int) (args.len > 3 ? args.len - 3 : 0), args.len > 3 ? args.p + 3 : "");
        smtpd_reply(s, "501 5.1.3 Bad recipient address syntax");
        return -1;
    case SMTP_PATH_OK: break;
    }
    if (smtp_rcpt_params(rest, allowed, params, &err)) {
        smtpd_reply_err(s, &err);
        return -1;
    }
    if (!s->mail.smtputf8 && conf_smtputf8_enable && conf_strict_smtputf8 && !slice_is_ascii(str_slice(rcpt))) {
        smtpd_reply(s, "553 5.6.7 Must declare SMTPUTF8 to send unicode address");
        return -1;
    }
    return 0;
}

static int accept_rcpt(struct smtpd_session *s, const char *rcpt, const struct smtp_rcpt_params *params)
{
    const char *denied;

    if ((int64_t) s->mail.rcpt_count >= smtpd_recipient_limit) {
        smtpd_reply(s, "452 4.5.3 Error: too many recipients");
        return (int64_t) s->mail.rcpt_overshoot++ < smtpd_recipient_overshoot_limit ? 0 : -1;
    }
    denied = smtpd_check_rcpt(s, rcpt);
    if (denied != NULL) {
        smtpd_reply(s, "%s", denied);
        return -1;
    }
    if (smtpd_message_open(s))
        return -1;
    smtpd_message_rcpt(s, rcpt, params);
    s->mail.rcpt_count++;
    s->mail.rcpt = arena_strdup(s->mail.arena, rcpt);
    smtpd_reply(s, "250 2.1.5 Ok");
    return 0;
}

int smtpd_cmd_rcpt(struct smtpd_session *s, struct slice args)
{
    struct smtp_rcpt_params params;
    struct str rcpt;
    int answer;

    if (in_order(s))
        return -1;
    str_init(&rcpt, ADDR_BYTES * 2);
    answer = syntax(s, args, &rcpt, &params);
    if (answer == 0)
        answer = accept_rcpt(s, rcpt.p, &params);
    s->recipient = NULL;
    str_free(&rcpt);
    return answer;
}
