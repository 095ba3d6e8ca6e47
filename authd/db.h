/*
 * db - the lists auth_passdb and auth_userdb: what is common to their elements
 *
 * An element is "driver:args", or "{ driver:args, name=value, ... }" with the settings of a passdb { } or userdb { }
 * block of Dovecot. Commas separate inside braces; a text with a comma of its own stands in braces once more.
 *
 * Callers     authd/passdb.c, authd/userdb.c, authd/proxymap (which sources to open)
 * Invariants  pure; the texts of an entry live in the arena given
 * Errors      -1 with words: which element, what is wrong with it
 * Source      Dovecot 2.3, passdb and userdb settings
 */
#ifndef AUTHD_DB_H
#define AUTHD_DB_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { DB_MAX = 32 }; /* elements of a list */
enum db_rule { DB_RETURN, DB_RETURN_OK, DB_RETURN_FAIL, DB_CONTINUE, DB_CONTINUE_OK, DB_CONTINUE_FAIL };
enum db_skip { DB_SKIP_NEVER, DB_SKIP_DONE, DB_SKIP_UNDONE }; /* done: authenticated (passdb), found (userdb) */
enum db_kind { DB_PASSDB, DB_USERDB };
struct db_entry {
    const char *driver, *args; /* args "": none */
    bool deny, pass, master;   /* passdb only */
    enum db_skip skip;
    enum db_rule on_success, on_failure, on_internalfail;
    const char *default_fields, *override_fields;
    const char *username_filter; /* patterns with * and ?, "!" before those that are refused; "": everybody */
    const char *mechanisms;      /* passdb only; names, or "none"; "": all */
    enum { DB_VERBOSE_DEFAULT, DB_VERBOSE_NO, DB_VERBOSE_YES } verbose; /* auth_verbose of this element */
};
int db_list_parse(enum db_kind, const char *list, struct arena *, struct db_entry out[DB_MAX], size_t *count,
                  struct err *);
bool db_username_accepted(const char *filter, const char *user);
bool db_mechanism_accepted(const char *mechanisms, const char *mech);
bool db_wildcard_match(const char *pattern, const char *text); /* *, ? */
#endif
