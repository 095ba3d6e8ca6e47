/*
 * saslauth - smtpd_sasl_type = cyrus: libsasl2 with saslauthd, sasldb and other people's plug-ins
 *
 * Callers     smtpd, by the Dovecot auth protocol on private/saslauth
 * Invariants  a process of its own: smtpd, which talks to strangers, loads no plug-in, opens no secret and has one
 *             SASL client for both kinds of service; the protocol's server and the conversation are authd's
 * Errors      a verifier that is away is "later"
 * Privilege   mail_owner with its groups (Debian: "adduser postfix sasl"), no chroot; may connect wherever that user
 *             may, since plug-ins do, and read what they need (library_paths), nothing of the queue; no files are
 *             written, no program is started
 */
#include "../authd.h"
#include "base/mem.h"
#include "event/event.h"
#include "library.h"

static const char *config_path;
static const struct param params[] = {
    { .name = "cyrus_sasl_config_path",
      .type = PARAM_STRING,
      .str = &config_path,
      .def = "",
      .doc =
          "Where libsasl2's configuration, $smtpd_sasl_path.conf, is looked for: directories between colons, before "
          "the directory sasl beside main.cf, /usr/lib/sasl and /usr/lib/sasl2." },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { params, NULL };

static int pre_jail(void)
{
    library_application = conf_smtpd_sasl_path;
    return library_open(
        mem_printf("%s%s%s/sasl:/usr/lib/sasl:/usr/lib/sasl2", config_path, *config_path ? ":" : "", conf_dir()));
}

static int post_jail(void)
{
    authd_claim_start();
    authd_conn_start();
    return 0;
}

static void session(struct stream *stream, const struct service_peer *peer)
{
    (void) peer;
    stream_timeout(stream, EVENT_NEVER);
    authd_client_serve(stream, false);
}

static const struct service saslauth = {
    .name = "saslauth",
    .summary = "authenticates SMTP users by libsasl2 (smtpd_sasl_type = cyrus)",
    .jail = JAIL_USER,
    .may = MAY_OPEN | MAY_THREADS | MAY_UNIX | MAY_INET,
    .paths = library_paths,
    .params = tables,
    .session = session,
    .solitary = true,
    .overlaps = true,
    .pre_jail = pre_jail,
    .post_jail = post_jail,
    .stale = library_stale,
};
int main(int argc, char **argv) { return service_main(&saslauth, argc, argv); }
