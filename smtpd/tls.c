/*
 * smtpd tls - contexts and handshakes
 *
 * Callers     smtpd.c before the jail, session.c (wrapper mode), cmd/starttls.c
 * Invariants  keys are read once, as root; a configured certificate that cannot be read stops TLS, not the server,
 *             except where encryption is mandatory: then it stops the start
 * Errors      a failed handshake ends the session after a log line
 */
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "base/time.h"
#include "client/tlsmgr.h"

#include <errno.h>

enum { MS = 1000 };

static struct tls_ctx *context;
static enum smtpd_tls_level level;

static void read_level(void)
{
    static const struct {
        const char *name;
        enum smtpd_tls_level level;
    } names[] = { { "none", SMTPD_TLS_NONE },          { "may", SMTPD_TLS_MAY },
                  { "encrypt", SMTPD_TLS_ENCRYPT },    { "dane", SMTPD_TLS_ENCRYPT },
                  { "verify", SMTPD_TLS_ENCRYPT },     { "secure", SMTPD_TLS_ENCRYPT },
                  { "fingerprint", SMTPD_TLS_ENCRYPT } };

    level = smtpd_enforce_tls ? SMTPD_TLS_ENCRYPT : smtpd_use_tls ? SMTPD_TLS_MAY : SMTPD_TLS_NONE;
    if (*smtpd_tls_security_level) {
        size_t i = 0;

        while (i < sizeof names / sizeof *names && strcasecmp(smtpd_tls_security_level, names[i].name) != 0)
            i++;
        if (i == sizeof names / sizeof *names) {
            log_fatal("Invalid TLS level \"%s\"", smtpd_tls_security_level);
        }
        level = names[i].level;
        if (i > 2)
            log_warn("smtpd_tls_security_level: unsupported TLS level \"%s\", using \"encrypt\"", names[i].name);
    }
    if (smtpd_tls_wrappermode)
        level = SMTPD_TLS_ENCRYPT;
    if (level == SMTPD_TLS_ENCRYPT)
        smtpd_tls_auth_only = true; /* EHLO does not show an AUTH that would be refused */
    if (smtpd_tls_req_ccert && level != SMTPD_TLS_ENCRYPT) {
        log_fatal("Can't require client certs unless TLS is required");
    }
}

/* Postfix's grades in OpenSSL's words. Null-authentication ciphers are left out: no client of today needs them. */
static void cipher_list(struct str *out)
{
    static const struct {
        const char *grade, *list;
    } grades[] = { { "high", "HIGH:!aNULL:@STRENGTH" },
                   { "medium", "HIGH:MEDIUM:!aNULL:@STRENGTH" },
                   { "low", "HIGH:MEDIUM:!aNULL:@STRENGTH" },
                   { "export", "HIGH:MEDIUM:!aNULL:@STRENGTH" } };
    const char *grade = level == SMTPD_TLS_ENCRYPT ? smtpd_tls_mandatory_ciphers : smtpd_tls_ciphers;
    const char *excluded[] = { smtpd_tls_exclude_ciphers,
                               level == SMTPD_TLS_ENCRYPT ? smtpd_tls_mandatory_exclude_ciphers : "" };
    struct slice rest, word;
    size_t i = 0;

    while (i < sizeof grades / sizeof *grades && strcasecmp(grade, grades[i].grade) != 0)
        i++;
    if (i == sizeof grades / sizeof *grades) {
        log_fatal("invalid TLS cipher grade: \"%s\"", grade);
    }
    str_adds(out, grades[i].list);
    for (size_t k = 0; k < 2; k++) {
        rest = slice_of(excluded[k]);
        while (slice_word(&rest, ":, \t\r\n", &word))
            str_printf(out, ":!%.*s", (int) word.len, word.p);
    }
}

static void open_context(void)
{
    struct tls_why why = { "" };
    struct str ciphers;
    struct tls_config config = {
        .server = true,
        .chain_files = smtpd_tls_chain_files,
        .cert_file = smtpd_tls_cert_file,
        .key_file = smtpd_tls_key_file,
        .eccert_file = smtpd_tls_eccert_file,
        .eckey_file = smtpd_tls_eckey_file,
        .ca_file = smtpd_tls_CAfile,
        .ca_path = smtpd_tls_CApath,
        .protocols = level == SMTPD_TLS_ENCRYPT ? smtpd_tls_mandatory_protocols : smtpd_tls_protocols,
        .ask_peer_certificate = smtpd_tls_ask_ccert || smtpd_tls_req_ccert,
        .session_id_context = "smtpd",
        .tickets = true,
    };

    if (!*smtpd_tls_chain_files && !*smtpd_tls_cert_file && !*smtpd_tls_eccert_file) {
        log_warn("No server certs available. TLS won't be enabled");
        return;
    }
    service_watch_tls(&config);
    str_init(&ciphers, STR_UNLIMITED);
    cipher_list(&ciphers);
    config.cipher_list = ciphers.p;
    context = tls_ctx_new(&config, &why);
    str_free(&ciphers);
    if (context == NULL && !service_alone()) /* in "sendmail -bs" the keys are root's and nobody misses them */
        log_warn("TLS library problem: %s", why.text);
}

void smtpd_tls_pre_jail(void)
{
    read_level();
    if (level != SMTPD_TLS_NONE)
        open_context();
    if (level == SMTPD_TLS_ENCRYPT && context == NULL && !service_alone()) {
        log_fatal("encryption is mandatory (smtpd_tls_security_level, smtpd_tls_wrappermode) but there is no usable "
                  "certificate");
    }
}

void smtpd_tls_post_jail(void)
{
    if (context != NULL)
        tlsmgr_keep_keys(context);
}

enum smtpd_tls_level smtpd_tls_level(void) { return level; }
bool smtpd_tls_available(void) { return context != NULL; }

static void log_session(struct smtpd_session *s, const struct tls_info *tls)
{
    const char *trust = tls->peer_subject[0] == 0 ? "Anonymous" : tls->peer_verified ? "Trusted" : "Untrusted";
    struct str line;

    str_init(&line, STR_UNLIMITED);
    str_printf(&line, "%s TLS connection established from %s: %s with cipher %s (%d/%d bits)", trust, s->peer.namaddr,
               tls->protocol, tls->cipher, tls->bits, tls->alg_bits);
    if (tls->kex[0])
        str_printf(&line, " key-exchange %s", tls->kex);
    if (tls->server_signature[0])
        str_printf(&line, " server-signature %s", tls->server_signature);
    if (tls->server_digest[0])
        str_printf(&line, " server-digest %s", tls->server_digest);
    log_info("%s", line.p);
    str_free(&line);
}

int smtpd_tls_start(struct smtpd_session *s)
{
    struct tls_why why = { "" };
    const struct tls_info *tls;

    if (smtpd_tls_loglevel > 1)
        log_info("setting up TLS connection from %s", s->peer.namaddr);
    stream_timeout(s->stream, smtpd_starttls_timeout * MS);
    if (stream_tls_server(s->stream, context, time_mono_ms() + smtpd_starttls_timeout * MS, &why)) {
        log_info("SSL_accept error from %s: %s", s->peer.namaddr,
                 why.text[0]          ? why.text
                 : errno == ETIMEDOUT ? "Connection timed out"
                                      : "lost connection");
        smtpd_session_fail(s, "lost connection");
        return -1;
    }
    tls = stream_tls(s->stream);
    if (smtpd_tls_loglevel > 0)
        log_session(s, tls);
    if (smtpd_tls_req_ccert && !tls->peer_verified) {
        log_info("NOQUEUE: abort: TLS from %s: %s", s->peer.namaddr,
                 tls->peer_subject[0] ? "Client certificate not trusted" : "No client certificate presented");
        smtpd_session_fail(s, "lost connection");
        return -1;
    }
    return 0;
}
