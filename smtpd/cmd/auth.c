/*
 * smtpd cmd auth - AUTH, by the Dovecot auth protocol
 *
 * Callers     smtpd/command.c; helo.c asks which mechanisms to show
 * Invariants  a mechanism that is not shown is not accepted
 *             passwords pass through: nothing here looks at them, logs them or keeps them
 * Errors      a service that cannot be asked is "454 4.7.0", never "535"
 * Source      RFC 4954; words and log lines are Postfix's
 */
#include "cmd/cmd.h"
#include "params.h"

#include "base/codec.h"
#include "base/log.h"
#include "base/time.h"
#include "client/auth.h"
#include "proto/sasl/security.h"
#include "table/match.h"

#include <errno.h>

enum { AUTH_WAIT_MS = 100 * 1000, MECHS_WAIT_MS = 10 * 1000, SHOWN_BYTES = 100 };

static bool cyrus; /* libsasl2 in the service saslauth, which speaks the same protocol */
static struct auth_client *service;
static struct auth_mech known[AUTH_MECHS_MAX];
static size_t known_count; /* 0: the service was never heard of */
static struct match *exempt, *wanted;
static struct sasl_security without_tls, with_tls;

static void options(const char *parameter, const char *list, struct sasl_security *out)
{
    struct slice word;

    if (sasl_security_parse(list, out, &word) != 0)
        log_fatal("parameter %s: unknown SASL security option \"%.*s\"", parameter, (int) word.len, word.p);
}

void smtpd_auth_pre_jail(void)
{
    if (!smtpd_sasl_auth_enable)
        return;
    cyrus = strcasecmp(smtpd_sasl_type, "cyrus") == 0;
    if (!cyrus && strcasecmp(smtpd_sasl_type, "dovecot") != 0)
        log_fatal("parameter smtpd_sasl_type = %s: unsupported SASL server implementation: neither cyrus nor dovecot",
                  smtpd_sasl_type);
    if (!tls_field_exists(conf_ssl_cert_username_field)) {
        log_fatal("parameter ssl_cert_username_field: no field %s in a certificate's subject",
                  conf_ssl_cert_username_field);
    }
    options("smtpd_sasl_security_options", smtpd_sasl_security_options, &without_tls);
    options("smtpd_sasl_tls_security_options", smtpd_sasl_tls_security_options, &with_tls);
    exempt = match_new("smtpd_sasl_exceptions_networks", smtpd_sasl_exceptions_networks);
    wanted = match_new("smtpd_sasl_mechanism_filter", smtpd_sasl_mechanism_filter);
}

void smtpd_auth_post_jail(void)
{
    if (smtpd_sasl_auth_enable)
        service = auth_client_new(cyrus ? "private/saslauth" : conf_smtpd_sasl_path, AUTH_BRIEF);
}

bool smtpd_auth_exempt(const struct smtpd_session *s)
{
    return match_host(exempt, s->peer.name, s->peer.address) == LOOKUP_FOUND;
}

static bool usable(const struct smtpd_session *s, const struct auth_mech *m)
{
    bool tls = stream_tls(s->stream) != NULL;
    unsigned never = AUTH_MECH_PRIVATE | (tls ? 0 : AUTH_MECH_CHANNEL_BINDING);

    return !(m->flags & never) && sasl_security_allows(tls ? &with_tls : &without_tls, m->flags) &&
           match_string(wanted, m->name) == LOOKUP_FOUND;
}

/* The service's list, or, while it is away, the last one it gave: a client that sees no AUTH gives up for good, one
 * that gets 454 comes back. */
static void refresh(void)
{
    const struct auth_mech *mechs;
    size_t count;

    auth_client_renew(&service);
    if (auth_mechs(service, time_mono_ms() + MECHS_WAIT_MS, &mechs, &count))
        return;
    memcpy(known, mechs, count * sizeof *mechs);
    known_count = count;
}

void smtpd_auth_mechs(struct smtpd_session *s, struct str *out)
{
    if (!smtpd_sasl_auth_enable || s->alone || smtpd_auth_exempt(s) ||
        (smtpd_tls_auth_only && stream_tls(s->stream) == NULL))
        return;
    refresh();
    for (size_t i = 0; i < known_count; i++)
        if (usable(s, &known[i]))
            str_printf(out, "%s%s", out->len ? " " : "", known[i].name);
}

static bool offered(const struct smtpd_session *s, const char *mech)
{
    for (size_t i = 0; i < known_count; i++)
        if (strcmp(known[i].name, mech) == 0)
            return usable(s, &known[i]);
    return false;
}

static bool is_base64(struct slice text)
{
    struct str bytes;
    bool ok;

    str_init(&bytes, STR_UNLIMITED);
    ok = base64_decode(&bytes, text) == 0;
    mem_wipe(bytes.p, bytes.len);
    str_free(&bytes);
    return ok;
}

static int failed(struct smtpd_session *s, const char *mech, const char *reason, const char *user)
{
    if (*reason == 0)
        reason = "(reason unavailable)";
    log_warn("%s: SASL %.100s authentication failed: %s, sasl_username=%.100s", s->peer.namaddr, mech, reason,
             *user ? user : "(unavailable)");
    smtpd_reply(s, "535 5.7.8 Error: authentication failed: %s", reason);
    return -1;
}

/* One answer of the client to a challenge. -1 after a reply, or the client is gone. */
static int answer_line(struct smtpd_session *s, const char *mech, struct str *line)
{
    enum stream_eol eol;

    str_reset(line);
    if (stream_line(s->stream, line, (size_t) smtpd_sasl_response_limit, &eol)) {
        if (errno == EMSGSIZE)
            smtpd_reply(s, "500 5.5.6 SASL response limit exceeded");
        else
            smtpd_session_fail(s, errno == ETIMEDOUT ? "timeout" : "lost connection");
        return -1;
    }
    if (slice_eq(str_slice(line), "*")) {
        log_warn("%s: SASL %s authentication aborted", s->peer.namaddr, mech);
        smtpd_reply(s, "501 5.7.0 Authentication aborted");
        return -1;
    }
    if (!is_base64(str_slice(line))) {
        failed(s, mech, "Invalid base64 data in continued response", "");
        return -1;
    }
    return 0;
}

/* Challenges and answers until the service has decided. -1: replied, or the client is gone. */
static int converse(struct smtpd_session *s, const char *mech, struct auth_request *r, enum auth_answer *what)
{
    struct str line;
    int result = 0;

    str_init(&line, STR_UNLIMITED); /* bounded by smtpd_sasl_response_limit: stream_line */
    while (*what == AUTH_CONTINUE && result == 0) {
        smtpd_reply_more(s, "334 %s\r\n", auth_challenge(r));
        result = answer_line(s, mech, &line);
        if (result == 0)
            *what = auth_continue(r, str_slice(&line), time_mono_ms() + AUTH_WAIT_MS);
        mem_wipe(line.p, line.len);
    }
    str_free(&line);
    return result;
}

static int decided(struct smtpd_session *s, const char *mech, struct auth_request *r, enum auth_answer what)
{
    switch (what) {
    case AUTH_OK:
        s->sasl_user = arena_strdup(s->arena, auth_user(r));
        s->sasl_method = arena_strdup(s->arena, mech);
        smtpd_reply(s, "235 2.7.0 Authentication successful");
        return 0;
    case AUTH_FAIL: return failed(s, mech, auth_reason(r), auth_user(r));
    case AUTH_CONTINUE:
    case AUTH_RETRY: break;
    }
    log_warn("%s: SASL %.100s authentication failed: %s, sasl_username=%.100s", s->peer.namaddr, mech,
             *auth_reason(r) ? auth_reason(r) : "Temporary authentication failure",
             *auth_user(r) ? auth_user(r) : "(unavailable)");
    smtpd_reply(s, "454 4.7.0 Temporary authentication failure: %s",
                *auth_reason(r) ? auth_reason(r) : "(reason unavailable)");
    return -1;
}

static int binding(void *ctx, const char *type, struct str *data)
{
    return stream_tls_binding(((struct smtpd_session *) ctx)->stream, type, data);
}

/* What TLS adds: the name in a verified certificate, into *cert, and what binds to this connection. */
static void describe_tls(struct smtpd_session *s, struct auth_peer *peer, struct str *cert)
{
    const struct tls_info *tls = stream_tls(s->stream);

    if (tls == NULL)
        return;
    peer->secured = peer->tls = true;
    if (tls->peer_verified) {
        peer->valid_client_cert = true;
        if (stream_tls_peer_name(s->stream, conf_ssl_cert_username_field, cert) == 0 && !str_over(cert))
            peer->cert_username = cert->p;
    }
    for (size_t i = 0; i < known_count; i++)
        if (known[i].flags & AUTH_MECH_CHANNEL_BINDING && usable(s, &known[i])) {
            peer->binding = binding;
            peer->binding_ctx = s;
        }
}

static int authenticate(struct smtpd_session *s, const char *mech, struct slice initial)
{
    struct str cert;
    struct auth_peer peer = {
        .service = smtpd_sasl_service,
        .nologin = true,
        .realm = cyrus ? smtpd_sasl_local_domain : NULL,
        .application = cyrus ? conf_smtpd_sasl_path : NULL,
        .local_ip = s->peer.family == AF_UNSPEC ? NULL : s->peer.server_address,
        .remote_ip = s->peer.family == AF_UNSPEC ? NULL : s->peer.address,
    };
    struct auth_request *r;

    str_init(&cert, AUTH_USER_BYTES);
    describe_tls(s, &peer, &cert);
    enum auth_answer what = auth_start(service, mech, &peer, initial, time_mono_ms() + AUTH_WAIT_MS, &r);
    int answer = converse(s, mech, r, &what);

    if (answer == 0)
        answer = decided(s, mech, r, what);
    auth_request_free(&r);
    str_free(&cert);
    return answer;
}

static const char *not_now(struct smtpd_session *s)
{
    if (smtpd_helo_required && s->helo == NULL)
        return "503 5.5.1 Error: send HELO/EHLO first";
    if (!smtpd_sasl_auth_enable || s->alone || smtpd_auth_exempt(s) || !s->esmtp)
        return "503 5.5.1 Error: authentication not enabled";
    if (s->mail.active)
        return "503 5.5.1 Error: MAIL transaction in progress";
    if (smtpd_tls_auth_only && stream_tls(s->stream) == NULL)
        return "504 5.5.4 Encryption required for requested authentication mechanism";
    if (s->sasl_user != NULL)
        return "503 5.5.1 Error: already authenticated";
    return NULL;
}

int smtpd_cmd_auth(struct smtpd_session *s, struct slice args)
{
    struct slice mech, initial = { NULL, 0 }, more;
    const char *denied = not_now(s);
    char name[AUTH_MECH_NAME_BYTES];

    if (denied == NULL &&
        (!slice_word(&args, " \t", &mech) || (slice_word(&args, " \t", &initial) && slice_word(&args, " \t", &more))))
        denied = "501 5.5.4 Syntax: AUTH mechanism";
    if (denied != NULL) {
        smtpd_reply(s, "%s", denied);
        return -1;
    }
    if (smtpd_rate_event(s, SMTPD_RATE_AUTH))
        return -1;
    snprintf(name, sizeof name, "%.*s", (int) (mech.len > SHOWN_BYTES ? SHOWN_BYTES : mech.len), mech.p);
    for (char *p = name; *p; p++)
        *p = ascii_upper(*p);
    refresh();
    if (known_count == 0) {
        smtpd_reply(s, "454 4.7.0 Temporary authentication failure: Can't connect to authentication server");
        return -1;
    }
    if (mech.len >= sizeof name || !offered(s, name))
        return failed(s, name, cyrus ? "no mechanism available" : "Invalid authentication mechanism", "");
    if (slice_eq(initial, "="))
        initial = SLICE("");
    if (initial.p != NULL && !is_base64(initial))
        return failed(s, name, "Invalid base64 data in initial response", "");
    return authenticate(s, name, initial);
}
