/*
 * client internal - a mechanism of lib/proto/sasl/client.h
 *
 * Callers     lib/proto/sasl/client*.c
 */
#ifndef PROTO_SASL_CLIENT_INTERNAL_H
#define PROTO_SASL_CLIENT_INTERNAL_H
#include "proto/sasl/client.h"
#include <openssl/evp.h>

struct sasl_client_mech {
    const char *name;
    unsigned flags;
    bool mutual;                                          /* the server must have proven itself at the end */
    bool (*first)(struct sasl_client *, struct str *out); /* NULL: the server speaks first */
    int (*next)(struct sasl_client *, struct slice challenge, struct str *out, struct err *);
    const EVP_MD *(*digest)(void); /* SCRAM */
};
struct sasl_client {
    const struct sasl_client_mech *mech;
    char *user, *password, *authzid, *service, *host, *nonce;
    int step;
    bool proven;
    struct str expected; /* what proves the server */
};

int sasl_client_digest_next(struct sasl_client *, struct slice challenge, struct str *out, struct err *);
bool sasl_client_scram_first(struct sasl_client *, struct str *out);
int sasl_client_scram_next(struct sasl_client *, struct slice challenge, struct str *out, struct err *);
/* The same time whatever differs. */
int sasl_client_proof(struct sasl_client *, struct slice given, struct err *);
#endif
