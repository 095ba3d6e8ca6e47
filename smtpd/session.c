/*
 * smtpd session - a connection from greeting to goodbye
 *
 * Callers     the service skeleton, for each connection
 * Invariants  a session that ends without the answer of cleanup leaves nothing in the queue
 *             every wait has a deadline: smtpd_timeout, or smtpd_starttls_timeout
 * Errors      a client that is gone, slow or wrong too often ends its session; nothing here ends the process
 * Source      RFC 5321 3.1, 4.5.3.2; log lines are Postfix's
 */
#include "session.h"
#include "check/check.h"
#include "params.h"

#include "base/log.h"
#include "base/time.h"
#include "client/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { MS = 1000 };

bool smtpd_session_sleep(int64_t seconds) { return event_sleep(seconds * MS) == 0; }

void smtpd_session_fail(struct smtpd_session *s, const char *reason)
{
    if (s->reason == NULL)
        s->reason = reason;
    s->closing = true;
}

void smtpd_session_reset_mail(struct smtpd_session *s)
{
    smtpd_message_cancel(s);
    smtpd_content_free(&s->mail.content);
    arena_free(&s->mail.arena);
    s->mail = (struct smtpd_mail){ 0 };
    s->recipient = NULL;
    s->sender_log = NULL;
}

static bool shall_serve(struct smtpd_session *s)
{
    if (smtpd_rate_event(s, SMTPD_RATE_CONNECT))
        return false;
    if (smtpd_tls_wrappermode && !s->alone && smtpd_tls_start(s))
        return false;
    if (!smtpd_delay_reject) {
        const char *denied = smtpd_check_client(s);

        if (denied != NULL)
            s->client_denied = arena_strdup(s->arena, denied);
    }
    return true;
}

static void greet(struct smtpd_session *s)
{
    if (s->client_denied != NULL)
        smtpd_reply(s, "%s", s->client_denied);
    else
        smtpd_reply(s, "220 %s", smtpd_banner);
}

/* Of its own, as all that has a large buffer here: what an idle session holds of its stack is the frame below. */
__attribute__((noinline)) static void wait_failed(struct smtpd_session *s, int error)
{
    if (error == ETIMEDOUT) {
        /* The stream keeps its error: this last reply goes out past it. */
        static const char words[] = "421 4.4.2 %s Error: timeout exceeded\r\n";
        char text[SMTPD_REPLY_BYTES];
        int len = snprintf(text, sizeof text, words, conf_myhostname);

        if (len > 0 && stream_tls(s->stream) == NULL)
            (void) !write(stream_fd(s->stream), text, (size_t) len);
        smtpd_session_fail(s, "timeout");
    } else if (error == ECANCELED) {
        smtpd_session_fail(s, "lost connection"); /* this process stops */
    } else {
        smtpd_session_fail(s, "lost connection");
    }
}

static void command_deadline(struct smtpd_session *s)
{
    stream_timeout(s->stream, smtpd_timeout * MS);
    stream_deadline(s->stream, smtpd_per_request_deadline ? time_mono_ms() + smtpd_timeout * MS : EVENT_NEVER);
}

/* One command: read, judged, answered. */
static void serve_one(struct smtpd_session *s, struct str *line)
{
    enum stream_eol eol;

    if ((int64_t) s->errors >= smtpd_hard_error_limit) {
        smtpd_reply(s, "421 4.7.0 %s Error: too many errors", conf_myhostname);
        stream_flush(s->stream);
        smtpd_session_fail(s, "too many errors");
        return;
    }
    command_deadline(s);
    str_reset(line);
    if (stream_line(s->stream, line, (size_t) conf_line_length_limit, &eol)) {
        if (errno == EMSGSIZE) {
            s->where = "UNKNOWN";
            smtpd_reply(s, "500 5.5.2 Error: line too long");
            s->errors++;
            return;
        }
        wait_failed(s, errno);
        return;
    }
    if (eol == STREAM_EOF) {
        smtpd_session_fail(s, "lost connection");
        return;
    }
    if (memchr(line->p, 0, line->len)) {
        s->where = "UNKNOWN";
        smtpd_reply(s, "500 5.5.2 Error: bad syntax");
        s->errors++;
        return;
    }
    log_debug("< %s: %s", s->peer.namaddr, line->p);
    smtpd_command_run(s, str_slice(line));
}

static void log_end(struct smtpd_session *s)
{
    struct str counts;

    if (s->reason != NULL) {
        if (s->mail.content != NULL)
            log_info("%s after %s (%llu bytes) from %s", s->reason, s->where, (unsigned long long) s->mail.size,
                     s->peer.namaddr);
        else
            log_info("%s after %s from %s", s->reason, s->where, s->peer.namaddr);
    }
    str_init(&counts, STR_UNLIMITED);
    smtpd_command_counts(s, &counts);
    log_info("disconnect from %s%s", s->peer.namaddr, counts.p);
    str_free(&counts);
}

void smtpd_session_serve(struct stream *stream, const struct service_peer *from)
{
    struct smtpd_session s = { .stream = stream, .where = "CONNECT", .arena = arena_new() };
    struct str line;

    str_init(&line, STR_UNLIMITED); /* bounded by line_length_limit: stream_line */
    command_deadline(&s);
    smtpd_peer_init(&s, from);
    s.alone = service_alone() && s.peer.family == AF_UNSPEC;
    s.rate_exempt = smtpd_lists_rate_exempt(&s.peer);
    s.bare_lf_exempt = smtpd_lists_bare_lf_exempt(&s.peer);
    s.local_client = smtpd_lists_local_client(&s.peer);
    s.hidden = smtpd_lists_ehlo_hidden(s.peer.address);
    log_info("connect from %s", s.peer.namaddr);
    if (shall_serve(&s)) {
        greet(&s);
        while (!s.closing)
            serve_one(&s, &line);
    }
    smtpd_rate_disconnect(&s); /* before the last reply leaves: who reads it may come back at once */
    if (stream_tls(stream) != NULL)
        stream_tls_shutdown(stream);
    else if (s.reason == NULL)
        stream_flush(stream);
    log_end(&s);
    smtpd_session_reset_mail(&s);
    str_free(&line);
    arena_free(&s.arena);
}
