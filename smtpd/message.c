/*
 * smtpd message - one message into cleanup
 *
 * Callers     smtpd/cmd
 * Invariants  the order of records is that of the queue file's envelope (postfix.md section 7)
 *             a failure of cleanup is kept by lib/client/cleanup and shows when the message ends
 * Errors      cleanup that cannot be reached: 451 at RCPT
 * Source      RFC 5321 4.4 (Received), RFC 3848 (with ESMTPSA)
 */
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "base/time.h"
#include "client/cleanup.h"
#include "proto/addr/addr.h"

#include <stdio.h>

static void record(struct smtpd_session *s, int type, struct slice data)
{
    if (s->mail.cleanup != NULL)
        cleanup_record(s->mail.cleanup, type, data);
    else
        smtpd_drop_record(s->mail.drop, type, data);
}

static void text(struct smtpd_session *s, int type, const char *data) { record(s, type, slice_of(data)); }

static void attr(struct smtpd_session *s, const char *name, const char *value)
{
    struct str line;

    str_init(&line, STR_UNLIMITED);
    str_adds(&line, name);
    str_addc(&line, '=');
    str_adds(&line, value);
    record(s, REC_ATTR, str_slice(&line));
    str_free(&line);
}

static void attr_number(struct smtpd_session *s, const char *name, long number)
{
    char digits[32];

    snprintf(digits, sizeof digits, "%ld", number);
    attr(s, name, digits);
}

/* Who sent it: for the log of later daemons, and for content filters. */
static void client_attrs(struct smtpd_session *s)
{
    const struct smtpd_peer *p = &s->peer;

    attr(s, "log_client_name", p->name);
    attr(s, "log_client_address", p->address);
    attr(s, "log_client_port", p->port);
    attr(s, "log_message_origin", p->namaddr);
    if (s->helo != NULL)
        attr(s, "log_helo_name", s->helo);
    attr(s, "log_protocol_name", s->protocol);
    attr(s, "client_name", p->name);
    attr(s, "reverse_client_name", p->reverse_name);
    attr(s, "client_address", p->address);
    attr(s, "client_port", p->port);
    attr(s, "server_address", p->server_address);
    attr(s, "server_port", p->server_port);
    if (s->helo != NULL)
        attr(s, "helo_name", s->helo);
    attr(s, "protocol_name", s->protocol);
    attr_number(s, "client_address_type", p->family == AF_INET6 ? AF_INET6 : AF_INET);
}

/* In a queue file it stands decoded. */
static void envelope_id(struct smtpd_session *s)
{
    struct str decoded;

    str_init(&decoded, SMTP_ENVID_BYTES);
    if (smtp_xtext_decode(&decoded, s->mail.params.envid) == 0)
        attr(s, "envelope_id", decoded.p);
    str_free(&decoded);
}

static void envelope(struct smtpd_session *s)
{
    const struct smtpd_mail *m = &s->mail;
    char when[64];

    snprintf(when, sizeof when, "%lld %lld", (long long) (m->arrival_us / 1000000),
             (long long) (m->arrival_us % 1000000));
    if (m->cleanup != NULL)
        text(s, REC_TIME, when);
    if (*smtpd_content_filter && m->cleanup != NULL)
        text(s, REC_FILT, smtpd_content_filter);
    attr(s, "rewrite_context", s->local_client ? "local" : "remote");
    if (m->params.seen & SMTP_MAIL_ENVID)
        envelope_id(s);
    if (m->params.ret)
        attr_number(s, "ret_flags", m->params.ret);
    if (m->params.body)
        attr(s, "encoding", m->params.body == SMTP_BODY_8BITMIME ? "8bit" : "7bit");
    text(s, REC_FROM, m->sender);
    if (s->sasl_user != NULL) {
        attr(s, "sasl_method", s->sasl_method);
        attr(s, "sasl_username", s->sasl_user);
        if (m->params.seen & SMTP_MAIL_AUTH)
            attr(s, "sasl_sender", m->params.auth.p);
    }
    if (m->cleanup != NULL)
        client_attrs(s);
}

static void log_client(struct smtpd_session *s)
{
    if (s->sasl_user != NULL)
        log_info("%s: client=%s, sasl_method=%s, sasl_username=%s%s%s", smtpd_queue_id(s), s->peer.namaddr,
                 s->sasl_method, s->sasl_user, s->mail.params.seen & SMTP_MAIL_AUTH ? ", sasl_sender=" : "",
                 s->mail.params.seen & SMTP_MAIL_AUTH ? s->mail.params.auth.p : "");
    else
        log_info("%s: client=%s", smtpd_queue_id(s), s->peer.namaddr);
}

int smtpd_message_open(struct smtpd_session *s)
{
    unsigned flags = CLEANUP_EXTERNAL | CLEANUP_SMTP_REPLY;
    struct err err;

    if (s->mail.cleanup != NULL || s->mail.drop != NULL)
        return 0;
    if (s->alone) {
        s->mail.drop = smtpd_drop_open(&err);
    } else {
        if (s->mail.smtputf8)
            flags |= CLEANUP_SMTPUTF8;
        cleanup_override(smtpd_receive_override_options, &flags);
        s->mail.cleanup = cleanup_open(flags, time_mono_ms() + conf_ipc_timeout * 1000, &err);
    }
    if (s->mail.cleanup == NULL && s->mail.drop == NULL) {
        smtpd_reply_err(s, &err);
        return -1;
    }
    if (s->mail.cleanup != NULL) {
        s->mail.queue_id = arena_strdup(s->mail.arena, cleanup_id(s->mail.cleanup));
        log_client(s);
    }
    envelope(s);
    return 0;
}

void smtpd_message_rcpt(struct smtpd_session *s, const char *address, const struct smtp_rcpt_params *params)
{
    struct str orcpt;

    str_init(&orcpt, STR_UNLIMITED);
    if (params->seen & SMTP_RCPT_ORCPT) {
        str_addslice(&orcpt, params->orcpt_type);
        str_addc(&orcpt, ';');
        if (slice_caseeq(params->orcpt_type, "utf-8"))
            smtp_uxtext_decode(&orcpt, params->orcpt);
        else
            smtp_xtext_decode(&orcpt, params->orcpt);
    } else {
        str_adds(&orcpt, slice_is_ascii(slice_of(address)) ? "rfc822;" : "utf-8;");
        addr_quote(&orcpt, slice_of(address));
    }
    attr(s, "dsn_orig_rcpt", orcpt.p);
    if (params->seen & SMTP_RCPT_NOTIFY)
        attr_number(s, "notify_flags", (long) params->notify);
    text(s, REC_RCPT, address);
    str_free(&orcpt);
}

/* A header line may be long: pieces of line_length_limit, as the content's own lines. */
static void header(struct smtpd_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void header(struct smtpd_session *s, const char *fmt, ...)
{
    struct str line;
    va_list ap;

    str_init(&line, SMTPD_REPLY_BYTES);
    va_start(ap, fmt);
    str_vprintf(&line, fmt, ap);
    va_end(ap);
    text(s, REC_NORM, line.p);
    str_free(&line);
}

/* What a client calls itself goes between parentheses and angle brackets of ours. */
static const char *harmless(struct smtpd_session *s, const char *name)
{
    char *copy = arena_strdup(s->mail.arena, name);

    for (char *p = copy; *p; p++)
        if ((unsigned char) *p < ' ' || *p == 127 || strchr("()<>\"\\", *p))
            *p = '?';
    return copy;
}

static void received_tls(struct smtpd_session *s, const struct tls_info *tls)
{
    header(s, "\t(using %s with cipher %s (%d/%d bits)", tls->protocol, tls->cipher, tls->bits, tls->alg_bits);
    if (tls->kex[0] && tls->server_signature[0])
        header(s, "\t key-exchange %s server-signature %s%s%s)", tls->kex, tls->server_signature,
               tls->server_digest[0] ? " server-digest " : "", tls->server_digest);
    else if (tls->kex[0])
        header(s, "\t key-exchange %s)", tls->kex);
    else
        header(s, "\t )");
    if (tls->peer_subject[0])
        header(s, "\t(Client CN \"%s\", Issuer \"%s\" (%s))", harmless(s, tls->peer_subject),
               harmless(s, tls->peer_issuer), tls->peer_verified ? "verified OK" : "not verified");
    else
        header(s, (smtpd_tls_ask_ccert || smtpd_tls_req_ccert) ? "\t(Client did not present a certificate)"
                                                               : "\t(No client certificate requested)");
}

static void received(struct smtpd_session *s)
{
    const struct tls_info *tls = stream_tls(s->stream);
    const char *helo = s->helo ? s->helo : s->peer.name;
    char with[32], date[TIME_TEXT_BYTES];

    time_rfc5322((time_t) (s->mail.arrival_us / 1000000), date);
    snprintf(with, sizeof with, "%s%s%s%s", s->mail.smtputf8 && s->esmtp ? "UTF8" : "",
             s->mail.smtputf8 && s->esmtp ? "SMTP" : s->protocol, s->esmtp && tls ? "S" : "",
             s->esmtp && s->sasl_user ? "A" : "");
    header(s, "Received: from %s (%s [%s])", harmless(s, helo), harmless(s, s->peer.name), s->peer.rfc_address);
    if (smtpd_tls_received_header && tls != NULL)
        received_tls(s, tls);
    if (smtpd_sasl_authenticated_header && s->sasl_user != NULL)
        header(s, "\t(Authenticated sender: %s)", harmless(s, s->sasl_user));
    if (s->mail.rcpt_count == 1) {
        struct str quoted;

        str_init(&quoted, STR_UNLIMITED);
        addr_quote(&quoted, slice_of(s->mail.rcpt));
        header(s, "\tby %s (%s) with %s id %s", conf_myhostname, conf_mail_name, with, s->mail.queue_id);
        header(s, "\tfor <%s>; %s", quoted.p, date);
        str_free(&quoted);
    } else {
        header(s, "\tby %s (%s) with %s id %s;", conf_myhostname, conf_mail_name, with, s->mail.queue_id);
        header(s, "\t%s", date);
    }
}

static void actions(struct smtpd_session *s)
{
    const struct smtpd_actions *a = &s->mail.actions;
    char flags[16];

    if (a->flags) {
        snprintf(flags, sizeof flags, "%u", a->flags);
        text(s, REC_FLGS, flags);
    }
    if (a->filter != NULL)
        text(s, REC_FILT, a->filter);
    if (a->redirect != NULL)
        text(s, REC_RDR, a->redirect);
    for (size_t i = 0; i < a->bcc_count; i++) {
        attr_number(s, "notify_flags", SMTP_NOTIFY_NEVER);
        text(s, REC_RCPT, a->bcc[i]);
    }
}

void smtpd_message_begin(struct smtpd_session *s)
{
    if (s->mail.cleanup != NULL)
        actions(s);
    record(s, REC_MESG, SLICE(""));
    for (size_t i = 0; i < s->mail.actions.prepend_count; i++)
        text(s, REC_NORM, s->mail.actions.prepend[i]);
    /* postdrop's message gets its Received: from pickup's cleanup. */
    if (s->mail.cleanup != NULL)
        received(s);
}

void smtpd_message_content(struct smtpd_session *s, bool line_ends, struct slice piece)
{
    if (s->mail.cleanup == NULL || !cleanup_failed(s->mail.cleanup))
        record(s, line_ends ? REC_NORM : REC_CONT, piece);
}

void smtpd_message_cancel(struct smtpd_session *s)
{
    if (s->mail.cleanup != NULL)
        cleanup_cancel(&s->mail.cleanup);
    if (s->mail.drop != NULL)
        smtpd_drop_cancel(&s->mail.drop);
}

int smtpd_message_end(struct smtpd_session *s, struct err *err)
{
    record(s, REC_XTRA, SLICE(""));
    record(s, REC_END, SLICE(""));
    if (s->mail.cleanup != NULL)
        return cleanup_end(&s->mail.cleanup, time_mono_ms() + SMTPD_IPC_MS, err);
    if (smtpd_drop_end(&s->mail.drop, s->mail.drop_id, sizeof s->mail.drop_id, err))
        return -1;
    s->mail.queue_id = s->mail.drop_id;
    return 0;
}
