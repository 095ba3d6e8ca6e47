/*
 * smtpd check helo - restrictions on the name in HELO and EHLO
 *
 * Callers     engine.c
 * Errors      DNS that does not answer: defer_if_permit
 * Source      RFC 5321 4.1.1.1, 4.1.3
 */
#include "check/check.h"
#include "params.h"

#include "client/dns.h"
#include "proto/addr/addr.h"

enum smtpd_verdict smtpd_check_check_helo_access(struct smtpd_check *c, const struct smtpd_item *item)
{
    unsigned keys = MAPS_DOMAIN | maps_parent_style("smtpd_access_maps");
    const char *helo = c->s->helo;
    enum smtpd_verdict v = SMTPD_DUNNO;
    struct str value;

    if (helo == NULL)
        return v;
    str_init(&value, TABLE_VALUE_BYTES);
    switch (maps_domain(item->maps, helo, keys, &value)) {
    case LOOKUP_RETRY: v = smtpd_refuse_retry(c, helo); break;
    case LOOKUP_FOUND: v = smtpd_access_action(c, maps_list(item->maps), helo, value.p, helo, "Helo command"); break;
    case LOOKUP_NONE: break;
    }
    str_free(&value);
    return v;
}

static bool well_formed(struct slice name)
{
    return addr_domain_utf8_valid(name) || addr_literal_valid(name) || addr_ip_valid(name);
}

enum smtpd_verdict smtpd_check_reject_invalid_helo_hostname(struct smtpd_check *c, const struct smtpd_item *item)
{
    const char *helo = c->s->helo;

    (void) item;
    if (helo == NULL || well_formed(slice_of(helo)))
        return SMTPD_DUNNO;
    return smtpd_refuse(c, (int) smtpd_invalid_hostname_reject_code, "5.5.2",
                        "<%s>: Helo command rejected: Invalid name", helo);
}

enum smtpd_verdict smtpd_check_reject_non_fqdn_helo_hostname(struct smtpd_check *c, const struct smtpd_item *item)
{
    const char *helo = c->s->helo;
    struct slice name = slice_of(helo);

    (void) item;
    if (helo == NULL || addr_literal_valid(name) || (addr_domain_utf8_valid(name) && addr_domain_qualified(name)))
        return SMTPD_DUNNO;
    return smtpd_refuse(c, (int) smtpd_non_fqdn_reject_code, "5.5.2",
                        "<%s>: Helo command rejected: need fully-qualified hostname", helo);
}

enum smtpd_verdict smtpd_check_reject_unknown_helo_hostname(struct smtpd_check *c, const struct smtpd_item *item)
{
    const char *helo = c->s->helo;
    struct dns_reply reply;
    enum lookup found;

    (void) item;
    if (helo == NULL || helo[0] == '[')
        return SMTPD_DUNNO;
    if (!addr_domain_utf8_valid(slice_of(helo)))
        return smtpd_check_reject_invalid_helo_hostname(c, item);
    found = dns_addresses(helo, DNS_IPV4 | DNS_IPV6, &reply);
    dns_reply_free(&reply);
    if (found != LOOKUP_FOUND) {
        enum lookup mx = dns_lookup(helo, DNS_MX, &reply);

        dns_reply_free(&reply);
        if (mx == LOOKUP_FOUND || (mx == LOOKUP_RETRY && found == LOOKUP_NONE))
            found = mx;
    }
    if (found == LOOKUP_FOUND)
        return SMTPD_DUNNO;
    if (found == LOOKUP_RETRY)
        return smtpd_defer_if_permit(c, 450, "4.7.1", "<%s>: Helo command rejected: Host not found", helo);
    return smtpd_refuse(c, (int) smtpd_unknown_hostname_reject_code, "4.7.1",
                        "<%s>: Helo command rejected: Host not found", helo);
}
