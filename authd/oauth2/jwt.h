/*
 * jwt - a signed token, checked without asking anybody: RS, PS, ES and HS with SHA-256, -384, -512
 *
 * Callers     authd/oauth2/check.c
 * Invariants  pure. The algorithm decides which kind of key may check it: an HMAC key is base64 and nothing else, the
 *             others are public keys in PEM of just that kind, so that a public key is never taken for a shared secret.
 *             "none" is no algorithm
 *             jwt_parse says nothing of the token's truth: jwt_signed does
 * Units       seconds since 1970
 * Errors      -1 with words for the log: they hold names of the token's own choice, sanitised, never its signature
 * Source      RFC 7515, RFC 7518 3, RFC 7519 4.1; which claims must be there: Dovecot 2.3
 */
#ifndef OAUTH2_JWT_H
#define OAUTH2_JWT_H
#include "claims.h"

enum { JWT_BYTES = 16384, JWT_NAME_BYTES = 200 };
struct jwt {
    struct slice covered;                   /* what the signature is about */
    struct slice signature;                 /* decoded; in the arena */
    const char *algorithm, *key_id, *party; /* "RS256", kid and azp, "default" where there is none */
    struct claims claims;
};
/* The struct is large: it belongs into an arena. */
int jwt_parse(struct slice token, struct arena *, struct jwt *out, struct err *);
struct jwt_wanted {        /* "": anything */
    const char *issuers;   /* blanks between; iss must be one */
    const char *client_id; /* aud must hold it */
    const char *scope;     /* blanks between; scope must hold each */
};
/* These, and sub, exp, nbf, iat. */
int jwt_valid(const struct jwt *, int64_t now, const struct jwt_wanted *, struct err *);
/* key: a file as it is. */
int jwt_signed(const struct jwt *, struct slice key, struct err *);
#endif
