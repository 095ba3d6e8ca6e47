/*
 * uidlist - dovecot-uidlist: which file has which UID
 *
 * Callers     store/sync.c, store/save.c
 * Invariants  reading trusts nothing: UIDs rise; a line without its LF is not there (another process may be writing
 *             it), but the UID it stood for is used up; appending: under the dotlock, in one write, fdatasynced;
 *             behind a torn tail the file is replaced
 *             keys of the header and of records that we do not know are kept
 * Source      Dovecot's file, version 3: "3 V<uidvalidity> N<next uid> G<guid> ..." then "<uid> [<KEY><value>
 *             ]:<name>"; version 1: "1 <uidvalidity> <next uid>" then "<uid> <name>" (Courier)
 */
#ifndef STORE_UIDLIST_H
#define STORE_UIDLIST_H
#include "base/str.h"
#include <sys/stat.h>
#include <sys/types.h>

enum { UIDLIST_LINE_BYTES = 4096, UIDLIST_HEADER_BYTES = 1024 };
#define UIDLIST_NAME "dovecot-uidlist"
#define UIDLIST_LOCK "dovecot-uidlist.lock"

struct uidlist { /* what was read of the file so far */
    uint32_t uid_validity, next_uid, last_uid;
    int version;                       /* 0: nothing read */
    char header[UIDLIST_HEADER_BYTES]; /* keys behind V and N as they stand: " G... Pxx" */
    uint64_t offset;                   /* behind the last whole line read */
    uint64_t torn_at;                  /* the offset behind which half a line was counted in next_uid */
    uint64_t inode, size;
    int64_t mtime_ns;
    bool unasked; /* mtime_ns is not that of our last write: uidlist_ask is due before the lock is given back */
};
/* A record; keys: text between uid and " :" (v3), trimmed. */
typedef void (*uidlist_fn)(void *ctx, uint32_t uid, struct slice keys, struct slice name);

/* Reads what is new. *again: the file was replaced or cut: the list starts over (fn gets all records). 0; -1 errno
 * (ENOENT: no file; EBADMSG: no header that can be read). */
int uidlist_read(struct uidlist *, int dir_fd, bool *again, uidlist_fn, void *ctx);
/* Under the lock: header and last record only, so that appending costs the same whatever the list holds. -1: it must
 * be read whole, or made (EBADMSG, ENOENT). */
int uidlist_read_end(struct uidlist *, int dir_fd);
bool uidlist_unchanged(const struct uidlist *, int dir_fd); /* one stat */
void uidlist_ask(struct uidlist *, int dir_fd);             /* after uidlist_append with UIDLIST_LATER */
/* Under the lock, after uidlist_read: appends whole lines and makes them durable; with_fd: that file, too, at the price
 * of one (-1: none; UIDLIST_LATER: nothing is made durable yet, uidlist_sync or the journal follows). */
#define UIDLIST_LATER (-2)
int uidlist_append(struct uidlist *, int dir_fd, struct slice lines, int with_fd);
int uidlist_sync(int dir_fd, int with_fd);
/* Under the lock: replaces the file. lines: all records. */
int uidlist_rewrite(struct uidlist *, int dir_fd, struct slice lines);
void uidlist_line(struct str *out, uint32_t uid, struct slice keys, struct slice name);
/* Pure: for tests and fuzzing. Whole lines only; answers bytes consumed, -1 without a header that can be read. */
ssize_t uidlist_parse(struct uidlist *, struct slice bytes, uidlist_fn, void *ctx);
/* A UIDVALIDITY never given before in this tree: dovecot-uidvalidity and its marker. 0 with errno when it fails. */
uint32_t uidlist_new_validity(int root_fd);
#endif
