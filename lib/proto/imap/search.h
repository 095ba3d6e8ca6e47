/*
 * imap_search - the program of a SEARCH
 *
 * Callers     imapd/cmd/search.c
 * Invariants  pure; nesting is at most IMAP_SEARCH_DEPTH and the keys at most IMAP_SEARCH_KEYS, so that recursion
 *             over the tree is bounded
 *             charset is checked by the caller, who knows which it can convert
 * Units       days are seconds since 1970 at 00:00 without a zone; sizes octets
 * Source      RFC 3501 sections 6.4.4 and 9
 */
#ifndef PROTO_IMAP_SEARCH_H
#define PROTO_IMAP_SEARCH_H
#include "proto/imap/set.h"

enum { IMAP_SEARCH_DEPTH = 32, IMAP_SEARCH_KEYS = 1024 };

enum imap_search_what {
    IMAP_SEARCH_ALL,      /* matches everything */
    IMAP_SEARCH_AND,      /* each of the children */
    IMAP_SEARCH_OR,       /* one of the children */
    IMAP_SEARCH_NOT,      /* not the only child */
    IMAP_SEARCH_FLAGS,    /* all of flags_on set, all of flags_off clear */
    IMAP_SEARCH_KEYWORD,  /* text is set */
    IMAP_SEARCH_SEQUENCE, /* set, message numbers */
    IMAP_SEARCH_UID,      /* set */
    IMAP_SEARCH_BEFORE,   /* day: of arrival */
    IMAP_SEARCH_ON,
    IMAP_SEARCH_SINCE,
    IMAP_SEARCH_SENTBEFORE, /* day: of the Date field */
    IMAP_SEARCH_SENTON,
    IMAP_SEARCH_SENTSINCE,
    IMAP_SEARCH_LARGER, /* number */
    IMAP_SEARCH_SMALLER,
    IMAP_SEARCH_HEADER, /* name, text */
    IMAP_SEARCH_BODY,   /* text */
    IMAP_SEARCH_TEXT,
};
struct imap_search {
    enum imap_search_what what;
    unsigned flags_on, flags_off;
    struct slice name, text;
    struct imap_set set;
    int64_t day;
    uint64_t number;
    struct imap_search *child, *next; /* first child; next sibling */
};
struct imap_search_program {
    struct slice charset; /* p NULL: none was named */
    struct imap_search *root;
};
int imap_search_parse(struct imap_arg *, struct imap_search_program *out);
#endif
