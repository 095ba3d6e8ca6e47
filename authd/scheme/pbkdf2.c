/*
 * scheme/pbkdf2 - "$1$salt$rounds$hash": PBKDF2 with HMAC-SHA-1, 160 bits in hex
 *
 * Callers     scheme.c
 * Units       rounds: iterations, at most SCHEME_ITERATIONS_MAX
 * Source      RFC 8018 5.2; the form is Dovecot's
 */
#include "base/codec.h"
#include "base/mem.h"
#include "scheme.h"
#include <inttypes.h>
#include <openssl/evp.h>

enum { HASH_BYTES = 20, SALT_BYTES = 16, ROUNDS = 5000, CHEAP_ROUNDS = 50, SLOW_ROUNDS = 20000 };

struct parts {
    struct slice salt, hash;
    uint64_t rounds;
};

static int split(struct slice raw, struct parts *out, struct err *err)
{
    struct slice rest = slice_sub(raw, 3, raw.len), rounds = { NULL, 0 }, more;

    *out = (struct parts){ 0 };
    if (!slice_starts(raw, "$1$"))
        return err_set(err, 0, NULL, "Invalid PBKDF2 passdb entry prefix");
    if (!slice_split(&rest, '$', &out->salt) || !slice_split(&rest, '$', &rounds) ||
        !slice_split(&rest, '$', &out->hash) || slice_split(&rest, '$', &more) ||
        slice_u64(rounds, SCHEME_ITERATIONS_MAX, &out->rounds) != 0)
        return err_set(err, 0, NULL, "Invalid PBKDF2 passdb entry format");
    if (out->rounds == 0 || out->hash.len != (size_t) 2 * HASH_BYTES)
        return err_set(err, 0, NULL, "PBKDF2 hash not 160bit hex-encoded");
    return 0;
}

static int hash(struct slice password, struct slice salt, uint64_t rounds, unsigned char out[HASH_BYTES])
{
    return PKCS5_PBKDF2_HMAC(password.p, (int) password.len, (const unsigned char *) salt.p, (int) salt.len,
                             (int) rounds, EVP_sha1(), HASH_BYTES, out) == 1
               ? 0
               : -1;
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    enum scheme_answer answer = SCHEME_BROKEN;
    unsigned char made[HASH_BYTES];
    struct parts parts;
    struct str had;

    (void) s;
    if (split(raw, &parts, err) != 0)
        return SCHEME_BROKEN;
    str_init(&had, HASH_BYTES);
    if (hex_decode(&had, parts.hash) != 0)
        err_set(err, 0, NULL, "PBKDF2 hash not 160bit hex-encoded");
    else if (hash(word->password, parts.salt, parts.rounds, made) != 0)
        err_set(err, 0, NULL, "PBKDF2 cannot be computed");
    else
        answer = scheme_equal(slice_make((char *) made, sizeof made), str_slice(&had)) ? SCHEME_MATCH
                                                                                       : SCHEME_MISMATCH;
    mem_wipe(made, sizeof made);
    str_free(&had);
    return answer;
}

static int generate(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    char salt[SALT_BYTES + 1];
    unsigned char made[HASH_BYTES];

    (void) s;
    if (rounds == 0)
        rounds = ROUNDS;
    if (rounds > SCHEME_ITERATIONS_MAX)
        return err_set(err, 0, NULL, "PBKDF2: at most %d rounds are supported", SCHEME_ITERATIONS_MAX);
    if (scheme_random(salt, SALT_BYTES) != 0 || hash(word->password, slice_make(salt, SALT_BYTES), rounds, made) != 0)
        return err_set(err, 0, NULL, "PBKDF2 cannot be computed");
    str_printf(raw, "$1$%s$%" PRIu64 "$", salt, rounds);
    hex_encode(raw, slice_make((char *) made, sizeof made));
    mem_wipe(made, sizeof made);
    return 0;
}

static enum scheme_cost cost(const struct scheme *s, struct slice raw)
{
    struct parts parts;

    (void) s;
    if (split(raw, &parts, NULL) != 0 || parts.rounds <= CHEAP_ROUNDS)
        return SCHEME_CHEAP;
    return parts.rounds <= SLOW_ROUNDS ? SCHEME_SLOW : SCHEME_HEAVY;
}

const struct scheme scheme_pbkdf2_family[] = {
    { .name = "PBKDF2", .verify = verify, .generate = generate, .cost = cost },
    { .name = NULL },
};
