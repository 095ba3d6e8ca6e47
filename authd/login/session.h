/*
 * session - one client of login: who it is, what it tried, how it ended
 *
 * Callers     the files of authd/login
 * Invariants  lives on its fiber's stack; one log line says how it ended: Login, Aborted login or Disconnected
 */
#ifndef LOGIN_SESSION_H
#define LOGIN_SESSION_H
#include "client/auth.h"
#include "io/stream.h"

enum {
    LOGIN_IDLE_SECONDS = 180,   /* without a command */
    LOGIN_TOTAL_SECONDS = 1800, /* before a login has succeeded */
    LOGIN_AUTH_SECONDS = 170,   /* authd gives up a little earlier */
    LOGIN_HAND_OVER_SECONDS = 60,
    LOGIN_BAD_COMMANDS = 3,
    LOGIN_ID_BYTES = 40,
    LOGIN_USER_BYTES = 256, /* shown in the log */
    LOGIN_LINE_BYTES = 20480,
    LOGIN_REASON_BYTES = 512,
    LOGIN_CHALLENGE_BYTES = 400,
};
enum login_next { LOGIN_GO_ON, LOGIN_CLOSE };
/* What the client is told of an authentication. */
enum login_result {
    LOGIN_OK,     /* the client is served elsewhere */
    LOGIN_FAILED, /* s->refusal may have words */
    LOGIN_LATER,
    LOGIN_DISABLED,
    LOGIN_EXPIRED,
    LOGIN_INVALID_BASE64,
    LOGIN_ABORTED,     /* by the client */
    LOGIN_PRIVACY,     /* plaintext on a connection that is not secured */
    LOGIN_UNSUPPORTED, /* mechanism */
    LOGIN_LIMIT,       /* of sessions; s->reason has words */
    LOGIN_DENIED,
    LOGIN_INTERNAL, /* authenticated, but no process could be found */
    LOGIN_GONE,     /* the connection broke */
};
struct login_session {
    struct stream *stream;
    const struct login_protocol *protocol;
    char id[LOGIN_ID_BYTES];
    char rip[64], lip[64];
    unsigned rport, lport;
    bool wrapped; /* TLS from the first byte: what is said is said in TLS, though the handshake may not be over */
    bool secured; /* TLS, or both ends are this host */
    int64_t started_ms;
    int bad_commands, attempts, successes;
    bool logged_in;  /* and logged as that */
    bool challenged; /* the mechanism has asked the client something */
    bool aborted_sasl, tried_privacy, tried_unsupported, later;
    char user[LOGIN_USER_BYTES];
    char method[AUTH_MECH_NAME_BYTES];
    const char *ended; /* "Inactivity", "Aborted login by logging out", ...; NULL: the connection was closed */
    char reason[LOGIN_REASON_BYTES];
    char refusal[LOGIN_REASON_BYTES]; /* what authd wants the client to read; "" */
    /* pop3: */
    char challenge[LOGIN_CHALLENGE_BYTES]; /* of APOP, shown in the greeting; "" */
    /* imap: */
    char tag[160];
    bool asked_capability;
};
struct login_protocol {
    const char *name; /* "imap" */
    void (*greeting)(struct login_session *, struct str *out);
    enum login_next (*command)(struct login_session *);
    void (*inactive)(struct login_session *); /* farewell after LOGIN_IDLE_SECONDS */
};
extern const struct login_protocol login_imap, login_pop3;

/* Parameters and what is made before the jail. */
extern const char *login_greeting;
extern bool login_disable_plaintext_auth;
extern struct tls_ctx *login_tls; /* NULL: no certificate */
extern struct auth_client *login_auth;

/* The greeting, or "", is what the client is told first. -1: the connection is of no more use. */
int login_start_tls(struct login_session *, struct slice greeting);
bool login_in_tls(const struct login_session *);
bool login_plaintext_allowed(const struct login_session *);
/* The mechanisms to offer now, each behind `before`: "AUTH=PLAIN AUTH=LOGIN". */
void login_mechanisms(struct login_session *, const char *before, struct str *out);
/* initial: base64, as auth_start wants it. Runs the exchange ("+ " lines), on success hands the client over (and with
 * TLS relays until the end). */
enum login_result login_authenticate(struct login_session *, const char *mechanism, struct slice initial);
/* A challenge of APOP in s->challenge, where authd can check one. */
void login_apop_challenge(struct login_session *);
/* digest: 16 bytes. */
enum login_result login_apop(struct login_session *, struct slice user, struct slice digest);
enum login_result login_password(struct login_session *, struct slice user, struct slice password);
void login_relay(struct login_session *, int fd); /* owns fd */
void login_log_login(const struct login_session *, int64_t mail_pid);
void login_log_end(const struct login_session *);
/* One line, at most LOGIN_LINE_BYTES: 0; -1 when the session must end (s->ended is set where it matters). */
int login_line(struct login_session *, struct str *out);
#endif
