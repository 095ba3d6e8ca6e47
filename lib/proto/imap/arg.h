/*
 * imap_arg - reads the words of one IMAP command
 *
 * A command is collected whole before it is parsed: its lines joined by CRLF, each literal's bytes standing behind
 * its "{n}" CRLF, without the last CRLF. The one exception is APPEND's message, which never gets here.
 *
 * Callers     imapd/, lib/proto/imap/{fetch,search}.c
 * Invariants  pure; never reads outside the slice; every string it hands out is free of NUL
 *             strings are views into the command, or copies in the arena where a backslash had to go
 * Units       bytes; a day is seconds since 1970 at 00:00 of that day without a zone
 * Errors      -1 with `error` set to words for a BAD reply; the first error stays
 * Source      RFC 3501 section 9; RFC 7888 (LITERAL+)
 */
#ifndef PROTO_IMAP_ARG_H
#define PROTO_IMAP_ARG_H
#include "base/mem.h"
#include "base/str.h"

enum {
    IMAP_KEYWORD_BYTES = 255, /* longest keyword a client may set */
    IMAP_KEYWORDS = 64,       /* keywords in one flag list */
    IMAP_TAG_BYTES = 128,
};

struct imap_arg {
    const char *p, *end;
    struct arena *arena;
    const char *error; /* NULL: none yet */
};

enum imap_flag {
    IMAP_ANSWERED = 1,
    IMAP_FLAGGED = 2,
    IMAP_DELETED = 4,
    IMAP_SEEN = 8,
    IMAP_DRAFT = 16,
    IMAP_RECENT = 32,
};
struct imap_flags {
    unsigned system; /* enum imap_flag */
    struct slice *keywords;
    size_t keyword_count;
};

void imap_arg_init(struct imap_arg *, struct slice command, struct arena *);
int imap_arg_fail(struct imap_arg *, const char *words); /* -1; keeps an earlier error */
bool imap_arg_end(const struct imap_arg *);              /* nothing is left but blanks */
int imap_arg_done(struct imap_arg *);                    /* -1 when something is left */
int imap_arg_space(struct imap_arg *);                   /* one blank or more */
char imap_arg_peek(const struct imap_arg *);             /* next byte, 0 at the end */
bool imap_arg_char(struct imap_arg *, char c);           /* takes c if it is next */
bool imap_arg_word(struct imap_arg *, const char *word); /* takes that atom if it is next, any case */

int imap_arg_tag(struct imap_arg *, struct slice *out);
int imap_arg_atom(struct imap_arg *, struct slice *out);
int imap_arg_astring(struct imap_arg *, struct slice *out);
int imap_arg_pattern(struct imap_arg *, struct slice *out); /* list-mailbox: % and * may stand bare */
int imap_arg_string(struct imap_arg *, struct slice *out);  /* quoted or literal */
int imap_arg_nstring(struct imap_arg *, struct slice *out); /* NIL: out->p is NULL */
int imap_arg_number(struct imap_arg *, uint64_t max, uint64_t *out);
int imap_arg_date(struct imap_arg *, int64_t *day);            /* 1-Jan-2026, quoted or not */
int imap_arg_date_time(struct imap_arg *, int64_t *seconds);   /* "01-Jan-2026 10:00:00 +0100", always quoted */
int imap_arg_flags(struct imap_arg *, struct imap_flags *);    /* (..), or flags up to the end */
int imap_arg_skip_list(struct imap_arg *, unsigned depth_max); /* one parenthesised list, whatever is in it */

/* Does this line (without line end) announce a literal? 1: yes, *size and *sync are set; 0: no; -1: it tries to, but
 * the number is malformed or passes UINT32_MAX. */
int imap_arg_literal(struct slice line, uint64_t *size, bool *sync);
bool imap_arg_is_atom_char(char c);
#endif
