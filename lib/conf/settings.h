/*
 * settings - "name = value" as Dovecot's older files have it: dovecot-sql.conf.ext, dovecot-oauth2.conf.ext
 *
 * A "#" outside of quotes begins a comment, a backslash at the end of a line joins the next one, a value in quotes as a
 * whole is unescaped.
 *
 * Callers     lib/table/sql/dovecot.c, authd/oauth2/config.c
 * Invariants  pure but for one warning; no value gets into an error or the log: passwords stand there
 * Errors      -1 with "FILE line N: reason"
 * Source      Dovecot 2.3 documentation; corner cases as Debian's 2.3.19 reads them
 */
#ifndef CONF_SETTINGS_H
#define CONF_SETTINGS_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { SETTINGS_LINE_BYTES = 1 << 20 };
/* fn for each setting, in their order; line: of its first line; value lives in the arena. What fn answers below 0 ends
 * the reading, with its own words in err. */
int settings_read(const char *file, struct slice text, struct arena *,
                  int (*fn)(void *ctx, int line, struct slice name, const char *value), void *ctx, struct err *);
#endif
