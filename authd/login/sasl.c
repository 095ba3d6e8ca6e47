/*
 * sasl - asks authd, shows the client its challenges, hands the client over to dispatcher
 *
 * Callers     authd/login/imap.c, authd/login/pop3.c
 * Invariants  no user's name goes to dispatcher: only authd's request id and cookie
 *             the request stays open at authd until dispatcher has claimed it
 *             passwords are wiped after use
 */
#include "base/codec.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/dispatcher.h"
#include "conf/param.h"
#include "event/event.h"
#include "session.h"
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AGAIN_MS = 500 };

static void wipe(struct str *s)
{
    mem_wipe(s->p, s->len);
    str_free(s);
}

/* POP3's APOP is a mechanism of authd's, but no client may name it to AUTH. */
static bool usable(const struct login_session *s, const struct auth_mech *m)
{
    if (m->flags & AUTH_MECH_PRIVATE)
        return false;
    return !(m->flags & AUTH_MECH_CHANNEL_BINDING) || login_in_tls(s);
}

static bool known_mechs(const struct auth_mech **mechs, size_t *count)
{
    return auth_mechs(login_auth, time_mono_ms() + LOGIN_AUTH_SECONDS * 1000, mechs, count) == 0;
}

static const struct auth_mech *offered(const struct login_session *s, const char *name)
{
    const struct auth_mech *mechs;
    size_t count;

    if (!known_mechs(&mechs, &count))
        return NULL;
    for (size_t n = 0; n < count; n++)
        if (strcasecmp(mechs[n].name, name) == 0 && usable(s, &mechs[n]))
            return &mechs[n];
    return NULL;
}

void login_mechanisms(struct login_session *s, const char *before, struct str *out)
{
    const struct auth_mech *mechs;
    size_t count;

    if (!known_mechs(&mechs, &count))
        return;
    for (size_t n = 0; n < count; n++)
        if (usable(s, &mechs[n]) && (!(mechs[n].flags & AUTH_MECH_PLAINTEXT) || login_plaintext_allowed(s)))
            str_printf(out, "%s%s", before, mechs[n].name);
}

static bool binding_shown(const struct login_session *s)
{
    const struct auth_mech *mechs;
    size_t count;

    if (!known_mechs(&mechs, &count))
        return false;
    for (size_t n = 0; n < count; n++)
        if (mechs[n].flags & AUTH_MECH_CHANNEL_BINDING && usable(s, &mechs[n]))
            return true;
    return false;
}

static int binding(void *ctx, const char *type, struct str *data)
{
    return stream_tls_binding(((struct login_session *) ctx)->stream, type, data);
}

static void set_user(struct login_session *s, const char *user)
{
    if (user && user[0])
        snprintf(s->user, sizeof s->user, "%s", user);
}

/* The client's socket, or one end of a pair that login relays to and from. */
static int socket_for(struct login_session *s, int *relay)
{
    int pair[2];

    *relay = -1;
    if (stream_tls(s->stream) == NULL)
        return dup(stream_fd(s->stream));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    *relay = pair[0];
    return pair[1];
}

/* Input behind the login command travels along, unless it comes through the relay anyway. */
static void take_input(struct login_session *s, struct dispatcher_session *d)
{
    const char *bytes;
    size_t len = stream_buffered(s->stream);

    if (stream_tls(s->stream) || len == 0)
        return;
    ssize_t got = stream_peek(s->stream, &bytes);
    if (got > 0)
        str_add(&d->input, bytes, (size_t) got);
}

static enum login_result hand_over(struct login_session *s, const struct auth_request *r)
{
    struct dispatcher_claim claim = { auth_request_client_pid(r), auth_request_id(r), "" };
    struct dispatcher_session *d = dispatcher_session_new();
    pid_t mail_pid;
    int relay;

    snprintf(claim.cookie, sizeof claim.cookie, "%s", auth_request_cookie(r));
    d->protocol = mem_strdup(s->protocol->name);
    d->id = mem_strdup(s->id);
    d->rip = mem_strdup(s->rip);
    d->lip = mem_strdup(s->lip);
    d->rport = s->rport;
    d->lport = s->lport;
    d->tls = stream_tls(s->stream) != NULL;
    d->secured = s->secured;
    d->tag = mem_strdup(s->tag);
    d->capability_untagged = s->asked_capability;
    d->fd = socket_for(s, &relay);
    take_input(s, d);
    if (relay < 0) /* else what was said before goes ahead of the first words that are relayed */
        stream_flush(s->stream);
    enum dispatcher_answer answer = d->fd < 0 ? DISPATCHER_UNAVAILABLE
                                              : dispatcher_hand_over(d, &claim,
                                                                     time_mono_ms() + LOGIN_HAND_OVER_SECONDS * 1000,
                                                                     &mail_pid, s->reason, sizeof s->reason);
    dispatcher_session_free(&d);
    if (answer == DISPATCHER_OK) {
        s->logged_in = true;
        login_log_login(s, mail_pid);
        if (relay >= 0)
            login_relay(s, relay);
        return LOGIN_OK;
    }
    if (relay >= 0)
        close(relay);
    if (answer == DISPATCHER_UNAVAILABLE)
        log_warn("%s-login: Internal login failure of %s: %s", s->protocol->name, s->user,
                 s->reason[0] ? s->reason : "dispatcher cannot be asked");
    return answer == DISPATCHER_LIMIT ? LOGIN_LIMIT : answer == DISPATCHER_DENIED ? LOGIN_DENIED : LOGIN_INTERNAL;
}

static enum login_result failure(struct login_session *s, enum auth_answer answer, const struct auth_request *r)
{
    static const struct {
        const char *code;
        enum login_result result;
    } codes[] = { { "user_disabled", LOGIN_DISABLED },
                  { "pass_expired", LOGIN_EXPIRED },
                  { "invalid_base64", LOGIN_INVALID_BASE64 },
                  { "authz_fail", LOGIN_DENIED } };

    set_user(s, auth_user(r));
    if (answer == AUTH_RETRY) {
        s->later = true;
        return LOGIN_LATER;
    }
    s->attempts++;
    snprintf(s->refusal, sizeof s->refusal, "%s", auth_reason(r));
    for (char *p = s->refusal; *p; p++)
        if ((unsigned char) *p < ' ' || (unsigned char) *p > '~') /* a line, and no encoding is agreed on */
            *p = '?';
    for (size_t n = 0; n < sizeof codes / sizeof *codes; n++)
        if (strcmp(auth_code(r), codes[n].code) == 0)
            return codes[n].result;
    return LOGIN_FAILED;
}

/* Shows the challenge, reads the response. */
static enum login_result exchange(struct login_session *s, struct auth_request *r, enum auth_answer *answer,
                                  int64_t deadline)
{
    struct str line;
    enum login_result result = LOGIN_OK;

    str_init(&line, LOGIN_LINE_BYTES);
    s->challenged = true;
    stream_printf(s->stream, "+ %s\r\n", auth_challenge(r));
    if (login_line(s, &line) != 0)
        result = LOGIN_GONE;
    else if (slice_eq(str_slice(&line), "*")) {
        s->aborted_sasl = true;
        result = LOGIN_ABORTED;
    } else {
        *answer = auth_continue(r, str_slice(&line), deadline);
    }
    wipe(&line);
    return result;
}

static bool is_base64(struct slice text)
{
    struct str out;
    bool good;

    str_init(&out, LOGIN_LINE_BYTES);
    good = base64_decode(&out, text) == 0;
    wipe(&out);
    return good;
}

static enum login_result attempt(struct login_session *s, const struct auth_peer *peer, struct slice initial)
{
    int64_t deadline = time_mono_ms() + LOGIN_AUTH_SECONDS * 1000;
    struct auth_request *r = NULL;
    enum login_result result = LOGIN_OK;

    s->challenged = false;
    enum auth_answer answer = auth_start(login_auth, s->method, peer, initial, deadline, &r);

    while (result == LOGIN_OK && answer == AUTH_CONTINUE)
        result = exchange(s, r, &answer, deadline);
    if (result == LOGIN_OK && answer == AUTH_OK) {
        s->successes++;
        set_user(s, auth_user(r));
        result = hand_over(s, r);
    } else if (result == LOGIN_OK) {
        result = failure(s, answer, r);
    }
    auth_request_free(&r);
    return result;
}

/* The name in a verified certificate, into *cert. */
static struct auth_peer describe(struct login_session *s, struct str *cert)
{
    const struct tls_info *tls = stream_tls(s->stream);
    struct auth_peer peer = { .service = s->protocol->name,
                              .local_ip = s->lip,
                              .remote_ip = s->rip,
                              .local_port = s->lport,
                              .remote_port = s->rport,
                              .session = s->id,
                              .secured = s->secured,
                              .tls = tls != NULL,
                              .claim_ahead = dispatcher_pid(),
                              .sni = tls ? tls->sni : NULL };

    if (tls && tls->peer_verified) {
        peer.valid_client_cert = true;
        if (stream_tls_peer_name(s->stream, conf_ssl_cert_username_field, cert) == 0 && !str_over(cert))
            peer.cert_username = cert->p;
    }
    if (binding_shown(s)) {
        peer.binding = binding;
        peer.binding_ctx = s;
    }
    return peer;
}

/* Once more where authd or dispatcher was being replaced between the two steps, if nothing has to be asked again. */
static enum login_result attempts(struct login_session *s, struct slice initial)
{
    enum login_result result;
    struct str cert;

    str_init(&cert, LOGIN_USER_BYTES);
    const struct auth_peer peer = describe(s, &cert);
    result = attempt(s, &peer, initial);
    if (result == LOGIN_INTERNAL && initial.p && !s->challenged) {
        event_sleep(AGAIN_MS);
        result = attempt(s, &peer, initial);
    }
    str_free(&cert);
    return result;
}

enum login_result login_authenticate(struct login_session *s, const char *mechanism, struct slice initial)
{
    const struct auth_mech *mech = offered(s, mechanism);

    if (mech == NULL) {
        const struct auth_mech *any;
        size_t count;
        if (!known_mechs(&any, &count)) {
            s->later = true;
            return LOGIN_LATER;
        }
        s->tried_unsupported = true;
        return LOGIN_UNSUPPORTED;
    }
    snprintf(s->method, sizeof s->method, "%s", mech->name);
    if (mech->flags & AUTH_MECH_PLAINTEXT && !login_plaintext_allowed(s)) {
        s->tried_privacy = true;
        return LOGIN_PRIVACY;
    }
    if (initial.p && initial.len > 0 && !slice_eq(initial, "=") && !is_base64(initial)) {
        s->attempts++;
        return LOGIN_INVALID_BASE64;
    }
    if (initial.p && slice_eq(initial, "=")) /* RFC 4959: a response that is there, and empty */
        initial = SLICE("");
    return attempts(s, initial);
}

void login_apop_challenge(struct login_session *s)
{
    const struct auth_mech *mechs;
    char begin[AUTH_CHALLENGE_BYTES];
    size_t count;

    s->challenge[0] = '\0';
    if (!known_mechs(&mechs, &count))
        return;
    for (size_t n = 0; n < count; n++)
        if (strcmp(mechs[n].name, "APOP") == 0 && auth_challenge_begin(login_auth, begin) == 0)
            snprintf(s->challenge, sizeof s->challenge, "%s%llx.%s@%s>", begin, (long long) time_now(), s->id,
                     conf_myhostname);
}

enum login_result login_apop(struct login_session *s, struct slice user, struct slice digest)
{
    enum login_result result;
    struct str plain, text;

    str_init(&plain, LOGIN_LINE_BYTES);
    str_init(&text, 2 * LOGIN_LINE_BYTES);
    str_adds(&plain, s->challenge);
    str_addc(&plain, '\0');
    str_addslice(&plain, user);
    str_addc(&plain, '\0');
    str_addslice(&plain, digest);
    base64_encode(&text, str_slice(&plain));
    snprintf(s->method, sizeof s->method, "APOP");
    result = attempts(s, str_slice(&text));
    str_free(&plain);
    str_free(&text);
    return result;
}

enum login_result login_password(struct login_session *s, struct slice user, struct slice password)
{
    enum login_result result;
    struct str plain, text;

    str_init(&plain, LOGIN_LINE_BYTES);
    str_init(&text, 2 * LOGIN_LINE_BYTES);
    str_addc(&plain, '\0');
    str_addslice(&plain, user);
    str_addc(&plain, '\0');
    str_addslice(&plain, password);
    base64_encode(&text, str_slice(&plain));
    snprintf(s->user, sizeof s->user, "%.*s", (int) (user.len < sizeof s->user ? user.len : sizeof s->user - 1),
             user.p);
    result = login_authenticate(s, "PLAIN", str_slice(&text));
    wipe(&plain);
    wipe(&text);
    return result;
}
