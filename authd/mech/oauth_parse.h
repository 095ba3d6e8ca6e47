/*
 * oauth_parse - the client's one message of OAUTHBEARER and of XOAUTH2
 *
 * Callers     authd/mech/oauth.c
 * Invariants  pure; what is found borrows the message
 * Errors      NULL, or what is wrong with it
 * Source      RFC 7628 3.1: header of RFC 5801, then name=value, each ended by 0x01; XOAUTH2 is that without the header.
 *             The user's name must be there, as Dovecot 2.3 wants it: a passdb is asked for a user
 */
#ifndef AUTHD_MECH_OAUTH_PARSE_H
#define AUTHD_MECH_OAUTH_PARSE_H
#include "gs2.h"

struct oauth_message {
    struct slice user, token;
    struct gs2 header; /* OAUTHBEARER: user is its authorization identity, decoded */
};
const char *oauth_parse_bearer(struct slice in, struct oauth_message *out);
const char *oauth_parse_xoauth2(struct slice in, struct oauth_message *out);
#endif
