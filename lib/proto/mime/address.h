/*
 * address - address lists of header fields, as IMAP's ENVELOPE shows them
 *
 * Callers     mime/envelope.c, imapd (SORT, SEARCH)
 * Invariants  pure; never fails: what cannot be read becomes an address with INVALID parts, as Dovecot answers;
 *             at most MIME_ADDRESSES_MAX entries a field
 * Source      RFC 5322 3.4, 4.4; RFC 3501 7.4.2 (groups)
 */
#ifndef MIME_ADDRESS_H
#define MIME_ADDRESS_H
#include "base/mem.h"
#include "base/str.h"

enum { MIME_ADDRESSES_MAX = 10000 };
struct mime_address { /* start of a group: mailbox = its name, host NULL; end of a group: all NULL */
    const char *name, *route, *mailbox, *host;
    struct mime_address *next;
};
struct mime_address *mime_addresses(struct slice value, struct arena *); /* NULL: none */
#endif
