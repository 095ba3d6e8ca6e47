/*
 * login - IMAP and POP3 clients until they have logged in; with TLS, their bytes afterwards
 *
 * Callers     the Internet: ports 143, 993, 110, 995
 * Invariants  never learns a user's uid or mail; names nobody to dispatcher; one fiber a client (two while relaying)
 *             a process takes login_sessions_per_process clients at a time and max_use times as many in its life: a
 *             start costs as much as ten logins
 * Errors      a fault of authd or dispatcher is "later" for the client
 * Privilege   own user, chroot, no files, no sockets of its own; TLS keys are read before the jail
 */
#include "base/codec.h"
#include "base/log.h"
#include "base/time.h"
#include "client/tlsmgr.h"
#include "service/service.h"
#include "session.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AUTH_LOGIN_SERVICE "private/auth-login"

const char *login_greeting;
bool login_disable_plaintext_auth;
struct tls_ctx *login_tls;
struct auth_client *login_auth;
static const struct login_protocol *protocol;
static const char *protocol_name, *chain_files, *cert_file, *key_file, *eccert_file, *eckey_file, *ca_file,
    *tls_protocols, *tls_ciphers;
static bool wrappermode, ask_ccert;
static int64_t sessions_per_process;

static const struct param params[] = {
    { .name = "login_protocol",
      .type = PARAM_STRING,
      .str = &protocol_name,
      .def = "imap",
      .min = 1,
      .doc = "What is spoken on this port: imap or pop3. Set by -o in master.cf." },
    { .name = "login_tls_wrappermode",
      .type = PARAM_BOOL,
      .yes = &wrappermode,
      .def = "no",
      .doc = "TLS begins at once, as on ports 993 and 995. Set by -o in master.cf." },
    { .name = "login_greeting",
      .type = PARAM_STRING,
      .str = &login_greeting,
      .def = "Posthorn ready.",
      .doc = "Text of the first line sent to IMAP and POP3 clients." },
    { .name = "disable_plaintext_auth",
      .type = PARAM_BOOL,
      .yes = &login_disable_plaintext_auth,
      .def = "yes",
      .doc = "Refuse passwords on connections without TLS, except from this host itself.",
      .flags = PARAM_SECURITY },
    { .name = "login_sessions_per_process",
      .type = PARAM_INT,
      .num = &sessions_per_process,
      .def = "100",
      .min = 1,
      .max = 100000,
      .doc = "Clients that one process serves at a time before and (with TLS) after they have logged in." },
    { .name = "login_tls_chain_files",
      .type = PARAM_STRING,
      .str = &chain_files,
      .def = "$smtpd_tls_chain_files",
      .doc = "Files with private keys and certificate chains for IMAP and POP3." },
    { .name = "login_tls_cert_file",
      .type = PARAM_STRING,
      .str = &cert_file,
      .def = "$smtpd_tls_cert_file",
      .doc = "File with the RSA certificate chain for IMAP and POP3; empty: no TLS." },
    { .name = "login_tls_key_file",
      .type = PARAM_STRING,
      .str = &key_file,
      .def = "$smtpd_tls_key_file",
      .doc = "File with the private key of login_tls_cert_file; empty: it is in that file." },
    { .name = "login_tls_eccert_file",
      .type = PARAM_STRING,
      .str = &eccert_file,
      .def = "$smtpd_tls_eccert_file",
      .doc = "File with the ECDSA certificate chain for IMAP and POP3." },
    { .name = "login_tls_eckey_file",
      .type = PARAM_STRING,
      .str = &eckey_file,
      .def = "$smtpd_tls_eckey_file",
      .doc = "File with the private key of login_tls_eccert_file; empty: it is in that file." },
    { .name = "login_tls_CAfile",
      .type = PARAM_STRING,
      .str = &ca_file,
      .def = "$smtpd_tls_CAfile",
      .doc = "File with the certificates of authorities that the certificates of IMAP and POP3 clients are verified "
             "with." },
    { .name = "login_tls_ask_ccert",
      .type = PARAM_BOOL,
      .yes = &ask_ccert,
      .def = "no",
      .doc = "Ask IMAP and POP3 clients for a certificate; one that login_tls_CAfile vouches for may serve to log in "
             "(EXTERNAL)." },
    { .name = "login_tls_protocols",
      .type = PARAM_STRING,
      .str = &tls_protocols,
      .def = ">=TLSv1.2",
      .doc = "TLS versions for IMAP and POP3.",
      .flags = PARAM_SECURITY },
    { .name = "login_tls_cipher_list",
      .type = PARAM_STRING,
      .str = &tls_ciphers,
      .def = "ALL:!kRSA:!SRP:!kDHd:!DSS:!aNULL:!eNULL:!EXPORT:!DES:!3DES:!MD5:!PSK:!RC4:!ADH:!LOW@STRENGTH",
      .doc = "OpenSSL's list of ciphers for IMAP and POP3 up to TLS 1.2.",
      .flags = PARAM_SECURITY },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { params, NULL };

static int open_tls(void)
{
    struct tls_why why = { "" };
    struct tls_config config = {
        .server = true,
        .chain_files = chain_files,
        .cert_file = cert_file,
        .key_file = key_file[0] ? key_file : cert_file,
        .eccert_file = eccert_file,
        .eckey_file = eckey_file[0] ? eckey_file : eccert_file,
        .ca_file = ca_file,
        .ask_peer_certificate = ask_ccert,
        .protocols = tls_protocols,
        .cipher_list = tls_ciphers,
        .session_id_context = "login",
        .tickets = true,
    };

    if (chain_files[0] == '\0' && cert_file[0] == '\0' && eccert_file[0] == '\0') {
        if (!wrappermode)
            return 0;
        log_error("login_tls_wrappermode = yes, but neither login_tls_cert_file nor login_tls_chain_files is set");
        return -1;
    }
    service_watch_tls(&config);
    login_tls = tls_ctx_new(&config, &why);
    if (login_tls == NULL)
        log_error("TLS: %s", why.text);
    return login_tls ? 0 : -1;
}

static int check_certificates(void)
{
    if (ask_ccert && ca_file[0] == '\0') {
        log_error("login_tls_ask_ccert = yes, but login_tls_CAfile is not set: no certificate could be trusted");
        return -1;
    }
    if (!tls_field_exists(conf_ssl_cert_username_field)) {
        log_error("ssl_cert_username_field = %s: no such field", conf_ssl_cert_username_field);
        return -1;
    }
    return 0;
}

static int pre_jail(void)
{
    static const struct login_protocol *const protocols[] = { &login_imap, &login_pop3, NULL };

    for (size_t n = 0; protocols[n]; n++)
        if (strcmp(protocol_name, protocols[n]->name) == 0)
            protocol = protocols[n];
    if (protocol == NULL) {
        log_error("login_protocol = %s: only imap and pop3 are known", protocol_name);
        return -1;
    }
    return check_certificates() != 0 ? -1 : open_tls();
}

static int post_jail(void)
{
    login_auth = auth_client_new(AUTH_LOGIN_SERVICE, AUTH_KEEP);
    if (login_tls)
        tlsmgr_keep_keys(login_tls);
    return 0;
}

/* Time, port and address of the client: unique, and short in the log. */
static void make_id(struct login_session *s, const struct service_peer *peer)
{
    enum { TIME_BYTES = 6, PORT_BYTES = 2 };
    unsigned char raw[TIME_BYTES + PORT_BYTES + sizeof(struct in6_addr)];
    uint64_t now = (uint64_t) time_now_us();
    size_t len = 0;
    struct str text;

    for (int i = 0; i < TIME_BYTES; i++)
        raw[len++] = (unsigned char) (now >> (8 * i));
    for (int i = 0; i < PORT_BYTES; i++)
        raw[len++] = (unsigned char) (s->rport >> (8 * i));
    if (peer->addr && peer->addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, peer->addr, sizeof in);
        memcpy(raw + len, &in.sin_addr, sizeof in.sin_addr);
        len += sizeof in.sin_addr;
    } else if (peer->addr && peer->addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, peer->addr, sizeof in6);
        memcpy(raw + len, &in6.sin6_addr, sizeof in6.sin6_addr);
        len += sizeof in6.sin6_addr;
    }
    str_init(&text, LOGIN_ID_BYTES);
    base64_encode(&text, slice_make((char *) raw, len));
    while (text.len > 0 && text.p[text.len - 1] == '=')
        str_cut(&text, text.len - 1);
    snprintf(s->id, sizeof s->id, "%s", text.p);
    str_free(&text);
}

static void set_peer(struct login_session *s, const struct service_peer *peer)
{
    char port[16] = "";

    snprintf(s->rip, sizeof s->rip, "unknown");
    snprintf(s->lip, sizeof s->lip, "unknown");
    if (peer->addr) {
        io_address_text(peer->addr, (socklen_t) peer->addr_len, s->rip, port);
        s->rport = (unsigned) strtoul(port, NULL, 10);
    }
    if (peer->server_addr) {
        io_address_text(peer->server_addr, (socklen_t) peer->server_addr_len, s->lip, port);
        s->lport = (unsigned) strtoul(port, NULL, 10);
        s->secured = strcmp(s->rip, s->lip) == 0; /* both ends are this host */
    }
    make_id(s, peer);
}

static void session(struct stream *stream, const struct service_peer *peer)
{
    struct login_session s = { .stream = stream, .protocol = protocol, .started_ms = time_mono_ms() };
    enum login_next next = LOGIN_GO_ON;
    struct str greeting;

    str_init(&greeting, LOGIN_LINE_BYTES);
    s.wrapped = wrappermode;
    set_peer(&s, peer);
    stream_timeout(stream, LOGIN_IDLE_SECONDS * 1000);
    stream_deadline(stream, s.started_ms + LOGIN_TOTAL_SECONDS * 1000);
    protocol->greeting(&s, &greeting);
    if (!wrappermode)
        stream_write(stream, greeting.p, greeting.len);
    else if (login_start_tls(&s, str_slice(&greeting)) != 0)
        next = LOGIN_CLOSE;
    str_free(&greeting);
    while (next == LOGIN_GO_ON)
        next = protocol->command(&s);
    stream_tls_shutdown(stream);
    stream_flush(stream);
    if (!s.logged_in)
        login_log_end(&s);
}

static const struct service login = {
    .name = "login",
    .prompt = true,
    .summary = "serves IMAP and POP3 clients until they have logged in",
    .jail = JAIL_CHROOT,
    .user = "$login_user",
    .params = tables,
    .session = session,
    .sessions_max = &sessions_per_process,
    .use_each = true,
    .pre_jail = pre_jail,
    .post_jail = post_jail,
};
int main(int argc, char **argv) { return service_main(&login, argc, argv); }
