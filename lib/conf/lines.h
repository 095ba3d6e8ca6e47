/*
 * lines - the logical lines of main.cf, master.cf and of table sources
 *
 * A line that begins with white space continues the one before; lines whose first character behind blanks is "#" and
 * lines of nothing but blanks vanish, also inside a continuation.
 *
 * Callers     lib/conf/maincf.c, mastercf.c; the sources of lib/table
 * Invariants  pure; the line borrows the buffer in struct lines until the next call; `first` is its first line number
 */
#ifndef CONF_LINES_H
#define CONF_LINES_H
#include "base/str.h"

struct lines {
    struct slice rest;
    struct str line; /* joined, without line ends; leading blanks of continuations are kept */
    int number;      /* of the last physical line read */
    int first;       /* of the first physical line of the logical line */
};
void lines_init(struct lines *, struct slice text);
bool lines_next(struct lines *, struct slice *line);
void lines_fini(struct lines *);

/* Lists with braces: the next word of *rest, separated by any of `separators`; a word that begins with "{" goes to
 * its matching "}". False at the end. */
bool lines_word(struct slice *rest, const char *separators, struct slice *word);
/* Takes the braces and the blanks inside them off a word that begins with "{"; -1 and words in *why (may be NULL). */
int lines_unbrace(struct slice *word, const char **why);
/* "name = value"; *why says what is wrong. The value is trimmed. */
int lines_pair(struct slice line, struct slice *name, struct slice *value, const char **why);
/* Length of a text that begins with open, up to and with the matching close; 0 when there is none. */
size_t lines_balanced(struct slice text, char open, char close);
#endif
