/*
 * smtpd - mail comes in: the SMTP and submission server
 *
 * Callers     master (inet and pass services); "sendmail -bs" without master, on standard input
 * Invariants  250 after the end of the data only when cleanup has the message on disk
 *             it serves only with a relay control; a security setting it cannot honour stops the start
 *             a session is a fiber; smtpd_sessions_per_process of them share a process
 * Errors      a table, rewrite, DNS or the authentication service that fails: 4xx, never 5xx and never permission
 * Privilege   chroot, mail_owner, no files, no network but the sockets it was given: tables and keys are opened
 *             before the jail, other daemons are asked over connections that master makes
 */
#include "check/check.h"
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "client/cleanup.h"

#include <string.h>

static void refuse_unsupported(void)
{
    unsigned flags = 0;

    for (const struct smtpd_refused *r = smtpd_refused; r->name != NULL; r++)
        if (**r->value)
            log_fatal("parameter %s = %s: this server cannot honour it and does not serve without it", r->name,
                      *r->value);
    if (cleanup_override(smtpd_receive_override_options, &flags))
        log_fatal("bad parameter value: 'receive_override_options = %s'", smtpd_receive_override_options);
}

static int pre_jail(void)
{
    refuse_unsupported();
    smtpd_check_pre_jail();
    smtpd_lists_pre_jail();
    smtpd_auth_pre_jail();
    smtpd_tls_pre_jail();
    return 0;
}

static int post_jail(void)
{
    smtpd_auth_post_jail();
    smtpd_tls_post_jail();
    return 0;
}

static bool stale(void)
{
    const char *spec;

    if (!table_stale(&spec))
        return false;
    log_info("table %s has changed -- restarting", spec);
    return true;
}

static const struct param *const params[] = { smtpd_params, NULL };
static const struct service smtpd = {
    .name = "smtpd",
    .summary = "SMTP and submission server",
    .jail = JAIL_CHROOT,
    .params = params,
    .session = smtpd_session_serve,
    .exclusive = true,
    .sessions_max = &smtpd_sessions_per_process,
    .use_each = true,
    .pre_jail = pre_jail,
    .post_jail = post_jail,
    .stale = stale,
};

int main(int argc, char **argv)
{
    /* "sendmail -bs" says "smtpd -S" as Postfix's does; without master a session on standard input is what we serve
     * anyway, and master's -S has a number behind it. */
    if (argc == 2 && strcmp(argv[1], "-S") == 0)
        argc = 1;
    return service_main(&smtpd, argc, argv);
}
