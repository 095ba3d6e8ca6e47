/*
 * smtpd check unlisted - does the table of its domain know the address
 *
 * Callers     engine.c for every recipient, reject_unlisted_recipient, reject_unlisted_sender
 * Invariants  a class without a table knows everybody, whatever its aliases: no table is asked then
 *             an address with an alias is known
 * Errors      a table or rewrite that fails: 451
 */
#include "check/check.h"
#include "params.h"

#include "client/cleanup.h"
#include "proto/smtp/reply.h"

#include <stdio.h>

static struct maps *local_maps, *mailbox_maps, *alias_maps, *relay_maps;
static bool switched_off; /* receive_override_options = no_unknown_recipient_checks */

void smtpd_unlisted_pre_jail(void)
{
    struct slice rest = slice_of(smtpd_receive_override_options), word;

    local_maps = maps_new("local_recipient_maps", conf_local_recipient_maps, TABLE_FOLD | TABLE_EMPTY_OK);
    mailbox_maps = maps_new("virtual_mailbox_maps", conf_virtual_mailbox_maps, TABLE_FOLD | TABLE_EMPTY_OK);
    alias_maps = maps_new("virtual_alias_maps", conf_virtual_alias_maps, TABLE_FOLD | TABLE_EMPTY_OK);
    relay_maps = maps_new("relay_recipient_maps", conf_relay_recipient_maps, TABLE_FOLD | TABLE_EMPTY_OK);
    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_caseeq(word, "no_unknown_recipient_checks"))
            switched_off = true;
}

static const struct {
    struct maps **maps;
    const int64_t *code;
    const char *words;
    unsigned keys;
} tables[] = {
    [REWRITE_CLASS_LOCAL] = { &local_maps, &smtpd_unknown_local_recipient_reject_code, " in local recipient table",
                              MAPS_ADDRESS },
    [REWRITE_CLASS_VIRTUAL_ALIAS] = { NULL, &smtpd_unknown_virtual_alias_reject_code, " in virtual alias table", 0 },
    [REWRITE_CLASS_VIRTUAL_MAILBOX] = { &mailbox_maps, &smtpd_unknown_virtual_mailbox_reject_code,
                                        " in virtual mailbox table", MAPS_FULL | MAPS_NOEXT | MAPS_AT_DOMAIN },
    [REWRITE_CLASS_RELAY] = { &relay_maps, &smtpd_unknown_relay_recipient_reject_code, " in relay recipient table",
                              MAPS_FULL | MAPS_NOEXT | MAPS_AT_DOMAIN },
};

static enum lookup find(struct maps *maps, const char *address, unsigned keys)
{
    struct str value;
    enum lookup found;

    if (maps_empty(maps))
        return LOOKUP_NONE;
    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_address(maps, address, keys, &value, NULL);
    str_free(&value);
    return found;
}

/* The error transport: its nexthop is "DSN words". */
static enum smtpd_verdict error_route(struct smtpd_check *c, const char *address, const char *class, bool sender,
                                      const struct rewrite_route *route)
{
    struct slice text = slice_of(route->nexthop);
    size_t len = smtp_dsn_len(text, 0);
    bool alias = route->class == REWRITE_CLASS_VIRTUAL_ALIAS;
    char dsn[SMTP_DSN_BYTES] = "5.1.1";
    int code = alias ? (int) smtpd_unknown_virtual_alias_reject_code : 550;

    if (len && len < sizeof dsn) {
        memcpy(dsn, text.p, len);
        dsn[len] = 0;
        text = slice_trim(slice_sub(text, len, text.len));
        if (dsn[0] == '4' && code >= 500)
            code = 450;
    }
    if (sender && strcmp(dsn + 1, ".1.1") == 0)
        snprintf(dsn, sizeof dsn, "%c.1.0", dsn[0] == '4' ? '4' : '5');
    return smtpd_refuse(c, code, dsn, "<%s>: %s rejected: %.*s", address, class, (int) text.len, text.p);
}

/* Relayed mail, mostly: the answer of virtual_alias_maps would change nothing. Cleanup asks them all the same, and
 * refuses what it cannot expand. */
static bool knows_everybody(const struct rewrite_route *route, bool sender)
{
    if ((route->error && !sender) || route->class == REWRITE_CLASS_VIRTUAL_ALIAS)
        return false;
    return route->class >= REWRITE_CLASS_DEFAULT || maps_empty(*tables[route->class].maps);
}

static enum smtpd_verdict unlisted(struct smtpd_check *c, const char *address, const char *class, bool sender)
{
    struct arena *arena = arena_new();
    struct rewrite_route route;
    enum smtpd_verdict v = SMTPD_DUNNO;
    enum lookup found = rewrite_resolve_since(sender ? c->s->mail_us : c->since_us,
                                              c->s->mail.active ? c->s->mail.sender : "", address, arena, &route);

    if (found != LOOKUP_FOUND || knows_everybody(&route, sender)) {
        arena_free(&arena);
        return found == LOOKUP_FOUND ? v : smtpd_refuse_retry(c, address);
    }
    found = find(alias_maps, route.recipient, MAPS_ADDRESS);
    if (found == LOOKUP_NONE) {
        if (route.error && !sender) {
            v = error_route(c, address, class, sender, &route);
            arena_free(&arena);
            return v;
        }
        if (route.class != REWRITE_CLASS_VIRTUAL_ALIAS)
            found = find(*tables[route.class].maps, route.recipient, tables[route.class].keys);
    }
    if (found == LOOKUP_RETRY)
        v = smtpd_refuse_retry(c, address);
    else if (found == LOOKUP_NONE)
        v = smtpd_refuse(c, (int) *tables[route.class].code, sender ? "5.1.0" : "5.1.1",
                         "<%s>: %s rejected: User unknown%s", address, class,
                         conf_show_user_unknown_table_name ? tables[route.class].words : "");
    arena_free(&arena);
    return v;
}

enum smtpd_verdict smtpd_unlisted_recipient(struct smtpd_check *c)
{
    if (c->s->recipient == NULL || switched_off || c->recipient_known)
        return SMTPD_DUNNO;
    c->recipient_known = !c->warn;
    return unlisted(c, c->s->recipient, "Recipient address", false);
}

enum smtpd_verdict smtpd_unlisted_sender(struct smtpd_check *c)
{
    const char *sender = c->s->mail.active ? c->s->mail.sender : c->s->sender_log;

    if (sender == NULL || *sender == 0 || switched_off || c->sender_known)
        return SMTPD_DUNNO;
    c->sender_known = !c->warn;
    return unlisted(c, sender, "Sender address", true);
}
