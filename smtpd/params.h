/*
 * smtpd params - what main.cf says to smtpd
 *
 * Callers     the files of smtpd/
 * Invariants  a variable has the parameter's name, with smtpd_ in front where that has none
 */
#ifndef SMTPD_PARAMS_H
#define SMTPD_PARAMS_H
#include "conf/param.h"

extern const struct param smtpd_params[];
extern const char *smtpd_banner, *smtpd_client_restrictions, *smtpd_helo_restrictions, *smtpd_sender_restrictions,
    *smtpd_relay_restrictions, *smtpd_recipient_restrictions, *smtpd_data_restrictions,
    *smtpd_end_of_data_restrictions, *smtpd_etrn_restrictions, *smtpd_restriction_classes,
    *smtpd_null_access_lookup_key, *smtpd_sasl_type, *smtpd_sasl_service, *smtpd_sasl_security_options,
    *smtpd_sasl_tls_security_options, *smtpd_sasl_mechanism_filter, *smtpd_sasl_local_domain,
    *smtpd_sasl_exceptions_networks, *smtpd_tls_security_level, *smtpd_tls_chain_files, *smtpd_tls_cert_file,
    *smtpd_tls_key_file, *smtpd_tls_eccert_file, *smtpd_tls_eckey_file, *smtpd_tls_CAfile, *smtpd_tls_CApath,
    *smtpd_tls_protocols, *smtpd_tls_mandatory_protocols, *smtpd_tls_ciphers, *smtpd_tls_mandatory_ciphers,
    *smtpd_tls_exclude_ciphers, *smtpd_tls_mandatory_exclude_ciphers, *smtpd_noop_commands, *smtpd_forbidden_commands,
    *smtpd_forbid_bare_newline, *smtpd_forbid_bare_newline_exclusions, *smtpd_discard_ehlo_keywords,
    *smtpd_discard_ehlo_keyword_address_maps, *smtpd_log_access_permit_actions, *smtpd_client_event_limit_exceptions,
    *smtpd_local_header_rewrite_clients, *smtpd_receive_override_options, *smtpd_content_filter, *smtpd_milters,
    *smtpd_proxy_filter, *smtpd_sender_login_maps, *smtpd_upstream_proxy_protocol, *smtpd_command_filter,
    *smtpd_authorized_xclient_hosts, *smtpd_authorized_xforward_hosts;
extern int64_t smtpd_timeout, smtpd_min_data_rate, smtpd_starttls_timeout, smtpd_sessions_per_process,
    smtpd_sasl_response_limit, smtpd_tls_loglevel, smtpd_recipient_limit, smtpd_recipient_overshoot_limit,
    smtpd_soft_error_limit, smtpd_hard_error_limit, smtpd_junk_command_limit, smtpd_error_sleep_time,
    smtpd_forbid_bare_newline_reject_code, smtpd_client_connection_count_limit, smtpd_client_connection_rate_limit,
    smtpd_client_message_rate_limit, smtpd_client_recipient_rate_limit, smtpd_client_new_tls_session_rate_limit,
    smtpd_client_auth_rate_limit, smtpd_access_map_reject_code, smtpd_access_map_defer_code, smtpd_reject_code,
    smtpd_defer_code, smtpd_relay_domains_reject_code, smtpd_invalid_hostname_reject_code, smtpd_non_fqdn_reject_code,
    smtpd_unknown_address_reject_code, smtpd_unknown_client_reject_code, smtpd_unknown_hostname_reject_code,
    smtpd_plaintext_reject_code, smtpd_multi_recipient_bounce_reject_code, smtpd_unknown_local_recipient_reject_code,
    smtpd_unknown_relay_recipient_reject_code, smtpd_unknown_virtual_alias_reject_code,
    smtpd_unknown_virtual_mailbox_reject_code;
extern bool smtpd_per_request_deadline, smtpd_helo_required, smtpd_delay_reject, smtpd_delay_open_until_valid_rcpt,
    smtpd_relay_before_recipient_restrictions, smtpd_reject_unlisted_recipient, smtpd_reject_unlisted_sender,
    smtpd_sasl_auth_enable, smtpd_sasl_authenticated_header, smtpd_broken_sasl_auth_clients, smtpd_use_tls,
    smtpd_enforce_tls, smtpd_tls_wrappermode, smtpd_tls_auth_only, smtpd_tls_ask_ccert, smtpd_tls_req_ccert,
    smtpd_tls_received_header, smtpd_forbid_unauth_pipelining, smtpd_peername_lookup, smtpd_client_port_logging,
    smtpd_disable_vrfy_command, smtpd_strict_rfc821_envelopes, smtpd_allow_untrusted_routing;
/* Parameters that change who may send or what is let in and that this server cannot honour: names and values, NULL at
 * the end. One that is set stops the start. */
struct smtpd_refused {
    const char *name;
    const char *const *value;
};
extern const struct smtpd_refused smtpd_refused[];
#endif
