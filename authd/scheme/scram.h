/*
 * scheme/scram - what SCRAM keeps instead of the password: "iterations,salt,StoredKey,ServerKey", the last three base64
 *
 * Callers     scheme.c, authd/sasl
 * Units       iterations from SCRAM_ITERATIONS to SCHEME_ITERATIONS_MAX
 * Errors      -1 with words for the log
 * Source      RFC 5802 section 3, RFC 7677; the form is Dovecot's
 */
#ifndef AUTHD_SCHEME_SCRAM_H
#define AUTHD_SCHEME_SCRAM_H
#include "scheme.h"

enum { SCRAM_ITERATIONS = 4096, SCRAM_SALT_BYTES = 16, SCRAM_KEY_BYTES = 64, SCRAM_SALT_MAX = 1024 };

struct scram_keys {
    uint64_t iterations;
    struct slice salt64; /* base64, in the text that was split */
    size_t key_bytes;
    unsigned char stored_key[SCRAM_KEY_BYTES], server_key[SCRAM_KEY_BYTES];
};
/* scheme: a member of scheme_scram_family. Pure. */
int scram_split(const struct scheme *, struct slice raw, struct scram_keys *out, struct err *);
/* Appends the stored form. salt: bytes. */
int scram_make(const struct scheme *, struct slice password, struct slice salt, uint64_t iterations, struct str *raw,
               struct err *);
#endif
