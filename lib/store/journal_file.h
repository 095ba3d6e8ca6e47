/*
 * journal_file - how posthorn.journal is laid out
 *
 * Two heads of a block each, written by turns, of which the one with the higher number counts; then two halves of
 * JOURNAL_HALF_BYTES. A half holds frames, each beginning a block: none shares a block with another, so that a torn
 * write harms one frame only. The first frame that does not continue the half ends it. Numbers are the machine's own:
 * a journal is read where it was written, or its magic does not match.
 *
 * Callers     lib/store/journal.c, lib/store/restore.c, the fuzzer
 * Invariants  the file system tells once that it could not write a file, and what is in memory then counts as written:
 *             who is told says so in the head, before another asks again and removes the journal
 *             a file system may fail and be mounted again without a boot. The hint that fcntl(F_SET_RW_HINT) leaves with
 *             a file is kept in memory alone: while the journal has JOURNAL_HINT, nothing that was written is lost
 */
#ifndef STORE_JOURNAL_FILE_H
#define STORE_JOURNAL_FILE_H
#include "base/boot.h"
#include "store/journal.h"

enum {
    JOURNAL_BLOCK = 4096,
    JOURNAL_HEADS = 2,
    JOURNAL_DATA = JOURNAL_HEADS * JOURNAL_BLOCK,
    JOURNAL_BYTES = JOURNAL_DATA + 2 * JOURNAL_HALF_BYTES
};
#define JOURNAL_HINT RWH_WRITE_LIFE_SHORT
struct journal_head;
/* The head's block, of a number, as of this boot; failed: as of none. */
void journal_seal_head(unsigned char block[JOURNAL_BLOCK], uint64_t number, uint64_t settled, bool failed);
#define JOURNAL_MAGIC       0x31726e6a2d686f70ull
#define JOURNAL_FRAME_MAGIC 0x656d6172u

struct journal_head {
    uint64_t magic;
    uint32_t crc; /* CRC-32C of what follows */
    uint32_t half_bytes;
    uint64_t number;
    uint64_t settled;         /* frames up to this generation are durable elsewhere */
    char boot[BOOT_ID_BYTES]; /* "": what is not settled may look whole, but the disk has failed to write it */
};
struct journal_frame {
    uint32_t magic;
    uint32_t crc;        /* CRC-32C of what follows, up to length */
    uint64_t generation; /* rises each time a half is begun */
    uint32_t turn;       /* 0, 1, 2 ... in the half */
    uint32_t length;     /* from magic on; the next frame begins at the next block */
    uint32_t count;      /* of entries */
    uint32_t zero;
};
struct journal_entry { /* then name, keys, text */
    uint64_t bytes;
    int64_t seconds; /* date of the file */
    uint32_t nanoseconds;
    uint32_t uid;
    uint16_t name_len, keys_len;
    uint32_t in_new;
};
_Static_assert(sizeof(struct journal_head) == 72 && sizeof(struct journal_frame) == 32 &&
                   sizeof(struct journal_entry) == 32,
               "no padding");
_Static_assert(JOURNAL_MESSAGES_MAX >= 2 * JOURNAL_HALF_BYTES / sizeof(struct journal_entry), "none is left out");
#endif
