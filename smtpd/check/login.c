/*
 * smtpd check login - does the login own the sender address (smtpd_sender_login_maps)
 *
 * Callers     engine.c
 * Errors      a table that fails: 451
 */
#include "check/check.h"
#include "params.h"

static struct maps *owners;

void smtpd_login_pre_jail(void)
{
    owners = maps_new("smtpd_sender_login_maps", smtpd_sender_login_maps, TABLE_FOLD | TABLE_EMPTY_OK);
}

enum mismatch { AUTHENTICATED = 1, UNAUTHENTICATED = 2, KNOWN = 4 };

static bool owns(struct slice list, const char *user)
{
    struct slice word;

    while (slice_word(&list, ", \t\r\n", &word))
        if (slice_caseeq(word, user))
            return true;
    return false;
}

static enum smtpd_verdict mismatch(struct smtpd_check *c, unsigned when)
{
    const char *sender = c->s->mail.active ? c->s->mail.sender : c->s->sender_log, *user = c->s->sasl_user;
    enum smtpd_verdict v = SMTPD_DUNNO;
    enum lookup found = LOOKUP_NONE;
    struct str list;

    if (sender == NULL)
        return v;
    str_init(&list, TABLE_VALUE_BYTES);
    if (*sender)
        found = maps_address(owners, sender, MAPS_FULL | MAPS_NOEXT | MAPS_LOCALPART_IF_LOCAL | MAPS_AT_DOMAIN, &list,
                             NULL);
    if (found == LOOKUP_RETRY)
        v = smtpd_refuse_retry(c, sender);
    else if (user != NULL && when & (AUTHENTICATED | KNOWN) &&
             (found == LOOKUP_FOUND ? !owns(str_slice(&list), user) : !(when & KNOWN) && *sender != 0))
        v = smtpd_refuse(c, 553, "5.7.1", "<%s>: Sender address rejected: not owned by user %s", sender, user);
    else if (user == NULL && when & (UNAUTHENTICATED | KNOWN) && found == LOOKUP_FOUND)
        v = smtpd_refuse(c, 553, "5.7.1", "<%s>: Sender address rejected: not logged in", sender);
    str_free(&list);
    return v;
}

enum smtpd_verdict smtpd_check_reject_sender_login_mismatch(struct smtpd_check *c, const struct smtpd_item *item)
{
    (void) item;
    return mismatch(c, AUTHENTICATED | UNAUTHENTICATED);
}

enum smtpd_verdict smtpd_check_reject_authenticated_sender_login_mismatch(struct smtpd_check *c,
                                                                          const struct smtpd_item *item)
{
    (void) item;
    return mismatch(c, AUTHENTICATED);
}

enum smtpd_verdict smtpd_check_reject_known_sender_login_mismatch(struct smtpd_check *c,
                                                                  const struct smtpd_item *item)
{
    (void) item;
    return mismatch(c, KNOWN);
}

enum smtpd_verdict smtpd_check_reject_unauthenticated_sender_login_mismatch(struct smtpd_check *c,
                                                                            const struct smtpd_item *item)
{
    (void) item;
    return mismatch(c, UNAUTHENTICATED);
}
