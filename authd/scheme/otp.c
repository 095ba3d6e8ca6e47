/*
 * scheme/otp - the next of a chain of one-time passwords: "sha1 1024 seed hash"
 *
 * Callers     scheme.c
 * Invariants  the text is one blank between four words; a hash of 64 bits in hex
 *             verifying takes the secret pass-phrase itself, not a one-time password
 * Units       the number of steps of the chain is at most STEPS_MAX
 * Source      RFC 2289; appendix A folds the digests; the form is Dovecot's
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* see md5.c */
#include "base/codec.h"
#include "base/mem.h"
#include "scheme.h"
#include <openssl/md4.h>
#include <openssl/md5.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

enum { HASH_BYTES = 8, SEED_MIN = 1, SEED_MAX = 16, SEED_RANDOM_BYTES = 8, STEPS = 1024, STEPS_MAX = 9999 };

static void fold16(const unsigned char *md, unsigned char out[HASH_BYTES])
{
    for (size_t n = 0; n < HASH_BYTES; n++)
        out[n] = md[n] ^ md[n + 8];
}

static void md4(const void *in, size_t len, unsigned char out[HASH_BYTES])
{
    unsigned char md[MD4_DIGEST_LENGTH];

    MD4(in, len, md);
    fold16(md, out);
    mem_wipe(md, sizeof md);
}

static void md5(const void *in, size_t len, unsigned char out[HASH_BYTES])
{
    unsigned char md[MD5_DIGEST_LENGTH];

    MD5(in, len, md);
    fold16(md, out);
    mem_wipe(md, sizeof md);
}

/* Five words, most significant byte first: 0 and 1 are mixed with 2 and 3, then 0 with 4, and come out low byte first. */
static void sha1(const void *in, size_t len, unsigned char out[HASH_BYTES])
{
    unsigned char md[SHA_DIGEST_LENGTH];

    SHA1(in, len, md);
    for (size_t n = 0; n < 4; n++) {
        out[3 - n] = md[n] ^ md[n + 8] ^ md[n + 16];
        out[7 - n] = md[n + 4] ^ md[n + 12];
    }
    mem_wipe(md, sizeof md);
}

static const struct algorithm {
    const char *name;
    void (*hash)(const void *in, size_t len, unsigned char out[HASH_BYTES]);
} algorithms[] = { { "md4", md4 }, { "md5", md5 }, { "sha1", sha1 } };

struct parts {
    const struct algorithm *algorithm;
    uint64_t steps;
    struct slice seed;
    unsigned char hash[HASH_BYTES];
};

static bool seed_good(struct slice seed)
{
    for (size_t n = 0; n < seed.len; n++)
        if (!ascii_isalnum(seed.p[n]))
            return false;
    return seed.len >= SEED_MIN && seed.len <= SEED_MAX;
}

static int split(struct slice raw, struct parts *out)
{
    struct slice rest = raw, field[4], more;
    struct str hash;
    size_t n = 0;

    while (n < 4 && slice_split(&rest, ' ', &field[n]))
        n++;
    if (n < 4 || slice_split(&rest, ' ', &more) || !seed_good(field[2]) ||
        slice_u64(field[1], STEPS_MAX, &out->steps) != 0 || field[3].len != (size_t) 2 * HASH_BYTES)
        return -1;
    out->algorithm = NULL;
    for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; a++)
        if (slice_eq(field[0], algorithms[a].name))
            out->algorithm = &algorithms[a];
    out->seed = field[2];
    str_init(&hash, HASH_BYTES);
    int bad = out->algorithm == NULL || hex_decode(&hash, field[3]) != 0 || hash.len != HASH_BYTES;
    if (!bad)
        memcpy(out->hash, hash.p, HASH_BYTES);
    str_free(&hash);
    return bad ? -1 : 0;
}

static void chain(const struct parts *p, struct slice password, unsigned char out[HASH_BYTES])
{
    struct str first;

    str_init(&first, SEED_MAX + SCHEME_PASSWORD_BYTES);
    str_reserve(&first, p->seed.len + password.len);
    for (size_t n = 0; n < p->seed.len; n++) /* a seed means the same in either case */
        str_addc(&first, ascii_lower(p->seed.p[n]));
    str_addslice(&first, password);
    p->algorithm->hash(first.p, first.len, out);
    for (uint64_t n = 0; n < p->steps; n++)
        p->algorithm->hash(out, HASH_BYTES, out);
    mem_wipe(first.p, first.len);
    str_free(&first);
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    unsigned char made[HASH_BYTES];
    enum scheme_answer answer;
    struct parts parts;

    if (split(raw, &parts) != 0) {
        err_set(err, 0, NULL, "Invalid %s data in passdb", s->name);
        return SCHEME_BROKEN;
    }
    chain(&parts, word->password, made);
    answer = scheme_equal(slice_make((char *) made, sizeof made), slice_make((char *) parts.hash, HASH_BYTES))
                 ? SCHEME_MATCH
                 : SCHEME_MISMATCH;
    mem_wipe(made, sizeof made);
    return answer;
}

static int generate(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    unsigned char random[SEED_RANDOM_BYTES], made[HASH_BYTES];
    struct parts parts = { .algorithm = &algorithms[sizeof algorithms / sizeof *algorithms - 1], .steps = STEPS };
    struct str seed;

    (void) rounds; /* Dovecot's takes none either */
    if (RAND_bytes(random, sizeof random) != 1)
        return err_set(err, 0, NULL, "%s: no random bytes", s->name);
    str_init(&seed, SEED_MAX);
    hex_encode(&seed, slice_make((char *) random, sizeof random));
    parts.seed = str_slice(&seed);
    chain(&parts, word->password, made);
    str_printf(raw, "%s %d %s ", parts.algorithm->name, STEPS, seed.p);
    hex_encode(raw, slice_make((char *) made, sizeof made));
    mem_wipe(made, sizeof made);
    str_free(&seed);
    return 0;
}

static enum scheme_cost cost(const struct scheme *s, struct slice raw)
{
    (void) s;
    (void) raw;
    return SCHEME_SLOW;
}

const struct scheme scheme_otp_family[] = {
    { .name = "OTP", .verify = verify, .generate = generate, .cost = cost },
    { .name = NULL },
};
