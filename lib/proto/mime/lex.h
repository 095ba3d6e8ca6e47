/*
 * lex - words of structured header fields: atoms, tokens, quoted strings, comments, domains
 *
 * Callers     mime/field.c, mime/address.c
 * Invariants  a lexer never passes its end; a NUL belongs to no word, inside quotes and comments it becomes U+FFFD
 * Errors      each answers 1: more input follows; 0: the end was reached; -1: not what was asked for
 * Source      RFC 5322 3.2, RFC 2045 5.1
 */
#ifndef MIME_LEX_H
#define MIME_LEX_H
#include "base/str.h"

struct lex {
    const char *p, *end;
    struct str *comment; /* where the text of the last comment goes; may be NULL */
};
void lex_init(struct lex *, struct slice value);
int lex_skip(struct lex *);                   /* blanks, line ends, comments */
int lex_token(struct lex *, struct str *out); /* RFC 2045 token, possibly empty, and what may be skipped behind it */
int lex_atom(struct lex *, struct str *out);  /* at least one character */
int lex_atom_or_dot(struct lex *, struct str *out);
int lex_quoted(struct lex *, struct str *out); /* at the opening quote */
int lex_phrase(struct lex *, struct str *out);
int lex_dot_atom(struct lex *, struct str *out); /* strict: no dot at either end */
int lex_domain(struct lex *, struct str *out);   /* at "@": dot-atom or [literal] behind it */
bool lex_is_atext(char);
#endif
