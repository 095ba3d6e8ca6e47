/*
 * fault - why a database did not answer: what follows from it, and what the administrator can do
 *
 * Callers     lib/table/sql only
 * Invariants  a lasting fault is one line a minute for each place that keeps a struct sql_said
 */
#ifndef TABLE_SQL_FAULT_H
#define TABLE_SQL_FAULT_H
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum sql_kind {
    SQL_ABSENT, /* nobody listens, or the connection broke: nothing is lost by trying soon */
    SQL_HUNG,   /* no answer in time */
    SQL_DENIED, /* the server will not have us, or this database, until somebody changes something */
    SQL_FULL,   /* no further connection for now; those at hand work */
    SQL_QUERY,  /* no to this question; the next may be answered */
    SQL_RIGHTS, /* likewise; and the connection keeps the rights it began with, whatever is granted now */
    SQL_AGAIN,  /* no by bad luck: the same question may be answered now */
    SQL_KINDS
};
struct sql_fault {
    unsigned code; /* of the server or of libmariadb; 0: ours */
    bool late;     /* a deadline passed */
    char text[ERR_TEXT_BYTES];
};
enum sql_kind sql_fault_kind(const struct sql_fault *);

/* Sets the text to the server's words, without what a client may have put into the question. */
void sql_fault_words(struct sql_fault *, const char *text);

struct sql_said { /* zero-initialised is ready */
    int64_t when; /* of the last line */
    bool open;    /* nothing said since that it is over */
};
enum { SQL_SAY_AGAIN_MS = 60000 };
/* "SOURCE: HOST: text (code); cure; tail"; host and tail may be NULL. */
void sql_fault_say(struct sql_said *, const char *source, const char *host, const struct sql_fault *,
                   const char *tail);
bool sql_fault_over(struct sql_said *); /* true: a line was written, and this is the first to hear that it is over */
#endif
