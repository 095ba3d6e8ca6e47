/*
 * username - the one spelling of a user's name
 *
 * Callers     authd/request.c
 * Invariants  pure but for its parameters; the result is not empty and has no part that names a directory ("/", "..");
 *             before the format is applied it holds only auth_username_chars (where set)
 * Errors      -1 with words for the log: the name can belong to nobody
 * Source      Dovecot's auth_default_realm, auth_username_translation, auth_username_chars, auth_username_format, applied
 *             in this order
 */
#ifndef AUTHD_USERNAME_H
#define AUTHD_USERNAME_H
#include "base/err.h"
#include "base/str.h"
#include "conf/var.h"

enum { USERNAME_BYTES = 512 };
struct username_rules {
    const char *format;           /* auth_username_format, with %variables; "": as it is */
    const char *chars;            /* auth_username_chars; "": all */
    const char *translation;      /* auth_username_translation: pairs, the first becomes the second; "": none */
    const char *default_realm;    /* added behind a name without "@"; "": nothing */
    const char *master_separator; /* auth_master_user_separator; "": none */
};
int username_rules_check(const struct username_rules *, struct err *); /* at start */
/* others: variables but those of the name; may be NULL. */
int username_canonical(const struct username_rules *, struct slice name, const struct var_scope *others,
                       struct str *out, struct err *);
int username_path_check(struct slice name, struct err *); /* the invariant of a name that a database gave */
#endif
