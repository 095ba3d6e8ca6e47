/*
 * password - hashes of passwords, computed beside the loop
 *
 * Callers     authd/passdb.c, authd/mech/secret.c, in a fiber
 * Invariants  at most auth_hash_limit heavy ones at a time, since each may want 64 MiB; cheaper ones do not wait for
 *             them, and go before them at the processor
 *             password_waste costs what the last password_check of a user did: time tells nobody who exists
 * Errors      SCHEME_BROKEN with words: a stored password that cannot be used
 */
#ifndef AUTHD_PASSWORD_H
#define AUTHD_PASSWORD_H
#include "scheme/scheme.h"

enum scheme_answer password_check(const char *stored, const char *default_scheme, const struct scheme_word *,
                                  struct err *);
void password_waste(const struct scheme_word *);
/* scheme_credentials (scheme/scheme.h), beside the loop where it takes long. */
enum lookup password_credentials(const char *stored, const char *default_scheme, const char *wanted, const char *user,
                                 struct slice salt, struct str *raw, struct err *);
#endif
