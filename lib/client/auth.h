/*
 * auth - ask who somebody is: the client side of the Dovecot auth protocol
 *
 * Speaks to our authd or to a real Dovecot's auth socket alike.
 *
 * Callers     smtpd (smtpd_sasl_path), login
 * Invariants  one connection, made when first needed and again after it was lost; many requests at a time over it
 *             with AUTH_BRIEF it does not outlive its use: a Dovecot's auth process that was replaced by a restart lives
 *             on as long as somebody is connected, and knows only the passwords of its day
 *             base64 goes through as the peer wrote it; who calls has checked that it is base64
 * Ownership   a client outlives its requests; auth_request_free cancels what is still open
 * Units       deadlines are those of lib/event
 * Errors      AUTH_RETRY: the service could not be asked or had a fault of its own: never "wrong password"
 */
#ifndef CLIENT_AUTH_H
#define CLIENT_AUTH_H
#include "base/str.h"
#include "proto/sasl/dovecot_auth.h"

enum {
    AUTH_MECHS_MAX = 32,
    AUTH_MECH_NAME_BYTES = 32,
    AUTH_USER_BYTES = 1024,
    AUTH_REQUESTS_MAX = 10000, /* open at a time on one connection */
    AUTH_CHALLENGE_BYTES = 48,
};
enum auth_answer { AUTH_OK, AUTH_CONTINUE, AUTH_FAIL, AUTH_RETRY };

/* What the service says of a mechanism. */
enum auth_mech_flag {
    AUTH_MECH_PRIVATE = DOVECOT_AUTH_PRIVATE,
    AUTH_MECH_ANONYMOUS = DOVECOT_AUTH_ANONYMOUS,
    AUTH_MECH_PLAINTEXT = DOVECOT_AUTH_PLAINTEXT,
    AUTH_MECH_DICTIONARY = DOVECOT_AUTH_DICTIONARY,
    AUTH_MECH_ACTIVE = DOVECOT_AUTH_ACTIVE,
    AUTH_MECH_FORWARD_SECRECY = DOVECOT_AUTH_FORWARD_SECRECY,
    AUTH_MECH_MUTUAL = DOVECOT_AUTH_MUTUAL,
    AUTH_MECH_CHANNEL_BINDING = DOVECOT_AUTH_CHANNEL_BINDING, /* needs auth_peer's binding */
};
struct auth_mech {
    char name[AUTH_MECH_NAME_BYTES];
    unsigned flags;
};

struct auth_client;
struct auth_request;
enum auth_keep {
    AUTH_KEEP, /* the connection stays: a master claims logins that were made over it */
    AUTH_BRIEF
};
/* path: "private/auth", or what smtpd_sasl_path names. Nothing is connected yet. */
struct auth_client *auth_client_new(const char *path, enum auth_keep);
void auth_client_free(struct auth_client **);
/* Before each use of a brief one: where its connection has grown old, another client takes its place; the old one ends
 * with its last request. */
void auth_client_renew(struct auth_client **);
enum { AUTH_IDLE_MS = 5000, AUTH_AGE_MS = 60000 };
void auth_client_patience(struct auth_client *, int64_t idle_ms, int64_t age_ms); /* instead of these */

/* The mechanisms, from the service's greeting (connects when needed). -1: the service cannot be asked. The array
 * belongs to the client and stays until it connects again: copy what is kept over a wait. */
int auth_mechs(struct auth_client *, int64_t deadline, const struct auth_mech **mechs, size_t *count);

/* How a challenge of APOP must begin for the service to know it as one of this connection: "<1a2b.3.". -1: not
 * connected, or a service that says no numbers. */
int auth_challenge_begin(const struct auth_client *, char out[AUTH_CHALLENGE_BYTES]);

/* What the service is told about the peer; NULL or 0 is left out. */
struct auth_peer {
    const char *service; /* "smtp", "imap", "pop3" */
    const char *local_ip, *remote_ip;
    unsigned local_port, remote_port;
    const char *session; /* for the service's log */
    const char *sni;
    const char *cert_username;
    const char *realm, *application; /* "saslauth" only: see proto/sasl/dovecot_auth.h */
    bool secured;                    /* TLS, or a connection that needs none */
    bool tls;
    bool valid_client_cert;
    bool nologin;        /* no master will ask for this login: smtpd */
    int64_t claim_ahead; /* pid of our dispatcher that will: it may be told at once; 0: nobody may */
    /* Data that bind an authentication to the TLS connection it is made on (RFC 5929, RFC 9266): appends those of
     * `type`. -1: there are none. Set only where the peer was shown a mechanism with channel binding: one that claims
     * to have seen none has been lied to, and is refused. */
    int (*binding)(void *ctx, const char *type, struct str *data);
    void *binding_ctx; /* outlives the request */
};

/* Begins one authentication; *out is always set and freed by the caller. initial: base64; p NULL where the client
 * gave none, empty for an empty response ("="). */
enum auth_answer auth_start(struct auth_client *, const char *mech, const struct auth_peer *, struct slice initial,
                            int64_t deadline, struct auth_request **out);
/* The peer's answer to a challenge, base64. */
enum auth_answer auth_continue(struct auth_request *, struct slice response, int64_t deadline);
void auth_request_free(struct auth_request **);

/* After AUTH_CONTINUE, or AUTH_OK with final data: base64 to show to the peer; "" where there is none. */
const char *auth_challenge(const struct auth_request *);
const char *
auth_user(const struct auth_request *); /* after OK the name authenticated; after FAIL the name, if known */
const char *auth_reason(const struct auth_request *); /* after FAIL and RETRY: words for log and peer, or "" */
const char *auth_code(const struct auth_request *);   /* after FAIL: "user_disabled", "pass_expired", ... or "" */
/* The value of an extra field of OK or FAIL ("nologin", "proxy", ...); NULL when it is absent. */
const char *auth_field(const struct auth_request *, const char *name);

/* What a master needs to claim a login: REQUEST's client-pid and client-id, and the service's cookie (hex). */
uint32_t auth_request_id(const struct auth_request *);
uint32_t auth_request_client_pid(const struct auth_request *);
const char *auth_request_cookie(const struct auth_request *);
#endif
