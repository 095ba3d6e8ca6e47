/*
 * expand - the % escapes of mysql_table(5): query, result_format and what they ask of a key
 *
 * Callers     mysql.c
 * Invariants  pure; a key that lacks what a template names (a domain, a local part, enough labels) is not asked for
 * Source      Postfix mysql_table(5); corner cases as Debian's postmap 3.7.11 answers (expand_test.c)
 */
#ifndef TABLE_SQL_EXPAND_H
#define TABLE_SQL_EXPAND_H
#include "table/sql/pool.h"

struct sql_template {
    const char *query, *result_format; /* borrowed */
    unsigned uses;                     /* filled by sql_template_check */
    size_t labels;                     /* the most that %1 to %9 ask for */
};
/* NULL, or that one of the two which has an escape that does not exist. */
const char *sql_template_check(struct sql_template *);
/* FOUND: *out can be asked; NONE: this key is not meant; RETRY with *err. */
enum lookup sql_template_query(const struct sql_template *, const char *key, struct arena *, struct sql_question *out,
                               struct err *);
/* Appends one result, behind a comma when it is not the first. False: it is passed over. */
bool sql_template_result(const struct sql_template *, const char *key, struct slice value, struct str *out);
#endif
