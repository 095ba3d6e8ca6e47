/*
 * smtp - mail goes out: the SMTP and LMTP client
 *
 * Callers     qmgr, as a delivery agent: services smtp, relay, lmtp and whatever master.cf makes of the program
 * Invariants  the program's name decides: as "lmtp" it speaks LMTP and its parameters are lmtp_...
 * Privilege   chroot, mail_owner, TCP connections; keys, CA files and password tables are read before the jail
 */
#include "smtp_internal.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "io/tls.h"
#include <stdio.h>
#include <stdlib.h>

struct smtp_options opt;
bool smtp_is_lmtp;
enum tls_level smtp_tls_level;
struct tls_ctx *smtp_tls_ctx;

#define SECONDS(n, field, d, text)                                                                          \
    {                                                                                                       \
        .name = n, .type = PARAM_SECONDS, .num = &opt.field, .def = d, .min = 0, .max = 864000, .doc = text \
    }
#define NUMBER(n, field, d, text)                                                                        \
    {                                                                                                    \
        .name = n, .type = PARAM_INT, .num = &opt.field, .def = d, .min = 0, .max = 1000000, .doc = text \
    }
#define TEXT(n, field, d, text)                                                   \
    {                                                                             \
        .name = n, .type = PARAM_STRING, .str = &opt.field, .def = d, .doc = text \
    }
#define YESNO(n, field, d, text)                                                \
    {                                                                           \
        .name = n, .type = PARAM_BOOL, .yes = &opt.field, .def = d, .doc = text \
    }
static const struct param smtp_params[] = {
    SECONDS("smtp_connect_timeout", connect_timeout, "30s", "Limit for making a TCP connection; 0: the system's."),
    SECONDS("smtp_helo_timeout", helo_timeout, "300s", "Limit for the greeting and for the reply to EHLO."),
    SECONDS("smtp_starttls_timeout", starttls_timeout, "300s", "Limit for STARTTLS and the handshake."),
    SECONDS("smtp_mail_timeout", mail_timeout, "300s", "Limit for the reply to MAIL FROM."),
    SECONDS("smtp_rcpt_timeout", rcpt_timeout, "300s", "Limit for the reply to RCPT TO."),
    SECONDS("smtp_data_init_timeout", data_init_timeout, "120s", "Limit for the reply to DATA."),
    SECONDS("smtp_data_xfer_timeout", data_xfer_timeout, "180s", "Limit for each write of the message."),
    SECONDS("smtp_data_done_timeout", data_done_timeout, "600s", "Limit for the reply to the end of the message."),
    SECONDS("smtp_quit_timeout", quit_timeout, "300s", "Limit for QUIT and RSET."),
    NUMBER("smtp_mx_address_limit", mx_address_limit, "5", "Addresses of a destination that are tried; 0: all."),
    NUMBER("smtp_mx_session_limit", mx_session_limit, "2",
           "Sessions in one delivery before it is put off; 0: no limit."),
    NUMBER("smtp_line_length_limit", line_length_limit, "998", "Longer lines are broken with CR LF blank; 0: never."),
    SECONDS("smtp_connection_cache_time_limit", cache_seconds, "2s",
            "How long an unused session is kept for the next message."),
    SECONDS("smtp_connection_reuse_time_limit", reuse_seconds, "300s", "Age at which a session is not used again."),
    NUMBER("smtp_connection_reuse_count_limit", reuse_count, "0", "Messages in a session; 0: no limit."),
    YESNO("smtp_connection_cache_on_demand", cache_on_demand, "yes", "Keep sessions for the next message at all."),
    TEXT("smtp_tcp_port", tcp_port, "smtp", "Port of destinations that name none."),
    TEXT("smtp_helo_name", helo_name, "$myhostname", "Name said in EHLO and HELO."),
    TEXT("smtp_address_preference", address_preference, "any",
         "Which of equal addresses is tried first: any, ipv4, ipv6."),
    YESNO("smtp_randomize_addresses", randomize, "yes", "Shuffle hosts of equal preference."),
    TEXT("smtp_fallback_relay", fallback_relay, "", "Destinations for mail whose own destination cannot be reached."),
    YESNO("smtp_skip_5xx_greeting", skip_5xx_greeting, "yes",
          "A greeting of 5xx puts mail off instead of returning it."),
    YESNO("smtp_skip_quit_response", skip_quit_response, "yes", "Do not wait for the reply to QUIT."),
    YESNO("smtp_never_send_ehlo", never_ehlo, "no", "Say HELO, never EHLO."),
    TEXT("smtp_discard_ehlo_keywords", discard_keywords, "", "Features of the server to pass over."),
    YESNO("disable_mime_output_conversion", keep_8bit, "no",
          "Send 8-bit MIME mail as it is to servers that do not offer 8BITMIME, instead of as quoted-printable."),
    TEXT("smtp_bind_address", bind_address, "", "IPv4 address to connect from."),
    TEXT("smtp_bind_address6", bind_address6, "", "IPv6 address to connect from."),
    YESNO("disable_dns_lookups", disable_dns, "no", "Look for addresses only, never for MX hosts."),
    YESNO("ignore_mx_lookup_error", ignore_mx_error, "no",
          "When the MX question fails, use the address of the domain."),
    YESNO("smtp_defer_if_no_mx_address_found", defer_no_mx_address, "no",
          "Put mail off when no MX host has an address."),
    TEXT("smtp_tls_security_level", tls_level, "", "none, may or encrypt; empty is none."),
    YESNO("smtp_tls_wrappermode", wrappermode, "no", "Speak TLS from the first byte (port 465)."),
    TEXT("smtp_tls_CAfile", tls_ca_file, "", "File with certificates of trusted authorities."),
    TEXT("smtp_tls_CApath", tls_ca_path, "", "Directory with certificates of trusted authorities."),
    TEXT("smtp_tls_protocols", tls_protocols, ">=TLSv1", "TLS versions for opportunistic TLS."),
    TEXT("smtp_tls_mandatory_protocols", tls_mandatory_protocols, ">=TLSv1", "TLS versions where TLS is required."),
    TEXT("smtp_tls_chain_files", tls_chain_files, "", "Files with key and certificates of this client."),
    TEXT("smtp_tls_cert_file", tls_cert_file, "", "Certificate of this client."),
    TEXT("smtp_tls_key_file", tls_key_file, "$smtp_tls_cert_file", "Key of this client."),
    NUMBER("smtp_tls_loglevel", tls_loglevel, "0", "1: log each TLS connection."),
    YESNO("smtp_sasl_auth_enable", sasl_enable, "no", "Log in to servers for which there is a password."),
    TEXT("smtp_sasl_password_maps", sasl_password_maps, "", "Tables from destination or host to user:password."),
    TEXT("smtp_sasl_security_options", sasl_security_options, "noplaintext, noanonymous",
         "What a mechanism must not be, without TLS."),
    TEXT("smtp_sasl_tls_security_options", sasl_tls_security_options, "$smtp_sasl_security_options",
         "The same with TLS."),
    TEXT("smtp_sasl_tls_verified_security_options", sasl_verified_security_options, "$smtp_sasl_tls_security_options",
         "The same with a server whose certificate was verified."),
    TEXT("smtp_sasl_mechanism_filter", sasl_mechanism_filter, "",
         "Mechanisms that may be used, a list of names and tables; empty: all."),
    TEXT("smtp_sasl_type", sasl_type, "cyrus",
         "Implementation of the mechanisms: cyrus, whose part our own plays (PLAIN, LOGIN, CRAM-MD5, DIGEST-MD5, "
         "SCRAM-SHA-1, SCRAM-SHA-256)."),
    TEXT("smtp_sasl_password_result_delimiter", sasl_delimiter, ":",
         "The character between name and password in a result of smtp_sasl_password_maps."),
    TEXT("smtp_sasl_path", sasl_path, "", "Of no use with smtp_sasl_type = cyrus."),
    YESNO("smtp_sasl_auth_soft_bounce", sasl_soft_bounce, "yes",
          "A login that is refused for good (5xx) puts mail off instead of returning it."),
    YESNO("smtp_sender_dependent_authentication", sender_auth, "no",
          "Look the sender up in smtp_sasl_password_maps first. Sessions are then kept for one sender each."),
    YESNO("send_cyrus_sasl_authzid", send_authzid, "no", "Send the login name as authorization identity too."),
    { .type = PARAM_END },
};
enum { PARAMS = sizeof smtp_params / sizeof *smtp_params };

/* Where lmtp_ is not simply the twin of smtp_. */
static const struct {
    const char *smtp, *lmtp, *def;
} twins[] = {
    { "smtp_connect_timeout", NULL, "0s" },
    { "smtp_helo_timeout", "lmtp_lhlo_timeout", NULL },
    { "smtp_helo_name", "lmtp_lhlo_name", NULL },
    { "smtp_discard_ehlo_keywords", "lmtp_discard_lhlo_keywords", NULL },
    { "smtp_tcp_port", NULL, "24" },
    { "smtp_skip_quit_response", NULL, "no" },
    { "smtp_tls_key_file", NULL, "$lmtp_tls_cert_file" },
    { "smtp_sasl_tls_security_options", NULL, "$lmtp_sasl_security_options" },
    { "smtp_sasl_tls_verified_security_options", NULL, "$lmtp_sasl_tls_security_options" },
};

static const struct param *lmtp_params(void)
{
    struct param *out = mem_array(PARAMS, sizeof *out); /* lives as long as the process */

    memcpy(out, smtp_params, sizeof smtp_params);
    for (size_t i = 0; i < PARAMS - 1; i++) {
        const char *name = smtp_params[i].name;

        if (!slice_starts(slice_of(name), "smtp_"))
            continue;
        out[i].name = mem_printf("lmtp_%s", name + strlen("smtp_"));
        for (size_t k = 0; k < sizeof twins / sizeof *twins; k++) {
            if (strcmp(twins[k].smtp, name) != 0)
                continue;
            out[i].name = twins[k].lmtp ? twins[k].lmtp : out[i].name;
            out[i].def = twins[k].def ? twins[k].def : out[i].def;
        }
    }
    return out;
}

static int read_level(void)
{
    static const struct {
        const char *word;
        enum tls_level level;
    } levels[] = {
        { "", TLS_LEVEL_NONE }, { "none", TLS_LEVEL_NONE }, { "may", TLS_LEVEL_MAY }, { "encrypt", TLS_LEVEL_ENCRYPT }
    };

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(opt.tls_level, levels[i].word) == 0) {
            smtp_tls_level = levels[i].level;
            if (!opt.wrappermode || smtp_tls_level == TLS_LEVEL_ENCRYPT)
                return 0;
            log_error("%s_tls_wrappermode needs %s_tls_security_level = encrypt", smtp_is_lmtp ? "lmtp" : "smtp",
                      smtp_is_lmtp ? "lmtp" : "smtp");
            return -1;
        }
    log_error("%s_tls_security_level: \"%s\" is not one of none, may, encrypt", smtp_is_lmtp ? "lmtp" : "smtp",
              opt.tls_level);
    return -1;
}

static int pre_jail(void)
{
    struct tls_why why;
    struct tls_config config = {
        .chain_files = opt.tls_chain_files,
        .cert_file = opt.tls_cert_file,
        .key_file = opt.tls_key_file,
        .ca_file = opt.tls_ca_file,
        .ca_path = opt.tls_ca_path,
    };

    if (read_level() < 0)
        return -1;
    hosts_own_addresses();
    if (smtp_tls_level != TLS_LEVEL_NONE) {
        config.protocols = smtp_tls_level == TLS_LEVEL_ENCRYPT ? opt.tls_mandatory_protocols : opt.tls_protocols;
        service_watch_tls(&config);
        smtp_tls_ctx = tls_ctx_new(&config, &why);
        if (smtp_tls_ctx == NULL) {
            log_error("TLS client: %s", why.text);
            return -1;
        }
    }
    return auth_open();
}

static void on_deliver(struct service_conn *c, struct msg *in) { deliver_serve(c, in, smtp_deliver); }

int main(int argc, char **argv)
{
    static const struct service_request requests[] = { { .name = "deliver", .run = on_deliver, .in_order = true },
                                                       { .name = NULL } };
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *program = slash ? slash + 1 : argc > 0 ? argv[0] : "smtp";

    smtp_is_lmtp = strcmp(program, "lmtp") == 0;
    const struct param *const tables[] = { smtp_is_lmtp ? lmtp_params() : smtp_params, NULL };
    const struct service service = {
        .name = smtp_is_lmtp ? "lmtp" : "smtp",
        .summary = smtp_is_lmtp ? "LMTP client" : "SMTP client",
        .jail = JAIL_CHROOT,
        .may = MAY_INET,
        .params = tables,
        .protocol = DELIVER_PROTOCOL,
        .version = DELIVER_VERSION,
        .requests = requests,
        .exclusive = true,
        .pre_jail = pre_jail,
    };
    return service_main(&service, argc, argv);
}
