/*
 * imap_print - strings of a reply
 *
 * Callers     imapd/, lib/proto/imap/structure.c
 * Invariants  whatever the bytes are, what is appended is one well-formed element: quoted where RFC 3501 allows it,
 *             else a literal; NUL never gets out (it becomes 0x80, as Dovecot does)
 * Source      RFC 3501 section 9
 */
#ifndef PROTO_IMAP_PRINT_H
#define PROTO_IMAP_PRINT_H
#include "proto/imap/arg.h"

enum { IMAP_QUOTED_BYTES = 4096 }; /* longer strings go as literals */

void imap_print_string(struct str *, struct slice);  /* quoted or literal */
void imap_print_nstring(struct str *, struct slice); /* p NULL: NIL */
void imap_print_astring(struct str *, struct slice); /* bare where it is an atom and cannot be read as NIL */
void imap_print_flags(struct str *, unsigned system, const struct slice *keywords, size_t count); /* without ( ) */
#endif
