/*
 * authd - who is it: SASL, passwords, and where a user's mail lives
 *
 * Callers     by Dovecot's auth protocol on the sockets of the service "auth,auth-login,auth-master,auth-userdb":
 *             smtpd (auth), login (auth-login), dispatcher (auth-master), lmtpd and virtual (auth-userdb)
 * Invariants  one process: a login made on auth-login is claimed on auth-master
 *             what a socket may be asked is decided by the word behind the last "-" of its name, as Dovecot does
 * Errors      a fault of a database or of a stored password is "later" for the client, with the cause in the log
 * Privilege   own user, no chroot: may read the directories of passwd-files, nothing else;
 *             threads for hashes
 */
#include "authd.h"
#include "base/log.h"
#include "cache.h"
#include "conf/location.h"
#include "event/event.h"
#include "mech.h"
#include "passdb.h"
#include "passdb_say.h"
#include "service/service.h"
#include "table/table.h"
#include "userdb.h"
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>

static const struct param *const tables[] = { authd_params, NULL };

static int pre_jail(void)
{
    struct err err;

    authd_debug |= authd_debug_passwords;
    authd_verbose |= authd_debug;
    if (passdb_say_open(authd_verbose_passwords, &err) != 0) {
        authd_parameter_error("auth_verbose_passwords", &err);
        return -1;
    }
    if (username_rules_check(&authd_username_rules, &err) != 0) {
        log_error("%s", err.text);
        return -1;
    }
    if (authd_format_check(authd_username_rules.format, &err) != 0) {
        authd_parameter_error("auth_username_format", &err);
        return -1;
    }
    if (mail_location_check(conf_mail_location, &err) != 0) /* a userdb may say something else of each user */
        authd_parameter_error("mail_location", &err);
    if (authd_passdb_open("auth_passdb", authd_passdbs) != 0 || authd_userdb_open("auth_userdb", authd_userdbs) != 0)
        return -1;
    return mech_init(authd_mechanisms);
}

static void report(void *unused)
{
    (void) unused;
    cache_report();
}

static int post_jail(void)
{
    authd_claim_start();
    authd_conn_start();
    event_signal(SIGUSR2, report, NULL);
    return authd_passdb_start();
}

static bool stale(void)
{
    const char *spec;

    if (authd_passdb_stale() || authd_userdb_stale())
        log_info("a passwd-file has changed and only a privileged process can read it -- restarting");
    else if (table_stale(&spec))
        log_info("table %s has changed -- restarting", spec);
    else
        return false;
    return true;
}

static struct slice role_of(const char *endpoint)
{
    struct slice name = slice_of(endpoint);
    ptrdiff_t at = slice_rfind(name, '/');

    name = slice_sub(name, (size_t) (at + 1), name.len);
    at = slice_rfind(name, '-');
    return slice_sub(name, (size_t) (at + 1), name.len);
}

/* A socket that everybody may connect to (mode 0666, Dovecot's default for auth-userdb) tells others than its owner and
 * group of themselves only. The sockets in private/ are guarded by that directory. */
static uid_t only_of(struct stream *stream, const char *endpoint)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    struct stat st;

    if (endpoint[0] != '/' || (slice_starts(slice_of(endpoint), conf_queue_directory) &&
                               strncmp(endpoint + strlen(conf_queue_directory), "/private/", 9) == 0))
        return AUTHD_ANY_UID;
    if (stat(endpoint, &st) != 0 || getsockopt(stream_fd(stream), SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        log_warn("%s: %s: its client is told of no user", endpoint, strerror(errno));
        return AUTHD_ANY_UID - 1;
    }
    if ((st.st_mode & 0777) != 0666 || peer.uid == 0 || peer.uid == st.st_uid || peer.gid == st.st_gid)
        return AUTHD_ANY_UID;
    return peer.uid;
}

static void session(struct stream *stream, const struct service_peer *peer)
{
    struct slice role = role_of(peer->endpoint);

    stream_timeout(stream, EVENT_NEVER);
    if (slice_eq(role, "master") || slice_eq(role, "userdb"))
        authd_master_serve(stream, slice_eq(role, "master"), only_of(stream, peer->endpoint));
    else
        authd_client_serve(stream, slice_eq(role, "login"));
}

static const struct service authd = {
    .name = "authd",
    .prompt = true,
    .summary = "authenticates users and tells where their mail lives",
    .jail = JAIL_USER,
    .may = MAY_OPEN | MAY_THREADS,
    .user = "$authd_user",
    .paths = authd_paths,
    .params = tables,
    .session = session,
    .solitary = true,
    .overlaps = true,
    .pre_jail = pre_jail,
    .post_jail = post_jail,
    .stale = stale,
};
int main(int argc, char **argv) { return service_main(&authd, argc, argv); }
