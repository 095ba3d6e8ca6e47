/*
 * tlsmgr - the keys that all processes of a service seal session tickets with
 *
 * Callers     smtpd, login: once in post_jail for each server context
 * Invariants  keys are refreshed in the background; the last key stays good for tickets sealed with it
 * Errors      without tlsmgr there are no tickets, so every session shakes hands in full; nothing else changes
 */
#ifndef CLIENT_TLSMGR_H
#define CLIENT_TLSMGR_H
#include "io/tls.h"

void tlsmgr_keep_keys(struct tls_ctx *);
#endif
