/*
 * listing - the mail queue as showq tells it
 *
 * Attributes "name NUL value NUL", a list ends with an empty name: first protocol, then one list a message
 * (queue_name, queue_id, time, size, forced_expire, sender, then for each recipient: recipient,
 * reason where there is one), then an empty list. Other people's programs read this on
 * public/showq.
 *
 * Callers     qmgr/showq; tools/postqueue when no mail system runs
 * Invariants  read only; a file that goes away or is damaged while we look is left out
 * Blocking    reads files
 */
#ifndef QUEUE_LISTING_H
#define QUEUE_LISTING_H
#include "base/str.h"

#define QUEUE_LISTING_PROTOCOL "mail_queue_list_protocol"
enum { QUEUE_LISTING_RECIPIENTS = 100000 }; /* of one message */
/* put answers -1 to end it. */
int queue_listing(int (*put)(void *ctx, struct slice bytes), void *ctx);
#endif
