/*
 * smtpd cmd helo - HELO and EHLO
 *
 * Callers     smtpd/command.c
 * Source      RFC 5321 4.1.1.1; the order of keywords is Postfix's
 */
#include "check/check.h"
#include "cmd/cmd.h"
#include "params.h"

#include "base/log.h"
#include "proto/smtp/reply.h"

#include <stdio.h>

enum { EHLO_LINE_BYTES = 512 };

static int greeted(struct smtpd_session *s, struct slice args, const char *verb, bool esmtp)
{
    const char *denied;
    char name[SMTPD_HELO_BYTES];

    if (args.len == 0) {
        smtpd_reply(s, "501 Syntax: %s hostname", verb);
        return -1;
    }
    /* One name; what a client writes behind it is dropped (RFC 5321 4.1.1.1 allows none). */
    struct slice word = args;
    slice_word(&args, " \t", &word);
    snprintf(name, sizeof name, "%.*s", (int) word.len, word.p);
    denied = smtpd_check_helo(s, name);
    if (denied != NULL) {
        smtpd_reply(s, "%s", denied);
        return -1;
    }
    smtpd_session_reset_mail(s);
    memcpy(s->helo_name, name, sizeof name);
    s->helo = s->helo_name;
    s->esmtp = esmtp;
    s->protocol = esmtp ? "ESMTP" : "SMTP";
    return 0;
}

int smtpd_cmd_helo(struct smtpd_session *s, struct slice args)
{
    if (greeted(s, args, "HELO", false))
        return -1;
    smtpd_reply(s, "250 %s", conf_myhostname);
    return 0;
}

static bool shows_starttls(struct smtpd_session *s)
{
    return !s->alone && smtpd_tls_level() != SMTPD_TLS_NONE && smtpd_tls_available() && stream_tls(s->stream) == NULL;
}

/* The lines of the reply without "250-", LF between them. */
static void announce(struct smtpd_session *s, struct str *out)
{
    struct str mechs;
    unsigned hidden = s->hidden;

    str_init(&mechs, EHLO_LINE_BYTES);
    smtpd_auth_mechs(s, &mechs);
    str_printf(out, "%s\n", conf_myhostname);
    if (!(hidden & SMTP_EHLO_PIPELINING))
        str_adds(out, "PIPELINING\n");
    if (!(hidden & SMTP_EHLO_SIZE)) {
        if (conf_message_size_limit > 0)
            str_printf(out, "SIZE %lld\n", (long long) conf_message_size_limit);
        else
            str_adds(out, "SIZE\n");
    }
    if (!smtpd_disable_vrfy_command && !(hidden & SMTP_EHLO_VRFY))
        str_adds(out, "VRFY\n");
    if (shows_starttls(s) && !(hidden & SMTP_EHLO_STARTTLS))
        str_adds(out, "STARTTLS\n");
    if (mechs.len && !(hidden & SMTP_EHLO_AUTH)) {
        str_printf(out, "AUTH %s\n", mechs.p);
        if (smtpd_broken_sasl_auth_clients)
            str_printf(out, "AUTH=%s\n", mechs.p);
    }
    if (!(hidden & SMTP_EHLO_ENHANCEDSTATUSCODES))
        str_adds(out, "ENHANCEDSTATUSCODES\n");
    if (!(hidden & SMTP_EHLO_8BITMIME))
        str_adds(out, "8BITMIME\n");
    if (!(hidden & SMTP_EHLO_DSN))
        str_adds(out, "DSN\n");
    if (conf_smtputf8_enable && !(hidden & SMTP_EHLO_SMTPUTF8))
        str_adds(out, "SMTPUTF8\n");
    if (!(hidden & SMTP_EHLO_CHUNKING))
        str_adds(out, "CHUNKING\n");
    str_free(&mechs);
}

int smtpd_cmd_ehlo(struct smtpd_session *s, struct slice args)
{
    struct str lines;
    struct slice rest, line;

    if (greeted(s, args, "EHLO", true))
        return -1;
    str_init(&lines, STR_UNLIMITED);
    announce(s, &lines);
    str_cut(&lines, lines.len - 1);
    rest = str_slice(&lines);
    while (slice_split(&rest, '\n', &line))
        smtpd_reply_more(s, "250%c%.*s\r\n", rest.p != NULL ? '-' : ' ', (int) line.len, line.p);
    str_free(&lines);
    return 0;
}
