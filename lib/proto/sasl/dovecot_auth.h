/*
 * dovecot_auth - lines of the Dovecot auth protocol, client and server side alike
 *
 * A line is a verb and fields, separated by TABs; a field is a word or name=value. Bytes that would break the line
 * are escaped by 0x01: t TAB, n LF, r CR, 0 NUL, 1 0x01.
 *
 * Callers     lib/client/auth.c (client), authd (server)
 * Invariants  pure; a parsed line borrows the bytes it was read from, fields stay escaped until asked for
 * Errors      -1: too long, too many fields, no verb
 * Source      ../reference: dovecot.md 4.2; auth-protocol.txt of Dovecot describes the same
 */
#ifndef PROTO_SASL_DOVECOT_AUTH_H
#define PROTO_SASL_DOVECOT_AUTH_H
#include "base/str.h"

enum {
    DOVECOT_AUTH_LINE_BYTES = 16384, /* without its LF; what Dovecot's server accepts */
    DOVECOT_AUTH_FIELDS = 128,
    DOVECOT_AUTH_MAJOR = 1,
    DOVECOT_AUTH_MINOR = 2, /* 2: an empty resp= is an empty initial response */
};

struct dovecot_auth_line {
    struct slice verb;
    size_t count;
    struct slice field[DOVECOT_AUTH_FIELDS]; /* escaped, as on the wire */
};
int dovecot_auth_parse(struct slice line, struct dovecot_auth_line *out);

/* The number in field[at]; -1 when it is absent or none. */
int dovecot_auth_number(const struct dovecot_auth_line *, size_t at, uint32_t *out);
/* The escaped value of the field "name=..." at or behind `from`; a bare "name" has the value "". */
bool dovecot_auth_field(const struct dovecot_auth_line *, size_t from, const char *name, struct slice *value);

void dovecot_auth_unescape(struct str *out, struct slice);
void dovecot_auth_escape(struct str *out, struct slice);
#endif
