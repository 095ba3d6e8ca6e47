/*
 * smtpd cmd starttls - STARTTLS
 *
 * Callers     smtpd/command.c
 * Invariants  what was said in plaintext is forgotten: name, login, transaction, unread input (RFC 3207 4.2)
 * Source      RFC 3207
 */
#include "cmd/cmd.h"
#include "params.h"

#include "proto/smtp/reply.h"

int smtpd_cmd_starttls(struct smtpd_session *s, struct slice args)
{
    if (args.len) {
        smtpd_reply(s, "501 5.5.4 Syntax: STARTTLS");
        return -1;
    }
    if (smtpd_tls_level() == SMTPD_TLS_NONE || s->hidden & SMTP_EHLO_STARTTLS) {
        smtpd_reply(s, "502 5.5.1 Error: command not implemented");
        return -1;
    }
    if (stream_tls(s->stream) != NULL) {
        smtpd_reply(s, "554 5.5.1 Error: TLS already active");
        return -1;
    }
    if (!smtpd_tls_available()) {
        smtpd_reply(s, "454 4.7.0 TLS not available due to local problem");
        return -1;
    }
    if (smtpd_rate_event(s, SMTPD_RATE_TLS))
        return -1;
    smtpd_reply(s, "220 2.0.0 Ready to start TLS");
    if (stream_flush(s->stream) || smtpd_tls_start(s)) {
        smtpd_session_fail(s, "lost connection");
        return -1;
    }
    smtpd_session_reset_mail(s);
    s->helo = NULL;
    s->protocol = NULL;
    s->esmtp = false;
    s->sasl_user = s->sasl_method = NULL;
    return 0;
}
