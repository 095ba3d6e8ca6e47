#include "jwt.h"
#include "base/codec.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

enum { NOW = 1000000 };
#define SECRET "0123456789abcdef0123456789abcdef"
#define GOOD   "{\"sub\":\"u\",\"exp\":1000100}"

struct key {
    EVP_PKEY *pair;
    char *pem; /* its public half */
};
static struct key rsa, other_rsa, p256, p384, p521;

static struct key key_of(EVP_PKEY *pair)
{
    BIO *b = BIO_new(BIO_s_mem());
    struct key k = { .pair = pair };
    char *text;

    assert(pair && PEM_write_bio_PUBKEY(b, pair) == 1);
    long len = BIO_get_mem_data(b, &text);
    k.pem = mem_strndup(text, (size_t) len);
    BIO_free(b);
    return k;
}

static void encode(struct str *out, struct slice in)
{
    struct str plain;

    str_init(&plain, STR_UNLIMITED);
    base64_encode(&plain, in);
    for (size_t n = 0; n < plain.len && plain.p[n] != '='; n++)
        str_addc(out, plain.p[n] == '+' ? '-' : plain.p[n] == '/' ? '_' : plain.p[n]);
    str_free(&plain);
}

/* "header.claims" */
static void begin(struct str *out, const char *header, const char *claims)
{
    str_reset(out);
    encode(out, slice_of(header));
    str_addc(out, '.');
    encode(out, slice_of(claims));
}

static void end(struct str *token, const void *signature, size_t len)
{
    str_addc(token, '.');
    encode(token, slice_make(signature, len));
}

static void sign_hmac(struct str *token, const char *digest, struct slice key)
{
    unsigned char made[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    HMAC(EVP_get_digestbyname(digest), key.p, (int) key.len, (unsigned char *) token->p, token->len, made, &len);
    end(token, made, len);
}

/* coordinate > 0: r and s as JWS has them. */
static void sign_key(struct str *token, const char *digest, EVP_PKEY *key, size_t coordinate, bool pss)
{
    unsigned char made[1024], raw[256];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *set;
    size_t len = sizeof made;

    assert(EVP_DigestSignInit_ex(ctx, &set, digest, NULL, NULL, key, NULL) == 1);
    if (pss)
        assert(EVP_PKEY_CTX_set_rsa_padding(set, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(set, RSA_PSS_SALTLEN_DIGEST) == 1);
    assert(EVP_DigestSign(ctx, made, &len, (unsigned char *) token->p, token->len) == 1);
    EVP_MD_CTX_free(ctx);
    if (coordinate > 0) {
        const unsigned char *p = made;
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long) len);
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int) coordinate);
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + coordinate, (int) coordinate);
        ECDSA_SIG_free(sig);
        end(token, raw, 2 * coordinate);
    } else {
        end(token, made, len);
    }
}

/* NULL: it is good; else why not. The text lives until the next call. */
static const char *judge(struct slice token, struct slice key, const struct jwt_wanted *wanted)
{
    static const struct jwt_wanted anything = { "", "", "" };
    static struct err err;
    struct arena *a = arena_new();
    struct jwt *t = arena_alloc(a, sizeof *t);
    int rc;

    err.text[0] = '\0';
    rc = jwt_parse(token, a, t, &err) != 0 || jwt_valid(t, NOW, wanted ? wanted : &anything, &err) != 0 ||
                 jwt_signed(t, key, &err) != 0
             ? -1
             : 0;
    arena_free(&a);
    assert((rc == 0) == (err.text[0] == '\0'));
    return rc == 0 ? NULL : err.text;
}

static void expect(const char *why, const char *got)
{
    if ((why == NULL) != (got == NULL) || (why && strstr(got, why) == NULL)) {
        fprintf(stderr, "expected %s, got %s\n", why ? why : "success", got ? got : "success");
        abort();
    }
}

static void base64_of(struct str *out, const char *bytes)
{
    str_reset(out);
    base64_encode(out, slice_of(bytes));
    str_addc(out, '\n');
}

static void test_algorithms(void)
{
    static const char *const sizes[] = { "256", "384", "512" };
    const struct key *curves[] = { &p256, &p384, &p521 };
    static const size_t coordinates[] = { 32, 48, 66 };
    struct str token, key;
    char header[64], digest[16];

    str_init(&token, STR_UNLIMITED);
    str_init(&key, STR_UNLIMITED);
    base64_of(&key, SECRET);
    for (size_t n = 0; n < 3; n++) {
        snprintf(digest, sizeof digest, "SHA%s", sizes[n]);
        snprintf(header, sizeof header, "{\"typ\":\"JWT\",\"alg\":\"HS%s\"}", sizes[n]);
        begin(&token, header, GOOD);
        sign_hmac(&token, digest, SLICE(SECRET));
        expect(NULL, judge(str_slice(&token), str_slice(&key), NULL));
        snprintf(header, sizeof header, "{\"typ\":\"JWT\",\"alg\":\"RS%s\"}", sizes[n]);
        begin(&token, header, GOOD);
        sign_key(&token, digest, rsa.pair, 0, false);
        expect(NULL, judge(str_slice(&token), slice_of(rsa.pem), NULL));
        expect("Bad signature", judge(str_slice(&token), slice_of(other_rsa.pem), NULL));
        snprintf(header, sizeof header, "{\"typ\":\"JWT\",\"alg\":\"PS%s\"}", sizes[n]);
        begin(&token, header, GOOD);
        sign_key(&token, digest, rsa.pair, 0, true);
        expect(NULL, judge(str_slice(&token), slice_of(rsa.pem), NULL));
        snprintf(header, sizeof header, "{\"typ\":\"JWT\",\"alg\":\"ES%s\"}", sizes[n]);
        begin(&token, header, GOOD);
        sign_key(&token, digest, curves[n]->pair, coordinates[n], false);
        expect(NULL, judge(str_slice(&token), slice_of(curves[n]->pem), NULL));
        expect("Cannot load key", judge(str_slice(&token), slice_of(curves[(n + 1) % 3]->pem), NULL));
        expect("Cannot load key", judge(str_slice(&token), slice_of(rsa.pem), NULL));
    }
    str_free(&key);
    str_free(&token);
}

/* Each bit of the signature and of the text counts. */
static void test_tampering(void)
{
    struct str token, key;

    str_init(&token, STR_UNLIMITED);
    str_init(&key, STR_UNLIMITED);
    base64_of(&key, SECRET);
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", GOOD);
    sign_hmac(&token, "SHA256", SLICE(SECRET));
    for (size_t n = 0; n + 1 < token.len; n++) { /* the last character has bits that stand for nothing */
        char was = token.p[n];
        token.p[n] = was == 'A' ? 'B' : 'A';
        assert(judge(str_slice(&token), str_slice(&key), NULL) != NULL);
        token.p[n] = was;
        assert(judge(slice_sub(str_slice(&token), 0, n), str_slice(&key), NULL) != NULL);
    }
    expect(NULL, judge(str_slice(&token), str_slice(&key), NULL));
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"ES256\"}", GOOD);
    sign_key(&token, "SHA256", p256.pair, 0, false); /* DER is not JWS's form */
    expect("Bad signature", judge(str_slice(&token), slice_of(p256.pem), NULL));
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"RS256\"}", GOOD);
    sign_key(&token, "SHA256", rsa.pair, 0, true);
    expect("Bad signature", judge(str_slice(&token), slice_of(rsa.pem), NULL));
    str_free(&key);
    str_free(&token);
}

/* An attacker knows the public key: it must not serve as HMAC's secret, in any form a file may have it. */
static void test_confusion(void)
{
    struct str token, key;

    str_init(&token, STR_UNLIMITED);
    str_init(&key, STR_UNLIMITED);
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", GOOD);
    sign_hmac(&token, "SHA256", slice_of(rsa.pem));
    expect("Invalid base64", judge(str_slice(&token), slice_of(rsa.pem), NULL));
    base64_of(&key, SECRET);
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"RS256\"}", GOOD);
    sign_hmac(&token, "SHA256", SLICE(SECRET));
    expect("Cannot load key", judge(str_slice(&token), str_slice(&key), NULL));
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", GOOD);
    sign_hmac(&token, "SHA256", SLICE(""));
    expect("Invalid base64", judge(str_slice(&token), SLICE("\n"), NULL));
    str_free(&key);
    str_free(&token);
}

static const struct {
    const char *header, *why;
} headers[] = {
    { "{\"typ\":\"JWT\",\"alg\":\"none\"}", "Unsupported algorithm 'none'" },
    { "{\"typ\":\"JWT\",\"alg\":\"NONE\"}", "Unsupported algorithm" },
    { "{\"typ\":\"JWT\",\"alg\":\"\"}", "Unsupported algorithm" },
    { "{\"typ\":\"JWT\",\"alg\":\"HS1\"}", "Unsupported algorithm" },
    { "{\"typ\":\"JWT\",\"alg\":\"hs256\"}", "Unsupported algorithm" },
    { "{\"typ\":\"JWT\",\"alg\":\"EdDSA\"}", "Unsupported algorithm" },
    { "{\"typ\":\"JWT\"}", "Cannot find 'alg' field" },
    { "{\"alg\":\"HS256\"}", "Cannot find 'typ' field" },
    { "{\"typ\":\"at+jwt\",\"alg\":\"HS256\"}", "Cannot find 'typ' field" },
    { "{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"\"}", "'kid' field is empty" },
    { "{\"typ\":\"JWT\",\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "critical" },
    { "{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"k\"}", NULL },
};
static const struct {
    const char *claims, *issuers, *client_id, *scope, *why;
} bodies[] = {
    { "{\"sub\":\"u\",\"exp\":1000000}", "", "", "", NULL },
    { "{\"sub\":\"u\",\"exp\":999999}", "", "", "", "Token has expired" },
    { "{\"sub\":\"u\",\"exp\":0}", "", "", "", "Token has expired" },
    { "{\"sub\":\"u\",\"exp\":1000100.75}", "", "", "", NULL },
    { "{\"sub\":\"u\",\"exp\":\"1000100\"}", "", "", "", NULL },
    { "{\"sub\":\"u\",\"exp\":\"soon\"}", "", "", "", "Malformed 'exp'" },
    { "{\"sub\":\"u\",\"exp\":-1}", "", "", "", "Malformed 'exp'" },
    { "{\"sub\":\"u\",\"exp\":1e99}", "", "", "", "Malformed 'exp'" },
    { "{\"sub\":\"u\"}", "", "", "", "Missing 'exp'" },
    { "{\"exp\":1000100}", "", "", "", "Missing 'sub'" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"nbf\":1000001}", "", "", "", "not valid yet" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"nbf\":\"x\"}", "", "", "", "Malformed 'nbf'" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"iat\":1000001}", "", "", "", "issued in future" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"iat\":[1]}", "", "", "", NULL },
    { "{\"sub\":\"u\",\"exp\":1000100,\"iss\":\"b\"}", "a b", "", "", NULL },
    { "{\"sub\":\"u\",\"exp\":1000100,\"iss\":\"a b\"}", "a b", "", "", "not allowed" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"iss\":\"c\"}", "a b", "", "", "Issuer 'c' is not allowed" },
    { "{\"sub\":\"u\",\"exp\":1000100}", "a b", "", "", "missing 'iss'" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"aud\":\"me\"}", "", "me", "", NULL },
    { "{\"sub\":\"u\",\"exp\":1000100,\"aud\":[\"you\",\"me\"]}", "", "me", "", NULL },
    { "{\"sub\":\"u\",\"exp\":1000100,\"aud\":\"you\"}", "", "me", "", "not found in aud" },
    { "{\"sub\":\"u\",\"exp\":1000100}", "", "me", "", "aud is missing" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"scope\":\"x mail cal\"}", "", "", "cal mail", NULL },
    { "{\"sub\":\"u\",\"exp\":1000100,\"scope\":\"x mail\"}", "", "", "cal mail", "scope 'cal' missing" },
    { "{\"sub\":\"u\",\"exp\":1000100,\"aud\":\"mail\"}", "", "", "mail", "scope set but not found" },
    { "[]", "", "", "", "JSON" },
};

static void test_contents(void)
{
    struct str token, key;

    str_init(&token, STR_UNLIMITED);
    str_init(&key, STR_UNLIMITED);
    base64_of(&key, SECRET);
    for (size_t n = 0; n < sizeof headers / sizeof *headers; n++) {
        begin(&token, headers[n].header, GOOD);
        sign_hmac(&token, "SHA256", SLICE(SECRET));
        expect(headers[n].why, judge(str_slice(&token), str_slice(&key), NULL));
    }
    begin(&token, "{\"typ\":\"JWT\",\"alg\":\"none\"}", GOOD);
    str_addc(&token, '.');
    expect("Unsupported algorithm", judge(str_slice(&token), str_slice(&key), NULL));
    for (size_t n = 0; n < sizeof bodies / sizeof *bodies; n++) {
        const struct jwt_wanted wanted = { bodies[n].issuers, bodies[n].client_id, bodies[n].scope };
        begin(&token, "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", bodies[n].claims);
        sign_hmac(&token, "SHA256", SLICE(SECRET));
        expect(bodies[n].why, judge(str_slice(&token), str_slice(&key), &wanted));
    }
    str_free(&key);
    str_free(&token);
}

static void test_shapes(void)
{
    static const char *const shapes[] = { "", ".", "..", "...", "a.b", "a.b.c.d", "e30.e30.", "=.=.=", "tok" };
    struct arena *a = arena_new();
    struct jwt *t = arena_alloc(a, sizeof *t);
    struct str long_one;
    struct err err;

    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++)
        assert(jwt_parse(slice_of(shapes[n]), a, t, &err) != 0);
    str_init(&long_one, STR_UNLIMITED);
    while (long_one.len <= JWT_BYTES)
        str_adds(&long_one, "e30.e30.e30");
    assert(jwt_parse(str_slice(&long_one), a, t, &err) != 0);
    str_free(&long_one);
    begin(&long_one, "{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"../k\"}", "{\"azp\":\"p\"}");
    str_addc(&long_one, '.');
    assert(jwt_parse(str_slice(&long_one), a, t, &err) == 0);
    assert(strcmp(t->key_id, "../k") == 0 && strcmp(t->party, "p") == 0 && strcmp(t->algorithm, "HS256") == 0);
    str_free(&long_one);
    arena_free(&a);
}

int main(void)
{
    struct key *all[] = { &rsa, &other_rsa, &p256, &p384, &p521 };

    rsa = key_of(EVP_RSA_gen(2048));
    other_rsa = key_of(EVP_RSA_gen(2048));
    p256 = key_of(EVP_EC_gen("P-256"));
    p384 = key_of(EVP_EC_gen("P-384"));
    p521 = key_of(EVP_EC_gen("P-521"));
    test_algorithms();
    test_tampering();
    test_confusion();
    test_contents();
    test_shapes();
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        EVP_PKEY_free(all[n]->pair);
        free(all[n]->pem);
    }
}
