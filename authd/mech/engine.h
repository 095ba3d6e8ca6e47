/*
 * engine - what runs a mechanism: libsasl2, or a file here
 *
 * Callers     authd/mech.c; one struct mech_engine for each file that implements it
 * Invariants  step is called with in.p NULL only for a mechanism in which the server speaks first
 *             who the user is stands in the request; verdict says what became of it
 */
#ifndef AUTHD_MECH_ENGINE_H
#define AUTHD_MECH_ENGINE_H
#include "../mech.h"

struct mech_exchange {
    const struct mech *mech;
    struct authd_request *request;
    const struct mech_front *front;
    enum verify_answer verdict;
    const char *reason; /* of a failure; NULL */
    bool started;
    bool refused; /* the verdict stands; a challenge tells the client why, and its response counts for nothing */
    void *state;  /* the engine's */
};
struct mech_engine {
    int (*init)(void);                    /* before the jail, once; -1 after logging. NULL: nothing */
    bool (*has)(const char *mech);        /* after init; NULL: all that name this engine */
    int (*begin)(struct mech_exchange *); /* -1: nothing can be done, verdict says VERIFY_LATER. NULL: nothing */
    enum mech_step (*step)(struct mech_exchange *, struct slice in, struct str *out);
    void (*end)(struct mech_exchange *); /* NULL: nothing */
};
extern const struct mech_engine mech_cyrus, mech_digest_md5, mech_external, mech_anonymous, mech_apop,
    mech_oauthbearer, mech_xoauth2;

/* Name and authorization identity of the request; "" for authzid where there is none. -1 after a line in the log: the
 * name can belong to nobody. */
int mech_names(struct mech_exchange *, struct slice user, struct slice authzid);
/* For a proof that did not fit; logs it. Always MECH_FAIL. */
enum mech_step mech_mismatch(struct mech_exchange *);
/* What the client sent is not the mechanism's. Always MECH_FAIL. */
enum mech_step mech_malformed(struct mech_exchange *, const char *what);

/* What is stored of the request's user, decoded, in the form of the mechanism's scheme, or his password: then *plain
 * (NULL: it becomes the form too, for names and salt of the request's user). A user without one gets a secret that no
 * proof will fit: VERIFY_FAIL, and the exchange goes on, so that a client cannot tell who exists. Other answers are
 * final: no secret is set. *raw is wiped by the caller. */
enum verify_answer mech_secret(struct mech_exchange *, bool *plain, struct str *raw);
#endif
