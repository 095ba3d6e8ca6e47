/*
 * lmtpd - LMTP server into the mail store
 *
 * Callers     lmtp clients: private/dovecot-lmtp, loopback
 * Invariants  sessions are fibers; nothing is kept between them but tables
 * Units       parameters say theirs
 * Errors      doubt is 451
 * Privilege   the mail user where one owns all mailboxes, else mail_owner; Landlock to virtual_mailbox_base; no network
 *             of its own; may have processes of other accounts started (program mailboxd)
 */
#include "lmtpd.h"
#include "deliver/maildir.h"
#include "table/table.h"

static struct service_path paths[] = { { .write = true, .optional = true }, { .path = NULL } };

static int open_tables(void)
{
    userdb_open();
    paths[0].path = userdb_base();
    return 0;
}

static bool stale(void)
{
    const char *spec;

    return table_stale(&spec);
}

static const struct param *const tables[] = { lmtpd_params, userdb_params, mailboxd_params, NULL };
static const struct service lmtpd = {
    .name = "lmtpd",
    .summary = "LMTP server: delivers into the users' Maildirs",
    .jail = JAIL_USER,
    .user = "$virtual_uid_maps $mail_uid $mail_owner",
    .mail_groups = true,
    .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
    .paths = paths,
    .params = tables,
    .session = lmtpd_session,
    .exclusive = true,
    .sessions_max = &lmtpd_sessions_per_process,
    .pre_jail = open_tables,
    .stale = stale,
    .stop = maildir_finish,
};

int main(int argc, char **argv) { return service_main(&lmtpd, argc, argv); }
