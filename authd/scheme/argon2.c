/*
 * scheme/argon2 - Argon2i and Argon2id
 *
 * Callers     scheme.c
 * Invariants  a stored hash may ask for at most ARGON2_KIB_MAX of memory: what is more is a fault of the table, not
 *             a reason to run out of memory; its lanes are computed one after the other, without threads
 *             either prefix may stand behind either name, as in Dovecot
 * Units       rounds: passes over the memory; more passes want more memory too
 * Source      RFC 9106; generated with the costs that Dovecot takes of libsodium
 */
#include "base/codec.h"
#include "base/mem.h"
#include "scheme.h"
#include <argon2.h>
#include <openssl/rand.h>
#include <sodium.h>

enum {
    ARGON2_KIB_MAX = 1 << 20,
    ARGON2_PASSES_MAX = 1000,
    ARGON2_LANES_MAX_STORED = 64,
    SALT_BYTES = 16,
    SALT_MAX = 64,
    HASH_BYTES = 32,
    HASH_MAX = 128,
};
enum { LEVELS = 3 };
struct kind {
    argon2_type type;
    const char *name;
    uint32_t passes, passes_refused, passes_min; /* where none are asked for; fewer are refused; fewer become */
    struct {
        uint32_t passes, kib;
    } memory[LEVELS]; /* from so many passes asked for on: interactive, moderate, sensitive */
};
struct parts {
    argon2_type type;
    uint64_t kib, passes, lanes;
    size_t salt_len, hash_len;
    unsigned char salt[SALT_MAX], hash[HASH_MAX];
};

/* Base64 without its padding. */
static int unpadded(struct slice text, size_t max, unsigned char *out, size_t *len)
{
    struct str padded, bytes;
    int rc = -1;

    str_init(&padded, 4 * HASH_MAX);
    str_init(&bytes, max);
    str_addslice(&padded, text);
    while (padded.len % 4 != 0 && !str_over(&padded))
        str_addc(&padded, '=');
    if (slice_find(text, '=') < 0 && !str_over(&padded) && base64_decode(&bytes, str_slice(&padded)) == 0 &&
        !str_over(&bytes) && bytes.len >= ARGON2_MIN_SALT_LENGTH) {
        memcpy(out, bytes.p, bytes.len);
        *len = bytes.len;
        rc = 0;
    }
    mem_wipe(padded.p, padded.len);
    mem_wipe(bytes.p, bytes.len);
    str_free(&padded);
    str_free(&bytes);
    return rc;
}

static int cost_word(struct slice *rest, const char *name, uint64_t max, uint64_t *out)
{
    struct slice word;

    if (!slice_split(rest, ',', &word) || !slice_starts(word, name))
        return -1;
    return slice_u64(slice_sub(word, strlen(name), word.len), max, out) == 0 && *out > 0 ? 0 : -1;
}

/* "$argon2id$v=19$m=65536,t=3,p=1$salt$hash" */
static int split(struct slice raw, struct parts *out)
{
    enum { EMPTY, TYPE, VERSION_WORD, COSTS, SALT, HASH, FIELDS };
    struct slice rest = raw, field[FIELDS], more;
    size_t n = 0;

    while (n < FIELDS && slice_split(&rest, '$', &field[n]))
        n++;
    if (n < FIELDS || slice_split(&rest, '$', &more) || field[EMPTY].len > 0 ||
        !slice_eq(field[VERSION_WORD], "v=19"))
        return -1;
    if (slice_eq(field[TYPE], "argon2i"))
        out->type = Argon2_i;
    else if (slice_eq(field[TYPE], "argon2id"))
        out->type = Argon2_id;
    else
        return -1;
    rest = field[COSTS];
    if (cost_word(&rest, "m=", ARGON2_KIB_MAX, &out->kib) != 0 ||
        cost_word(&rest, "t=", ARGON2_PASSES_MAX, &out->passes) != 0 ||
        cost_word(&rest, "p=", ARGON2_LANES_MAX_STORED, &out->lanes) != 0 || slice_split(&rest, ',', &more) ||
        out->kib < ARGON2_MIN_MEMORY * out->lanes)
        return -1;
    return unpadded(field[SALT], SALT_MAX, out->salt, &out->salt_len) == 0 &&
                   unpadded(field[HASH], HASH_MAX, out->hash, &out->hash_len) == 0
               ? 0
               : -1;
}

/* libsodium's code is vectorised where Debian's libargon2 is not: two thirds of the time. It knows one lane, 16 bytes
 * of salt, and three passes or more of Argon2i: what it and Dovecot make. -1: not for it. */
static int by_sodium(const struct parts *p, struct slice password, unsigned char *out)
{
    int algorithm = p->type == Argon2_i ? crypto_pwhash_ALG_ARGON2I13 : crypto_pwhash_ALG_ARGON2ID13;

    if (p->lanes != 1 || p->salt_len != crypto_pwhash_SALTBYTES || p->hash_len < crypto_pwhash_BYTES_MIN ||
        sodium_init() < 0)
        return -1;
    return crypto_pwhash(out, p->hash_len, password.p, password.len, p->salt, p->passes, p->kib * 1024, algorithm);
}

static int by_argon2(const struct parts *p, struct slice password, unsigned char *out)
{
    argon2_context ctx = {
        .out = out,
        .outlen = (uint32_t) p->hash_len,
        .pwd = (uint8_t *) (uintptr_t) password.p, /* only read: no flag asks for wiping */
        .pwdlen = (uint32_t) password.len,
        .salt = (uint8_t *) (uintptr_t) p->salt,
        .saltlen = (uint32_t) p->salt_len,
        .t_cost = (uint32_t) p->passes,
        .m_cost = (uint32_t) p->kib,
        .lanes = (uint32_t) p->lanes,
        .threads = 1,
        .version = ARGON2_VERSION_13,
        .flags = ARGON2_DEFAULT_FLAGS,
    };

    return argon2_ctx(&ctx, p->type);
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    enum scheme_answer answer = SCHEME_BROKEN;
    unsigned char made[HASH_MAX];
    struct parts parts;
    int rc = ARGON2_OK;

    if (split(raw, &parts) != 0) {
        err_set(err, 0, NULL, "%s: the stored password is malformed or asks for too much", s->name);
        return SCHEME_BROKEN;
    }
    if (by_sodium(&parts, word->password, made) != 0)
        rc = by_argon2(&parts, word->password, made);
    if (rc != ARGON2_OK)
        err_set(err, 0, NULL, "%s: %s", s->name, argon2_error_message(rc));
    else
        answer = scheme_equal(slice_make((char *) made, parts.hash_len),
                              slice_make((char *) parts.hash, parts.hash_len))
                     ? SCHEME_MATCH
                     : SCHEME_MISMATCH;
    mem_wipe(made, sizeof made);
    mem_wipe(&parts, sizeof parts);
    return answer;
}

static int generate(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    enum { TEXT_BYTES = 512 };
    const struct kind *kind = s->with;
    unsigned char salt[SALT_BYTES];
    char text[TEXT_BYTES];
    uint64_t passes = rounds ? rounds : kind->passes;
    uint32_t kib = 0;

    if (passes <= kind->passes_refused)
        return err_set(err, 0, NULL, "crypto_pwhash_%s_str failed: Invalid argument", kind->name);
    if (passes > ARGON2_PASSES_MAX)
        return err_set(err, 0, NULL, "%s: at most %d rounds are supported", s->name, ARGON2_PASSES_MAX);
    if (RAND_bytes(salt, sizeof salt) != 1)
        return err_set(err, 0, NULL, "no random bytes");
    for (size_t n = 0; n < LEVELS; n++)
        if (passes >= kind->memory[n].passes)
            kib = kind->memory[n].kib;
    if (passes < kind->passes_min)
        passes = kind->passes_min;
    int rc = argon2_hash((uint32_t) passes, kib, 1, word->password.p, word->password.len, salt, sizeof salt, NULL,
                         HASH_BYTES, text, sizeof text, kind->type, ARGON2_VERSION_13);
    if (rc != ARGON2_OK)
        return err_set(err, 0, NULL, "%s: %s", s->name, argon2_error_message(rc));
    str_adds(raw, text);
    mem_wipe(text, sizeof text);
    return 0;
}

static enum scheme_cost cost(const struct scheme *s, struct slice raw)
{
    struct parts parts;

    (void) s;
    return split(raw, &parts) == 0 ? SCHEME_HEAVY : SCHEME_CHEAP;
}

static const struct kind argon2i = { Argon2_i, "argon2i", 4, 2, 3, { { 0, 32768 }, { 6, 131072 }, { 8, 524288 } } },
                         argon2id = {
                             Argon2_id, "argon2id", 2, 0, 3, { { 0, 65536 }, { 3, 262144 }, { 4, 1048576 } }
                         };

const struct scheme scheme_argon2_family[] = {
    { .name = "ARGON2I", .with = &argon2i, .verify = verify, .generate = generate, .cost = cost },
    { .name = "ARGON2ID", .with = &argon2id, .verify = verify, .generate = generate, .cost = cost },
    { .name = NULL },
};
