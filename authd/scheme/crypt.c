/*
 * scheme/crypt - what crypt(3) of libxcrypt knows
 *
 * Callers     scheme.c
 * Invariants  a scheme with a prefix of its own generates that; verifying takes any prefix, as Dovecot does
 *             a password with a NUL inside never matches: crypt(3) would look at its first part only
 * Units       rounds: the cost of bcrypt (4 to 31), rounds of SHA-crypt (1000 to 999999999)
 */
#include "base/mem.h"
#include "scheme.h"
#include <crypt.h>
#include <stdlib.h>

enum { CRYPT_STORED_BYTES = CRYPT_OUTPUT_SIZE, BCRYPT_SLOW = 9, SHA_SLOW = 20000, SHA_ROUNDS = 5000 };
struct kind {
    const char *prefix;
    uint64_t rounds, min, max; /* max 0: rounds are not taken */
};

static int terminated(struct slice in, char *out, size_t size)
{
    if (in.len >= size || memchr(in.p, '\0', in.len))
        return -1;
    memcpy(out, in.p, in.len);
    out[in.len] = '\0';
    return 0;
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *in, struct slice raw,
                                 struct err *err)
{
    char word[CRYPT_MAX_PASSPHRASE_SIZE], stored[CRYPT_STORED_BYTES];
    enum scheme_answer answer = SCHEME_MISMATCH;
    struct crypt_data *data;

    if (terminated(raw, stored, sizeof stored) != 0) {
        err_set(err, 0, NULL, "%s: the stored password is too long, or holds a NUL", s->name);
        return SCHEME_BROKEN;
    }
    if (terminated(in->password, word, sizeof word) != 0)
        return SCHEME_MISMATCH;
    data = mem_new(sizeof *data);
    /* A locked account ("*", "!") is no fault of the table: crypt refuses it and nothing matches. */
    const char *made = crypt_rn(word, stored, data, (int) sizeof *data);
    if (made && made[0] != '*' && scheme_equal(slice_of(made), slice_of(stored)))
        answer = SCHEME_MATCH;
    mem_wipe(data, sizeof *data);
    mem_wipe(word, sizeof word);
    free(data);
    return answer;
}

static enum scheme_answer verify_bcrypt(const struct scheme *s, const struct scheme_word *in, struct slice raw,
                                        struct err *err)
{
    if (raw.len < 4 || !slice_starts(raw, "$2") || raw.p[3] != '$') {
        err_set(err, 0, NULL, "Password is not blowfish password");
        return SCHEME_BROKEN;
    }
    return verify(s, in, raw, err);
}

/* {MD5} is either of two. */
static enum scheme_answer verify_md5(const struct scheme *s, const struct scheme_word *in, struct slice raw,
                                     struct err *err)
{
    enum scheme_answer answer;

    if (slice_starts(raw, "$1$"))
        return verify(s, in, raw, err);
    answer = slice_find(raw, '{') >= 0 ? SCHEME_BROKEN : scheme_verify(raw, "PLAIN-MD5", in, NULL);
    if (answer == SCHEME_BROKEN)
        err_set(err, 0, NULL, "Not a valid MD5-CRYPT or PLAIN-MD5 password");
    return answer;
}

static int generate(const struct scheme *s, const struct scheme_word *in, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    const struct kind *kind = s->with;
    char word[CRYPT_MAX_PASSPHRASE_SIZE], setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct crypt_data *data;
    int rc = 0;

    if (terminated(in->password, word, sizeof word) != 0)
        return err_set(err, 0, NULL, "the password is too long for %s, or holds a NUL", s->name);
    if (rounds == 0 || kind->max == 0)
        rounds = kind->rounds;
    else if (rounds < kind->min)
        rounds = kind->min;
    else if (rounds > kind->max)
        rounds = kind->max;
    data = mem_new(sizeof *data);
    const char *made = crypt_gensalt_rn(kind->prefix, (unsigned long) rounds, NULL, 0, setting, (int) sizeof setting)
                           ? crypt_rn(word, setting, data, (int) sizeof *data)
                           : NULL;
    if (made == NULL || made[0] == '*')
        rc = err_set(err, 0, NULL, "%s is not supported by this system's crypt(3)", s->name);
    else
        str_adds(raw, made);
    mem_wipe(data, sizeof *data);
    mem_wipe(word, sizeof word);
    free(data);
    return rc;
}

static uint64_t number_before_dollar(struct slice text, uint64_t otherwise)
{
    struct slice digits;
    uint64_t n;

    return slice_split(&text, '$', &digits) && slice_u64(digits, UINT32_MAX, &n) == 0 ? n : otherwise;
}

static enum scheme_cost cost(const struct scheme *s, struct slice raw)
{
    (void) s;
    if (raw.len == 0 || raw.p[0] == '*' || raw.p[0] == '!')
        return SCHEME_CHEAP;
    if (raw.len > 4 && slice_starts(raw, "$2"))
        return number_before_dollar(slice_sub(raw, 4, raw.len), BCRYPT_SLOW + 1) <= BCRYPT_SLOW ? SCHEME_SLOW
                                                                                                : SCHEME_HEAVY;
    if (slice_starts(raw, "$5$rounds=") || slice_starts(raw, "$6$rounds="))
        return number_before_dollar(slice_sub(raw, 10, raw.len), SHA_ROUNDS) <= SHA_SLOW ? SCHEME_SLOW : SCHEME_HEAVY;
    if (raw.p[0] != '$' || slice_starts(raw, "$1$") || slice_starts(raw, "$5$") || slice_starts(raw, "$6$"))
        return SCHEME_SLOW;
    return SCHEME_HEAVY; /* yescrypt, scrypt, sha1crypt, ... */
}

static const struct kind bcrypt = { "$2y$", 5, 4, 31 }, md5 = { "$1$", 0, 0, 0 }, des = { "", 0, 0, 0 },
                         sha256 = { "$5$", 0, 1000, 999999999 }, sha512 = { "$6$", 0, 1000, 999999999 };

const struct scheme scheme_crypt_family[] = {
    { .name = "CRYPT", .with = &bcrypt, .verify = verify, .generate = generate, .cost = cost },
    { .name = "BLF-CRYPT", .with = &bcrypt, .verify = verify_bcrypt, .generate = generate, .cost = cost },
    { .name = "SHA256-CRYPT", .with = &sha256, .verify = verify, .generate = generate, .cost = cost },
    { .name = "SHA512-CRYPT", .with = &sha512, .verify = verify, .generate = generate, .cost = cost },
    { .name = "MD5-CRYPT", .with = &md5, .verify = verify, .generate = generate, .cost = cost },
    { .name = "MD5", .with = &md5, .verify = verify_md5, .generate = generate, .cost = cost },
    { .name = "DES-CRYPT", .with = &des, .verify = verify, .generate = generate, .cost = cost },
    { .name = NULL },
};
