/*
 * scheme/argon2 - Argon2i and Argon2id
 *
 * Callers     scheme.c
 * Invariants  a stored hash may ask for at most ARGON2_KIB_MAX of memory: what is more is a fault of the table, not
 *             a reason to run out of memory
 * Units       rounds: passes over the memory
 * Source      RFC 9106; generated with the costs that Dovecot (libsodium) takes: interactive, 16 bytes of salt
 */
#include "base/mem.h"
#include "scheme.h"
#include <argon2.h>
#include <openssl/rand.h>

enum { ARGON2_KIB_MAX = 1 << 20, ARGON2_PASSES_MAX = 1000, SALT_BYTES = 16, HASH_BYTES = 32, TEXT_BYTES = 512 };
struct kind {
    argon2_type type;
    const char *prefix;
    uint32_t passes, kib, passes_min;
};

static bool affordable(struct slice raw)
{
    uint64_t memory = 0, passes = 0;
    bool m = false, t = false;
    struct slice rest = raw, part, item;

    while (slice_split(&rest, '$', &part))
        while (slice_split(&part, ',', &item)) {
            if (slice_starts(item, "m=") && !m)
                m = slice_u64(slice_sub(item, 2, item.len), ARGON2_KIB_MAX, &memory) == 0;
            else if (slice_starts(item, "t=") && !t)
                t = slice_u64(slice_sub(item, 2, item.len), ARGON2_PASSES_MAX, &passes) == 0;
        }
    return m && t;
}

static enum scheme_answer verify(const struct scheme *s, struct slice password, struct slice raw)
{
    const struct kind *kind = s->with;
    char text[TEXT_BYTES];

    if (raw.len >= sizeof text || memchr(raw.p, '\0', raw.len) || !slice_starts(raw, kind->prefix) ||
        !affordable(raw))
        return SCHEME_BROKEN;
    memcpy(text, raw.p, raw.len);
    text[raw.len] = '\0';
    switch (argon2_verify(text, password.p, password.len, kind->type)) {
    case ARGON2_OK: return SCHEME_MATCH;
    case ARGON2_VERIFY_MISMATCH: return SCHEME_MISMATCH;
    default: return SCHEME_BROKEN;
    }
}

static int generate(const struct scheme *s, struct slice password, uint64_t rounds, struct str *raw, struct err *err)
{
    const struct kind *kind = s->with;
    unsigned char salt[SALT_BYTES];
    char text[TEXT_BYTES];
    uint64_t passes = rounds ? rounds : kind->passes;

    if (passes < kind->passes_min)
        passes = kind->passes_min;
    if (passes > ARGON2_PASSES_MAX)
        passes = ARGON2_PASSES_MAX;
    if (RAND_bytes(salt, sizeof salt) != 1)
        return err_set(err, 0, NULL, "no random bytes");
    int rc = argon2_hash((uint32_t) passes, kind->kib, 1, password.p, password.len, salt, sizeof salt, NULL,
                         HASH_BYTES, text, sizeof text, kind->type, ARGON2_VERSION_13);
    if (rc != ARGON2_OK)
        return err_set(err, 0, NULL, "%s: %s", s->name, argon2_error_message(rc));
    str_adds(raw, text);
    return 0;
}

static const struct kind argon2i = { Argon2_i, "$argon2i$", 4, 32768, 3 },
                         argon2id = { Argon2_id, "$argon2id$", 3, 65536, 1 };

const struct scheme scheme_argon2_family[] = {
    { .name = "ARGON2I", .with = &argon2i, .verify = verify, .generate = generate },
    { .name = "ARGON2ID", .with = &argon2id, .verify = verify, .generate = generate },
    { .name = NULL },
};
