/*
 * jwt - see jwt.h
 */
#include "jwt.h"
#include "base/codec.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

enum { RSA_BITS_MIN = 1024, KEY_BYTES = 16384, COORDINATE_MAX = 66 };
enum family { HMAC_KEY, RSA_PKCS1, RSA_PSS, ECDSA };
static const struct algorithm {
    const char *name;
    enum family family;
    const char *digest;
    const char *group; /* ECDSA */
    size_t coordinate; /* bytes of r and of s */
} algorithms[] = {
    { "HS256", HMAC_KEY, "SHA256", NULL, 0 },      { "HS384", HMAC_KEY, "SHA384", NULL, 0 },
    { "HS512", HMAC_KEY, "SHA512", NULL, 0 },      { "RS256", RSA_PKCS1, "SHA256", NULL, 0 },
    { "RS384", RSA_PKCS1, "SHA384", NULL, 0 },     { "RS512", RSA_PKCS1, "SHA512", NULL, 0 },
    { "PS256", RSA_PSS, "SHA256", NULL, 0 },       { "PS384", RSA_PSS, "SHA384", NULL, 0 },
    { "PS512", RSA_PSS, "SHA512", NULL, 0 },       { "ES256", ECDSA, "SHA256", "prime256v1", 32 },
    { "ES384", ECDSA, "SHA384", "secp384r1", 48 }, { "ES512", ECDSA, "SHA512", "secp521r1", COORDINATE_MAX },
};

static const struct algorithm *algorithm_of(const char *name)
{
    for (size_t n = 0; n < sizeof algorithms / sizeof *algorithms; n++)
        if (strcmp(name, algorithms[n].name) == 0)
            return &algorithms[n];
    return NULL;
}

/* --- its three parts --- */

/* base64url without padding. */
static int decode(struct slice in, struct arena *a, struct slice *out)
{
    struct str text, bytes;
    int rc = -1;

    str_init(&text, JWT_BYTES + 4);
    str_init(&bytes, JWT_BYTES);
    for (size_t n = 0; n < in.len; n++) {
        char c = in.p[n];
        if (c == '+' || c == '/' || c == '=')
            goto end;
        str_addc(&text, c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (text.len % 4 != 0)
        str_addc(&text, '=');
    rc = str_over(&text) ? -1 : base64_decode(&bytes, str_slice(&text));
    if (rc == 0)
        *out = slice_make(arena_strndup(a, bytes.p, bytes.len), bytes.len);
end:
    str_free(&text);
    mem_wipe(bytes.p, bytes.len);
    str_free(&bytes);
    return rc;
}

static int header(struct slice part, struct arena *a, struct jwt *out, struct err *err)
{
    struct claims *h = arena_alloc(a, sizeof *h);
    struct slice json;
    const char *type, *key;

    if (decode(part, a, &json) != 0 || json.len == 0)
        return err_set(err, 0, NULL, "Not a JWT token");
    if (claims_parse(json, a, h, err) != 0)
        return -1;
    type = claims_get(h, "typ");
    if (type == NULL || strcmp(type, "JWT") != 0)
        return err_set(err, 0, NULL, "Cannot find 'typ' field");
    if ((out->algorithm = claims_get(h, "alg")) == NULL)
        return err_set(err, 0, NULL, "Cannot find 'alg' field");
    if (algorithm_of(out->algorithm) == NULL)
        return err_set(err, 0, NULL, "Unsupported algorithm '%.20s'", out->algorithm);
    if (claims_get(h, "crit")) /* RFC 7515 4.1.11: what must be understood, and is not */
        return err_set(err, 0, NULL, "the token has critical extensions");
    key = claims_get(h, "kid");
    if (key && key[0] == '\0')
        return err_set(err, 0, NULL, "'kid' field is empty");
    out->key_id = key ? key : "default";
    return 0;
}

int jwt_parse(struct slice token, struct arena *a, struct jwt *out, struct err *err)
{
    struct slice rest = token, head, body, json;

    out->claims.count = 0;
    if (token.len > JWT_BYTES || !slice_split(&rest, '.', &head) || !slice_split(&rest, '.', &body) ||
        rest.p == NULL || slice_find(rest, '.') >= 0)
        return err_set(err, 0, NULL, "Not a JWT token");
    out->covered = slice_make(token.p, head.len + 1 + body.len);
    if (header(head, a, out, err) != 0)
        return -1;
    if (decode(body, a, &json) != 0 || decode(rest, a, &out->signature) != 0)
        return err_set(err, 0, NULL, "the token is not base64url");
    if (claims_parse(json, a, &out->claims, err) != 0)
        return -1;
    out->party = claims_get(&out->claims, "azp");
    if (out->party == NULL || out->party[0] == '\0')
        out->party = "default";
    return 0;
}

/* --- what it says --- */

/* 1; 0: absent; -1: no time. */
static int seconds(const struct claims *c, const char *name, int64_t *out)
{
    const char *text = claims_get(c, name);

    if (text == NULL)
        return 0;
    return claims_seconds(text, out) == 0 ? 1 : -1;
}

static int times(const struct claims *c, int64_t now, struct err *err)
{
    int64_t expires = 0, from = 0, issued = 0;
    int rc = seconds(c, "exp", &expires);

    if (rc < 1)
        return err_set(err, 0, NULL, "%s 'exp' field", rc == 0 ? "Missing" : "Malformed");
    if (seconds(c, "nbf", &from) < 0)
        return err_set(err, 0, NULL, "Malformed 'nbf' field");
    if (seconds(c, "iat", &issued) < 0)
        return err_set(err, 0, NULL, "Malformed 'iat' field");
    if (from > now)
        return err_set(err, 0, NULL, "Token is not valid yet");
    if (issued > now)
        return err_set(err, 0, NULL, "Token is issued in future");
    if (expires < now)
        return err_set(err, 0, NULL, "Token has expired");
    return 0;
}

static int scopes(const struct claims *c, const char *wanted, struct err *err)
{
    const char *scope = claims_get(c, "scope");
    struct slice rest = slice_of(wanted), word;

    while (slice_word(&rest, " ", &word)) {
        if (scope == NULL)
            return err_set(err, 0, NULL, "scope set but not found in token");
        if (!claims_list(scope, " ,\t", word))
            return err_set(err, 0, NULL, "configured scope '%.*s' missing from token scope '%.128s'", (int) word.len,
                           word.p, scope);
    }
    return 0;
}

int jwt_valid(const struct jwt *t, int64_t now, const struct jwt_wanted *wanted, struct err *err)
{
    const struct claims *c = &t->claims;
    const char *issuer = claims_get(c, "iss"), *audience = claims_get(c, "aud");

    if (claims_get(c, "sub") == NULL)
        return err_set(err, 0, NULL, "Missing 'sub' field");
    if (times(c, now, err) != 0)
        return -1;
    if (wanted->issuers[0] && (issuer == NULL || issuer[0] == '\0'))
        return err_set(err, 0, NULL, "Token is missing 'iss' field");
    if (wanted->issuers[0] && !claims_list(wanted->issuers, " ", slice_of(issuer)))
        return err_set(err, 0, NULL, "Issuer '%.128s' is not allowed", issuer);
    if (wanted->client_id[0] && audience == NULL)
        return err_set(err, 0, NULL, "client_id set but aud is missing");
    if (wanted->client_id[0] && !claims_list(audience, " \t", slice_of(wanted->client_id)))
        return err_set(err, 0, NULL, "client_id not found in aud field");
    return scopes(c, wanted->scope, err);
}

/* --- its signature --- */

static int by_hmac(const struct jwt *t, const struct algorithm *how, struct slice file, struct err *err)
{
    unsigned char made[EVP_MAX_MD_SIZE];
    unsigned made_len = 0;
    struct str key;
    bool fits = false;

    str_init(&key, KEY_BYTES);
    if (base64_decode(&key, slice_trim(file)) != 0 || key.len == 0) {
        str_free(&key);
        return err_set(err, 0, NULL, "Invalid base64 encoded key");
    }
    if (HMAC(EVP_get_digestbyname(how->digest), key.p, (int) key.len, (const unsigned char *) t->covered.p,
             t->covered.len, made, &made_len))
        fits = made_len == t->signature.len && CRYPTO_memcmp(made, t->signature.p, made_len) == 0;
    mem_wipe(key.p, key.len);
    mem_wipe(made, sizeof made);
    str_free(&key);
    return fits ? 0 : err_set(err, 0, NULL, "Incorrect JWT signature");
}

/* r and s one behind the other, as RFC 7518 3.4 has it, become what OpenSSL wants. NULL: not of that length. */
static unsigned char *der_of(struct slice raw, size_t coordinate, int *len)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    const unsigned char *p = (const unsigned char *) raw.p;
    unsigned char *der = NULL;

    if (sig && raw.len == 2 * coordinate) {
        BIGNUM *r = BN_bin2bn(p, (int) coordinate, NULL), *s = BN_bin2bn(p + coordinate, (int) coordinate, NULL);
        if (ECDSA_SIG_set0(sig, r, s) == 1)
            *len = i2d_ECDSA_SIG(sig, &der);
    }
    ECDSA_SIG_free(sig);
    return der;
}

static EVP_PKEY *public_key(struct slice file)
{
    BIO *b = BIO_new_mem_buf(file.p, (int) file.len);
    EVP_PKEY *key = b ? PEM_read_bio_PUBKEY(b, NULL, NULL, NULL) : NULL;

    BIO_free(b);
    return key;
}

static bool key_fits(EVP_PKEY *key, const struct algorithm *how)
{
    char group[64];

    if (how->family != ECDSA)
        return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           strcmp(group, how->group) == 0;
}

static bool verify(EVP_PKEY *key, const struct algorithm *how, struct slice text, const unsigned char *sig,
                   size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;
    bool good = ctx && EVP_DigestVerifyInit_ex(ctx, &settings, how->digest, NULL, NULL, key, NULL) == 1;

    if (good && how->family == RSA_PSS)
        good = EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1;
    good = good && EVP_DigestVerify(ctx, sig, len, (const unsigned char *) text.p, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

static int by_key(const struct jwt *t, const struct algorithm *how, struct slice file, struct err *err)
{
    EVP_PKEY *key = public_key(file);
    const unsigned char *sig = (const unsigned char *) t->signature.p;
    unsigned char *der = NULL;
    int len = (int) t->signature.len;
    bool good = false;

    ERR_clear_error();
    if (key == NULL || !key_fits(key, how)) {
        EVP_PKEY_free(key);
        return err_set(err, 0, NULL, "Cannot load key: not a public key in PEM that fits %s", how->name);
    }
    if (how->family == ECDSA)
        sig = der = der_of(t->signature, how->coordinate, &len);
    if (sig && len > 0)
        good = verify(key, how, t->covered, sig, (size_t) len);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return good ? 0 : err_set(err, 0, NULL, "Bad signature");
}

int jwt_signed(const struct jwt *t, struct slice key, struct err *err)
{
    const struct algorithm *how = algorithm_of(t->algorithm);

    if (how == NULL)
        return err_set(err, 0, NULL, "Unsupported algorithm '%.20s'", t->algorithm);
    return how->family == HMAC_KEY ? by_hmac(t, how, key, err) : by_key(t, how, key, err);
}
