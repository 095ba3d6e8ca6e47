/*
 * client - the table of mechanisms, and those that need no more than a line; contract in client.h
 */
#include "base/codec.h"
#include "base/mem.h"
#include "client_internal.h"
#include "proto/sasl/dovecot_auth.h"
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdlib.h>

static bool plain_first(struct sasl_client *c, struct str *out)
{
    str_adds(out, c->authzid);
    str_addc(out, '\0');
    str_adds(out, c->user);
    str_addc(out, '\0');
    str_adds(out, c->password);
    return true;
}

static int plain_next(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    (void) c;
    (void) challenge;
    (void) out;
    return err_set(err, 0, NULL, "the server asks for more than PLAIN has");
}

static int login_next(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    (void) challenge; /* "User Name", "Username:": servers differ, the order does not */
    if (c->step > 2)
        return err_set(err, 0, NULL, "the server asks for more than LOGIN has");
    str_adds(out, c->step == 1 ? c->user : c->password);
    return 0;
}

static int cram_next(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (c->step > 1 || HMAC(EVP_md5(), c->password, (int) strlen(c->password), (const unsigned char *) challenge.p,
                            challenge.len, mac, &len) == NULL)
        return err_set(err, 0, NULL, "the server asks for more than CRAM-MD5 has");
    str_adds(out, c->user);
    str_addc(out, ' ');
    hex_encode(out, slice_make((char *) mac, len));
    return 0;
}

/* The strongest first. */
static const struct sasl_client_mech mechs[] = {
    { "SCRAM-SHA-256", DOVECOT_AUTH_MUTUAL | DOVECOT_AUTH_DICTIONARY, true, sasl_client_scram_first,
      sasl_client_scram_next, EVP_sha256 },
    { "SCRAM-SHA-1", DOVECOT_AUTH_MUTUAL | DOVECOT_AUTH_DICTIONARY, true, sasl_client_scram_first,
      sasl_client_scram_next, EVP_sha1 },
    { "DIGEST-MD5", DOVECOT_AUTH_MUTUAL | DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE, true, NULL,
      sasl_client_digest_next, NULL },
    { "CRAM-MD5", DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE, false, NULL, cram_next, NULL },
    { "PLAIN", DOVECOT_AUTH_PLAINTEXT | DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE, false, plain_first, plain_next,
      NULL },
    { "LOGIN", DOVECOT_AUTH_PLAINTEXT | DOVECOT_AUTH_DICTIONARY | DOVECOT_AUTH_ACTIVE, false, NULL, login_next,
      NULL },
};

const char *sasl_client_name(const struct sasl_client_mech *m) { return m->name; }
unsigned sasl_client_flags(const struct sasl_client_mech *m) { return m->flags; }
const struct sasl_client_mech *sasl_client_at(size_t n)
{
    return n < sizeof mechs / sizeof *mechs ? &mechs[n] : NULL;
}

static char *copy(const char *text) { return mem_strdup(text ? text : ""); }

struct sasl_client *sasl_client_new(const struct sasl_client_mech *mech, const struct sasl_client_login *login)
{
    struct sasl_client *c = mem_new(sizeof *c);

    c->mech = mech;
    c->user = copy(login->user);
    c->password = copy(login->password);
    c->authzid = copy(login->authzid);
    c->service = copy(login->service);
    c->host = copy(login->host);
    c->nonce = copy(login->nonce);
    str_init(&c->expected, SASL_CLIENT_BYTES);
    return c;
}

void sasl_client_free(struct sasl_client **cp)
{
    struct sasl_client *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    mem_wipe(c->password, strlen(c->password));
    mem_wipe(c->expected.p, c->expected.len);
    str_free(&c->expected);
    free(c->user);
    free(c->password);
    free(c->authzid);
    free(c->service);
    free(c->host);
    free(c->nonce);
    free(c);
}

bool sasl_client_first(struct sasl_client *c, struct str *out) { return c->mech->first && c->mech->first(c, out); }

int sasl_client_next(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    c->step++;
    return c->mech->next(c, challenge, out, err);
}

int sasl_client_proof(struct sasl_client *c, struct slice given, struct err *err)
{
    c->proven = given.len == c->expected.len && given.len > 0 &&
                CRYPTO_memcmp(given.p, c->expected.p, given.len) == 0;
    return c->proven ? 0 : err_set(err, 0, NULL, "the server does not know the password either");
}

int sasl_client_end(const struct sasl_client *c, struct err *err)
{
    if (c->mech->mutual && !c->proven)
        return err_set(err, 0, NULL, "the server has not proven that it knows the password");
    return 0;
}
