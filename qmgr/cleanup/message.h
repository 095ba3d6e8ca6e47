/*
 * message - one message on its way through cleanup, and the parts that work on it
 *
 * Callers     the files of qmgr/cleanup only
 * Invariants  the first failure is kept in err and nothing is written after it; the rest of the records is read and
 *             thrown away until the client asks for the verdict
 * Ownership   arena holds everything that lives as long as the message
 */
#ifndef CLEANUP_MESSAGE_H
#define CLEANUP_MESSAGE_H
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/cleanup.h"
#include "client/rewrite.h"
#include "queue/file.h"
#include "table/table.h"

enum segment { SEGMENT_ENVELOPE, SEGMENT_HEADER, SEGMENT_BODY, SEGMENT_EXTRACTED, SEGMENT_ENDED };
enum rewriting { REWRITING_NONE, REWRITING_LOCAL, REWRITING_REMOTE };
enum { ATTRIBUTE_BYTES = 4096 };

struct message {
    struct arena *arena;
    struct queue_writer *writer;
    struct queue_size size;
    unsigned flags; /* enum cleanup_flag */
    enum segment segment;
    struct err err; /* code 0: all is well */

    /* envelope */
    int64_t arrival_usec, create_time;
    const char *sender; /* canonical; NULL before S */
    const char *full_name, *filter, *redirect, *encoding;
    enum rewriting rewriting; /* of header addresses */
    int64_t attributes;
    bool recipients_begun, recipients_ended;
    bool non_ascii; /* in an address of the envelope */

    /* the recipient to come */
    const char *orig, *orcpt;
    int notify;
    struct map *seen; /* duplicate filter */

    /* content */
    struct str header; /* one logical header, lines joined with LF */
    bool header_cut;   /* longer than header_size_limit: the rest is thrown away */
    bool piece;        /* the last record was L: the line goes on */
    unsigned headers_seen;
    bool resent;
    int64_t received;
    bool encoding_8bit;
};

/* session.c's view */
struct message *message_new(unsigned flags, struct err *err);
const char *message_id(const struct message *);
void message_records(struct message *, struct slice records); /* whole records as the client sent them */
/* After E: waits for the disk, tells the queue manager. 0, or -1 with *err; the file is gone then. */
int message_commit(struct message *, struct err *err);
void message_free(struct message **); /* removes a file that was not committed */

/* between the parts */
bool message_failed(const struct message *);
void message_fail(struct message *, int code, const char *dsn, const char *text);
void message_put(struct message *, int type, const char *data); /* a record into the queue file */
void message_put_attr(struct message *, const char *name, const char *value);
void message_protocol_error(struct message *, const char *what);

void envelope_record(struct message *, const struct record *);
void extracted_record(struct message *, const struct record *);
void extracted_end(struct message *);
void content_begin(struct message *);
void content_record(struct message *, const struct record *);
void content_end(struct message *);

void header_field(struct message *, struct slice field); /* one complete header, name to last line */
void header_end(struct message *);                       /* adds what is missing */

/* Rewrites, canonicalises and masquerades; the result lives in the arena, NULL after message_fail. */
enum address_class { ENVELOPE_SENDER = 1, ENVELOPE_RECIPIENT = 2, HEADER_SENDER = 4, HEADER_RECIPIENT = 8 };
const char *address_canonical(struct message *, const char *address, enum address_class, enum rewriting);
/* A recipient through all its stages into the queue file. */
void recipient_add(struct message *, const char *address);
void recipient_bcc(struct message *, const char *address);

/* alias.c: one map lookup with its result read as a list of addresses. FOUND: canonical addresses are added. */
struct addresses {
    struct arena *arena;
    const char **item;
    size_t count, room;
};
void addresses_add(struct addresses *, const char *address);
enum lookup alias_lookup(struct maps *, const char *address, bool propagate, struct addresses *out);
/* virtual_alias_maps until nothing expands any more. 0, or -1 after message_fail. */
int alias_expand(struct message *, const char *address, struct addresses *out);

/* parameters: params.c */
extern const struct param cleanup_params[];
extern int64_t cleanup_alias_expansion_limit, cleanup_alias_recursion_limit, cleanup_alias_length_limit,
    cleanup_duplicate_limit, cleanup_hopcount_limit, cleanup_attribute_limit;
extern bool cleanup_always_add_headers, cleanup_original_recipient, cleanup_detect_8bit, cleanup_replace_stray;
extern const char *cleanup_drop_headers, *cleanup_undisclosed_header, *cleanup_always_bcc;
extern struct cleanup_maps {
    struct maps *canonical, *sender_canonical, *recipient_canonical, *alias, *sender_bcc, *recipient_bcc;
} cleanup_maps;
extern unsigned cleanup_canonical_classes, cleanup_sender_classes, cleanup_recipient_classes,
    cleanup_masquerade_classes;
extern bool cleanup_propagate_canonical, cleanup_propagate_virtual;
int cleanup_params_open(void); /* before the jail: reads the class lists, opens the tables */
/* masquerade_domains, masquerade_exceptions: the domain to put in the place of the address's, NULL: none. */
const char *cleanup_masquerade(const char *local, const char *domain);
#endif
