/*
 * authd_ahead - claims of logins that authd has told before anybody asked for them
 *
 * Callers     lib/client/authd.c
 * Invariants  a claim that was told is no longer authd's; it is found at most once, by who knows pid, request and cookie, and
 *             not after its time; at most AUTHD_AHEAD_MAX wait
 *             nothing is waited for: authd tells of a login before login itself knows, so who is asked for one reads what is
 *             there, and has it
 * Errors      a connection that breaks, or says what cannot be read, is given up: authd_ahead_open is false then
 */
#ifndef CLIENT_AUTHD_AHEAD_H
#define CLIENT_AUTHD_AHEAD_H
#include "base/mem.h"
#include "io/stream.h"
#include "proto/sasl/dovecot_auth.h"

struct authd_ahead;
struct authd_ahead *authd_ahead_new(void);
void authd_ahead_free(struct authd_ahead **);
bool authd_ahead_open(const struct authd_ahead *);
/* Owns the stream, on which authd has answered CLAIMS with OK. */
void authd_ahead_begin(struct authd_ahead *, struct stream *);
/* The words of "CLAIM expires_ms pid request cookie user ...": the user is word AUTHD_AHEAD_USER. *text owns them. */
enum { AUTHD_AHEAD_USER = 5, AUTHD_AHEAD_MAX = 20000 }; /* MAX: as many as authd itself keeps */
bool authd_ahead_take(struct authd_ahead *, uint32_t client_pid, uint32_t request, const char *cookie,
                      struct str *text, struct dovecot_auth_line *out);
#endif
