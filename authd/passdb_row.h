/*
 * passdb_row - what the fields of a passdb's answer mean
 *
 * Callers     authd/passdb.c
 * Invariants  a field that restricts a login is obeyed, or the login is refused
 * Errors      ROW_LATER with words: a field that cannot be obeyed
 * Source      Dovecot 2.3, passdb extra fields
 */
#ifndef AUTHD_PASSDB_ROW_H
#define AUTHD_PASSDB_ROW_H
#include "passdb.h"

struct passdb_row {
    const char *password, *scheme;     /* NULL: none; scheme: of a password without braces */
    bool no_password, no_authenticate; /* nopassword, noauthenticate */
    bool failed;                       /* fail, allow_nets, ...: this database lets nobody in */
};
/* Applies fields to the request, in their order. 0; -1 with words. */
int passdb_row_apply(struct authd_request *, const struct authd_fields *, const char *scheme, struct passdb_row *,
                     struct err *);
/* default_fields and override_fields: their values have %variables. */
int passdb_row_template(struct authd_request *, const char *text, const char *scheme, struct passdb_row *,
                        struct err *);
#endif
