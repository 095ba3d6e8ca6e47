/*
 * imap_fetch - what a FETCH asks for
 *
 * Callers     imapd/cmd/fetch.c
 * Invariants  pure; macros are expanded; labels are canonical: upper case, as the reply must echo them
 * Units       octets, after the change to CRLF line ends
 * Source      RFC 3501 sections 6.4.5, 7.4.2 and 9
 */
#ifndef PROTO_IMAP_FETCH_H
#define PROTO_IMAP_FETCH_H
#include "proto/imap/arg.h"

enum {
    IMAP_PART_DEPTH = 32,   /* numbers in one section: "1.2.3" */
    IMAP_FETCH_ITEMS = 128, /* items in one FETCH */
    IMAP_FIELDS = 256,      /* names in one HEADER.FIELDS */
};

enum imap_section_what {
    IMAP_SECTION_ALL,
    IMAP_SECTION_HEADER,
    IMAP_SECTION_FIELDS,
    IMAP_SECTION_FIELDS_NOT,
    IMAP_SECTION_TEXT,
    IMAP_SECTION_MIME
};
struct imap_section {
    uint32_t part[IMAP_PART_DEPTH];
    size_t depth;
    enum imap_section_what what;
    struct slice *fields; /* upper case */
    size_t field_count;
};
enum imap_fetch_what {
    IMAP_FETCH_UID,
    IMAP_FETCH_FLAGS,
    IMAP_FETCH_INTERNALDATE,
    IMAP_FETCH_SIZE,
    IMAP_FETCH_ENVELOPE,
    IMAP_FETCH_BODY,
    IMAP_FETCH_BODYSTRUCTURE,
    IMAP_FETCH_SECTION
};
struct imap_fetch_item {
    enum imap_fetch_what what;
    bool peek;         /* does not set \Seen */
    const char *label; /* "BODY[1.TEXT]<0>", "RFC822.HEADER", "FLAGS" */
    struct imap_section section;
    bool partial;
    uint32_t offset, length;
};
struct imap_fetch {
    struct imap_fetch_item *items;
    size_t count;
};

/* One item, a macro or a parenthesised list, up to the end of the command. */
int imap_fetch_parse(struct imap_arg *, struct imap_fetch *out);
#endif
