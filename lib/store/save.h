/*
 * save - messages on their way into a mailbox: what save.c has written, and commit.c gives names and UIDs
 *
 * Callers     store/save.c, store/commit.c
 * Limits      SAVE_MESSAGES_MAX messages of one save; of one that is small, and that a journal waits for, SAVE_HELD_BYTES
 *             are held in memory
 */
#ifndef STORE_SAVE_H
#define STORE_SAVE_H
#include "base/list.h"
#include "base/str.h"
#include "proto/mime/part.h"
#include "store/internal.h"

enum { SAVE_MESSAGES_MAX = 10000, SAVE_HELD_BYTES = 1 << 16 };

struct saved {
    struct arrival to;
    char *tmp; /* name in tmp/; NULL: it has no file yet, or has its name */
    uint8_t flags;
    uint64_t keywords;
    char *record; /* for the index */
    size_t record_len;
};
struct mailbox_save {
    struct list node; /* of those that wait, or are committed together */
    enum { ALONE, WAITING, SYNCING, SYNCED, DONE } stage;
    enum store_why why; /* SYNCED: of its own file; DONE: of all */
    uint32_t validity;
    struct mailbox *box;
    bool selected; /* box is the caller's */
    struct saved *done;
    size_t count, room;
    int fd;          /* of the message being written; -1: none, or it is held */
    int last_fd;     /* of the one before it, which is not synced yet; -1: none */
    struct str held; /* the first message, while it has no file */
    bool holds;      /* the message being written goes there */
    bool whole;      /* the only message is there altogether */
    struct saved now;
    uint8_t flags;
    uint64_t keywords, physical;
    int64_t date;
    bool in_journal; /* what this one led was told by the journal: the next message is on its way */
    bool cr;         /* a CR waits for what follows it */
    struct str header, buffer;
    struct arena *arena;
    struct mime_parser *parser;
};

/* The message that is held gets its file in tmp/, and that is last_fd. Nothing where none is. */
enum store_why save_write_out(struct mailbox_save *);
enum store_why save_sync_last(struct mailbox_save *);
#endif
