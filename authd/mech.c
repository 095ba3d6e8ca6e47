/*
 * mech - the table of mechanisms
 *
 * Callers     see mech.h
 */
#include "mech.h"
#include "authd.h"
#include "base/log.h"
#include "mech/engine.h"
#include "proto/sasl/dovecot_auth.h"
#include <stdlib.h>

static const struct mech supported[] = {
    { "PLAIN", DOVECOT_AUTH_PLAINTEXT, true, &mech_cyrus, NULL, false },
    { "LOGIN", DOVECOT_AUTH_PLAINTEXT, false, &mech_cyrus, NULL, false },
    { "CRAM-MD5", DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE, false, &mech_cyrus, "CRAM-MD5", false },
    { "DIGEST-MD5", DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE | DOVECOT_AUTH_MUTUAL, false, &mech_digest_md5,
      "DIGEST-MD5", false },
    { "SCRAM-SHA-1", DOVECOT_AUTH_MUTUAL, true, &mech_cyrus, "SCRAM-SHA-1", false },
    { "SCRAM-SHA-1-PLUS", DOVECOT_AUTH_MUTUAL | DOVECOT_AUTH_CHANNEL_BINDING, true, &mech_cyrus, "SCRAM-SHA-1",
      false },
    { "SCRAM-SHA-256", DOVECOT_AUTH_MUTUAL, true, &mech_cyrus, "SCRAM-SHA-256", false },
    { "SCRAM-SHA-256-PLUS", DOVECOT_AUTH_MUTUAL | DOVECOT_AUTH_CHANNEL_BINDING, true, &mech_cyrus, "SCRAM-SHA-256",
      false },
    { "EXTERNAL", 0, true, &mech_external, NULL, false },
    { "ANONYMOUS", DOVECOT_AUTH_ANONYMOUS, true, &mech_anonymous, NULL, false },
    { "APOP", DOVECOT_AUTH_PRIVATE | DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE, true, &mech_apop, "PLAIN",
      false },
    { "OAUTHBEARER", DOVECOT_AUTH_PLAINTEXT, true, &mech_oauthbearer, NULL, true },
    { "XOAUTH2", DOVECOT_AUTH_PLAINTEXT, true, &mech_xoauth2, NULL, true },
};
enum { MECHS_MAX = sizeof supported / sizeof *supported, OFFERED_MAX = 32 };
static const struct mech *offered[OFFERED_MAX]; /* set once, before the jail */
static size_t offered_count;

static int choose(struct slice word, struct err *err)
{
    for (size_t i = 0; i < MECHS_MAX; i++)
        if (slice_caseeq(word, supported[i].name)) {
            if (mech_find(word) == NULL)
                offered[offered_count++] = &supported[i];
            return 0;
        }
    return err_set(err, 0, NULL, "unknown mechanism %.*s", (int) word.len, word.p);
}

/* A machine without users yet may start with the default mechanisms. */
static bool served(const struct mech *m)
{
    if (m->flags & DOVECOT_AUTH_ANONYMOUS)
        return true;
    if (m->flags & DOVECOT_AUTH_PLAINTEXT && !m->token && authd_passdbs[0] == '\0')
        return true;
    return authd_passdb_serves(m->name, m->stored  ? PASSDB_NEEDS_STORED
                                        : m->token ? PASSDB_NEEDS_TOKENS
                                                   : PASSDB_NEEDS_PASSWORD);
}

static int choose_all(struct slice rest, struct err *err)
{
    struct slice word;

    while (slice_word(&rest, " \t,", &word))
        if (choose(word, err) != 0)
            return -1;
    if (offered_count == 0)
        return err_set(err, 0, NULL, "no mechanism");
    for (size_t i = 0; i < offered_count; i++)
        if (!served(offered[i]))
            return err_set(err, 0, NULL, "%s mechanism can't be supported with given passdbs (auth_passdb)%s",
                           offered[i]->name,
                           offered[i]->stored  ? ": it needs one that tells the stored password"
                           : offered[i]->token ? ": it needs oauth2"
                                               : "");
    return 0;
}

int mech_init(const char *mechanisms)
{
    struct err err;

    if (choose_all(slice_of(mechanisms), &err) != 0) {
        authd_parameter_error("auth_mechanisms", &err);
        return -1;
    }
    for (size_t i = 0; i < offered_count; i++) {
        const struct mech_engine *e = offered[i]->engine;
        bool seen = false;
        for (size_t n = 0; n < i; n++)
            seen |= offered[n]->engine == e;
        if ((!seen && e->init && e->init() != 0) || (e->has && !e->has(offered[i]->name)))
            return -1;
    }
    return 0;
}

int mech_offer(const struct mech *m)
{
    if (offered_count == OFFERED_MAX)
        return -1;
    offered[offered_count++] = m;
    return 0;
}

size_t mech_count(void) { return offered_count; }
const struct mech *mech_at(size_t n) { return offered[n]; }

const struct mech *mech_find(struct slice name)
{
    for (size_t i = 0; i < offered_count; i++)
        if (slice_caseeq(name, offered[i]->name))
            return offered[i];
    return NULL;
}

struct mech_exchange *mech_new(const struct mech *mech, struct authd_request *request, const struct mech_front *front)
{
    struct mech_exchange *x = mem_new(sizeof *x);

    *x = (struct mech_exchange){ .mech = mech, .request = request, .front = front, .verdict = VERIFY_FAIL };
    return x;
}

void mech_free(struct mech_exchange **exchange)
{
    struct mech_exchange *x = *exchange;

    if (x && x->state && x->mech->engine->end)
        x->mech->engine->end(x);
    free(x);
    *exchange = NULL;
}

enum mech_step mech_step(struct mech_exchange *x, struct slice in, struct str *out)
{
    const struct mech_engine *e = x->mech->engine;
    enum mech_step step;

    if (in.p == NULL && x->mech->client_first)
        return MECH_CONTINUE;
    if (!x->started && e->begin && e->begin(x) != 0)
        return MECH_FAIL;
    step = e->step(x, in, out);
    x->started = true;
    return step;
}

enum verify_answer mech_result(const struct mech_exchange *x) { return x->verdict; }
const char *mech_reason(const struct mech_exchange *x) { return x->reason; }
bool mech_refused(const struct mech_exchange *x) { return x->refused; }

int mech_names(struct mech_exchange *x, struct slice user, struct slice authzid)
{
    struct authd_request *r = x->request;
    struct err err;

    if (authd_request_name(r, user, &err) == 0 && authd_request_login_as(r, authzid, &err) == 0)
        return 0;
    authd_request_info(r, "%s", err.text);
    r->user = "";
    return -1;
}

enum mech_step mech_mismatch(struct mech_exchange *x)
{
    x->verdict = VERIFY_FAIL;
    if (authd_verbose)
        authd_request_info(x->request, "Password mismatch");
    return MECH_FAIL;
}

enum mech_step mech_malformed(struct mech_exchange *x, const char *what)
{
    x->verdict = VERIFY_FAIL;
    if (authd_verbose)
        authd_request_info(x->request, "%s: malformed: %.200s", x->mech->name, what);
    return MECH_FAIL;
}
