/*
 * param - a parameter is one table entry; main.cf gives the value
 *
 * Callers     every daemon and tool declares tables; lib/service (or a tool) loads them
 * Invariants  a name stands in one table of the tree (tests/lint checks); parameters of several daemons stand in
 * lib/conf/global.c values are expanded ($name ${name?a:b} ${name==x?a:b}) at load, except PARAM_RAW; master.cf's -o
 * overrides main.cf Ownership   strings belong to the configuration and live until conf_load is called again; then
 * pointers are replaced Errors      conf_load logs file, line, name and reason for each bad value and answers -1
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
    const char *def;  /* as an admin would write it: "60s", "$myhostname", "${stress?{10}:{300}}s" */
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
    *conf_virtual_mailbox_domains, *conf_virtual_mailbox_maps, *conf_virtual_mailbox_base, *conf_local_recipient_maps,
    *conf_relay_recipient_maps, *conf_recipient_delimiter, *conf_mail_name, *conf_mail_version, *conf_syslog_name,
    *conf_syslog_facility, *conf_maillog_file, *conf_double_bounce_sender, *conf_compatibility_level,
    *conf_parent_domain_matches_subdomains, *conf_propagate_unmatched_extensions, *conf_empty_address_recipient;
extern int64_t conf_message_size_limit, conf_line_length_limit, conf_header_size_limit, conf_queue_minfree,
    conf_ipc_timeout, conf_daemon_timeout, conf_max_idle, conf_max_use, conf_hash_queue_depth,
    conf_delay_logging_resolution_limit;
extern bool conf_enable_long_queue_ids, conf_smtputf8_enable, conf_strict_smtputf8, conf_soft_bounce;

/* One set of main.cf values with overrides. */
struct conf;
/* config_dir: NULL means $MAIL_CONFIG, else /etc/postfix. Reads main.cf; -1 after logging. */
int conf_open(const char *config_dir);
const char *conf_dir(void);
void conf_override(const char *name, const char *value); /* -o name=value: before conf_load */
int conf_load(const struct param *const *tables); /* NULL-terminated list; fills the targets; -1 after logging */
const char *conf_value(const char *name); /* expanded value of any name that main.cf, an override or a loaded table
                                             has; NULL when unknown. E.g. "NAME_destination_concurrency_limit" */
bool conf_where(const char *name, const char **file, int *line); /* where main.cf sets it */
int conf_expand(const char *text, char **out); /* $name in a value that is expanded late; the caller frees */
void conf_print(FILE *,
                const struct param *const *tables); /* --params: name TAB type TAB default TAB min TAB max TAB doc */
int64_t conf_seconds(const char *text, char default_unit, bool *ok);
#endif
