/*
 * param - a parameter is one table entry; main.cf gives the value
 *
 * Callers     every daemon and tool declares tables; lib/service (or a tool) loads them
 *
 * Invariants  a name stands in one table of the tree (tests/lint checks); parameters of several daemons stand in
 *             lib/conf/global.c; values are expanded at load, but not PARAM_RAW; master.cf's -o overrides main.cf
 *
 * Ownership   strings belong to the configuration and live until conf_open is called again
 *
 * Errors      conf_load logs file, line, name and reason for each bad value and answers -1
 */
#ifndef CONF_PARAM_H
#define CONF_PARAM_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum param_type { PARAM_END, PARAM_INT, PARAM_BOOL, PARAM_SECONDS, PARAM_BYTES, PARAM_STRING, PARAM_RAW };
enum { PARAM_SECURITY = 1 }; /* flag: a value that cannot be honoured stops the start */
struct param {
    const char *name;
    enum param_type type;
    union {
        int64_t *num;     /* INT, SECONDS, BYTES */
        bool *yes;        /* BOOL */
        const char **str; /* STRING, RAW */
    };
    const char *def;  /* NULL: computed (lib/conf/global.c), else as an admin would write it: "60s", "$myhostname",
                         "${stress?{10}:{300}}s" */
    int64_t min, max; /* inclusive; max 0: no upper bound. For strings min 1: may not be empty */
    const char *doc;  /* one or two sentences; manual and postconf are built from it */
    unsigned flags;
};

/* Several daemons use these: lib/conf/global.c. (Others stand with their daemon.) */
extern const struct param conf_global_params[];
extern const char *conf_myhostname, *conf_mydomain, *conf_myorigin, *conf_mydestination, *conf_mynetworks,
    *conf_inet_interfaces, *conf_queue_directory, *conf_data_directory, *conf_daemon_directory,
    *conf_command_directory, *conf_mail_owner, *conf_setgid_group, *conf_default_database_type, *conf_relay_domains,
    *conf_relayhost, *conf_transport_maps, *conf_virtual_alias_maps, *conf_virtual_alias_domains,
    *conf_virtual_mailbox_domains, *conf_virtual_mailbox_maps, *conf_virtual_mailbox_base, *conf_virtual_uid_maps,
    *conf_virtual_gid_maps, *conf_mail_home, *conf_mail_location, *conf_mail_uid, *conf_mail_gid, *conf_login_user,
    *conf_local_recipient_maps, *conf_relay_recipient_maps, *conf_recipient_delimiter, *conf_mail_separator,
    *conf_mail_name, *conf_mail_version, *conf_syslog_name, *conf_syslog_facility, *conf_maillog_file,
    *conf_double_bounce_sender, *conf_compatibility_level, *conf_alias_maps, *conf_inet_protocols,
    *conf_proxy_interfaces, *conf_local_transport, *conf_virtual_transport, *conf_relay_transport,
    *conf_default_transport, *conf_error_service_name, *conf_parent_domain_matches_subdomains,
    *conf_propagate_unmatched_extensions, *conf_empty_address_recipient, *conf_remote_header_rewrite_domain,
    *conf_default_verp_delimiters, *conf_verp_delimiter_filter, *conf_fast_flush_domains,
    *conf_ssl_cert_username_field, *conf_smtpd_sasl_path;
extern int64_t conf_message_size_limit, conf_line_length_limit, conf_header_size_limit, conf_queue_minfree,
    conf_ipc_timeout, conf_daemon_timeout, conf_max_idle, conf_max_use, conf_hash_queue_depth,
    conf_delay_logging_resolution_limit, conf_maximal_queue_lifetime, conf_delay_warning_time,
    conf_default_process_limit, conf_first_valid_uid, conf_last_valid_uid, conf_first_valid_gid, conf_last_valid_gid,
    conf_virtual_minimum_uid;
extern bool conf_enable_long_queue_ids, conf_smtputf8_enable, conf_strict_smtputf8, conf_soft_bounce,
    conf_show_user_unknown_table_name, conf_mail_journal;

/* config_dir: NULL means $MAIL_CONFIG, else /etc/postfix. Reads main.cf; -1 after logging. */
int conf_open(const char *config_dir);
const char *conf_dir(void);
void conf_override(const char *name, const char *value); /* -o name=value: before conf_load */
int conf_load(const struct param *const *tables); /* NULL-terminated list; fills the targets; -1 after logging */
/* Expanded value of any name that main.cf, an override or a loaded table has, e.g. "relay_destination_rate_delay";
 * NULL when unknown. Lives until conf_open. */
const char *conf_value(const char *name);
/* The value as it is written, unexpanded: of an override, main.cf, or a default; NULL when unknown. */
const char *conf_raw(const char *name);
const struct param *conf_param(const char *name); /* its entry in a table conf_load was given; NULL */
struct maincf;
const struct maincf *conf_main(void); /* main.cf as it was read, for reports */
/* Parameters of other daemons: lines of --params, with the daemon's name before each. Their defaults then count when
 * a value names them ($smtpd_client_restrictions in proxymap). -1 after logging. */
int conf_registry_read(const char *path);
int conf_registry_open(void); /* finds the file in daemon_directory or near this program; after conf_load */
enum { CONF_PARAMS_FILE_BYTES = 4 << 20 };
#define CONF_PARAMS_FILE "posthorn.params" /* beside the daemons */
/* What each parameter is, tables and registry together: walked by name, sorted. */
struct conf_known {
    const char *name, *type, *def, *doc, *daemon; /* def NULL: computed; daemon "": one of this process */
    int64_t min, max;
};
size_t conf_known_count(void);
const struct conf_known *conf_known_at(size_t);
const struct conf_known *conf_known_get(const char *name);
const char *conf_default(const char *name); /* unexpanded default, computed ones too; NULL when unknown */
/* Each setting of main.cf, and each -o of master.cf, that nothing obeys: no parameter table has it and no other value
 * names it. `where` is "FILE, line N". */
struct mastercf;
void conf_unused(const struct mastercf *,
                 void (*fn)(void *ctx, const char *where, const char *name, const char *value), void *ctx);
/* Parameters that services of master.cf have by their name, and their unexpanded defaults; name is fn's for the call. */
void conf_service_params(const struct mastercf *, void (*fn)(void *ctx, const char *name, const char *def),
                         void *ctx);
bool conf_is_set(const char *name);                              /* by main.cf or an override */
bool conf_where(const char *name, const char **file, int *line); /* where main.cf sets it */
int conf_expand(const char *text, char **out); /* $name in a value that is expanded late; the caller frees */
void conf_print(FILE *,
                const struct param *const *tables); /* --params: name TAB type TAB default TAB min TAB max TAB doc */
int64_t conf_seconds(const char *text, char default_unit, bool *ok);
#endif
