/*
 * scheme/digest - one pass of a hash over the password, and over a salt behind it
 *
 * Callers     scheme.c
 * Units       SALT_BYTES as Dovecot generates; any length is accepted
 * Source      RFC 2307 ({SHA}, {SSHA}, {SMD5}); Dovecot's {PLAIN-MD4}, {PLAIN-MD5} and {LDAP-MD5}
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* see md5.c */
#include "base/mem.h"
#include "scheme.h"
#include <openssl/evp.h>
#include <openssl/md4.h>
#include <openssl/rand.h>

enum { SALT_BYTES = 4 };
struct kind {
    const EVP_MD *(*md)(void); /* NULL: MD4 */
    size_t bytes;
    bool salted;
};

static int hash_md4(struct slice password, struct slice salt, unsigned char *out)
{
    MD4_CTX ctx;

    MD4_Init(&ctx);
    MD4_Update(&ctx, password.p, password.len);
    MD4_Update(&ctx, salt.p, salt.len);
    return MD4_Final(out, &ctx) == 1 ? 0 : -1;
}

static int hash(const struct kind *kind, struct slice password, struct slice salt, unsigned char *out)
{
    if (kind->md == NULL)
        return hash_md4(password, salt, out);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned len = 0;
    int ok = ctx && EVP_DigestInit_ex(ctx, kind->md(), NULL) == 1 &&
             EVP_DigestUpdate(ctx, password.p, password.len) == 1 && EVP_DigestUpdate(ctx, salt.p, salt.len) == 1 &&
             EVP_DigestFinal_ex(ctx, out, &len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok && len == kind->bytes ? 0 : -1;
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    const struct kind *kind = s->with;
    enum scheme_answer answer = SCHEME_BROKEN;
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (raw.len < kind->bytes) {
        err_set(err, 0, NULL, "%s password is too short", s->name);
        return SCHEME_BROKEN;
    }
    if (hash(kind, word->password, slice_sub(raw, kind->bytes, raw.len), digest) != 0)
        err_set(err, 0, NULL, "%s cannot be computed", s->name);
    else
        answer = scheme_equal(slice_make((char *) digest, kind->bytes), slice_sub(raw, 0, kind->bytes))
                     ? SCHEME_MATCH
                     : SCHEME_MISMATCH;
    mem_wipe(digest, sizeof digest);
    return answer;
}

static int generate(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    const struct kind *kind = s->with;
    unsigned char digest[EVP_MAX_MD_SIZE], salt[SALT_BYTES];
    size_t salt_len = kind->salted ? sizeof salt : 0;

    (void) rounds;
    if (RAND_bytes(salt, sizeof salt) != 1 ||
        hash(kind, word->password, slice_make((char *) salt, salt_len), digest) != 0)
        return err_set(err, 0, NULL, "%s cannot be computed", s->name);
    str_add(raw, digest, kind->bytes);
    str_add(raw, salt, salt_len);
    mem_wipe(digest, sizeof digest);
    return 0;
}

static const struct kind md4 = { NULL, 16, false }, md5 = { EVP_md5, 16, false }, sha1 = { EVP_sha1, 20, false },
                         sha256 = { EVP_sha256, 32, false }, sha512 = { EVP_sha512, 64, false };
static const struct kind smd5 = { EVP_md5, 16, true }, ssha1 = { EVP_sha1, 20, true },
                         ssha256 = { EVP_sha256, 32, true }, ssha512 = { EVP_sha512, 64, true };

#define DIGEST(scheme_name, enc, fixed, kind)                                                        \
    {                                                                                                \
        .name = scheme_name, .encoding = enc, .fixed_bytes = fixed, .with = &kind, .verify = verify, \
        .generate = generate                                                                         \
    }

const struct scheme scheme_digest_family[] = {
    DIGEST("SHA", SCHEME_BASE64, 20, sha1),       DIGEST("SHA1", SCHEME_BASE64, 20, sha1),
    DIGEST("SHA256", SCHEME_BASE64, 32, sha256),  DIGEST("SHA512", SCHEME_BASE64, 64, sha512),
    DIGEST("SSHA", SCHEME_BASE64, 0, ssha1),      DIGEST("SSHA256", SCHEME_BASE64, 0, ssha256),
    DIGEST("SSHA512", SCHEME_BASE64, 0, ssha512), DIGEST("SMD5", SCHEME_BASE64, 0, smd5),
    DIGEST("PLAIN-MD4", SCHEME_HEX, 16, md4),     DIGEST("PLAIN-MD5", SCHEME_HEX, 16, md5),
    DIGEST("LDAP-MD5", SCHEME_BASE64, 16, md5),   { .name = NULL },
};
