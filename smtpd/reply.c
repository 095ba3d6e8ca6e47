/*
 * smtpd reply - what the client is told, and the log line of an action
 *
 * Callers     the files of smtpd/
 * Invariants  a reply is one write into the stream's buffer; it leaves with the next wait for input
 *             what a client wrote reaches the log through lib/base/log, which makes it printable
 * Errors      write errors are the stream's: the next read shows them
 * Source      RFC 5321 4.2, RFC 3463; words and log format are Postfix's
 */
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "proto/addr/addr.h"

#include <stdarg.h>
#include <stdio.h>

/* Soft errors cost the client time (smtpd_error_sleep_time). */
static void slow_down(struct smtpd_session *s)
{
    if ((int64_t) s->errors >= smtpd_soft_error_limit && smtpd_error_sleep_time > 0)
        smtpd_session_sleep(smtpd_error_sleep_time);
}

static void send_text(struct smtpd_session *s, char *text, size_t len)
{
    bool hangup;

    if (len >= SMTPD_REPLY_BYTES)
        len = SMTPD_REPLY_BYTES - 1;
    /* A table's text with a line end in it must not become a second reply. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char) text[i] < ' ' || text[i] == 127)
            text[i] = '?';
    if (conf_soft_bounce && text[0] == '5') {
        text[0] = '4';
        if (len > 4 && text[4] == '5' && text[5] == '.')
            text[4] = '4';
    }
    slow_down(s);
    hangup = strncmp(text, "421", 3) == 0 || strncmp(text, "521", 3) == 0;
    stream_write(s->stream, text, len);
    stream_write(s->stream, "\r\n", 2);
    log_debug("> %s: %s", s->peer.namaddr, text);
    if (hangup)
        s->closing = true;
}

void smtpd_reply(struct smtpd_session *s, const char *fmt, ...)
{
    char text[SMTPD_REPLY_BYTES];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    send_text(s, text, len < 0 ? 0 : (size_t) len);
}

void smtpd_reply_err(struct smtpd_session *s, const struct err *err)
{
    if (err->dsn[0])
        smtpd_reply(s, "%d %s %s", err->code, err->dsn, err->text);
    else
        smtpd_reply(s, "%d %s", err->code, err->text);
}

void smtpd_reply_more(struct smtpd_session *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    stream_vprintf(s->stream, fmt, ap);
    va_end(ap);
}

const char *smtpd_queue_id(const struct smtpd_session *s) { return s->mail.queue_id ? s->mail.queue_id : "NOQUEUE"; }

static void add_address(struct str *out, const char *name, const char *internal)
{
    struct str quoted;

    str_init(&quoted, STR_UNLIMITED);
    addr_quote(&quoted, slice_of(internal));
    str_printf(out, " %s=<%s>", name, quoted.p);
    str_free(&quoted);
}

void smtpd_log_action(struct smtpd_session *s, const char *what, const char *text)
{
    const char *sender = s->mail.active ? s->mail.sender : s->sender_log;
    struct str line;

    str_init(&line, LOG_LINE_BYTES * 2);
    str_printf(&line, "%s: %s: %s from %s: %s;", smtpd_queue_id(s), what, s->where, s->peer.namaddr, text);
    if (sender != NULL)
        add_address(&line, "from", sender);
    if (s->recipient != NULL)
        add_address(&line, "to", s->recipient);
    if (s->protocol != NULL)
        str_printf(&line, " proto=%s", s->protocol);
    if (s->helo != NULL)
        str_printf(&line, " helo=<%s>", s->helo);
    if (s->sasl_user != NULL)
        str_printf(&line, " sasl_username=<%s>", s->sasl_user);
    log_info("%s", line.p);
    str_free(&line);
}
