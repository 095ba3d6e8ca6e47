/*
 * auth - the client logs in: PLAIN and LOGIN, with a name and password of smtp_sasl_password_maps
 *
 * Callers     session.c
 * Invariants  noplaintext in the security options (the default, also for TLS unless the TLS options say otherwise)
 *             forbids both mechanisms
 * Errors      *why: the mail is deferred, never sent without the login that was asked for
 * Privilege   the password table is opened before the jail
 * Source      RFC 4954, RFC 4616
 */
#include "smtp_internal.h"
#include "base/codec.h"
#include "base/mem.h"
#include "table/table.h"
#include <stdio.h>

static struct maps *passwords;

int auth_open_tables(void)
{
    if (opt.sasl_enable)
        passwords = maps_new("smtp_sasl_password_maps", opt.sasl_password_maps, TABLE_FOLD);
    return 0;
}

static bool has_word(const char *list, const char *word)
{
    struct slice rest = slice_of(list), one;

    while (slice_word(&rest, ", \t\r\n", &one))
        if (slice_caseeq(one, word))
            return true;
    return false;
}

static bool usable(const struct session *s, const char *mechanism)
{
    return has_word(s->mechanisms, mechanism) &&
           (*opt.sasl_mechanism_filter == '\0' || has_word(opt.sasl_mechanism_filter, mechanism));
}

static int answer(struct session *s, const char *verb, struct slice secret, struct why *why)
{
    struct str line;
    int status;

    str_init(&line, 0);
    str_adds(&line, verb);
    base64_encode(&line, secret);
    session_say(s, "%s", line.p);
    status = session_get(s, opt.helo_timeout, "performing the AUTH handshake", why);
    mem_wipe(line.p, line.len);
    str_free(&line);
    return status;
}

static int plain(struct session *s, struct slice user, struct slice password, struct why *why)
{
    struct str secret;
    int status;

    str_init(&secret, 0);
    str_addc(&secret, '\0');
    str_addslice(&secret, user);
    str_addc(&secret, '\0');
    str_addslice(&secret, password);
    status = answer(s, "AUTH PLAIN ", str_slice(&secret), why);
    mem_wipe(secret.p, secret.len);
    str_free(&secret);
    return status;
}

static int login(struct session *s, struct slice user, struct slice password, struct why *why)
{
    session_say(s, "AUTH LOGIN");
    if (session_get(s, opt.helo_timeout, "performing the AUTH handshake", why) < 0)
        return -1;
    if (s->reply.code != 334)
        return 0;
    if (answer(s, "", user, why) < 0)
        return -1;
    return s->reply.code != 334 ? 0 : answer(s, "", password, why);
}

static int log_in(struct session *s, struct slice user, struct slice password, struct why *why)
{
    const char *options = stream_tls(s->stream) ? opt.sasl_tls_security_options : opt.sasl_security_options;
    int status;

    if (has_word(options, "noplaintext") || (!usable(s, "PLAIN") && !usable(s, "LOGIN"))) {
        why_set(why, false, "4.7.0",
                "SASL authentication failed; cannot authenticate to server %s: no mechanism available", s->namaddr);
        return -1;
    }
    status = usable(s, "PLAIN") ? plain(s, user, password, why) : login(s, user, password, why);
    if (status < 0 || s->reply.code / 100 == 2)
        return status;
    char said[WHY_BYTES / 2];
    session_text(s, said, sizeof said);
    why_set(why, false, s->reply.dsn[0] ? s->reply.dsn : "4.7.0", "SASL authentication failed; server %s said: %s",
            s->namaddr, said);
    why->dsn[0] = '4';
    return -1;
}

int session_auth(struct session *s, const char *nexthop, struct why *why)
{
    struct str value;
    enum lookup found;
    int status = 0;

    if (passwords == NULL || !(s->features & SMTP_EHLO_AUTH))
        return 0;
    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_find(passwords, nexthop, false, &value);
    if (found == LOOKUP_NONE)
        found = maps_find(passwords, s->host, false, &value);
    if (found == LOOKUP_RETRY) {
        why_set(why, false, "4.3.0", "%s lookup error", maps_list(passwords));
        status = -1;
    } else if (found == LOOKUP_FOUND) {
        struct slice password = str_slice(&value), user;
        if (slice_split(&password, ':', &user) && password.p != NULL)
            status = log_in(s, user, password, why);
    }
    if (value.len > 0)
        mem_wipe(value.p, value.len);
    str_free(&value);
    return status;
}
