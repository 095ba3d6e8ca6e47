/*
 * sources - the tables and SQL files that the configuration names, opened before the jail
 *
 * Callers     proxymap.c, sql.c
 * Invariants  what table/named.h does not find is not served
 * Ownership   tables live as long as the process
 */
#ifndef PROXYMAP_SOURCES_H
#define PROXYMAP_SOURCES_H
#include "table/table.h"

void sources_open(void);
/* NULL: not served with these flags. *blocks: its lookups leave the process, and belong into a thread. */
struct table *sources_table(const char *spec, unsigned flags, bool *blocks);
struct table *sources_sql(const char *file); /* NULL: not served */
bool sources_known(const char *spec);        /* served, whatever the flags */
#endif
