/*
 * passdb_ask - one database of the list, asked about one password
 *
 * Callers     authd/passdb.c
 * Invariants  a password that does not match what was remembered, here (auth_cache) or by proxymap, is compared with
 *             what the database says now: a password that was changed works at once. Secrets for challenges are
 *             always asked for anew; what was remembered serves while the database is away
 */
#ifndef AUTHD_PASSDB_ASK_H
#define AUTHD_PASSDB_ASK_H
#include "passdb.h"

enum passdb_purpose { PASSDB_FOR_PASSWORD, PASSDB_FOR_CREDENTIALS, PASSDB_FOR_FIELDS };
struct passdb_attempt {
    struct authd_request *request;
    enum passdb_purpose purpose;
    struct slice password;
    const char *const *schemes; /* of PASSDB_FOR_CREDENTIALS */
    const char *stored;         /* its result */
    bool verified;              /* an earlier database has taken the password */
    bool hashed;                /* a hash was computed */
    bool seen_later;
    struct authd_fields fields, userdb; /* of the request, before this database */
    bool prefetched;
    struct err err;
};
enum passdb_answer passdb_ask(struct passdb *, struct passdb_attempt *);
#endif
