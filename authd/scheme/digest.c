/*
 * scheme/digest - one pass of a hash over the password, and over a salt behind it
 *
 * Callers     scheme.c
 * Units       DIGEST_SALT_BYTES as Dovecot generates; any length is accepted
 * Source      RFC 2307 ({SHA}, {SSHA}, {SMD5}); Dovecot's {PLAIN-MD5} and {LDAP-MD5}
 */
#include "scheme.h"
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { DIGEST_SALT_BYTES = 4 };

static int hash(const struct scheme *s, struct slice password, struct slice salt, unsigned char *out)
{
    const EVP_MD *(*md)(void) = *(const EVP_MD *(*const *) (void) ) s->with;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned len = 0;
    int ok = ctx && EVP_DigestInit_ex(ctx, md(), NULL) == 1 && EVP_DigestUpdate(ctx, password.p, password.len) == 1 &&
             EVP_DigestUpdate(ctx, salt.p, salt.len) == 1 && EVP_DigestFinal_ex(ctx, out, &len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok && len == s->digest_bytes ? 0 : -1;
}

static enum scheme_answer verify(const struct scheme *s, struct slice password, struct slice raw)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (hash(s, password, slice_sub(raw, s->digest_bytes, raw.len), digest) != 0)
        return SCHEME_BROKEN;
    return scheme_equal(slice_make((char *) digest, s->digest_bytes), slice_sub(raw, 0, s->digest_bytes))
               ? SCHEME_MATCH
               : SCHEME_MISMATCH;
}

static int generate(const struct scheme *s, struct slice password, uint64_t rounds, struct str *raw, struct err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE], salt[DIGEST_SALT_BYTES];
    size_t salt_len = s->salted ? sizeof salt : 0;

    (void) rounds;
    if (RAND_bytes(salt, sizeof salt) != 1 || hash(s, password, slice_make((char *) salt, salt_len), digest) != 0)
        return err_set(err, 0, NULL, "%s cannot be computed", s->name);
    str_add(raw, digest, s->digest_bytes);
    str_add(raw, salt, salt_len);
    return 0;
}

static const EVP_MD *(*const md5)(void) = EVP_md5;
static const EVP_MD *(*const sha1)(void) = EVP_sha1;
static const EVP_MD *(*const sha256)(void) = EVP_sha256;
static const EVP_MD *(*const sha512)(void) = EVP_sha512;

#define DIGEST(scheme_name, enc, bytes, salt, md)                                                                   \
    {                                                                                                               \
        .name = scheme_name, .encoding = enc, .digest_bytes = bytes, .salted = salt, .with = &md, .verify = verify, \
        .generate = generate                                                                                        \
    }

const struct scheme scheme_digest_family[] = {
    DIGEST("SHA", SCHEME_BASE64, 20, false, sha1),
    DIGEST("SHA1", SCHEME_BASE64, 20, false, sha1),
    DIGEST("SHA256", SCHEME_BASE64, 32, false, sha256),
    DIGEST("SHA512", SCHEME_BASE64, 64, false, sha512),
    DIGEST("SSHA", SCHEME_BASE64, 20, true, sha1),
    DIGEST("SSHA256", SCHEME_BASE64, 32, true, sha256),
    DIGEST("SSHA512", SCHEME_BASE64, 64, true, sha512),
    DIGEST("SMD5", SCHEME_BASE64, 16, true, md5),
    DIGEST("PLAIN-MD5", SCHEME_HEX, 16, false, md5),
    DIGEST("LDAP-MD5", SCHEME_BASE64, 16, false, md5),
    { .name = NULL },
};
