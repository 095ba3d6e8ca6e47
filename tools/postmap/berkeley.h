/*
 * berkeley - the FILE.db that Postfix keeps beside a source: written, so that a swap back finds no stale table, and read
 *
 * Callers     postmap.c only: no daemon is linked with libdb
 * Invariants  keys and values are written with the NUL that Debian's Postfix ends them with; reading takes both forms
 *             a file is written beside the old one and renamed over it
 * Errors      -1 with *err; built without libdb, everything fails with words that say so
 * Privilege   a file of somebody else's is read under that account: libdb trusts what it reads
 */
#ifndef TOOLS_POSTMAP_BERKELEY_H
#define TOOLS_POSTMAP_BERKELEY_H
#include "base/err.h"
#include "table/build.h"

enum berkeley_kind { BERKELEY_HASH, BERKELEY_BTREE };

bool berkeley_here(void); /* built with libdb */
/* Of an existing file; -1: it is none. */
int berkeley_kind(const char *path, enum berkeley_kind *out);
/* All pairs of the build; mode and owner of *source unless NULL. */
int berkeley_write(const char *path, enum berkeley_kind, const struct build *, const struct stat *source,
                   struct err *);
/* Calls fn for each pair, in the file's order, until it answers -1. As root: the process becomes the owner of the file. */
int berkeley_read(const char *path, int (*fn)(void *ctx, struct slice key, struct slice value), void *ctx,
                  struct err *);
#endif
