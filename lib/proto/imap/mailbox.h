/*
 * imap_mailbox - mailbox names on the wire: modified UTF-7, and the patterns of LIST
 *
 * Callers     imapd/
 * Invariants  pure; the decoder accepts exactly what the encoder makes: one name has one form, so that nothing can be
 *             reached under a second spelling
 * Errors      -1: not modified UTF-7, or not UTF-8; *out keeps what it had
 * Source      RFC 3501 sections 5.1.3 and 6.3.8; RFC 2152
 */
#ifndef PROTO_IMAP_MAILBOX_H
#define PROTO_IMAP_MAILBOX_H
#include "base/str.h"

int imap_mailbox_decode(struct slice mutf7, struct str *utf8); /* appends */
int imap_mailbox_encode(struct slice utf8, struct str *mutf7); /* appends */

/* '*' stands for anything, '%' for anything but the separator. INBOX alone is compared without case. Time is bounded
 * by the product of the lengths. */
bool imap_mailbox_match(struct slice pattern, struct slice name, char separator);
#endif
