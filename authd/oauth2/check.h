/*
 * check - is this the user's token, and what else does it say of him
 *
 * Callers     oauth2.c
 * Invariants  a fault (an identity server away, slow, or saying what cannot be understood; a key that cannot be read)
 *             is OAUTH2_LATER, never "wrong" and never "right"
 *             no token, password or secret gets into an error or the log
 * Source      Dovecot 2.3, passdb oauth2; RFC 6750, RFC 7662, RFC 6749 4.3
 */
#ifndef OAUTH2_CHECK_H
#define OAUTH2_CHECK_H
#include "claims.h"
#include "client/oauth2.h"
#include "source.h"

struct check {
    const struct oauth2_source *source;
    struct arena *arena;
    const char *token; /* or the password, for use_grant_password */
    size_t vars;       /* of the request, by their long names */
    const struct oauth2_var *var;
    struct claims claims; /* what was learnt; empty at first */
    struct claims fields; /* pass_attrs, expanded */
};
/* In a fiber; the struct is large: it belongs into an arena. */
enum oauth2_verdict check_token(struct check *, struct err *);
/* Unix time at which the token expires, by its claims; 0: they do not say. */
int64_t check_until(const struct check *);
#endif
