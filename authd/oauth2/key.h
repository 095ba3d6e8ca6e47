/*
 * key - keys of local_validation_key_dict: files PREFIX/azp/alg/kid
 *
 * Callers     authd/oauth2/check.c
 * Invariants  the names come from a token that nobody has checked yet: each is one part of a path, escaped, never ".."
 * Errors      three answers: a file that cannot be read is LOOKUP_RETRY
 * Source      Dovecot 2.3: fs:posix dictionaries, keys of its JWT validation
 */
#ifndef OAUTH2_KEY_H
#define OAUTH2_KEY_H
#include "base/err.h"
#include "base/str.h"

enum { KEY_FILE_BYTES = 65536 };
/* Appends the file to *out. */
enum lookup key_read(const char *directory, const char *party, const char *algorithm, const char *key_id,
                     struct str *out, struct err *);
#endif
