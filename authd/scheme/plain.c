/*
 * scheme/plain - passwords stored as they are
 *
 * Callers     scheme.c
 * Invariants  compared through digests, so that the time tells neither where two words differ nor how long they are
 *             PLAIN-TRUNC is "LENGTH-text": only the first LENGTH bytes of the password count, for passwords that
 *             another program cut; a LENGTH of 0 would let everybody in and is refused
 */
#include "base/mem.h"
#include "scheme.h"
#include <openssl/evp.h>

static enum scheme_answer same(struct slice password, struct slice stored)
{
    unsigned char a[EVP_MAX_MD_SIZE], b[EVP_MAX_MD_SIZE];
    enum scheme_answer answer = SCHEME_BROKEN;
    unsigned a_len, b_len;

    if (EVP_Digest(password.p, password.len, a, &a_len, EVP_sha256(), NULL) == 1 &&
        EVP_Digest(stored.p, stored.len, b, &b_len, EVP_sha256(), NULL) == 1)
        answer = scheme_equal(slice_make((char *) a, a_len), slice_make((char *) b, b_len)) ? SCHEME_MATCH
                                                                                            : SCHEME_MISMATCH;
    mem_wipe(a, sizeof a);
    mem_wipe(b, sizeof b);
    return answer;
}

static enum scheme_answer verify(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                 struct err *err)
{
    enum scheme_answer answer = same(word->password, raw);

    if (answer == SCHEME_BROKEN)
        err_set(err, 0, NULL, "%s cannot be compared", s->name);
    return answer;
}

static enum scheme_answer verify_cut(const struct scheme *s, const struct scheme_word *word, struct slice raw,
                                     struct err *err)
{
    ptrdiff_t dash = slice_find(raw, '-');
    uint64_t length = SCHEME_PASSWORD_BYTES;

    if (dash < 0 || (dash > 0 && (slice_u64(slice_sub(raw, 0, (size_t) dash), SCHEME_STORED_BYTES, &length) != 0 ||
                                  length == 0))) {
        err_set(err, 0, NULL, "%s missing length: prefix", s->name);
        return SCHEME_BROKEN;
    }
    return same(slice_sub(word->password, 0, (size_t) length), slice_sub(raw, (size_t) dash + 1, raw.len));
}

static int generate(const struct scheme *s, const struct scheme_word *word, uint64_t rounds, struct str *raw,
                    struct err *err)
{
    (void) s;
    (void) rounds;
    (void) err;
    str_addslice(raw, word->password);
    return 0;
}

const struct scheme scheme_plain_family[] = {
    { .name = "PLAIN", .plain = true, .verify = verify, .generate = generate },
    { .name = "CLEAR", .plain = true, .verify = verify, .generate = generate },
    { .name = "CLEARTEXT", .plain = true, .verify = verify, .generate = generate },
    { .name = "PLAIN-TRUNC", .verify = verify_cut, .generate = generate },
    { .name = NULL },
};
