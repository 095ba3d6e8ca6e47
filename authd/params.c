/*
 * params - what main.cf says of authd, and what follows from it for the jail
 *
 * Callers     the files of authd/
 */
#include "authd.h"
#include "base/log.h"
#include "cache.h"
#include "db.h"

struct username_rules authd_username_rules;
int64_t authd_failure_delay_seconds, authd_hash_limit;
bool authd_verbose, authd_debug, authd_debug_passwords, authd_penalty;
const char *authd_verbose_passwords;
const char *authd_mechanisms, *authd_passdbs, *authd_userdbs, *authd_realms, *authd_anonymous_username;
bool authd_username_from_cert, authd_require_client_cert;
static const char *passwd_file, *user_name;

const struct param authd_params[] = {
    { .name = "auth_mechanisms",
      .type = PARAM_STRING,
      .str = &authd_mechanisms,
      .def = "plain login",
      .min = 1,
      .doc = "SASL mechanisms that are offered: plain, login, cram-md5, digest-md5, scram-sha-1, scram-sha-256, the "
             "latter two with -plus for channel binding, external, anonymous, apop (POP3's command), oauthbearer, "
             "xoauth2. The start is refused where no database can serve one.",
      .flags = PARAM_SECURITY },
    { .name = "auth_realms",
      .type = PARAM_STRING,
      .str = &authd_realms,
      .def = "",
      .doc = "Realms that a client of DIGEST-MD5 may choose from." },
    { .name = "auth_anonymous_username",
      .type = PARAM_STRING,
      .str = &authd_anonymous_username,
      .def = "anonymous",
      .min = 1,
      .doc = "Name of the user that ANONYMOUS logs in as." },
    { .name = "auth_ssl_username_from_cert",
      .type = PARAM_BOOL,
      .yes = &authd_username_from_cert,
      .def = "no",
      .doc = "Use the name in the client's verified certificate: EXTERNAL then needs no other." },
    { .name = "auth_ssl_require_client_cert",
      .type = PARAM_BOOL,
      .yes = &authd_require_client_cert,
      .def = "no",
      .doc = "Refuse every login without a verified client certificate.",
      .flags = PARAM_SECURITY },
    { .name = "auth_passwd_file",
      .type = PARAM_STRING,
      .str = &passwd_file,
      .def = "",
      .doc = "Users and their passwords: the path of a passwd-file (user:{SCHEME}password:uid:gid::home::extra), or "
             "tables whose results are what follows \"user:\" in such a line." },
    { .name = "auth_passdb",
      .type = PARAM_STRING,
      .str = &authd_passdbs,
      .def = "${auth_passwd_file?{{passwd-file:$auth_passwd_file}}}",
      .doc =
          "Databases that passwords are checked against, in this order: driver:args, or { driver:args, name=value, "
          "... } with the settings of a passdb block of Dovecot (deny, pass, master, skip, result_success, "
          "result_failure, result_internalfail, default_fields, override_fields, username_filter, mechanisms, "
          "auth_verbose). Drivers: pam ([session=yes] [setcred=yes] [failure_show_msg=yes] [max_requests=100] "
          "[cache_key=...] [service, * or %s]), oauth2 (a dovecot-oauth2.conf.ext), passwd, passwd-file, shadow, sql "
          "(a dovecot-sql.conf.ext), static, "
          "table.",
      .flags = PARAM_SECURITY },
    { .name = "auth_userdb",
      .type = PARAM_STRING,
      .str = &authd_userdbs,
      .def = "${auth_passwd_file?{{passwd-file:$auth_passwd_file, result_success=continue-ok}}} {virtual, "
             "result_internalfail=return-fail}",
      .doc =
          "Databases that tell where a user's mail lives, in this order; written as auth_passdb, with the settings "
          "of a userdb block of Dovecot. Drivers: passwd (system accounts), passwd-file, prefetch, sql, static, "
          "table, "
          "virtual (virtual_mailbox_maps, virtual_uid_maps and virtual_gid_maps; adds what an earlier database has "
          "not said)." },
    { .name = "auth_username_format",
      .type = PARAM_STRING,
      .str = &authd_username_rules.format,
      .def = "%Lu",
      .doc = "How a user's name is written before it is looked up, with Dovecot's %variables: %u (all), %n (before "
             "the @), %d (behind it), L and U for lower and upper case; empty: as it is." },
    { .name = "auth_username_translation",
      .type = PARAM_STRING,
      .str = &authd_username_rules.translation,
      .def = "",
      .doc = "Pairs of characters: in a user's name the first of each pair becomes the second." },
    { .name = "auth_master_user_separator",
      .type = PARAM_STRING,
      .str = &authd_username_rules.master_separator,
      .def = "",
      .doc = "Character between the user and the master user in a login name; empty: master users log in by their "
             "SASL authorization identity only." },
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
    { .name = "auth_penalty",
      .type = PARAM_BOOL,
      .yes = &authd_penalty,
      .def = "yes",
      .doc =
          "Let a client address that has failed wait before its next attempt is looked at: 4, 8, then 15 seconds." },
    { .name = "auth_cache_size",
      .type = PARAM_BYTES,
      .num = &cache_size,
      .def = "0",
      .max = 1 << 30,
      .doc = "Bytes of memory for answers of passdbs and userdbs that are remembered; 0: none are." },
    { .name = "auth_cache_ttl",
      .type = PARAM_SECONDS,
      .num = &cache_ttl_seconds,
      .def = "1h",
      .min = 0,
      .doc =
          "How long the answer about a user is remembered. A password that does not match it is compared with what "
          "the database says now." },
    { .name = "auth_cache_negative_ttl",
      .type = PARAM_SECONDS,
      .num = &cache_negative_ttl_seconds,
      .def = "1h",
      .min = 0,
      .doc = "How long it is remembered that a database does not know a user; 0: not at all." },
    { .name = "auth_hash_limit",
      .type = PARAM_INT,
      .num = &authd_hash_limit,
      .def = "4",
      .min = 1,
      .max = 64,
      .doc =
          "Heavy password hashes (ARGON2I, yescrypt, bcrypt of a high cost) computed at a time, at most 8; each may "
          "need 64 MiB and more. Cheaper ones do not wait for them." },
    { .name = "auth_verbose",
      .type = PARAM_BOOL,
      .yes = &authd_verbose,
      .def = "no",
      .doc = "Log why each authentication failed." },
    { .name = "auth_verbose_passwords",
      .type = PARAM_STRING,
      .str = &authd_verbose_passwords,
      .def = "no",
      .min = 1,
      .doc = "What is logged of a password that does not match: no (nothing), plain, sha1 (its SHA1 in hex); plain:n "
             "and "
             "sha1:n show the first n characters only." },
    { .name = "auth_debug",
      .type = PARAM_BOOL,
      .yes = &authd_debug,
      .def = "no",
      .doc = "Log each question to authd, its answer, and each look-up; never a password. Implies auth_verbose." },
    { .name = "auth_debug_passwords",
      .type = PARAM_BOOL,
      .yes = &authd_debug_passwords,
      .def = "no",
      .doc = "Log also passwords, given and stored, and all else that auth_debug hides. Implies auth_debug." },
    { .name = "authd_user",
      .type = PARAM_STRING,
      .str = &user_name,
      .def = "$login_user",
      .min = 1,
      .doc = "Account that authd runs as; it must be able to read auth_passwd_file for changes to be seen without a "
             "restart." },
    { .type = PARAM_END },
};
enum { PATHS_FIXED = 1, PATHS_MAX = PATHS_FIXED + 2 * DB_MAX };
/* libsasl2 makes nonces and salts from /dev/urandom, and without it from the time of day. */
struct service_path authd_paths[PATHS_MAX + 1] = { { .path = "/dev/urandom" } };

void authd_may_read(const char *path)
{
    size_t n = 0;

    while (n < PATHS_MAX && authd_paths[n].path && strcmp(authd_paths[n].path, path) != 0)
        n++;
    if (n == PATHS_MAX)
        log_fatal("more than %d directories of passwd-files", PATHS_MAX - PATHS_FIXED);
    authd_paths[n] = (struct service_path){ .path = path, .optional = true };
}

void authd_parameter_error(const char *name, const struct err *err)
{
    const char *file;
    int line;

    if (conf_where(name, &file, &line))
        log_error("%s, line %d: %s: %s", file, line, name, err->text);
    else
        log_error("%s: %s", name, err->text);
}
