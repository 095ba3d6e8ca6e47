/*
 * index - posthorn.index: what would be slow to find out again
 *
 * One file a mailbox, append-only: a head, then records of length, type, CRC32C, payload. It is a cache: no fsync,
 * any damage cuts it there, and the whole may be deleted. A mail user can write it: nothing in it is trusted.
 *
 * Callers     store/sync.c, store/message.c, lib/deliver (index_add_message...)
 * Invariants  writers hold flock; a record is written in one write; the head points at the last snapshot, behind
 *             which records are read one by one
 * Errors      -1; the caller goes on without
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H
#include "base/str.h"
#include "proto/mime/part.h"

#define INDEX_NAME "posthorn.index"
enum { INDEX_RECORD_BYTES = 1 << 20, INDEX_ITEMS_BYTES = 1 << 30, INDEX_VERSION = 1 };
enum index_type { INDEX_SNAPSHOT = 1, INDEX_MESSAGE = 2, INDEX_ITEMS = 3 };

/* Payloads, little endian, strings with their length before them. */
struct index_reader {
    const unsigned char *p, *end;
    bool bad;
};
uint64_t index_get(struct index_reader *, unsigned bytes);
struct slice index_get_str(struct index_reader *);
void index_put(struct str *, uint64_t value, unsigned bytes);
void index_put_str(struct str *, struct slice);

struct index {
    int fd;          /* -1: none */
    uint64_t offset; /* read up to here */
    char *window;    /* bytes of the file that index_fetch read last: records of neighbours lie together */
    uint64_t window_at;
    size_t window_len;
    uint64_t inode;
    uint64_t whole; /* all before it is whole records */
    uint64_t noted; /* what its head says of that: a little less, so that most records cost no second write */
};
typedef void (*index_fn)(void *ctx, enum index_type, uint64_t offset, struct slice payload);

/* Opens an existing file, or makes it (create). Then index_read_snapshot hands over the last snapshot, if any, and
 * index_read all that follows. */
int index_open(struct index *, int dir_fd, bool create);
void index_close(struct index *);
bool index_viewed(int dir_fd); /* there is one, and with a snapshot: the mailbox is read by lib/store */
bool index_replaced(const struct index *, int dir_fd);
int index_read_snapshot(struct index *, index_fn, void *ctx);
int index_read(struct index *, index_fn, void *ctx);
/* Appends a record; *offset: where it is. A snapshot is also written into the head. */
int index_append(struct index *, int dir_fd, enum index_type, struct slice payload, uint64_t *offset);
/* Message records that are written at once: gathered in a str, a record's place in it is the str's length before; then
 * appended, *offset: where the first one is. */
void index_gather(struct str *batch, struct slice payload);
struct slice index_gathered(struct slice batch, size_t at); /* the payload of the record there */
int index_append_batch(struct index *, int dir_fd, struct slice batch, uint64_t *offset);
/* One record again; the payload is borrowed until the next call. -1: not there, damaged, another type. */
int index_fetch(struct index *, uint64_t offset, enum index_type, struct slice *payload);
/* A large one: malloced, the caller's. */
int index_fetch_items(struct index *, uint64_t offset, char **payload, size_t *len);
void index_trim(struct index *); /* no record is wanted for now: gives memory back */
/* A new file of the records at these offsets (in place: their new ones), to be followed by a snapshot. */
int index_compact(struct index *, int dir_fd, uint64_t *const *offsets, size_t n);

/* A message: what FETCH asks for without reading the file. */
struct index_message {
    struct slice base; /* the file's base name */
    uint64_t physical, virtual;
    struct slice envelope, structure, parts, fields;
};
bool index_message_get(struct slice payload, struct index_message *out);
void index_message_put(struct str *out, const struct index_message *);
/* Made from a parsed message and its header. */
void index_message_make(struct str *out, struct slice base, const struct mime_part *root, struct slice header);
bool index_has_field(struct slice name); /* kept in `fields` when the message has it */
/* For deliveries: appends a record to the index in that directory, made where it is missing. ix: what is known of it,
 * kept from one delivery to the next (zeroed, fd -1 at first), shared by fibers; it is not left open, or its file system
 * could not be remounted. */
void index_add_message(struct index *ix, int dir_fd, struct slice payload);
/* The same where that takes no wait; false: not done. */
bool index_add_message_now(struct index *ix, int dir_fd, struct slice payload);
uint32_t index_crc32c(const void *p, size_t len);
#endif
