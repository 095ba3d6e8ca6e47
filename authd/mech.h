/*
 * mech - SASL mechanisms: which are offered, and one exchange of one of them
 *
 * Callers     authd/client.c; authd/saslauth offers libsasl2's own
 * Invariants  plug-ins of libsasl2 are loaded before the jail (mech_init); only what auth_mechanisms names is ever
 *             offered or started, whatever the machine has; an exchange runs in one fiber and may wait there
 *             a mechanism that no passdb can serve stops the start
 * Errors      MECH_FAIL with the verdict in mech_result: wrong, or "later"
 */
#ifndef AUTHD_MECH_H
#define AUTHD_MECH_H
#include "passdb.h"

enum { MECH_DATA_BYTES = 12288, MECH_BINDING_BYTES = 1024 }; /* of one challenge or response, decoded */
enum mech_step { MECH_CONTINUE, MECH_DONE, MECH_FAIL };

struct mech_engine;
struct mech {
    const char *name;  /* upper case */
    unsigned flags;    /* DOVECOT_AUTH_PLAINTEXT, ... */
    bool client_first; /* an exchange without an initial response begins with an empty challenge */
    const struct mech_engine *engine;
    const char *stored; /* scheme of the stored secret it works with; NULL: it sees a password, or needs none */
    bool token;         /* what it sees is a token */
};

/* mechanisms: "plain login". Databases are open. 0; -1 after logging what is not supported, and why. */
int mech_init(const char *mechanisms);
/* Where another program decides which mechanisms there are: adds one that outlives the process. -1: too many. */
int mech_offer(const struct mech *);
size_t mech_count(void);
const struct mech *mech_at(size_t n);
const struct mech *mech_find(struct slice name); /* any case; NULL when it is not offered */

/* What the front end can say of the connection. */
struct mech_front {
    /* Appends the data of a channel binding, at most MECH_BINDING_BYTES; waits. -1: none of that type. */
    int (*binding)(void *ctx, const char *type, struct str *data);
    void *ctx;
    bool binding_shown;    /* the client was shown a mechanism with channel binding */
    const char *challenge; /* how one of APOP begins that was shown on this connection: "<1a2b.3." */
};
struct mech_exchange;
/* All arguments outlive the exchange. */
struct mech_exchange *mech_new(const struct mech *, struct authd_request *, const struct mech_front *);
void mech_free(struct mech_exchange **);
/* in.p NULL: the client sent no initial response. Appends what to send to *out: a challenge, or after MECH_DONE final
 * data (RFC 4422 3.6). */
enum mech_step mech_step(struct mech_exchange *, struct slice in, struct str *out);
enum verify_answer mech_result(const struct mech_exchange *);
const char *mech_reason(const struct mech_exchange *); /* words for client and log; NULL: the verdict says all */
/* The verdict stands though the mechanism goes on: a client that leaves now has failed all the same. */
bool mech_refused(const struct mech_exchange *);
#endif
