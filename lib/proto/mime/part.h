/*
 * part - the tree of a message's parts, made while its bytes stream by
 *
 * Callers     lib/store, lib/deliver (while the message is in memory), imapd
 * Invariants  memory is bounded whatever the message holds: at most MIME_PARTS_MAX parts, MIME_DEPTH_MAX levels,
 *             MIME_HEADER_BYTES of one header looked at; what lies deeper is one text/plain-like leaf
 *             the answer does not depend on how the bytes were cut into feeds
 * Ownership   the tree lives in the arena given to mime_parser_new
 * Units       physical: bytes as stored; virtual: the same with every line ended by CRLF (what IMAP counts)
 * Source      RFC 2045, 2046 5.1, 2231; RFC 3501 7.4.2
 */
#ifndef MIME_PART_H
#define MIME_PART_H
#include "base/mem.h"
#include "proto/mime/envelope.h"
#include "proto/mime/field.h"

enum { MIME_PARTS_MAX = 10000, MIME_DEPTH_MAX = 100, MIME_HEADER_BYTES = 1 << 20 };

struct mime_size {
    uint64_t physical, virtual;
    uint32_t lines;
};
enum mime_kind { MIME_LEAF, MIME_TEXT, MIME_MULTIPART, MIME_MESSAGE };
struct mime_part {
    struct mime_part *parent, *child, *next;
    enum mime_kind kind;
    uint64_t start;                /* physical offset of the part's header; its body follows the header */
    struct mime_size header, body; /* header: with the empty line; body: without the boundary's line end */
    struct mime_typed type;        /* "text/plain" by default, "message/rfc822" inside a digest */
    struct mime_typed disposition; /* type NULL: none */
    const char *encoding, *id, *description, *md5, *location; /* NULL: absent; unfolded, raw */
    const char **languages;                                   /* ends with NULL; NULL: absent */
    struct mime_envelope *envelope; /* of a message: the root, and the child of each MIME_MESSAGE */
};

struct mime_parser;
struct mime_parser *mime_parser_new(struct arena *);
void mime_parser_feed(struct mime_parser *, const void *p, size_t len);
struct mime_part *mime_parser_end(struct mime_parser *); /* the root; never NULL */
/* The whole in one call. */
struct mime_part *mime_parse(struct slice message, struct arena *);

/* "1.2.3" as in BODY[...]; NULL when there is no such part. "" is the root. For a MIME_MESSAGE, numbers go on inside
 * its child. */
struct mime_part *mime_part_find(struct mime_part *root, struct slice section);

/* The tree without strings (offsets, sizes, kinds): what the store's index keeps to serve BODY[1.2]. */
void mime_part_pack(const struct mime_part *root, struct str *out);
struct mime_part *mime_part_unpack(struct slice packed, struct arena *); /* NULL: damaged */
#endif
