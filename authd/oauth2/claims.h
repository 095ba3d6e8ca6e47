/*
 * claims - what a token or an identity server says: a JSON object as named texts
 *
 * Callers     authd/oauth2/check.c, jwt.c
 * Invariants  strangers' JSON: bounded in bytes, depth and members, parsed without recursion (json-c), UTF-8, no NUL,
 *             nothing behind the object
 *             strings are as they stand, numbers and true or false as written; a list of those is joined by tabs; what
 *             is an object or null is left out
 * Ownership   texts live in the arena given
 * Errors      -1 with words that hold nothing of the text
 */
#ifndef OAUTH2_CLAIMS_H
#define OAUTH2_CLAIMS_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { CLAIMS_MAX = 200, CLAIMS_BYTES = 256 << 10, CLAIMS_DEPTH = 8 };
struct claim {
    const char *name, *value;
};
struct claims {
    size_t count;
    struct claim claim[CLAIMS_MAX];
};
/* Adds the members of the object; a name that is there already gets the new value. */
int claims_parse(struct slice json, struct arena *, struct claims *, struct err *);
int claims_set(struct claims *, const char *name, const char *value); /* -1: too many */
const char *claims_get(const struct claims *, const char *name);      /* NULL: absent */
/* A number of seconds, 0 or more and below 2^62; parts of one are cut off (RFC 7519 2 allows them). -1: none. */
int claims_seconds(const char *value, int64_t *out);
/* Is one of the value's words this one? NULL in value: no. */
bool claims_list(const char *value, const char *separators, struct slice word);
#endif
