/*
 * penalty - who guesses waits: a delay for each client address that has failed
 *
 * Callers     authd/client.c
 * Invariants  after n failures in a row an attempt begins 2^(n+1) seconds late, PENALTY_SECONDS_MAX at most; the same
 *             guess again counts once; a success forgives; PENALTY_FORGET_SECONDS after the last failure all is
 *             forgotten
 *             who logs in as before (the same user, the same password, right the last time) does not wait, whoever
 *             else guesses from the same address
 *             IPv6 addresses of one /48 count as one; a client without an address never waits
 *             at most PENALTY_CLIENTS addresses and PENALTY_KNOWN attempts, the oldest go first
 * Source      Dovecot's auth penalty
 */
#ifndef AUTHD_PENALTY_H
#define AUTHD_PENALTY_H
#include "request.h"

enum { PENALTY_SECONDS_MAX = 15, PENALTY_FORGET_SECONDS = 15, PENALTY_CLIENTS = 50000, PENALTY_KNOWN = 50000 };
int penalty_seconds(const struct authd_request *); /* before the attempt; its `attempt` is 0 where unknown yet */
void penalty_failed(const struct authd_request *);
void penalty_succeeded(const struct authd_request *);
#endif
