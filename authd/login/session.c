/*
 * session - lines in, TLS, and the log line that tells how it ended
 *
 * Callers     see session.h
 * Source      the words are those that log analysers and fail2ban know from Dovecot 2.3
 */
#include "session.h"
#include "base/log.h"
#include "base/time.h"
#include "event/event.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HANDSHAKE_SECONDS = 60, ELEMENTS_BYTES = 1024 };

int login_line(struct login_session *s, struct str *out)
{
    enum stream_eol eol;

    if (stream_wait_input(s->stream, time_mono_ms() + LOGIN_IDLE_SECONDS * 1000) != 0) {
        if (errno == ETIMEDOUT) {
            s->ended = s->attempts > 0 ? "Inactivity during authentication" : "Inactivity";
            s->protocol->inactive(s);
        }
        return -1;
    }
    if (stream_line(s->stream, out, LOGIN_LINE_BYTES, &eol) == 0)
        return eol == STREAM_EOF ? -1 : 0;
    if (stream_error(s->stream) == 0 && errno == EMSGSIZE)
        s->ended = "Input buffer full";
    return -1;
}

bool login_in_tls(const struct login_session *s) { return s->wrapped || stream_tls(s->stream) != NULL; }

int login_start_tls(struct login_session *s, struct slice greeting)
{
    struct tls_why why = { "" };

    if (stream_tls_server_greeting(s->stream, login_tls, greeting, time_mono_ms() + HANDSHAKE_SECONDS * 1000, &why) ==
        0) {
        s->secured = true;
        return 0;
    }
    snprintf(s->reason, sizeof s->reason, "Connection closed: SSL_accept() failed: %s", why.text);
    s->ended = s->reason;
    return -1;
}

bool login_plaintext_allowed(const struct login_session *s)
{
    return s->secured || s->wrapped || !login_disable_plaintext_auth;
}

/* "user=<u>, method=PLAIN, rip=..": fail2ban wants this order. */
static void elements(const struct login_session *s, int64_t mail_pid, struct str *out)
{
    str_printf(out, "user=<%s>, ", s->user);
    if (s->method[0])
        str_printf(out, "method=%s, ", s->method);
    str_printf(out, "rip=%s, lip=%s, ", s->rip, s->lip);
    if (mail_pid > 0)
        str_printf(out, "mpid=%" PRId64 ", ", mail_pid);
    if (stream_tls(s->stream))
        str_adds(out, "TLS, ");
    else if (s->secured)
        str_adds(out, "secured, ");
    str_printf(out, "session=<%s>", s->id);
}

void login_log_login(const struct login_session *s, int64_t mail_pid)
{
    struct str text;

    str_init(&text, ELEMENTS_BYTES);
    elements(s, mail_pid, &text);
    log_info("%s-login: Login: %s", s->protocol->name, text.p);
    str_free(&text);
}

void login_log_end(const struct login_session *s)
{
    int64_t seconds = (time_mono_ms() - s->started_ms) / 1000;
    struct str text, why;

    str_init(&text, ELEMENTS_BYTES);
    str_init(&why, LOGIN_REASON_BYTES);
    elements(s, 0, &text);
    if (s->successes > 0)
        str_printf(&why, "internal failure, %d successful auths", s->successes);
    else if (s->later)
        str_adds(&why, "auth service reported temporary failure");
    else if (s->tried_unsupported)
        str_adds(&why, "tried to use unsupported auth mechanism");
    else if (s->tried_privacy)
        str_adds(&why, "tried to use disallowed plaintext auth");
    else if (s->aborted_sasl && s->attempts == 0)
        str_adds(&why, "aborted authentication");
    else if (s->attempts == 0)
        str_printf(&why, "no auth attempts in %" PRId64 " secs", seconds);
    else
        str_printf(&why, "auth failed, %d attempts in %" PRId64 " secs", s->attempts, seconds);
    log_info("%s-login: Disconnected: %s (%s): %s", s->protocol->name, s->ended ? s->ended : "Connection closed",
             why.p, text.p);
    str_free(&text);
    str_free(&why);
}
