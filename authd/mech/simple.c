/*
 * simple - mechanisms of one message: EXTERNAL, ANONYMOUS, APOP
 *
 * Callers     authd/mech.c
 * Invariants  EXTERNAL takes the name of a certificate that the front end has verified, and never one of the client's;
 *             the passdb must allow that user to come without a password (nopassword)
 *             a challenge of APOP is taken only from the connection that showed it
 * Source      RFC 4422 appendix A, RFC 4505, RFC 1939 section 7
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* MD5 must be there whatever providers are loaded */
#include "../authd.h"
#include "../scheme/scheme.h"
#include "base/codec.h"
#include "base/mem.h"
#include "engine.h"
#include "proto/sasl/dovecot_auth.h"

#include <openssl/md5.h>

static enum mech_step external(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct authd_request *r = x->request;

    (void) out;
    if (!authd_username_from_cert || !r->peer.valid_client_cert || r->peer.cert_username[0] == '\0') {
        authd_request_info(r, "%s",
                           !authd_username_from_cert ? "auth_ssl_username_from_cert = no: EXTERNAL has no name to use"
                           : !r->peer.valid_client_cert ? "the client has shown no valid certificate"
                                                        : "the client's certificate names no user");
        return MECH_FAIL;
    }
    if (mech_names(x, slice_of(r->peer.cert_username), in) != 0)
        return MECH_FAIL;
    x->verdict = authd_verify(r, SLICE(""));
    return x->verdict == VERIFY_OK ? MECH_DONE : MECH_FAIL;
}

static enum mech_step anonymous(struct mech_exchange *x, struct slice in, struct str *out)
{
    enum { TRACE_BYTES = 255 }; /* RFC 4505: letters, an address perhaps, of the client's own choice */
    struct authd_request *r = x->request;
    char trace[TRACE_BYTES + 1];
    size_t len = 0;

    (void) out;
    for (; len < in.len && len < TRACE_BYTES; len++)
        trace[len] = ascii_isprint(in.p[len]) ? in.p[len] : '?';
    trace[len] = '\0';
    r->user = authd_anonymous_username;
    r->original_user = r->user;
    authd_fields_add(&r->fields, r->arena, "anonymous", NULL);
    authd_request_info(r, "anonymous login, trace <%s>", trace);
    r->successful = true;
    x->verdict = VERIFY_OK;
    return MECH_DONE;
}

/* "<pid.connection. ...>": what our greeting on this connection said, in hex. */
static bool challenge_ours(const struct mech_exchange *x, struct slice challenge)
{
    return slice_starts(challenge, x->front->challenge) && challenge.len > strlen(x->front->challenge) &&
           challenge.p[challenge.len - 1] == '>';
}

static bool digest_fits(struct slice challenge, struct slice password, struct slice digest)
{
    unsigned char made[MD5_DIGEST_LENGTH];
    MD5_CTX ctx;
    bool fits;

    MD5_Init(&ctx);
    MD5_Update(&ctx, challenge.p, challenge.len);
    MD5_Update(&ctx, password.p, password.len);
    MD5_Final(made, &ctx);
    fits = scheme_equal(slice_make((char *) made, sizeof made), digest);
    mem_wipe(made, sizeof made);
    return fits;
}

/* challenge NUL user NUL digest, its 16 bytes as they are. */
static enum mech_step apop(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct slice rest = in, challenge, user;
    struct str password;
    bool fits = false;

    (void) out;
    if (!slice_split(&rest, '\0', &challenge) || !slice_split(&rest, '\0', &user) || rest.len != MD5_DIGEST_LENGTH)
        return mech_malformed(x, "not a challenge, a user and a digest");
    if (!challenge_ours(x, challenge))
        return mech_malformed(x, "a challenge of another connection");
    if (mech_names(x, user, SLICE("")) != 0)
        return MECH_FAIL;
    str_init(&password, SCHEME_STORED_BYTES);
    x->verdict = mech_secret(x, NULL, &password);
    if (x->verdict == VERIFY_OK || x->verdict == VERIFY_FAIL)
        fits = digest_fits(challenge, str_slice(&password), rest);
    mem_wipe(password.p, password.len);
    str_free(&password);
    if (x->verdict == VERIFY_OK && !fits)
        return mech_mismatch(x);
    return x->verdict == VERIFY_OK ? MECH_DONE : MECH_FAIL;
}

const struct mech_engine mech_external = { .step = external };
const struct mech_engine mech_anonymous = { .step = anonymous };
const struct mech_engine mech_apop = { .step = apop };
