/*
 * imap - IMAP before the login
 *
 * Callers     authd/login/login.c
 * Invariants  after the login nothing of this remains: imapd answers the command that logged in
 * Errors      three bad commands end the connection
 * Source      RFC 3501 sections 6.1 and 6.2, RFC 4959 (SASL-IR), RFC 2971 (ID), RFC 5161 (ENABLE), RFC 5530 (codes)
 */
#include "base/log.h"
#include "base/mem.h"
#include "command.h"
#include "session.h"
#include <stdio.h>

#define CAPABILITIES "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+"

static void capabilities(struct login_session *s, struct str *out)
{
    str_adds(out, CAPABILITIES);
    if (login_tls && !login_in_tls(s))
        str_adds(out, " STARTTLS");
    if (!login_plaintext_allowed(s))
        str_adds(out, " LOGINDISABLED");
    login_mechanisms(s, " AUTH=", out);
}

static void greeting(struct login_session *s, struct str *out)
{
    str_adds(out, "* OK [CAPABILITY ");
    capabilities(s, out);
    str_printf(out, "] %s\r\n", login_greeting);
}

static void say(struct login_session *s, const char *text)
{
    stream_printf(s->stream, "%s %s\r\n", s->tag[0] ? s->tag : "*", text);
}

static enum login_next bad(struct login_session *s, const char *text)
{
    if (++s->bad_commands >= LOGIN_BAD_COMMANDS) {
        stream_puts(s->stream, "* BYE Too many invalid IMAP commands.\r\n");
        s->ended = "Too many invalid commands";
        return LOGIN_CLOSE;
    }
    say(s, text);
    return LOGIN_GO_ON;
}

static enum login_next answer(struct login_session *s, enum login_result result)
{
    static const struct {
        const char *text; /* NULL: nothing is said */
        bool close;
    } words[] = {
        [LOGIN_OK] = { NULL, true },
        [LOGIN_GONE] = { NULL, true },
        [LOGIN_FAILED] = { "NO [AUTHENTICATIONFAILED] Authentication failed.", false },
        [LOGIN_LATER] = { "NO [UNAVAILABLE] Temporary authentication failure.", false },
        [LOGIN_DISABLED] = { "NO [AUTHENTICATIONFAILED] Account is disabled.", false },
        [LOGIN_EXPIRED] = { "NO [EXPIRED] Password expired.", false },
        [LOGIN_INVALID_BASE64] = { "NO [AUTHENTICATIONFAILED] Invalid base64 data in response.", false },
        [LOGIN_ABORTED] = { "BAD Authentication aborted by client.", false },
        [LOGIN_PRIVACY] = { "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) "
                            "connections.",
                            false },
        [LOGIN_UNSUPPORTED] = { "NO [ALERT] Unsupported authentication mechanism.", false },
        [LOGIN_LIMIT] = { "NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded", true },
        [LOGIN_DENIED] = { "NO [AUTHORIZATIONFAILED] Authorization failed.", true },
        [LOGIN_INTERNAL] = { "NO [UNAVAILABLE] Internal login failure. Refer to server log for more information.",
                             true },
    };

    if (result == LOGIN_PRIVACY)
        stream_puts(s->stream,
                    "* BAD [ALERT] Plaintext authentication not allowed without SSL/TLS, but your client did "
                    "it anyway. If anyone was listening, the password was exposed.\r\n");
    if (result == LOGIN_LIMIT && s->reason[0])
        stream_printf(s->stream, "%s NO [UNAVAILABLE] %s\r\n", s->tag, s->reason);
    else if (result == LOGIN_FAILED && s->refusal[0])
        stream_printf(s->stream, "%s NO [AUTHENTICATIONFAILED] %s\r\n", s->tag, s->refusal);
    else if (words[result].text)
        say(s, words[result].text);
    if (result == LOGIN_LIMIT || result == LOGIN_DENIED || result == LOGIN_INTERNAL)
        s->ended = words[result].text + strlen("NO ");
    return words[result].close ? LOGIN_CLOSE : LOGIN_GO_ON;
}

static enum login_next on_capability(struct login_session *s, struct command *c)
{
    struct str text;

    (void) c;
    s->asked_capability = true;
    str_init(&text, LOGIN_LINE_BYTES);
    capabilities(s, &text);
    stream_printf(s->stream, "* CAPABILITY %s\r\n", text.p);
    str_free(&text);
    say(s, "OK Pre-login capabilities listed, post-login capabilities have more.");
    return LOGIN_GO_ON;
}

static enum login_next on_noop(struct login_session *s, struct command *c)
{
    (void) c;
    say(s, "OK NOOP completed.");
    return LOGIN_GO_ON;
}

static enum login_next on_logout(struct login_session *s, struct command *c)
{
    (void) c;
    stream_puts(s->stream, "* BYE Logging out\r\n");
    say(s, "OK Logout completed.");
    s->ended = "Aborted login by logging out";
    return LOGIN_CLOSE;
}

static enum login_next on_id(struct login_session *s, struct command *c)
{
    (void) c;
    stream_puts(s->stream, "* ID (\"name\" \"Posthorn\")\r\n");
    say(s, "OK ID completed.");
    return LOGIN_GO_ON;
}

static enum login_next on_enable(struct login_session *s, struct command *c)
{
    (void) c;
    stream_puts(s->stream, "* ENABLED\r\n");
    say(s, "OK ENABLE ignored in non-authenticated state.");
    return LOGIN_GO_ON;
}

static enum login_next on_starttls(struct login_session *s, struct command *c)
{
    if (c->rest.len > 0)
        return bad(s, "BAD Error in IMAP command received by server.");
    if (stream_tls(s->stream))
        return bad(s, "BAD TLS is already active.");
    if (login_tls == NULL)
        return bad(s, "BAD TLS support isn't enabled.");
    say(s, "OK Begin TLS negotiation now.");
    s->asked_capability = false; /* RFC 3501 6.2.1: what was learnt before is void */
    return stream_flush(s->stream) == 0 && login_start_tls(s, SLICE("")) == 0 ? LOGIN_GO_ON : LOGIN_CLOSE;
}

static enum login_next on_login(struct login_session *s, struct command *c)
{
    struct slice arg[COMMAND_ARGS];
    size_t count;

    if (command_args(c, arg, &count) != 0 || count != 2)
        return bad(s, "BAD Error in IMAP command received by server.");
    return answer(s, login_password(s, arg[0], arg[1]));
}

static enum login_next on_authenticate(struct login_session *s, struct command *c)
{
    struct slice arg[COMMAND_ARGS];
    size_t count;
    char mechanism[AUTH_MECH_NAME_BYTES];

    if (command_args(c, arg, &count) != 0 || count < 1 || count > 2 || arg[0].len >= sizeof mechanism)
        return bad(s, "BAD Error in IMAP command received by server.");
    snprintf(mechanism, sizeof mechanism, "%.*s", (int) arg[0].len, arg[0].p);
    s->user[0] = '\0';
    return answer(s, login_authenticate(s, mechanism, count == 2 ? arg[1] : (struct slice){ NULL, 0 }));
}

static const struct {
    const char *name;
    enum login_next (*run)(struct login_session *, struct command *);
} commands[] = {
    { "CAPABILITY", on_capability }, { "NOOP", on_noop },
    { "LOGOUT", on_logout },         { "ID", on_id },
    { "ENABLE", on_enable },         { "STARTTLS", on_starttls },
    { "LOGIN", on_login },           { "AUTHENTICATE", on_authenticate },
};

/* Reads the literal that the line has announced, and the rest of the command behind it. */
static int read_literal(struct login_session *s, struct str *text, enum literal kind, size_t bytes)
{
    char buf[COMMAND_LITERAL_BYTES];
    int rc = 0;

    if (kind == LITERAL_SYNC)
        stream_puts(s->stream, "+ OK\r\n");
    str_adds(text, "\r\n");
    if (stream_read_full(s->stream, buf, bytes) != 0)
        return -1;
    str_add(text, buf, bytes);
    mem_wipe(buf, bytes);
    struct str line;
    str_init(&line, LOGIN_LINE_BYTES);
    rc = login_line(s, &line);
    str_addslice(text, str_slice(&line));
    mem_wipe(line.p, line.len);
    str_free(&line);
    return rc;
}

/* A whole command; -1: the connection ends. */
static int read_command(struct login_session *s, struct str *text)
{
    size_t bytes = 0, from = 0;
    enum literal kind;

    if (login_line(s, text) != 0)
        return -1;
    for (int n = 0; (kind = command_literal(slice_sub(str_slice(text), from, text->len), &bytes)) != LITERAL_NONE;
         n++) {
        if (kind == LITERAL_TOO_LONG || n == COMMAND_LITERALS || text->len + bytes > COMMAND_BYTES / 2) {
            stream_puts(s->stream, "* BYE Literal is too long.\r\n");
            s->ended = "Literal is too long";
            return -1;
        }
        from = text->len + 2 + bytes; /* what a literal holds announces nothing */
        if (read_literal(s, text, kind, bytes) != 0)
            return -1;
    }
    return 0;
}

static enum login_next command(struct login_session *s)
{
    enum login_next next = LOGIN_CLOSE;
    struct command c;
    struct str text;

    str_init(&text, 2 * LOGIN_LINE_BYTES);
    if (read_command(s, &text) == 0) {
        int rc = command_parse(str_slice(&text), &c);
        snprintf(s->tag, sizeof s->tag, "%.*s", (int) c.tag.len, c.tag.p);
        size_t n = 0;
        while (n < sizeof commands / sizeof *commands && (rc != 0 || !slice_caseeq(c.name, commands[n].name)))
            n++;
        next = n < sizeof commands / sizeof *commands ? commands[n].run(s, &c)
                                                      : bad(s, "BAD Error in IMAP command received by server.");
    }
    mem_wipe(text.p, text.len);
    str_free(&text);
    return next;
}

static void inactive(struct login_session *s) { stream_puts(s->stream, "* BYE Disconnected for inactivity.\r\n"); }

const struct login_protocol login_imap = { "imap", greeting, command, inactive };
