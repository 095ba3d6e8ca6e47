/*
 * imap_set - sets of message numbers or UIDs
 *
 * Callers     imapd/, lib/proto/imap/search.c
 * Invariants  a resolved set is sorted, its ranges neither overlap nor touch, and holds no '*'
 *             walking costs what the ranges cost, never what the numbers between them would
 * Source      RFC 3501 section 9 (sequence-set), 6.4.8 ("*" in an empty UID range)
 */
#ifndef PROTO_IMAP_SET_H
#define PROTO_IMAP_SET_H
#include "proto/imap/arg.h"

enum { IMAP_SET_STAR = 0 }; /* '*' before imap_set_resolve */
struct imap_range {
    uint32_t first, last; /* inclusive */
};
struct imap_set {
    struct imap_range *ranges;
    size_t count;
};

int imap_set_parse(struct imap_arg *, struct imap_set *out); /* in the command's arena */
/* '*' becomes `star`, the largest number in use; with star 0 (an empty mailbox) ranges with '*' go away. */
void imap_set_resolve(struct imap_set *, uint32_t star);
bool imap_set_has(const struct imap_set *, uint32_t number); /* of a resolved set */
uint32_t imap_set_last(const struct imap_set *);             /* largest number; 0 when empty */

/* Collecting numbers in rising order and printing them "1:3,5". */
void imap_set_print(struct str *out, const uint32_t *numbers, size_t count);
#endif
