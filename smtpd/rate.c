/*
 * smtpd rate - limits on what one client does in a time (anvil)
 *
 * Callers     session.c, smtpd/cmd
 * Invariants  one row an event; anvil is asked only where a limit is set; clients of
 *             smtpd_client_event_limit_exceptions have none
 * Errors      anvil that cannot be asked stops nobody
 */
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "client/anvil.h"

static const struct {
    enum anvil_event event;
    const int64_t *limit;
    const char *what;  /* for the log */
    const char *reply; /* %s: the address */
} rates[] = {
    [SMTPD_RATE_MAIL] = { ANVIL_MESSAGE, &smtpd_client_message_rate_limit, "Message delivery request rate",
                          "450 4.7.1 Error: too much mail from" },
    [SMTPD_RATE_RCPT] = { ANVIL_RECIPIENT, &smtpd_client_recipient_rate_limit, "Recipient address rate",
                          "450 4.7.1 Error: too many recipients from" },
    [SMTPD_RATE_TLS] = { ANVIL_NEW_TLS, &smtpd_client_new_tls_session_rate_limit, "New TLS session rate",
                         "454 4.7.0 Error: too many new TLS sessions from" },
    [SMTPD_RATE_AUTH] = { ANVIL_AUTH, &smtpd_client_auth_rate_limit, "AUTH command rate",
                          "450 4.7.1 Error: too many AUTH commands from" },
};

static bool connect_is_limited(void)
{
    return smtpd_client_connection_count_limit > 0 || smtpd_client_connection_rate_limit > 0;
}

static void over(struct smtpd_session *s, const char *what, int64_t count)
{
    log_warn("%s limit exceeded: %lld from %s for service %s", what, (long long) count, s->peer.namaddr,
             service_name());
}

static int connected(struct smtpd_session *s)
{
    struct anvil_counts counts;

    if (!connect_is_limited() || !anvil_count(ANVIL_CONNECT, service_name(), s->peer.address, &counts))
        return 0;
    s->counted = true;
    if (smtpd_client_connection_count_limit > 0 && counts.connections > smtpd_client_connection_count_limit) {
        over(s, "Connection concurrency", counts.connections);
    } else if (smtpd_client_connection_rate_limit > 0 && counts.rate > smtpd_client_connection_rate_limit) {
        over(s, "Connection rate", counts.rate);
    } else {
        return 0;
    }
    smtpd_reply(s, "421 4.7.0 %s Error: too many connections from %s", conf_myhostname, s->peer.address);
    return -1;
}

int smtpd_rate_event(struct smtpd_session *s, enum smtpd_rate rate)
{
    struct anvil_counts counts;

    if (s->rate_exempt || s->peer.family == AF_UNSPEC)
        return 0;
    if (rate == SMTPD_RATE_CONNECT)
        return connected(s);
    if (*rates[rate].limit == 0 || !anvil_count(rates[rate].event, service_name(), s->peer.address, &counts) ||
        counts.rate <= *rates[rate].limit)
        return 0;
    over(s, rates[rate].what, counts.rate);
    smtpd_reply(s, "%s %s", rates[rate].reply, s->peer.address);
    return -1;
}

void smtpd_rate_disconnect(struct smtpd_session *s)
{
    struct anvil_counts ignored;

    if (s->counted)
        anvil_count(ANVIL_DISCONNECT, service_name(), s->peer.address, &ignored);
}
