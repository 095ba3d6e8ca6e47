/*
 * auth - the client logs in, with a name and password of smtp_sasl_password_maps
 *
 * Callers     session.c
 * Invariants  the strongest mechanism is used that the server offers, the filter lets through and the security options
 *             allow; noplaintext (the default, also for TLS unless the TLS options say otherwise) forbids PLAIN and
 *             LOGIN
 *             libsasl2's client is not used: in the chroot it finds no /dev/urandom and makes its nonces of the time of
 *             day, and this process meets the network; the mechanisms are lib/proto/sasl/client's
 * Errors      *why: the mail is deferred, never sent without the login that was asked for
 * Privilege   the password table is opened before the jail
 * Source      RFC 4954
 */
#include "base/codec.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/sasl/client.h"
#include "proto/sasl/security.h"
#include "smtp_internal.h"
#include "table/match.h"
#include "table/table.h"
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>

enum { NONCE_BYTES = 24, NONCE_TEXT_BYTES = 2 * NONCE_BYTES };
static const char handshake[] = "performing the AUTH handshake";

static struct maps *passwords;
static struct match *wanted; /* NULL: all */
static struct sasl_security without_tls, with_tls, verified;

static int read_options(const char *name, const char *list, struct sasl_security *out)
{
    struct slice word;

    if (sasl_security_parse(list, out, &word) == 0)
        return 0;
    log_error("parameter %s_sasl_%ssecurity_options: unknown SASL security option \"%.*s\"",
              smtp_is_lmtp ? "lmtp" : "smtp", name, (int) word.len, word.p);
    return -1;
}

int auth_open(void)
{
    if (!opt.sasl_enable)
        return 0;
    if (strcasecmp(opt.sasl_type, "cyrus") != 0) {
        log_error("parameter %s_sasl_type = %s: unsupported SASL client implementation",
                  smtp_is_lmtp ? "lmtp" : "smtp", opt.sasl_type);
        return -1;
    }
    if (*opt.sasl_password_maps == '\0') {
        log_error("%s_sasl_auth_enable = yes, but %s_sasl_password_maps names no table",
                  smtp_is_lmtp ? "lmtp" : "smtp", smtp_is_lmtp ? "lmtp" : "smtp");
        return -1;
    }
    if (strlen(opt.sasl_delimiter) != 1) {
        log_error("parameter %s_sasl_password_result_delimiter: \"%s\" is not one character",
                  smtp_is_lmtp ? "lmtp" : "smtp", opt.sasl_delimiter);
        return -1;
    }
    passwords = maps_new("smtp_sasl_password_maps", opt.sasl_password_maps, TABLE_FOLD);
    if (*opt.sasl_mechanism_filter != '\0')
        wanted = match_new("smtp_sasl_mechanism_filter", opt.sasl_mechanism_filter);
    return read_options("", opt.sasl_security_options, &without_tls) |
           read_options("tls_", opt.sasl_tls_security_options, &with_tls) |
           read_options("tls_verified_", opt.sasl_verified_security_options, &verified);
}

static bool offered(const struct session *s, const char *mechanism)
{
    struct slice rest = slice_of(s->mechanisms), one;

    while (slice_word(&rest, " \t", &one))
        if (slice_caseeq(one, mechanism))
            return true;
    return false;
}

/* NULL with *why. */
static const struct sasl_client_mech *choose(const struct session *s, struct why *why)
{
    const struct tls_info *tls = stream_tls(s->stream);
    const struct sasl_security *security = tls == NULL ? &without_tls : tls->peer_verified ? &verified : &with_tls;
    const struct sasl_client_mech *m;

    for (size_t n = 0; (m = sasl_client_at(n)) != NULL; n++) {
        enum lookup listed = wanted ? match_string(wanted, sasl_client_name(m)) : LOOKUP_FOUND;

        if (listed == LOOKUP_RETRY) {
            why_set(why, false, "4.3.0", "local data error while talking to %s", s->namaddr);
            return NULL;
        }
        if (listed == LOOKUP_FOUND && offered(s, sasl_client_name(m)) &&
            sasl_security_allows(security, sasl_client_flags(m)))
            return m;
    }
    why_set(why, false, "4.7.0",
            "SASL authentication failed; cannot authenticate to server %s: no mechanism available", s->namaddr);
    return NULL;
}

static void cannot(const struct session *s, const char *words, struct why *why)
{
    why_set(why, false, "4.7.0", "SASL authentication failed; cannot authenticate to server %s: %s", s->namaddr,
            words);
}

static void make_nonce(char out[NONCE_TEXT_BYTES])
{
    unsigned char random[NONCE_BYTES];
    struct str text;

    if (getrandom(random, sizeof random, 0) != sizeof random)
        log_fatal("getrandom: no random bytes");
    str_init(&text, NONCE_TEXT_BYTES);
    base64_encode(&text, slice_make((char *) random, sizeof random));
    snprintf(out, NONCE_TEXT_BYTES, "%s", text.p);
    str_free(&text);
}

/* One line to the server: what, and the response in base64. */
static int say(struct session *s, const char *what, const struct str *response, struct why *why)
{
    struct str line;
    int status;

    str_init(&line, STR_UNLIMITED); /* a response has SASL_CLIENT_BYTES */
    str_adds(&line, what);
    if (response)
        base64_encode(&line, str_slice(response));
    session_say(s, "%s", line.p);
    status = session_get(s, opt.helo_timeout, handshake, why);
    mem_wipe(line.p, line.len);
    str_free(&line);
    return status;
}

static int answer(struct session *s, struct sasl_client *c, struct str *out, struct why *why)
{
    struct slice text = str_slice(&s->reply.text), line;
    struct str challenge;
    struct err err;
    int rc;

    str_init(&challenge, SASL_CLIENT_BYTES);
    str_reserve(&challenge, 1);
    str_reset(out);
    slice_split(&text, '\n', &line);
    rc = base64_decode(&challenge, slice_trim(smtp_reply_words(line)));
    if (rc != 0 || str_over(&challenge))
        rc = err_set(&err, 0, NULL, "the server's challenge is no base64, or too long");
    else
        rc = sasl_client_next(c, str_slice(&challenge), out, &err);
    str_free(&challenge);
    if (rc == 0 && !str_over(out))
        return say(s, "", out, why);
    cannot(s, rc != 0 ? err.text : "the response is too long", why);
    return -1;
}

static int refused(struct session *s, struct why *why)
{
    char said[WHY_BYTES / 2];

    session_text(s, said, sizeof said);
    why_set(why, !opt.sasl_soft_bounce && s->reply.code / 100 == 5, s->reply.dsn[0] ? s->reply.dsn : "4.7.0",
            "SASL authentication failed; server %s said: %s", s->namaddr, said);
    why->dsn[0] = why->permanent ? '5' : '4';
    snprintf(why->relay, sizeof why->relay, "%s", s->relay);
    return -1;
}

static int converse(struct session *s, struct sasl_client *c, const char *name, struct why *why)
{
    char verb[64];
    struct str out;
    struct err err;
    int rc;

    str_init(&out, SASL_CLIENT_BYTES);
    bool first = sasl_client_first(c, &out);
    snprintf(verb, sizeof verb, "AUTH %s%s", name, first ? " " : "");
    if (str_over(&out)) {
        cannot(s, "the response is too long", why);
        rc = -1;
    } else {
        rc = say(s, verb, first ? &out : NULL, why);
    }
    while (rc == 0 && s->reply.code / 100 == 3)
        rc = answer(s, c, &out, why);
    if (rc == 0 && s->reply.code / 100 != 2)
        rc = refused(s, why);
    if (rc == 0 && (rc = sasl_client_end(c, &err)) != 0)
        cannot(s, err.text, why);
    mem_wipe(out.p, out.len);
    str_free(&out);
    return rc;
}

static int log_in(struct session *s, const char *user, const char *password, struct why *why)
{
    const struct sasl_client_mech *mech = choose(s, why);
    char nonce[NONCE_TEXT_BYTES];
    struct sasl_client *c;
    int rc;

    if (mech == NULL)
        return -1;
    make_nonce(nonce);
    c = sasl_client_new(mech, &(struct sasl_client_login){ .user = user,
                                                           .password = password,
                                                           .authzid = opt.send_authzid ? user : NULL,
                                                           .service = smtp_is_lmtp ? "lmtp" : "smtp",
                                                           .host = s->host,
                                                           .nonce = nonce });
    rc = converse(s, c, sasl_client_name(mech), why);
    sasl_client_free(&c);
    return rc;
}

/* Postfix's order: the sender where that is wanted, the host, the destination. */
static enum lookup find(const struct session *s, const struct deliver_request *rq, struct str *value)
{
    enum lookup found = LOOKUP_NONE;

    if (opt.sender_auth && *rq->sender && !smtp_is_lmtp)
        found = maps_address(passwords, rq->sender, MAPS_ADDRESS, value, NULL);
    if (found == LOOKUP_NONE)
        found = maps_find(passwords, s->host, false, value);
    if (found == LOOKUP_NONE)
        found = maps_find(passwords, rq->nexthop, false, value);
    return found;
}

int session_auth(struct session *s, const struct deliver_request *rq, struct why *why)
{
    struct str value;
    enum lookup found;
    char *colon;
    int status = 0;

    if (passwords == NULL || !(s->features & SMTP_EHLO_AUTH))
        return 0;
    str_init(&value, TABLE_VALUE_BYTES);
    found = find(s, rq, &value);
    if (found == LOOKUP_RETRY) {
        why_set(why, false, "4.3.0", "local data error while talking to %s",
                s->namaddr); /* the log names the table */
        status = -1;
    } else if (found == LOOKUP_FOUND && value.len > 0) {
        colon = strchr(value.p, opt.sasl_delimiter[0]);
        if (colon)
            *colon++ = '\0';
        status = log_in(s, value.p, colon ? colon : "", why);
    }
    if (value.len > 0)
        mem_wipe(value.p, value.len);
    str_free(&value);
    return status;
}
