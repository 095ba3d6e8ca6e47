/*
 * secret - what the passdb keeps of a user, for mechanisms that never see the password
 *
 * Callers     see engine.h: mech_secret
 * Invariants  a user who has no secret is answered as one who has: the same salt each time, the same time spent
 *             the salt of a plain password is the same for as long as the process lives, so that clients may keep
 *             what they derived from it
 */
#include "../password.h"
#include "../scheme/scram.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

enum { KEY_BYTES = 32, SECRET_MAX = 64, FORMS_MAX = 8 };
static unsigned char key[KEY_BYTES]; /* of this process */
static bool key_set;
/* How the SCRAM keys of users who exist look, by SCRAM-SHA-1 and SCRAM-SHA-256: a name that is nobody's takes one of
 * these, always the same as long as no other is seen. */
struct form {
    uint64_t iterations;
    size_t salt_bytes;
    bool derived; /* made of a plain password at each login: what a decoy must cost */
};
static struct forms {
    size_t count;
    struct form form[FORMS_MAX];
} forms[2];

static void salt_of(const struct authd_request *r, unsigned char salt[EVP_MAX_MD_SIZE])
{
    const char *name = r->user[0] ? r->user : r->original_user;

    if (!key_set && RAND_bytes(key, sizeof key) != 1)
        log_fatal("no random bytes");
    key_set = true;
    if (HMAC(EVP_sha512(), key, sizeof key, (const unsigned char *) name, strlen(name), salt, NULL) == NULL)
        log_fatal("HMAC cannot be computed");
}

static void random_bytes(struct str *out, size_t len)
{
    unsigned char bytes[SECRET_MAX];

    if (len > sizeof bytes || RAND_bytes(bytes, (int) len) != 1)
        log_fatal("no random bytes");
    str_add(out, bytes, len);
}

static bool is_sha1(const struct mech_exchange *x) { return strcmp(x->mech->stored, "SCRAM-SHA-1") == 0; }

/* raw: "iterations,salt,..." of a user who exists. */
static void learn(const struct mech_exchange *x, struct slice raw, bool derived)
{
    struct forms *known = &forms[!is_sha1(x)];
    struct slice number, salt64;
    struct form f = { .derived = derived };
    struct str salt;

    if (!slice_split(&raw, ',', &number) || !slice_split(&raw, ',', &salt64) ||
        slice_u64(number, SCHEME_ITERATIONS_MAX, &f.iterations) != 0)
        return;
    str_init(&salt, SCRAM_SALT_MAX);
    if (base64_decode(&salt, salt64) == 0)
        f.salt_bytes = salt.len < EVP_MAX_MD_SIZE ? salt.len : EVP_MAX_MD_SIZE;
    str_free(&salt);
    for (size_t n = 0; n < known->count; n++)
        if (known->form[n].iterations == f.iterations && known->form[n].salt_bytes == f.salt_bytes) {
            known->form[n].derived = f.derived;
            return;
        }
    if (known->count < FORMS_MAX && f.salt_bytes > 0)
        known->form[known->count++] = f;
}

static struct form form_for(const struct mech_exchange *x, const unsigned char salt[EVP_MAX_MD_SIZE])
{
    const struct forms *known = &forms[!is_sha1(x)];

    if (known->count == 0)
        return (struct form){ .iterations = SCRAM_ITERATIONS, .salt_bytes = SCRAM_SALT_BYTES };
    return known->form[salt[EVP_MAX_MD_SIZE - 1] % known->count];
}

static void decoy_scram(const struct mech_exchange *x, struct str *raw)
{
    size_t bytes = is_sha1(x) ? 20 : 32;
    unsigned char salt[EVP_MAX_MD_SIZE];
    struct str password, wasted;
    struct err err = { 0 };

    salt_of(x->request, salt);
    const struct form f = form_for(x, salt);
    if (f.derived) {
        str_init(&password, SECRET_MAX);
        str_init(&wasted, SCHEME_STORED_BYTES);
        random_bytes(&password, SCRAM_SALT_BYTES);
        password_credentials(password.p, "PLAIN", x->mech->stored, NULL, slice_make((char *) salt, SCRAM_SALT_BYTES),
                             &wasted, &err);
        str_free(&password);
        str_free(&wasted);
    }
    str_printf(raw, "%llu,", (unsigned long long) f.iterations);
    base64_encode(raw, slice_make((char *) salt, f.salt_bytes));
    for (int n = 0; n < 2; n++) {
        struct str random;
        str_init(&random, SECRET_MAX);
        random_bytes(&random, bytes);
        str_addc(raw, ',');
        base64_encode(raw, str_slice(&random));
        str_free(&random);
    }
}

static void decoy(const struct mech_exchange *x, struct str *raw)
{
    str_reset(raw);
    if (slice_starts(slice_of(x->mech->stored), "SCRAM-"))
        decoy_scram(x, raw);
    else
        random_bytes(raw, strcmp(x->mech->stored, "CRAM-MD5") == 0 ? 32 : 16);
}

/* The stored text into *raw. */
static enum lookup take(struct mech_exchange *x, const char *stored, bool *plain, struct str *raw, struct err *err)
{
    struct authd_request *r = x->request;
    unsigned char salt[EVP_MAX_MD_SIZE];
    struct slice scheme, text;

    if (plain) {
        *plain = scheme_credentials(slice_of(stored), NULL, "PLAIN", NULL, (struct slice){ NULL, 0 }, raw, err) ==
                 LOOKUP_FOUND;
        if (*plain)
            return LOOKUP_FOUND;
    }
    salt_of(r, salt);
    enum lookup found = password_credentials(stored, NULL, x->mech->stored, r->original_user,
                                             slice_make((char *) salt, SCRAM_SALT_BYTES), raw, err);
    if (found == LOOKUP_FOUND && slice_starts(slice_of(x->mech->stored), "SCRAM-"))
        learn(x, str_slice(raw),
              scheme_of(slice_of(stored), NULL, &scheme, &text) == 0 && !slice_casestarts(scheme, x->mech->stored));
    return found;
}

enum verify_answer mech_secret(struct mech_exchange *x, bool *plain, struct str *raw)
{
    const char *const schemes[] = { x->mech->stored, "PLAIN", "CLEARTEXT", "CLEAR", "HMAC-MD5", NULL };
    bool hmac = strcmp(x->mech->stored, "CRAM-MD5") == 0; /* one thing, two names */
    const char *usable[sizeof schemes / sizeof *schemes] = { NULL };
    const char *stored = NULL;
    enum verify_answer answer;
    struct err err;

    for (size_t n = 0; schemes[n] && (hmac || strcmp(schemes[n], "HMAC-MD5") != 0); n++)
        usable[n] = schemes[n];
    if (plain)
        *plain = false;
    str_reserve(raw, SCHEME_STORED_BYTES);
    answer = authd_credentials(x->request, usable, &stored);
    if (answer == VERIFY_OK) {
        if (take(x, stored, plain, raw, &err) != LOOKUP_FOUND) {
            authd_request_warn(x->request, "%s", err.text);
            answer = VERIFY_LATER;
        }
        mem_wipe((char *) (uintptr_t) stored, strlen(stored));
    }
    if (answer == VERIFY_FAIL)
        decoy(x, raw);
    return answer;
}
