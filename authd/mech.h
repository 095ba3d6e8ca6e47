/*
 * mech - SASL mechanisms, by libsasl2 with our password check
 *
 * Callers     authd/client.c
 * Invariants  plug-ins are loaded before the jail (mech_init); only what auth_mechanisms names is ever offered or
 *             started, whatever plug-ins the machine has; an exchange runs in one fiber and may wait there
 * Errors      MECH_FAIL with the verdict in mech_result: wrong, "later", disabled, expired
 */
#ifndef AUTHD_MECH_H
#define AUTHD_MECH_H
#include "passdb.h"

enum mech_flag { MECH_PLAINTEXT = 1 };
struct mech {
    const char *name; /* upper case */
    unsigned flags;
};
enum mech_step { MECH_CONTINUE, MECH_DONE, MECH_FAIL };
enum { MECH_DATA_BYTES = 12288 }; /* of one challenge or response, decoded */

/* mechanisms: "plain login". 0; -1 after logging what is not supported. */
int mech_init(const char *mechanisms);
size_t mech_count(void);
const struct mech *mech_at(size_t n);
const struct mech *mech_find(struct slice name); /* any case; NULL when it is not offered */

struct mech_exchange;
/* The request learns its user, and what the passdb says of it. */
struct mech_exchange *mech_new(const struct mech *, struct authd_request *);
void mech_free(struct mech_exchange **);
/* in.p NULL: the client sent no initial response. Appends what to send to *out. */
enum mech_step mech_step(struct mech_exchange *, struct slice in, struct str *out);
enum verify_answer mech_result(const struct mech_exchange *); /* why, after MECH_FAIL */
#endif
