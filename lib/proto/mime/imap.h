/*
 * imap - ENVELOPE, BODY and BODYSTRUCTURE as text, to the byte as Dovecot answers
 *
 * Callers     lib/store (keeps the text in its index), imapd (prints it after "ENVELOPE ", "BODYSTRUCTURE ")
 * Invariants  the text is printable as it is: strings are quoted where they can be, else literals "{N}\r\n"
 * Source      RFC 3501 7.4.2, 9
 */
#ifndef MIME_IMAP_H
#define MIME_IMAP_H
#include "proto/mime/part.h"

void mime_imap_envelope(const struct mime_envelope *, struct str *out);             /* with its parentheses */
void mime_imap_structure(const struct mime_part *, bool extended, struct str *out); /* with its parentheses */
/* BODY from the text of BODYSTRUCTURE: the extension data left out. -1: the text is damaged. */
int mime_imap_body(struct slice structure, struct str *out);
/* nstring: NIL for NULL, quoted when 7-bit without CR, LF, NUL and short, else a literal. */
void mime_imap_string(struct str *out, const char *s);
#endif
