/*
 * smtpd check generic - restrictions on nothing in particular
 *
 * Callers     engine.c
 * Errors      a list of networks that cannot be asked permits nobody: 451
 */
#include "check/check.h"
#include "params.h"

#include "base/log.h"

static struct match *mynetworks, *inet_interfaces;

void smtpd_generic_pre_jail(void)
{
    mynetworks = match_new("mynetworks", conf_mynetworks);
    inet_interfaces = match_new("inet_interfaces", conf_inet_interfaces);
}

enum smtpd_verdict smtpd_check_permit(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) c;
    (void) item;
    return SMTPD_PERMIT;
}

enum smtpd_verdict smtpd_check_reject(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return smtpd_refuse(c, (int) smtpd_reject_code, "5.7.1", "<%s>: %s rejected: Access denied", c->object, c->class);
}

enum smtpd_verdict smtpd_check_defer(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return smtpd_refuse(c, (int) smtpd_defer_code, "4.3.2", "<%s>: %s rejected: Try again later", c->object,
                        c->class);
}

enum smtpd_verdict smtpd_check_defer_if_permit(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return smtpd_defer_if_permit(c, 450, "4.7.0", "<%s>: %s rejected: defer_if_permit requested", c->object,
                                 c->class);
}

enum smtpd_verdict smtpd_check_defer_if_reject(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return smtpd_defer_if_reject(c, 450, "4.7.0", "<%s>: %s rejected: defer_if_reject requested", c->object,
                                 c->class);
}

enum smtpd_verdict smtpd_check_warn_if_reject(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    c->warn = true;
    return SMTPD_DUNNO;
}

enum smtpd_verdict smtpd_check_sleep(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) c;
    smtpd_session_sleep(item->seconds);
    return SMTPD_DUNNO;
}

static enum smtpd_verdict permit(struct smtpd_check *c, enum lookup found)
{
    if (found == LOOKUP_RETRY)
        return smtpd_refuse_retry(c, c->object);
    return found == LOOKUP_FOUND ? SMTPD_PERMIT : SMTPD_DUNNO;
}

enum smtpd_verdict smtpd_check_permit_mynetworks(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return permit(c, match_host(mynetworks, c->s->peer.name, c->s->peer.address));
}

enum smtpd_verdict smtpd_check_permit_inet_interfaces(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    /* A client that connects from the address it connects to is this host. */
    if (strcmp(c->s->peer.address, c->s->peer.server_address) == 0 || strncmp(c->s->peer.address, "127.", 4) == 0 ||
        strcmp(c->s->peer.address, "::1") == 0)
        return SMTPD_PERMIT;
    return permit(c, match_address(inet_interfaces, c->s->peer.address));
}

enum smtpd_verdict smtpd_check_permit_sasl_authenticated(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return c->s->sasl_user != NULL ? SMTPD_PERMIT : SMTPD_DUNNO;
}

enum smtpd_verdict smtpd_check_permit_tls_all_clientcerts(struct smtpd_check *c, const struct smtpd_item *item)
{
    const struct tls_info *tls = stream_tls(c->s->stream);

    (void) item;
    return tls != NULL && tls->peer_verified ? SMTPD_PERMIT : SMTPD_DUNNO;
}

enum smtpd_verdict smtpd_check_reject_plaintext_session(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    if (stream_tls(c->s->stream) != NULL)
        return SMTPD_DUNNO;
    return smtpd_refuse(c, (int) smtpd_plaintext_reject_code, "4.7.1", "Session encryption is required");
}

/* What the client sent ahead although it had to wait: command.c notices before the command runs, and at DATA the
 * input at hand tells. */
enum smtpd_verdict smtpd_check_reject_unauth_pipelining(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    if (!c->s->pipelining_logged && (c->s->esmtp ? strcmp(c->s->where, "DATA") != 0 : false))
        return SMTPD_DUNNO;
    if (stream_buffered(c->s->stream) == 0)
        return SMTPD_DUNNO;
    return smtpd_refuse(c, 503, "5.5.0", "<%s>: %s rejected: Improper use of SMTP command pipelining", c->object,
                        c->class);
}

enum smtpd_verdict smtpd_check_reject_multi_recipient_bounce(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    if (!c->s->mail.active || c->s->mail.sender[0] || c->s->mail.rcpt_count + (c->stage <= SMTPD_STAGE_RECIPIENT) < 2)
        return SMTPD_DUNNO;
    return smtpd_refuse(c, (int) smtpd_multi_recipient_bounce_reject_code, "5.5.3",
                        "<%s>: %s rejected: Multi-recipient bounce", c->object, c->class);
}
