/*
 * smtpd check client - restrictions on the client's name and address
 *
 * Callers     engine.c
 * Errors      a table that fails: 451 4.3.0
 */
#include "check/check.h"
#include "params.h"

static enum smtpd_verdict name_and_address(struct smtpd_check *c, const struct smtpd_item *item, const char *name)
{
    unsigned keys = MAPS_DOMAIN | maps_parent_style("smtpd_access_maps");
    const struct smtpd_peer *p = &c->s->peer;
    enum lookup found;
    struct str value;
    enum smtpd_verdict v = SMTPD_DUNNO;
    const char *key = name;

    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_domain(item->maps, name, keys, &value);
    if (found == LOOKUP_NONE) {
        key = p->address;
        found = maps_host_address(item->maps, p->address, &value);
    }
    if (found == LOOKUP_RETRY)
        v = smtpd_refuse_retry(c, p->namaddr);
    else if (found == LOOKUP_FOUND)
        v = smtpd_access_action(c, maps_list(item->maps), key, value.p, p->namaddr, "Client host");
    str_free(&value);
    return v;
}

enum smtpd_verdict smtpd_check_check_client_access(struct smtpd_check *c, const struct smtpd_item *item)
{
    return name_and_address(c, item, c->s->peer.name);
}

enum smtpd_verdict smtpd_check_check_reverse_client_hostname_access(struct smtpd_check *c,
                                                                    const struct smtpd_item *item)
{
    return name_and_address(c, item, c->s->peer.reverse_name);
}

static enum smtpd_verdict no_name(struct smtpd_check *c, enum smtpd_name_status status, const char *words)
{
    if (status == SMTPD_NAME_OK)
        return SMTPD_DUNNO;
    return smtpd_refuse(c, status == SMTPD_NAME_TEMP ? 450 : (int) smtpd_unknown_client_reject_code, "4.7.25",
                        "Client host rejected: cannot find your %s, [%s]", words, c->s->peer.address);
}

enum smtpd_verdict smtpd_check_reject_unknown_client_hostname(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return no_name(c, c->s->peer.name_status, "hostname");
}

enum smtpd_verdict smtpd_check_reject_unknown_reverse_client_hostname(struct smtpd_check *c,
                                                                      const struct smtpd_item *item)
{
    (void) item;
    return no_name(c, c->s->peer.reverse_status, "reverse hostname");
}

enum smtpd_verdict smtpd_check_check_sasl_access(struct smtpd_check *c, const struct smtpd_item *item)
{
    enum smtpd_verdict v = SMTPD_DUNNO;
    struct str value;

    if (c->s->sasl_user == NULL)
        return v;
    str_init(&value, TABLE_VALUE_BYTES);
    switch (maps_find(item->maps, c->s->sasl_user, false, &value)) {
    case LOOKUP_RETRY: v = smtpd_refuse_retry(c, c->s->sasl_user); break;
    case LOOKUP_FOUND:
        v = smtpd_access_action(c, maps_list(item->maps), c->s->sasl_user, value.p, c->s->sasl_user,
                                "SASL login name");
        break;
    case LOOKUP_NONE: break;
    }
    str_free(&value);
    return v;
}
