/*
 * oauth - OAUTHBEARER and XOAUTH2: a user's name and a bearer token
 *
 * Callers     authd/mech.c
 * Invariants  the token goes to the passdbs as a password does
 *             a refused token is told as a challenge in JSON; whatever the client answers, the exchange has failed then.
 *             What may be better later is told at once
 * Source      RFC 7628; XOAUTH2 as Google wrote it; the members of the JSON text are Dovecot 2.3's
 */
#include "base/mem.h"
#include "engine.h"
#include "oauth_parse.h"

static void add_json(struct str *out, const char *name, const char *value)
{
    str_printf(out, "%c\"%s\":\"", out->len == 0 ? '{' : ',', name);
    for (; *value; value++)
        if (*value == '"' || *value == '\\' || (unsigned char) *value < ' ')
            str_printf(out, "\\u%04x", (unsigned) (unsigned char) *value);
        else
            str_addc(out, *value);
    str_addc(out, '"');
}

static void end_json(const struct mech_exchange *x, struct str *out)
{
    if (x->request->openid[0])
        add_json(out, "openid-configuration", x->request->openid);
    str_addc(out, '}');
}

static enum mech_step check(struct mech_exchange *x, const struct oauth_message *m)
{
    if (mech_names(x, m->user, SLICE("")) != 0)
        return MECH_FAIL;
    x->verdict = authd_verify(x->request, m->token);
    if (x->verdict == VERIFY_OK)
        return MECH_DONE;
    x->refused = x->verdict != VERIFY_LATER;
    return x->refused ? MECH_CONTINUE : MECH_FAIL;
}

static enum mech_step bearer(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct oauth_message m;
    const char *why;
    enum mech_step step;

    if (x->refused)
        return MECH_FAIL;
    if ((why = oauth_parse_bearer(in, &m)) != NULL)
        return mech_malformed(x, why);
    step = check(x, &m);
    if (step != MECH_CONTINUE)
        return step;
    add_json(out, "status", "invalid_token");
    end_json(x, out);
    return step;
}

static enum mech_step xoauth2(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct oauth_message m;
    const char *why;
    enum mech_step step;

    if (x->refused)
        return MECH_FAIL;
    if ((why = oauth_parse_xoauth2(in, &m)) != NULL)
        return mech_malformed(x, why);
    step = check(x, &m);
    if (step != MECH_CONTINUE)
        return step;
    add_json(out, "status", "401");
    add_json(out, "schemes", "bearer");
    add_json(out, "scope", "mail");
    end_json(x, out);
    return step;
}

const struct mech_engine mech_oauthbearer = { .step = bearer };
const struct mech_engine mech_xoauth2 = { .step = xoauth2 };
