/*
 * gs2 - the header in front of SCRAM's and OAUTHBEARER's first message: "n,a=user,"
 *
 * Callers     authd/mech/cyrus.c, authd/mech/oauth_parse.c
 * Invariants  pure
 * Errors      -1: no such header; *out is undefined
 * Source      RFC 5801 4; RFC 5802 section 7
 */
#ifndef AUTHD_MECH_GS2_H
#define AUTHD_MECH_GS2_H
#include "base/str.h"

enum { GS2_NAME_BYTES = 1024 };
struct gs2 {
    char flag;            /* 'n': no channel binding, 'y': the client could, 'p': it does */
    struct slice binding; /* type, with 'p' */
    struct slice rest;    /* behind the header */
    size_t authzid_len;
    char authzid[GS2_NAME_BYTES]; /* decoded, NUL at its end; "" where there is none */
};
int gs2_parse(struct slice in, struct gs2 *out);
#endif
