/*
 * scheme/plain - passwords stored as they are
 *
 * Callers     scheme.c
 * Invariants  compared through digests, so that the time tells neither where two words differ nor how long they are
 */
#include "scheme.h"
#include <openssl/evp.h>

static enum scheme_answer verify(const struct scheme *s, struct slice password, struct slice raw)
{
    unsigned char a[EVP_MAX_MD_SIZE], b[EVP_MAX_MD_SIZE];
    unsigned a_len, b_len;

    (void) s;
    if (EVP_Digest(password.p, password.len, a, &a_len, EVP_sha256(), NULL) != 1 ||
        EVP_Digest(raw.p, raw.len, b, &b_len, EVP_sha256(), NULL) != 1)
        return SCHEME_BROKEN;
    return scheme_equal(slice_make((char *) a, a_len), slice_make((char *) b, b_len)) ? SCHEME_MATCH
                                                                                      : SCHEME_MISMATCH;
}

static int generate(const struct scheme *s, struct slice password, uint64_t rounds, struct str *raw, struct err *err)
{
    (void) s;
    (void) rounds;
    if (memchr(password.p, '\n', password.len))
        return err_set(err, 0, NULL, "the password holds a line end");
    str_addslice(raw, password);
    return 0;
}

const struct scheme scheme_plain_family[] = {
    { .name = "PLAIN", .verify = verify, .generate = generate },
    { .name = "CLEAR", .verify = verify, .generate = generate },
    { .name = "CLEARTEXT", .verify = verify, .generate = generate },
    { .name = NULL },
};
