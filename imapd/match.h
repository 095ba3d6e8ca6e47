/*
 * imapd/match - does a text occur in a message, as a person would read it
 *
 * Callers     imapd/cmd/search.c
 * Invariants  keys and texts are compared as UTF-8 folded by i;unicode-casemap: transfer encodings, encoded words and
 *             charsets are undone first; memory is bounded by one chunk, whatever the message holds
 * Errors      enum store_why beside the answer; on an error *found is false
 * Source      RFC 3501 6.4.4; RFC 5051
 */
#ifndef IMAPD_MATCH_H
#define IMAPD_MATCH_H
#include "store/message.h"

/* key: folded by imapd_match_key. */
void imapd_match_key(struct slice utf8, struct str *key);
/* One of the fields of that name holds the key; an empty key: there is such a field. */
enum store_why imapd_match_header(struct mailbox *, uint32_t seq, const char *name, struct slice key, bool *found);
/* Text parts and enclosed messages; headers: also the message's own and those of its parts. */
enum store_why imapd_match_text(struct mailbox *, uint32_t seq, bool headers, struct slice key, bool *found);
#endif
