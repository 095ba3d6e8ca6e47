/*
 * smtpd check relay - mail for others only from those who may
 *
 * Callers     engine.c
 * Invariants  the answer "ours" comes from rewrite alone, the same that routes the message later
 *             a sender's own route (user%elsewhere@here) never makes a destination ours
 * Errors      rewrite that cannot be asked: 451, never permission
 */
#include "check/check.h"
#include "params.h"

enum destination { OURS, ELSEWHERE, UNKNOWN };

static enum destination where_to(struct smtpd_check *c)
{
    struct arena *arena = arena_new();
    struct rewrite_route route;
    enum destination d = UNKNOWN;

    if (rewrite_resolve_since(c->since_us, c->s->mail.active ? c->s->mail.sender : "", c->s->recipient, arena,
                              &route) == LOOKUP_FOUND) {
        if (route.routed && !smtpd_allow_untrusted_routing)
            d = ELSEWHERE;
        else
            d = route.class == REWRITE_CLASS_DEFAULT && strchr(route.recipient, '@') != NULL ? ELSEWHERE : OURS;
    }
    arena_free(&arena);
    return d;
}

enum smtpd_verdict smtpd_check_permit_auth_destination(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    if (c->s->recipient == NULL)
        return SMTPD_DUNNO;
    switch (where_to(c)) {
    case OURS: return SMTPD_PERMIT;
    case ELSEWHERE: return SMTPD_DUNNO;
    case UNKNOWN: break;
    }
    return smtpd_refuse_retry(c, c->s->recipient);
}

static enum smtpd_verdict unauth(struct smtpd_check *c, int code, const char *dsn)
{
    if (c->s->recipient == NULL)
        return SMTPD_DUNNO;
    switch (where_to(c)) {
    case OURS: return SMTPD_DUNNO;
    case ELSEWHERE: return smtpd_refuse(c, code, dsn, "<%s>: Relay access denied", c->s->recipient);
    case UNKNOWN: break;
    }
    return smtpd_refuse_retry(c, c->s->recipient);
}

enum smtpd_verdict smtpd_check_reject_unauth_destination(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return unauth(c, (int) smtpd_relay_domains_reject_code, "5.7.1");
}

enum smtpd_verdict smtpd_check_defer_unauth_destination(struct smtpd_check *c, const struct smtpd_item *item)
{
    int code = (int) smtpd_relay_domains_reject_code;

    (void) item;
    return unauth(c, code >= 500 ? code - 100 : code, "4.7.1");
}
