/*
 * imapd/section - the bytes that BODY[1.2.HEADER.FIELDS (..)]<o.n> names
 *
 * Callers     imapd/cmd/fetch.c
 * Invariants  a section is found before a byte of the reply is written, so that a message that is gone can be left
 *             out; only a failing disk can then still tear a literal, and the connection with it
 * Units       octets of the message with CRLF line ends
 * Source      RFC 3501 6.4.5; a part that does not exist is empty, as Dovecot answers
 */
#ifndef IMAPD_SECTION_H
#define IMAPD_SECTION_H
#include "session.h"
#include "proto/imap/fetch.h"
#include "store/message.h"

struct imapd_message { /* what the sections of one message share; opened when first needed */
    struct mailbox *box;
    uint32_t seq;
    struct arena *arena;
    struct mime_part *root;
    struct message_file *file;
};
struct imapd_section {
    struct slice text;        /* p set: these bytes; else the range */
    uint64_t start, physical; /* range of the file */
    uint64_t offset, bytes;   /* what to send of its CRLF view */
};
enum store_why imapd_section_find(struct imapd_message *, const struct imap_fetch_item *, struct imapd_section *out);
/* -1: the file did not hold what its index says; the connection must end. */
int imapd_section_send(struct imapd_message *, const struct imapd_section *, struct stream *);
void imapd_message_close(struct imapd_message *);
#endif
