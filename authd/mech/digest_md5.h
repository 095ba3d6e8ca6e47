/*
 * digest_md5 - the client's answer of DIGEST-MD5, and what it proves
 *
 * Callers     authd/mech/digest_md5.c, its test and fuzz target
 * Invariants  pure
 * Errors      -1 with words
 * Source      RFC 2831 2.1.2; qop "auth" alone
 */
#ifndef AUTHD_MECH_DIGEST_MD5_H
#define AUTHD_MECH_DIGEST_MD5_H
#include "base/err.h"
#include "base/str.h"

enum { DIGEST_MD5_BYTES = 4096, DIGEST_MD5_HASH_BYTES = 16, DIGEST_MD5_HEX_BYTES = 2 * DIGEST_MD5_HASH_BYTES };

enum digest_md5_name {
    DIGEST_USERNAME,
    DIGEST_REALM,
    DIGEST_NONCE,
    DIGEST_CNONCE,
    DIGEST_NC,
    DIGEST_QOP,
    DIGEST_URI,
    DIGEST_RESPONSE,
    DIGEST_CHARSET,
    DIGEST_AUTHZID,
    DIGEST_NAMES
};
struct digest_md5 {
    struct str text;                  /* values without their quotes, one after the other */
    struct slice value[DIGEST_NAMES]; /* p NULL: absent */
};
/* *out is freed by digest_md5_free, also after -1. */
int digest_md5_parse(struct slice in, struct digest_md5 *out, struct err *);
void digest_md5_free(struct digest_md5 *);
/* secret: MD5(username:realm:password). Response value in hex; server: the one the server proves itself with. */
void digest_md5_response(const struct digest_md5 *, const unsigned char secret[DIGEST_MD5_HASH_BYTES], bool server,
                         char hex[DIGEST_MD5_HEX_BYTES + 1]);
#endif
