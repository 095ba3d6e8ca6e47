/*
 * computed - defaults that depend on the machine: myhostname, mydomain, mynetworks, process_id, ...
 *
 * Callers     lib/conf/param.c
 * Invariants  the text may hold $names; it lives in the arena
 */
#ifndef CONF_COMPUTED_H
#define CONF_COMPUTED_H
#include "base/mem.h"

const char *computed_default(const char *name, struct arena *); /* NULL: not a computed one */
/* First line of the file that myorigin names (Debian's rule for values that begin with "/"); NULL when unreadable. */
const char *computed_mailname(const char *path, struct arena *);
#endif
