/*
 * username - the one spelling of a user's name
 *
 * Callers     authd/verify.c, authd/userdb.c, authd/mech.c
 * Invariants  pure but for its parameters; the result holds only auth_username_chars (where set), is not empty and
 *             has no part that names a directory ("/", "..")
 * Errors      -1 with words for the log: the name can belong to nobody
 */
#ifndef AUTHD_USERNAME_H
#define AUTHD_USERNAME_H
#include "base/err.h"
#include "base/str.h"

enum { USERNAME_BYTES = 512 };
struct username_rules {
    const char *format;        /* auth_username_format: %u %n %d with the modifiers L and U */
    const char *chars;         /* auth_username_chars; "": all */
    const char *default_realm; /* added behind a name without "@"; "": nothing */
};
int username_rules_check(const struct username_rules *, struct err *); /* at start */
int username_canonical(const struct username_rules *, struct slice name, struct str *out, struct err *);
#endif
