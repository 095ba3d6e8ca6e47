/*
 * digest_md5 - DIGEST-MD5
 *
 * Ours, not libsasl2's: its plug-in knows one realm for all users, where a stored {DIGEST-MD5} belongs to the realm of
 * its own user, and the client says which that is.
 *
 * Callers     authd/mech.c
 * Invariants  each challenge is answered once; charset and algorithm stand without quotes, as the RFC has them and
 *             libcurl wants them (Dovecot quotes them)
 * Source      RFC 2831; as Dovecot, the realm becomes part of a name that has none
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* see simple.c */
#include "digest_md5.h"
#include "../authd.h"
#include "../scheme/scheme.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine.h"
#include <stdlib.h>

#include <openssl/md5.h>
#include <openssl/rand.h>

enum { NONCE_RANDOM_BYTES = 16 };
struct state {
    struct str nonce;
    bool answered;
};

static int begin(struct mech_exchange *x)
{
    unsigned char random[NONCE_RANDOM_BYTES];
    struct state *s = mem_new(sizeof *s);

    if (RAND_bytes(random, sizeof random) != 1)
        log_fatal("no random bytes");
    str_init(&s->nonce, STR_UNLIMITED);
    base64_encode(&s->nonce, slice_make((char *) random, sizeof random));
    x->state = s;
    return 0;
}

static void end(struct mech_exchange *x)
{
    struct state *s = x->state;

    str_free(&s->nonce);
    free(s);
}

static void challenge(const struct state *s, struct str *out)
{
    struct slice rest = slice_of(authd_realms), realm;
    size_t realms = 0;

    for (; slice_word(&rest, " \t,", &realm); realms++)
        str_printf(out, "realm=\"%.*s\",", (int) realm.len, realm.p);
    if (realms == 0)
        str_adds(out, "realm=\"\",");
    str_printf(out, "nonce=\"%s\",qop=\"auth\",charset=utf-8,algorithm=md5-sess", s->nonce.p);
}

/* The request's names; a name without a realm gets the one beside it. */
static int names(struct mech_exchange *x, const struct digest_md5 *d)
{
    struct slice user = d->value[DIGEST_USERNAME], realm = d->value[DIGEST_REALM];
    struct str name;
    int rc;

    str_init(&name, DIGEST_MD5_BYTES);
    str_addslice(&name, user);
    if (realm.len > 0 && slice_find(user, '@') < 0) {
        str_addc(&name, '@');
        str_addslice(&name, realm);
    }
    rc = mech_names(x, str_slice(&name), d->value[DIGEST_AUTHZID]);
    str_free(&name);
    return rc;
}

/* A password makes a secret with the name and realm just as the client wrote them. */
static void of_password(const struct digest_md5 *d, const struct str *password, unsigned char *secret)
{
    MD5_CTX ctx;

    MD5_Init(&ctx);
    MD5_Update(&ctx, d->value[DIGEST_USERNAME].p, d->value[DIGEST_USERNAME].len);
    MD5_Update(&ctx, ":", 1);
    MD5_Update(&ctx, d->value[DIGEST_REALM].p, d->value[DIGEST_REALM].len);
    MD5_Update(&ctx, ":", 1);
    MD5_Update(&ctx, password->p, password->len);
    MD5_Final(secret, &ctx);
}

static bool proven(const struct digest_md5 *d, const unsigned char *secret, struct str *out)
{
    char hex[DIGEST_MD5_HEX_BYTES + 1];
    bool fits;

    digest_md5_response(d, secret, false, hex);
    fits = scheme_equal(slice_make(hex, DIGEST_MD5_HEX_BYTES), d->value[DIGEST_RESPONSE]);
    if (fits) {
        digest_md5_response(d, secret, true, hex);
        str_printf(out, "rspauth=%s", hex);
    }
    return fits;
}

static enum mech_step check(struct mech_exchange *x, const struct digest_md5 *d, struct str *out)
{
    unsigned char secret[DIGEST_MD5_HASH_BYTES] = { 0 };
    struct str raw;
    bool plain, fits = false;

    if (names(x, d) != 0)
        return MECH_FAIL;
    str_init(&raw, SCHEME_STORED_BYTES);
    x->verdict = mech_secret(x, &plain, &raw);
    if (x->verdict == VERIFY_OK || x->verdict == VERIFY_FAIL) {
        if (plain)
            of_password(d, &raw, secret);
        else
            memcpy(secret, raw.p, raw.len < sizeof secret ? raw.len : sizeof secret);
        fits = proven(d, secret, out);
    }
    mem_wipe(secret, sizeof secret);
    mem_wipe(raw.p, raw.len);
    str_free(&raw);
    if (x->verdict == VERIFY_OK && !fits)
        return mech_mismatch(x);
    return x->verdict == VERIFY_OK ? MECH_DONE : MECH_FAIL;
}

static enum mech_step step(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct state *s = x->state;
    enum mech_step result;
    struct digest_md5 d;
    struct err err;

    if (!x->started) { /* the server begins; what the client says before is an answer to nothing */
        if (in.len > 0)
            return mech_malformed(x, "an initial response");
        challenge(s, out);
        return MECH_CONTINUE;
    }
    if (digest_md5_parse(in, &d, &err) != 0)
        result = mech_malformed(x, err.text);
    else if (s->answered || !slice_same(d.value[DIGEST_NONCE], str_slice(&s->nonce)))
        result = mech_malformed(x, "another nonce");
    else
        result = check(x, &d, out);
    s->answered = true;
    digest_md5_free(&d);
    return result;
}

const struct mech_engine mech_digest_md5 = { .begin = begin, .step = step, .end = end };
