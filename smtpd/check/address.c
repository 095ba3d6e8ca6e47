/*
 * smtpd check address - restrictions on the sender's and the recipient's address
 *
 * The two differ in the words and the status codes; the questions are the same.
 *
 * Callers     engine.c
 * Errors      a table that fails: 451; DNS that does not answer: defer_if_permit
 * Source      RFC 5321 5.1, RFC 7505 (null MX)
 */
#include "check/check.h"
#include "params.h"

#include "client/dns.h"
#include "proto/addr/addr.h"

struct side {
    const char *class, *unknown_dsn, *null_mx_dsn;
    int null_mx_code;
};
static const struct side sender_side = { "Sender address", "4.1.8", "5.7.27", 550 },
                         recipient_side = { "Recipient address", "4.1.2", "5.1.10", 556 };

/* The sender as far as it is known: NULL before MAIL. */
static const char *sender_of(const struct smtpd_check *c)
{
    return c->s->mail.active ? c->s->mail.sender : c->s->sender_log;
}

static enum smtpd_verdict access(struct smtpd_check *c, const struct smtpd_item *item, const char *address,
                                 const struct side *side)
{
    enum smtpd_verdict v = SMTPD_DUNNO;
    enum lookup found;
    struct str value;

    if (address == NULL)
        return v;
    str_init(&value, TABLE_VALUE_BYTES);
    if (*address)
        found = maps_address(item->maps, address, MAPS_ACCESS | maps_parent_style("smtpd_access_maps"), &value, NULL);
    else
        found = maps_find(item->maps, smtpd_null_access_lookup_key, false, &value);
    if (found == LOOKUP_RETRY)
        v = smtpd_refuse_retry(c, address);
    else if (found == LOOKUP_FOUND)
        v = smtpd_access_action(c, maps_list(item->maps), *address ? address : smtpd_null_access_lookup_key, value.p,
                                address, side->class);
    str_free(&value);
    return v;
}

enum smtpd_verdict smtpd_check_check_sender_access(struct smtpd_check *c, const struct smtpd_item *item)
{
    return access(c, item, sender_of(c), &sender_side);
}

enum smtpd_verdict smtpd_check_check_recipient_access(struct smtpd_check *c, const struct smtpd_item *item)
{
    return access(c, item, c->s->recipient, &recipient_side);
}

static enum smtpd_verdict non_fqdn(struct smtpd_check *c, const char *address, const struct side *side)
{
    struct slice local, domain;

    if (address == NULL || *address == 0)
        return SMTPD_DUNNO;
    /* RFC 5321 4.5.1: "postmaster" needs no domain. */
    if (!addr_split(slice_of(address), &local, &domain) && side == &recipient_side &&
        slice_caseeq(local, "postmaster"))
        return SMTPD_DUNNO;
    if (addr_literal_valid(domain) || (addr_domain_utf8_valid(domain) && addr_domain_qualified(domain)))
        return SMTPD_DUNNO;
    return smtpd_refuse(c, (int) smtpd_non_fqdn_reject_code, "5.5.2",
                        "<%s>: %s rejected: need fully-qualified address", address, side->class);
}

enum smtpd_verdict smtpd_check_reject_non_fqdn_sender(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return non_fqdn(c, sender_of(c), &sender_side);
}

enum smtpd_verdict smtpd_check_reject_non_fqdn_recipient(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return non_fqdn(c, c->s->recipient, &recipient_side);
}

static bool null_mx(const struct dns_reply *mx)
{
    return mx->status == LOOKUP_FOUND && mx->count == 1 && mx->records[0].type == DNS_MX &&
           mx->records[0].name != NULL && (mx->records[0].name[0] == 0 || strcmp(mx->records[0].name, ".") == 0);
}

/* A domain exists for mail when it has an MX or an address. */
static enum smtpd_verdict domain_exists(struct smtpd_check *c, const char *address, const char *domain,
                                        const struct side *side)
{
    struct dns_reply reply;
    enum lookup mx = dns_lookup(domain, DNS_MX, &reply), found;
    bool refuses = null_mx(&reply);

    dns_reply_free(&reply);
    if (refuses)
        return smtpd_refuse(c, side->null_mx_code, side->null_mx_dsn,
                            "<%s>: %s rejected: Domain %s does not accept mail (nullMX)", address, side->class,
                            domain);
    if (mx == LOOKUP_FOUND)
        return SMTPD_DUNNO;
    found = dns_addresses(domain, DNS_IPV4 | DNS_IPV6, &reply);
    dns_reply_free(&reply);
    if (found == LOOKUP_FOUND)
        return SMTPD_DUNNO;
    if (mx == LOOKUP_RETRY || found == LOOKUP_RETRY)
        return smtpd_defer_if_permit(c, 450, side->unknown_dsn, "<%s>: %s rejected: Domain not found", address,
                                     side->class);
    return smtpd_refuse(c, (int) smtpd_unknown_address_reject_code, side->unknown_dsn,
                        "<%s>: %s rejected: Domain not found", address, side->class);
}

static enum smtpd_verdict unknown_domain(struct smtpd_check *c, const char *address, const struct side *side)
{
    struct rewrite_route route;
    struct slice local, domain;
    struct arena *arena;
    enum smtpd_verdict v;

    if (address == NULL || *address == 0)
        return SMTPD_DUNNO;
    arena = arena_new();
    if (rewrite_resolve_since(side == &sender_side ? c->s->mail_us : c->since_us, sender_of(c) ? sender_of(c) : "",
                              address, arena, &route) != LOOKUP_FOUND)
        v = smtpd_refuse_retry(c, address);
    else if (route.class != REWRITE_CLASS_DEFAULT || /* ours: DNS is not asked about it */
             !addr_split(slice_of(route.recipient), &local, &domain) || addr_literal_valid(domain))
        v = SMTPD_DUNNO;
    else
        v = domain_exists(c, address, arena_strndup(arena, domain.p, domain.len), side);
    arena_free(&arena);
    return v;
}

enum smtpd_verdict smtpd_check_reject_unknown_sender_domain(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return unknown_domain(c, sender_of(c), &sender_side);
}

enum smtpd_verdict smtpd_check_reject_unknown_recipient_domain(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return unknown_domain(c, c->s->recipient, &recipient_side);
}

enum smtpd_verdict smtpd_check_reject_unlisted_sender(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return smtpd_unlisted_sender(c);
}

enum smtpd_verdict smtpd_check_reject_unlisted_recipient(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return smtpd_unlisted_recipient(c);
}
