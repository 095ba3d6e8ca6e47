/*
 * scheme/scram - SCRAM's stored keys
 *
 * Callers     see scram.h
 */
#include "scram.h"
#include "base/codec.h"
#include "base/mem.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

enum { SLOW_ITERATIONS = 20000 };
struct kind {
    const EVP_MD *(*md)(void);
    size_t bytes;
};

static int decode_key(const char *scheme, const char *name, struct slice text, size_t bytes, unsigned char *out,
                      struct err *err)
{
    struct str key;
    int rc = 0;

    str_init(&key, SCRAM_KEY_BYTES + 3);
    str_reserve(&key, SCRAM_KEY_BYTES + 3);
    if (base64_decode(&key, text) != 0 || key.len != bytes || str_over(&key))
        rc = err_set(err, 0, NULL, "Invalid %s %s in passdb", scheme, name);
    else
        memcpy(out, key.p, bytes);
    mem_wipe(key.p, key.len);
    str_free(&key);
    return rc;
}

int scram_split(const struct scheme *s, struct slice raw, struct scram_keys *out, struct err *err)
{
    const struct kind *kind = s->with;
    struct slice rest = raw, field[4], more;
    struct str salt;
    size_t n = 0;

    *out = (struct scram_keys){ .key_bytes = kind->bytes };
    while (n < 4 && slice_split(&rest, ',', &field[n]))
        n++;
    if (n < 4 || slice_split(&rest, ',', &more))
        return err_set(err, 0, NULL, "Invalid %s passdb entry format", s->name);
    if (slice_u64(field[0], SCHEME_ITERATIONS_MAX, &out->iterations) != 0 || out->iterations < SCRAM_ITERATIONS)
        return err_set(err, 0, NULL, "Invalid %s iteration count in passdb", s->name);
    if (decode_key(s->name, "StoredKey", field[2], kind->bytes, out->stored_key, err) != 0 ||
        decode_key(s->name, "ServerKey", field[3], kind->bytes, out->server_key, err) != 0)
        return -1;
    out->salt64 = field[1];
    str_init(&salt, SCRAM_SALT_MAX);
    int bad = base64_decode(&salt, field[1]) != 0 || salt.len == 0 || str_over(&salt);
    str_free(&salt);
    return bad ? err_set(err, 0, NULL, "Invalid %s salt in passdb", s->name) : 0;
}

/* StoredKey and ServerKey. */
static int derive(const struct kind *kind, struct slice password, struct slice salt, uint64_t iterations,
                  unsigned char *stored, unsigned char *server)
{
    unsigned char salted[EVP_MAX_MD_SIZE], client[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int key_len = (int) kind->bytes;
    int ok = PKCS5_PBKDF2_HMAC(password.p, (int) password.len, (const unsigned char *) salt.p, (int) salt.len,
                               (int) iterations, kind->md(), key_len, salted) == 1 &&
             HMAC(kind->md(), salted, key_len, (const unsigned char *) "Client Key", 10, client, &len) != NULL &&
             EVP_Digest(client, len, stored, &len, kind->md(), NULL) == 1 &&
             HMAC(kind->md(), salted, key_len, (const unsigned char *) "Server Key", 10, server, &len) != NULL;

    mem_wipe(salted, sizeof salted);
    mem_wipe(client, sizeof client);
    return ok ? 0 : -1;
}

int scram_make(const struct scheme *s, struct slice password, struct slice salt, uint64_t iterations, struct str *raw,
               struct err *err)
{
    const struct kind *kind = s->with;
    unsigned char stored[EVP_MAX_MD_SIZE], server[EVP_MAX_MD_SIZE];

    if (derive(kind, password, salt, iterations, stored, server) != 0)
        return err_set(err, 0, NULL, "%s cannot be computed", s->name);
    str_printf(raw, "%" PRIu64 ",", iterations);
    base64_encode(raw, salt);
    str_addc(raw, ',');
    base64_encode(raw, slice_make((char *) stored, kind->bytes));
    str_addc(raw, ',');
    base64_encode(raw, slice_make((char *) server, kind->bytes));
    mem_wipe(stored, sizeof stored);
    mem_wipe(server, sizeof server);
    return 0;
}

static int generate(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    unsigned char salt[SCRAM_SALT_BYTES];

    (void) rounds; /* Dovecot's takes none either */
    if (RAND_bytes(salt, sizeof salt) != 1)
        return err_set(err, 0, NULL, "no random bytes");
    return scram_make(s, word->password, slice_make((char *) salt, sizeof salt), SCRAM_ITERATIONS, raw, err);
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    unsigned char stored[EVP_MAX_MD_SIZE], server[EVP_MAX_MD_SIZE];
    enum scheme_answer answer = SCHEME_BROKEN;
    struct scram_keys keys;
    struct str salt;

    if (scram_split(s, raw, &keys, err) != 0)
        return SCHEME_BROKEN;
    str_init(&salt, SCRAM_SALT_MAX);
    base64_decode(&salt, keys.salt64);
    if (derive(s->with, word->password, str_slice(&salt), keys.iterations, stored, server) != 0)
        err_set(err, 0, NULL, "%s cannot be computed", s->name);
    else
        answer = scheme_equal(slice_make((char *) stored, keys.key_bytes),
                              slice_make((char *) keys.stored_key, keys.key_bytes))
                     ? SCHEME_MATCH
                     : SCHEME_MISMATCH;
    mem_wipe(stored, sizeof stored);
    mem_wipe(server, sizeof server);
    mem_wipe(&keys, sizeof keys);
    str_free(&salt);
    return answer;
}

static enum scheme_cost cost(const struct scheme *s, struct slice raw)
{
    struct scram_keys keys;
    enum scheme_cost result = SCHEME_CHEAP;

    if (scram_split(s, raw, &keys, NULL) == 0)
        result = keys.iterations <= SLOW_ITERATIONS ? SCHEME_SLOW : SCHEME_HEAVY;
    mem_wipe(&keys, sizeof keys);
    return result;
}

static const struct kind sha1 = { EVP_sha1, 20 }, sha256 = { EVP_sha256, 32 };

const struct scheme scheme_scram_family[] = {
    { .name = "SCRAM-SHA-1", .with = &sha1, .verify = verify, .generate = generate, .cost = cost },
    { .name = "SCRAM-SHA-256", .with = &sha256, .verify = verify, .generate = generate, .cost = cost },
    { .name = NULL },
};
