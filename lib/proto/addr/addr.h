/*
 * addr - mail addresses: read, split, quoted, compared
 *
 * Two forms. Internal: what queue files, tables and log keys hold: the local part without quotes and backslashes,
 * then
 * "@domain" as written; the domain begins after the last "@". External: what SMTP and headers show: the local part as
 * an RFC 5321 dot-string, or quoted where it is none. "" is the null address <>.
 *
 * Callers     smtpd, cleanup, rewrite, bounce, smtp, lmtpd, sendmail, store
 * Invariants  pure: bytes in, bytes out, no parameters; results are appended to the str the caller gives
 * Units       bytes
 * Errors      0 or -1; out strings are cut back to what they held when an answer is -1
 * Source      RFC 5321 4.1.2, RFC 5322 3.4, RFC 6531 3.3, RFC 5891 by ICU's UTS 46
 */
#ifndef PROTO_ADDR_ADDR_H
#define PROTO_ADDR_ADDR_H
#include "base/str.h"

enum {
    ADDR_BYTES = 1000,       /* a whole address, internal or external; Postfix's virtual_alias_address_length_limit */
    ADDR_DOMAIN_BYTES = 255, /* RFC 1035 2.3.4 */
    ADDR_LABEL_BYTES = 63,   /* likewise */
    ADDR_LIST_ITEMS = 100000, /* addresses read from one header */
};

/* path.c: the <...> of MAIL and RCPT. */
enum addr_path_flags {
    ADDR_PATH_EMPTY = 1,  /* <> is allowed */
    ADDR_PATH_STRICT = 2, /* as RFC 5321 writes it: angle brackets, dot-string or quoted string, no blanks */
};
/* Reads one path from the start of `in`; *used is what it took. A source route is dropped. Without ADDR_PATH_STRICT
 * an address without <> is read as far as the next blank, as Postfix does, and dots may stand anywhere. UTF-8 is
 * always read: ask slice_is_ascii() about the result where SMTPUTF8 was not declared. */
int addr_path_parse(struct slice in, unsigned flags, struct str *internal, size_t *used);

/* quote.c: between the forms. */
void addr_quote(struct str *external, struct slice internal);    /* without <> */
int addr_unquote(struct str *internal, struct slice external);   /* an addr-spec without <>; -1: malformed */
void addr_quote_local(struct str *external, struct slice local); /* a local part alone */
bool addr_split(struct slice internal, struct slice *local, struct slice *domain); /* false: no "@", domain empty */

/* delimiter.c: address extensions. True when local holds one: base "user", extension "ext" (may be empty) of
 * "user+ext". "postmaster", "mailer-daemon" and "double-bounce" are never split; with "-" as delimiter neither are
 * owner-list and list-request when owner_request_special. delimiters is recipient_delimiter; "" splits nothing. */
bool addr_split_extension(struct slice local, const char *delimiters, bool owner_request_special, struct slice *base,
                          struct slice *extension);

/* list.c: addresses of a header, RFC 5322 3.4 with its obsolete forms. */
enum addr_item_kind { ADDR_MAILBOX, ADDR_GROUP, ADDR_GROUP_END };
struct addr_item {
    enum addr_item_kind kind;
    size_t at, len;    /* where the addr-spec (or the group's name) stands in the input, without <>: to replace it */
    struct slice name; /* display name as written (quotes, RFC 2047 words untouched), or the comment behind */
    bool angle;        /* it was written in <> */
};
struct addr_list { /* set `in`, zero the rest */
    struct slice in;
    size_t at, items;
    bool in_group;
    bool malformed; /* something was skipped to find the next address */
};
/* The next item; internal (reset first) gets its address, "" for <> and for groups. False at the end. */
bool addr_list_next(struct addr_list *, struct addr_item *, struct str *internal);
void addr_name_text(struct str *out, struct slice name); /* a display name without quotes, comments, folding */

/* verp.c: "list@origin" for "user@dom" with delimiters "+=": "list+user=dom@origin". The sender is not empty. */
void addr_verp(struct str *out, struct slice sender, const char *delimiters, struct slice rcpt);
bool addr_verp_delimiters(struct slice, const char *allowed); /* two characters, both of verp_delimiter_filter */

/* domain.c */
bool addr_domain_valid(struct slice);      /* a host name: LDH and "_", label and name lengths, not numeric only */
bool addr_domain_utf8_valid(struct slice); /* the same after U-labels became A-labels */
bool addr_literal_valid(struct slice);     /* "[192.0.2.1]", "[IPv6:2001:db8::1]" */
/* Address text of a literal ("192.0.2.1", "2001:db8::1") appended; -1 when it is none. */
int addr_literal_text(struct str *out, struct slice literal);
bool addr_ip_valid(struct slice);                        /* IPv4 or IPv6 without brackets */
bool addr_domain_qualified(struct slice);                /* has a dot inside, or is a literal */
int addr_domain_to_ascii(struct str *out, struct slice); /* A-labels, lower case; -1: not a domain by UTS 46 */
int addr_domain_to_utf8(struct str *out, struct slice);  /* U-labels */
bool addr_domain_same(struct slice, struct slice);       /* A-label and case do not matter */

/* fold.c: what table keys are folded with: Unicode case folding for UTF-8, ASCII for other bytes. */
void addr_fold(struct str *out, struct slice);
bool addr_same(struct slice a, struct slice b); /* folded comparison of whole addresses */
#endif
