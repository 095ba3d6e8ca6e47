/*
 * client - a login by SASL, from the client's side: PLAIN, LOGIN, CRAM-MD5, DIGEST-MD5, SCRAM-SHA-1, SCRAM-SHA-256
 *
 * Callers     smtp/auth.c
 * Invariants  pure: challenges in, responses out, all decoded; the caller brings the random nonce
 *             a server of DIGEST-MD5 or SCRAM must prove that it knows the password too: what it says last is checked
 *             name and password are used as they are (no SASLprep): ASCII, or the spelling the server stores
 * Ownership   what is given to new is copied; free wipes it
 * Units       bytes; SASL_CLIENT_ITERATIONS bounds what a server can make us compute (some 50 ms)
 * Errors      -1 with words for the log: the server's challenge is not the mechanism's, or its proof is wrong
 * Source      RFC 4616 (PLAIN), draft-murchison-sasl-login, RFC 2195, RFC 2831, RFC 5802, RFC 7677
 */
#ifndef PROTO_SASL_CLIENT_H
#define PROTO_SASL_CLIENT_H
#include "base/err.h"
#include "base/str.h"

enum { SASL_CLIENT_ITERATIONS = 100000, SASL_CLIENT_BYTES = 12288 /* of one message, decoded */ };

/* What a mechanism is, as the security options name it: enum dovecot_auth_flag. */
struct sasl_client_mech;
const char *sasl_client_name(const struct sasl_client_mech *); /* "PLAIN" */
unsigned sasl_client_flags(const struct sasl_client_mech *);
/* The n-th, the best first; NULL after the last. */
const struct sasl_client_mech *sasl_client_at(size_t n);

struct sasl_client_login {
    const char *user, *password;
    const char *authzid;        /* PLAIN, DIGEST-MD5, SCRAM: whom to be; NULL or "": oneself */
    const char *service, *host; /* DIGEST-MD5: "smtp", "mail.example.com" */
    const char *nonce; /* printable, without comma and quote, different each time; at least 16 random bytes' worth */
};
struct sasl_client;
struct sasl_client *sasl_client_new(const struct sasl_client_mech *, const struct sasl_client_login *);
void sasl_client_free(struct sasl_client **);

/* The response that goes out with the command; false: the server speaks first. */
bool sasl_client_first(struct sasl_client *, struct str *out);
int sasl_client_next(struct sasl_client *, struct slice challenge, struct str *out, struct err *);
/* After the server has said that it is content: 0 when the mechanism is too. */
int sasl_client_end(const struct sasl_client *, struct err *);
#endif
