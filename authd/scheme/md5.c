/*
 * scheme/md5 - what CRAM-MD5 and DIGEST-MD5 keep instead of the password
 *
 * Callers     scheme.c
 * Invariants  OpenSSL's old MD5 and MD4 calls are meant: the state of a hash in its middle is what is stored, and MD4
 *             needs no provider that would be loaded from a file
 * Source      Dovecot's {CRAM-MD5}: the MD5 states after the outer and the inner pad of HMAC (RFC 2104), each four
 *             words, low byte first; {DIGEST-MD5}: MD5(user:realm:password), RFC 2831 2.1.2.1
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/mem.h"
#include "scheme.h"
#include <openssl/md5.h>

enum { STATE_BYTES = 16, WORDS = 4 };

static void put_state(const MD5_CTX *ctx, struct str *out)
{
    const MD5_LONG words[WORDS] = { ctx->A, ctx->B, ctx->C, ctx->D };

    for (size_t w = 0; w < WORDS; w++)
        for (unsigned shift = 0; shift < 32; shift += 8)
            str_addc(out, (char) (words[w] >> shift & 0xff));
}

static void pad_state(const unsigned char key[MD5_CBLOCK], unsigned char pad, struct str *out)
{
    unsigned char block[MD5_CBLOCK];
    MD5_CTX ctx;

    for (size_t n = 0; n < sizeof block; n++)
        block[n] = key[n] ^ pad;
    MD5_Init(&ctx);
    MD5_Transform(&ctx, block);
    put_state(&ctx, out);
    mem_wipe(block, sizeof block);
    mem_wipe(&ctx, sizeof ctx);
}

static int make_cram(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                     struct err *err)
{
    unsigned char key[MD5_CBLOCK] = { 0 };

    (void) s;
    (void) rounds;
    (void) err;
    if (word->password.len > sizeof key)
        MD5((const unsigned char *) word->password.p, word->password.len, key);
    else
        memcpy(key, word->password.p, word->password.len);
    pad_state(key, 0x5c, raw);
    pad_state(key, 0x36, raw);
    mem_wipe(key, sizeof key);
    return 0;
}

static int make_digest(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                       struct err *err)
{
    struct slice user = slice_of(word->user), realm = SLICE("");
    unsigned char digest[MD5_DIGEST_LENGTH];
    ptrdiff_t at;
    MD5_CTX ctx;

    (void) s;
    (void) rounds;
    if (word->user == NULL)
        return err_set(err, 0, NULL, "digest_md5_generate(): username not given");
    if ((at = slice_rfind(user, '@')) >= 0) {
        realm = slice_sub(user, (size_t) at + 1, user.len);
        user.len = (size_t) at;
    }
    MD5_Init(&ctx);
    MD5_Update(&ctx, user.p, user.len);
    MD5_Update(&ctx, ":", 1);
    MD5_Update(&ctx, realm.p, realm.len);
    MD5_Update(&ctx, ":", 1);
    MD5_Update(&ctx, word->password.p, word->password.len);
    MD5_Final(digest, &ctx);
    str_add(raw, digest, sizeof digest);
    mem_wipe(digest, sizeof digest);
    return 0;
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    enum scheme_answer answer = SCHEME_BROKEN;
    struct str made;

    str_init(&made, s->fixed_bytes);
    str_reserve(&made, s->fixed_bytes);
    if (s->generate(s, word, 0, &made, err) == 0)
        answer = scheme_equal(str_slice(&made), raw) ? SCHEME_MATCH : SCHEME_MISMATCH;
    mem_wipe(made.p, made.len);
    str_free(&made);
    return answer;
}

static const char cram[] = "CRAM-MD5", digest[] = "DIGEST-MD5";

const struct scheme scheme_md5_family[] = {
    { .name = "CRAM-MD5",
      .encoding = SCHEME_HEX,
      .fixed_bytes = 2 * STATE_BYTES,
      .with = cram,
      .verify = verify,
      .generate = make_cram },
    { .name = "HMAC-MD5",
      .encoding = SCHEME_HEX,
      .fixed_bytes = 2 * STATE_BYTES,
      .with = cram,
      .verify = verify,
      .generate = make_cram },
    { .name = "DIGEST-MD5",
      .encoding = SCHEME_HEX,
      .fixed_bytes = MD5_DIGEST_LENGTH,
      .with = digest,
      .verify = verify,
      .generate = make_digest },
    { .name = NULL },
};
