/*
 * accounts - numbers of system users and groups
 *
 * Callers     authd/userdb.c, authd/passdb.c
 * Invariants  a number is itself; a name that the configuration writes is looked up once, before the jail; any other
 *             is asked of auth-worker each time, for the libraries of nsswitch.conf may block
 * Errors      NULL with words: no such account, or it cannot be asked
 */
#ifndef AUTHD_ACCOUNTS_H
#define AUTHD_ACCOUNTS_H
#include "base/err.h"
#include "base/mem.h"

/* Before the jail: "uid=vmail gid=mail userdb_uid=..." among the fields of a text are looked up. */
void accounts_learn(const char *fields);
const char *accounts_uid(const char *name, struct arena *, struct err *);
const char *accounts_gid(const char *name, struct arena *, struct err *);
#endif
