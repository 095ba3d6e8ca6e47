/*
 * question - a query with values in it that strangers chose, made into text and parameters
 *
 * Template text and values come in the order of the query. Each value then is one of
 *   a part of '...' or "..." that becomes one parameter as a whole, template text and values together
 *   a part of a string that cannot (an alias, a typed literal, beside another string, a backslash in it): escaped there
 *   alone, outside of quotes: a parameter, unless it is digits
 *   a part of a name (t_%1, `%d`): letters, digits and "_" only; anything in backquotes
 *   in a comment: left out
 * so that a value never becomes SQL.
 *
 * Callers     expand.c, dovecot.c
 * Invariants  values are copied; the question lives as long as the arena
 * Errors      -1 with *err, never with the text of a value: it cannot stand where the template wants it
 */
#ifndef TABLE_SQL_QUESTION_H
#define TABLE_SQL_QUESTION_H
#include "table/sql/pool.h"

enum { SQL_TEXT_BYTES = 4 << 20, SQL_VALUES = 256, SQL_PARAMS = 256 };
struct sql_value {
    size_t at; /* offset in the template text */
    struct slice text;
};
struct sql_mix {
    struct arena *arena;
    struct str text; /* template text, without the values */
    struct sql_value *value;
    size_t count;
    bool over;
};
void sql_mix_init(struct sql_mix *, struct arena *);
void sql_mix_value(struct sql_mix *, struct slice value); /* at the end of what is there */
void sql_mix_free(struct sql_mix *);
int sql_mix_finish(struct sql_mix *, struct sql_question *out, struct err *); /* frees the mix */
#endif
