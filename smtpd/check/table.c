/*
 * smtpd check table - the names of restrictions and what they are
 *
 * Callers     compile.c, access.c (a restriction as the result of an access table)
 * Invariants  one row a restriction, in the order of the manual; older names are rows too
 */
#include "check/check.h"

#define PLAIN(name) #name, SMTPD_ARG_NONE, false, smtpd_check_##name
#define TABLE(name) #name, SMTPD_ARG_TABLE, false, smtpd_check_##name
#define RELAY(name) #name, SMTPD_ARG_NONE, true, smtpd_check_##name

const struct smtpd_restriction smtpd_restrictions[] = {
    /* generic */
    { PLAIN(permit) },
    { RELAY(reject) },
    { RELAY(defer) },
    { RELAY(defer_if_permit) },
    { PLAIN(defer_if_reject) },
    { PLAIN(warn_if_reject) },
    { "sleep", SMTPD_ARG_SECONDS, false, smtpd_check_sleep },
    { PLAIN(permit_inet_interfaces) },
    { PLAIN(permit_mynetworks) },
    { PLAIN(permit_sasl_authenticated) },
    { PLAIN(permit_tls_all_clientcerts) },
    { PLAIN(reject_plaintext_session) },
    { PLAIN(reject_unauth_pipelining) },
    { PLAIN(reject_multi_recipient_bounce) },
    /* client */
    { TABLE(check_client_access) },
    { TABLE(check_reverse_client_hostname_access) },
    { TABLE(check_sasl_access) },
    { PLAIN(reject_unknown_client_hostname) },
    { "reject_unknown_client", SMTPD_ARG_NONE, false, smtpd_check_reject_unknown_client_hostname },
    { PLAIN(reject_unknown_reverse_client_hostname) },
    /* helo */
    { TABLE(check_helo_access) },
    { PLAIN(reject_invalid_helo_hostname) },
    { "reject_invalid_hostname", SMTPD_ARG_NONE, false, smtpd_check_reject_invalid_helo_hostname },
    { PLAIN(reject_non_fqdn_helo_hostname) },
    { "reject_non_fqdn_hostname", SMTPD_ARG_NONE, false, smtpd_check_reject_non_fqdn_helo_hostname },
    { PLAIN(reject_unknown_helo_hostname) },
    { "reject_unknown_hostname", SMTPD_ARG_NONE, false, smtpd_check_reject_unknown_helo_hostname },
    /* sender */
    { TABLE(check_sender_access) },
    { PLAIN(reject_non_fqdn_sender) },
    { PLAIN(reject_unknown_sender_domain) },
    { "reject_unknown_address", SMTPD_ARG_NONE, false, smtpd_check_reject_unknown_sender_domain },
    { PLAIN(reject_unlisted_sender) },
    { PLAIN(reject_sender_login_mismatch) },
    { PLAIN(reject_authenticated_sender_login_mismatch) },
    { PLAIN(reject_known_sender_login_mismatch) },
    { PLAIN(reject_unauthenticated_sender_login_mismatch) },
    /* recipient, relay */
    { TABLE(check_recipient_access) },
    { PLAIN(permit_auth_destination) },
    { RELAY(reject_unauth_destination) },
    { RELAY(defer_unauth_destination) },
    { PLAIN(reject_non_fqdn_recipient) },
    { PLAIN(reject_unknown_recipient_domain) },
    { PLAIN(reject_unlisted_recipient) },
    { "check_recipient_maps", SMTPD_ARG_NONE, false, smtpd_check_reject_unlisted_recipient },
    { 0 },
};

const struct smtpd_restriction *smtpd_restriction_find(const char *name)
{
    for (const struct smtpd_restriction *r = smtpd_restrictions; r->name != NULL; r++)
        if (slice_caseeq(slice_of(name), r->name))
            return r;
    return NULL;
}

const struct smtpd_restriction *smtpd_restriction_of_stage(enum smtpd_stage stage)
{
    static const char *const access[SMTPD_STAGES] = {
        [SMTPD_STAGE_CLIENT] = "check_client_access",       [SMTPD_STAGE_HELO] = "check_helo_access",
        [SMTPD_STAGE_SENDER] = "check_sender_access",       [SMTPD_STAGE_RELAY] = "check_recipient_access",
        [SMTPD_STAGE_RECIPIENT] = "check_recipient_access",
    };

    return access[stage] ? smtpd_restriction_find(access[stage]) : NULL;
}
