/*
 * security - the words of smtpd_sasl_security_options and its kin
 *
 * Callers     smtpd/cmd/auth.c, smtp/auth.c
 * Invariants  pure
 * Errors      -1: *word is the one that is not known
 */
#ifndef PROTO_SASL_SECURITY_H
#define PROTO_SASL_SECURITY_H
#include "base/str.h"

/* What a mechanism must not be, and must be: bits of enum dovecot_auth_flag. */
struct sasl_security {
    unsigned refused, needed;
};
int sasl_security_parse(const char *options, struct sasl_security *out, struct slice *word);
bool sasl_security_allows(const struct sasl_security *, unsigned flags); /* flags of a mechanism */
#endif
