/*
 * pop3 - POP3 before the login
 *
 * Callers     authd/login/login.c
 * Invariants  after the login pop3d says the "+OK" that answers PASS or AUTH
 * Errors      three bad commands end the connection
 * Source      RFC 1939 section 7 (APOP), RFC 2449 (CAPA), RFC 2595 (STLS), RFC 5034 (AUTH), RFC 3206 (codes)
 */
#include "base/codec.h"
#include "base/mem.h"
#include "session.h"
#include <stdio.h>

enum { DIGEST_BYTES = 16 };

static void greeting(struct login_session *s, struct str *out)
{
    login_apop_challenge(s);
    str_printf(out, "+OK %s%s%s\r\n", login_greeting, s->challenge[0] ? " " : "", s->challenge);
}

static void say(struct login_session *s, const char *text) { stream_printf(s->stream, "%s\r\n", text); }

static enum login_next bad(struct login_session *s, const char *text)
{
    if (++s->bad_commands >= LOGIN_BAD_COMMANDS) {
        say(s, "-ERR Too many invalid bad commands.");
        s->ended = "Too many bad commands";
        return LOGIN_CLOSE;
    }
    say(s, text);
    return LOGIN_GO_ON;
}

static enum login_next answer(struct login_session *s, enum login_result result)
{
    static const struct {
        const char *text;
        bool close;
    } words[] = {
        [LOGIN_OK] = { NULL, true },
        [LOGIN_GONE] = { NULL, true },
        [LOGIN_FAILED] = { "-ERR [AUTH] Authentication failed.", false },
        [LOGIN_LATER] = { "-ERR [SYS/TEMP] Temporary authentication failure.", false },
        [LOGIN_DISABLED] = { "-ERR [AUTH] Account is disabled.", false },
        [LOGIN_EXPIRED] = { "-ERR [AUTH] Password expired.", false },
        [LOGIN_INVALID_BASE64] = { "-ERR [AUTH] Invalid base64 data in response.", false },
        [LOGIN_ABORTED] = { "-ERR Authentication aborted by client.", false },
        [LOGIN_PRIVACY] = { "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.",
                            false },
        [LOGIN_UNSUPPORTED] = { "-ERR Unsupported authentication mechanism.", false },
        [LOGIN_LIMIT] = { "-ERR [IN-USE] Maximum number of connections from user+IP exceeded", true },
        [LOGIN_DENIED] = { "-ERR [AUTH] Authorization failed.", true },
        [LOGIN_INTERNAL] = { "-ERR [SYS/TEMP] Internal login failure. Refer to server log for more information.",
                             true },
    };

    if (result == LOGIN_FAILED && s->refusal[0])
        stream_printf(s->stream, "-ERR [AUTH] %s\r\n", s->refusal);
    else if (words[result].text)
        say(s, words[result].text);
    if (words[result].text && words[result].close)
        s->ended = words[result].text + strlen("-ERR ");
    return words[result].close ? LOGIN_CLOSE : LOGIN_GO_ON;
}

static enum login_next on_capa(struct login_session *s, struct slice rest)
{
    struct str mechanisms;

    (void) rest;
    str_init(&mechanisms, LOGIN_LINE_BYTES);
    login_mechanisms(s, " ", &mechanisms);
    say(s, "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE");
    if (login_tls && stream_tls(s->stream) == NULL)
        say(s, "STLS");
    if (login_plaintext_allowed(s))
        say(s, "USER");
    if (mechanisms.len > 0)
        stream_printf(s->stream, "SASL%s\r\n", mechanisms.p);
    say(s, ".");
    str_free(&mechanisms);
    return LOGIN_GO_ON;
}

static enum login_next on_user(struct login_session *s, struct slice rest)
{
    if (rest.len == 0 || rest.len >= sizeof s->user)
        return bad(s, "-ERR Invalid username.");
    if (!login_plaintext_allowed(s)) {
        s->tried_privacy = true;
        return answer(s, LOGIN_PRIVACY);
    }
    snprintf(s->user, sizeof s->user, "%.*s", (int) rest.len, rest.p);
    say(s, "+OK");
    return LOGIN_GO_ON;
}

static enum login_next on_pass(struct login_session *s, struct slice rest)
{
    char user[LOGIN_USER_BYTES];

    if (s->user[0] == '\0')
        return bad(s, "-ERR No username given.");
    snprintf(user, sizeof user, "%s", s->user);
    return answer(s, login_password(s, slice_of(user), rest));
}

static enum login_next on_apop(struct login_session *s, struct slice rest)
{
    ptrdiff_t blank = slice_rfind(rest, ' ');
    struct slice user = slice_sub(rest, 0, blank < 0 ? 0 : (size_t) blank);
    enum login_result result = LOGIN_INVALID_BASE64;
    struct str digest;

    if (s->challenge[0] == '\0')
        return bad(s, "-ERR APOP not enabled.");
    str_init(&digest, LOGIN_USER_BYTES);
    if (user.len > 0 && user.len < sizeof s->user &&
        hex_decode(&digest, slice_sub(rest, (size_t) blank + 1, rest.len)) == 0 && digest.len == DIGEST_BYTES) {
        snprintf(s->user, sizeof s->user, "%.*s", (int) user.len, user.p);
        result = login_apop(s, user, str_slice(&digest));
    }
    str_free(&digest);
    return result == LOGIN_INVALID_BASE64 ? bad(s, "-ERR Invalid parameters.") : answer(s, result);
}

static enum login_next on_auth(struct login_session *s, struct slice rest)
{
    struct slice name = SLICE(""), initial = { NULL, 0 };
    char mechanism[AUTH_MECH_NAME_BYTES];

    if (rest.len == 0) {
        struct str list;
        str_init(&list, LOGIN_LINE_BYTES);
        login_mechanisms(s, "\r\n", &list);
        stream_printf(s->stream, "+OK%s\r\n.\r\n", list.p);
        str_free(&list);
        return LOGIN_GO_ON;
    }
    slice_split(&rest, ' ', &name);
    if (rest.p)
        initial = rest;
    if (name.len >= sizeof mechanism)
        return answer(s, LOGIN_UNSUPPORTED);
    snprintf(mechanism, sizeof mechanism, "%.*s", (int) name.len, name.p);
    s->user[0] = '\0';
    return answer(s, login_authenticate(s, mechanism, initial));
}

static enum login_next on_stls(struct login_session *s, struct slice rest)
{
    (void) rest;
    if (stream_tls(s->stream))
        return bad(s, "-ERR TLS is already active.");
    if (login_tls == NULL)
        return bad(s, "-ERR TLS support isn't enabled.");
    say(s, "+OK Begin TLS negotiation now.");
    s->user[0] = '\0'; /* RFC 2595 section 4: what was said in the clear is forgotten */
    return stream_flush(s->stream) == 0 && login_start_tls(s, SLICE("")) == 0 ? LOGIN_GO_ON : LOGIN_CLOSE;
}

static enum login_next on_noop(struct login_session *s, struct slice rest)
{
    (void) rest;
    say(s, "+OK");
    return LOGIN_GO_ON;
}

static enum login_next on_quit(struct login_session *s, struct slice rest)
{
    (void) rest;
    say(s, "+OK Logging out");
    s->ended = "Aborted login by logging out";
    return LOGIN_CLOSE;
}

static const struct {
    const char *name;
    enum login_next (*run)(struct login_session *, struct slice rest);
} commands[] = { { "CAPA", on_capa }, { "USER", on_user }, { "PASS", on_pass }, { "AUTH", on_auth },
                 { "APOP", on_apop }, { "STLS", on_stls }, { "NOOP", on_noop }, { "QUIT", on_quit } };

static enum login_next command(struct login_session *s)
{
    enum login_next next = LOGIN_CLOSE;
    struct slice name = SLICE(""), rest;
    struct str line;

    str_init(&line, LOGIN_LINE_BYTES);
    if (login_line(s, &line) == 0) {
        rest = str_slice(&line);
        slice_split(&rest, ' ', &name);
        size_t n = 0;
        while (n < sizeof commands / sizeof *commands && !slice_caseeq(name, commands[n].name))
            n++;
        bool known = n < sizeof commands / sizeof *commands && memchr(line.p, '\0', line.len) == NULL;
        next = known ? commands[n].run(s, rest.p ? rest : SLICE("")) : bad(s, "-ERR Unknown command.");
    }
    mem_wipe(line.p, line.len);
    str_free(&line);
    return next;
}

static void inactive(struct login_session *s) { say(s, "-ERR Disconnected for inactivity."); }

const struct login_protocol login_pop3 = { "pop3", greeting, command, inactive };
