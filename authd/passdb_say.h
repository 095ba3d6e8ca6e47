/*
 * passdb_say - what the log is told of a password that was refused
 *
 * Callers     authd/passdb_ask.c, authd/authd.c
 * Invariants  a password, or a hash of it, is logged only where auth_verbose_passwords or auth_debug_passwords says so
 * Source      Dovecot 2.3: the words, and which parameter brings which line
 */
#ifndef AUTHD_PASSDB_SAY_H
#define AUTHD_PASSDB_SAY_H
#include "passdb_ask.h"

int passdb_say_open(const char *verbose_passwords, struct err *); /* before the jail; -1 with words */
/* why: of a database that checks by itself; NULL: the usual words. */
void passdb_say(const struct passdb *, const struct passdb_attempt *, enum passdb_answer, const char *why);
void passdb_say_differ(const struct passdb_attempt *, const char *scheme, const char *stored);
#endif
