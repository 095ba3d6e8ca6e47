/*
 * accounts - numbers of system users and groups
 *
 * Callers     authd/userdb.c
 * Invariants  reads /etc/passwd and /etc/group only; a number is itself
 * Errors      NULL with words: no such account, or the file cannot be read
 */
#ifndef AUTHD_ACCOUNTS_H
#define AUTHD_ACCOUNTS_H
#include "base/err.h"
#include "base/mem.h"

const char *accounts_uid(const char *name, struct arena *, struct err *);
const char *accounts_gid(const char *name, struct arena *, struct err *);
#endif
