/*
 * oauth2_wire - names in the messages of authd/oauth2
 *
 * "check": source, token, name and value of each variable in pairs. The answer's name is a
 * verdict; with it why (words for the log), openid, until (Unix time at which the token expires, or 0),
 * variables (names, blanks between), and name and value of each field, in pairs.
 *
 * Callers     lib/client/oauth2.c, authd/oauth2
 */
#ifndef CLIENT_OAUTH2_WIRE_H
#define CLIENT_OAUTH2_WIRE_H

#define OAUTH2_SERVICE  "private/oauth2"
#define OAUTH2_PROTOCOL "oauth2"
#define OAUTH2_CHECK    "check"
enum {
    OAUTH2_VERSION = 1,
    OAUTH2_SOURCE_BYTES = 4096,
    OAUTH2_TOKEN_BYTES = 16384,
    OAUTH2_NAME_BYTES = 256,
    OAUTH2_VALUE_BYTES = 65536,
    OAUTH2_WHY_BYTES = 512,
    OAUTH2_VARS = 256,
    OAUTH2_FIELDS = 200,
};
/* By enum oauth2_verdict. */
#define OAUTH2_VERDICTS                                     \
    {                                                       \
        "valid", "mismatch", "unknown", "disabled", "later" \
    }
#endif
