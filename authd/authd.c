/*
 * authd - who is it: SASL, passwords, and where a user's mail lives
 *
 * Callers     by Dovecot's auth protocol on the sockets of the service "auth,auth-login,auth-master,auth-userdb":
 *             smtpd (auth), login (auth-login), dispatcher (auth-master), lmtpd and virtual (auth-userdb)
 * Invariants  one process: a login made on auth-login is claimed on auth-master
 *             what a socket may be asked is decided by the word behind the last "-" of its name, as Dovecot does
 * Errors      a fault of a table or of a stored password is "later" for the client, with the cause in the log
 * Privilege   own user, no chroot: may read the directory of auth_passwd_file and nothing else; threads for hashes
 */
#include "authd.h"
#include "base/log.h"
#include "mech.h"
#include "passwd.h"
#include "service/service.h"
#include "table/table.h"

struct username_rules authd_username_rules;
int64_t authd_failure_delay_seconds, authd_hash_limit;
bool authd_verbose;
const char *authd_mail_location;
static const char *mechanisms, *passwd_file, *user_name;

static const struct param params[] = {
    { .name = "auth_mechanisms",
      .type = PARAM_STRING,
      .str = &mechanisms,
      .def = "plain login",
      .min = 1,
      .doc = "SASL mechanisms that are offered.",
      .flags = PARAM_SECURITY },
    { .name = "auth_passwd_file",
      .type = PARAM_STRING,
      .str = &passwd_file,
      .def = "",
      .doc = "Users and their passwords: the path of a passwd-file (user:{SCHEME}password:uid:gid::home::extra), or "
             "tables whose results are what follows \"user:\" in such a line." },
    { .name = "auth_username_format",
      .type = PARAM_STRING,
      .str = &authd_username_rules.format,
      .def = "%Lu",
      .min = 1,
      .doc = "How a user's name is written before it is looked up: %u (all), %n (before the @), %d (behind it), with "
             "the modifiers L and U for lower and upper case." },
    { .name = "auth_username_chars",
      .type = PARAM_STRING,
      .str = &authd_username_rules.chars,
      .def = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@",
      .doc = "Characters that a user's name may hold; empty allows all." },
    { .name = "auth_default_realm",
      .type = PARAM_STRING,
      .str = &authd_username_rules.default_realm,
      .def = "",
      .doc = "Domain added to a user's name that has none." },
    { .name = "auth_failure_delay",
      .type = PARAM_SECONDS,
      .num = &authd_failure_delay_seconds,
      .def = "2s",
      .min = 0,
      .max = 60,
      .doc = "How long the answer to a failed authentication is held back." },
    { .name = "auth_hash_limit",
      .type = PARAM_INT,
      .num = &authd_hash_limit,
      .def = "4",
      .min = 1,
      .max = 64,
      .doc = "Password hashes computed at a time; each may need 64 MiB and more." },
    { .name = "auth_verbose",
      .type = PARAM_BOOL,
      .yes = &authd_verbose,
      .def = "no",
      .doc = "Log why each authentication failed (never the password)." },
    { .name = "mail_location",
      .type = PARAM_STRING,
      .str = &authd_mail_location,
      .def = "maildir:~/Maildir",
      .doc = "Where mail is in the home of a user whom virtual_mailbox_maps does not know." },
    { .name = "authd_user",
      .type = PARAM_STRING,
      .str = &user_name,
      .def = "$login_user",
      .min = 1,
      .doc = "Account that authd runs as; it must be able to read auth_passwd_file for changes to be seen without a "
             "restart." },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { params, NULL };
static struct service_path paths[] = { { .path = NULL }, { .path = NULL } };

static int pre_jail(void)
{
    struct err err;

    if (username_rules_check(&authd_username_rules, &err) != 0) {
        log_error("%s", err.text);
        return -1;
    }
    if (passwd_open(passwd_file, &paths[0].path) != 0 || authd_userdb_open() != 0)
        return -1;
    return mech_init(mechanisms);
}

static int post_jail(void)
{
    authd_claim_start();
    authd_conn_start();
    return 0;
}

static bool stale(void)
{
    const char *spec;

    if (passwd_stale())
        log_info("%s has changed and only a privileged process can read it -- restarting", passwd_file);
    else if (table_stale(&spec))
        log_info("table %s has changed -- restarting", spec);
    else
        return false;
    return true;
}

static struct slice endpoint(int listener)
{
    struct slice rest = slice_of(service_name()), name = rest;

    for (int n = 0; n <= listener && slice_split(&rest, ',', &name); n++)
        ;
    ptrdiff_t dash = slice_rfind(name, '-');
    return dash < 0 ? name : slice_sub(name, (size_t) dash + 1, name.len);
}

static void session(struct stream *stream, const struct service_peer *peer)
{
    struct slice role = endpoint(peer->listener);

    stream_timeout(stream, EVENT_NEVER);
    if (slice_eq(role, "master") || slice_eq(role, "userdb"))
        authd_master_serve(stream, slice_eq(role, "master"));
    else
        authd_client_serve(stream, slice_eq(role, "login"));
}

static const struct service authd = {
    .name = "authd",
    .summary = "authenticates users and tells where their mail lives",
    .jail = JAIL_USER,
    .may = MAY_OPEN | MAY_THREADS,
    .user = "$authd_user",
    .paths = paths,
    .params = tables,
    .session = session,
    .solitary = true,
    .pre_jail = pre_jail,
    .post_jail = post_jail,
    .stale = stale,
};
int main(int argc, char **argv) { return service_main(&authd, argc, argv); }
