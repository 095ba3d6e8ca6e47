/*
 * journal - posthorn.journal: new messages of one mailbox, durable before the file system has committed their files
 *
 * To commit new files costs a file system a row of writes that wait for each other; to write once more into blocks it
 * has given already costs one. So while one message after the other comes into a mailbox, each is written a second
 * time, into a file of fixed size beside the mailbox's cur/, and that write is what its sender waits for. The message
 * files themselves, and their lines in dovecot-uidlist, are there for every reader as always; one syncfs makes those of
 * a second durable. After a power cut whoever opens the mailbox next writes again what the file system has lost, under
 * the same names and UIDs.
 *
 * Callers     lib/store, lib/deliver
 * Invariants  a message is in the journal, synced, or its own file is, before its sender is told
 *             a half is settled only when the files of all its messages have their names
 *             who writes holds the flock of the file, from before it has its name until after it lost it; up to
 *             JOURNAL_FILES processes have one each, any others sync their files
 *             a part of the journal is used again only after what it holds is durable elsewhere, and that is noted
 *             what came and was expunged within the last seconds (JOURNAL_SETTLE_MS and a syncfs) before a power cut may
 *             come back, as from any file system
 *             none outlives its use: it goes when no message has come for JOURNAL_IDLE_MS, and when the process ends
 * Errors      those of the disk mean: sync the files
 * Privilege   the mail user's
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_NAME "posthorn.journal"
enum { JOURNAL_FILES = 4 };                           /* so many processes have one of a mailbox at a time */
extern const char *const journal_name[JOURNAL_FILES]; /* JOURNAL_NAME, then "posthorn.journal.1" ... */
enum {
    JOURNAL_BURST = 32, /* so many messages within JOURNAL_BURST_MS make a journal worth its making */
    JOURNAL_BURST_MS = 1000,
    JOURNALS_MAX = 4, /* of a process at a time: with many mailboxes the file system's commits are shared anyway */
    JOURNAL_MESSAGE_BYTES = 128 << 10, /* a larger one is synced: twice the bytes would cost more than a commit */
    JOURNAL_HALF_BYTES = 4 << 20,      /* while one half is being made durable the other is filled */
    JOURNAL_SETTLE_MS = 1000,          /* so often a half is settled though it is not full */
    JOURNAL_IDLE_MS = 2000,
    JOURNAL_BUSY_MS = 250,       /* others have them all: so long files are synced before it is tried again */
    JOURNAL_RETRY_MS = 10000,    /* after it could not be made */
    JOURNAL_MAILBOXES_MAX = 256, /* that are counted at a time */
    JOURNAL_UID_GAP = 1000, /* left after a power cut: UIDs of messages that nobody was answered for may be known */
    JOURNAL_RESTORE_MS = 60000,     /* another process is restoring: so long is it waited for */
    JOURNAL_MESSAGES_MAX = 1 << 18, /* restored from one journal: none has room for more */
};

struct journal_message {
    struct slice text;   /* .p NULL: fd is that of its file, whole and with its date; readable */
    const int64_t *date; /* of text, seconds; NULL: now */
    int fd;
    const char *name; /* what it is, or will be, in new/ or cur/ */
    bool in_new;      /* else in cur/ */
    uint32_t uid;     /* 0: none yet */
    const char *keys; /* of its line in the uidlist; NULL: none */
};
extern unsigned journal_burst; /* JOURNAL_BURST; the tests want one sooner */
struct journal;
/* A message is about to be made durable in the mailbox of that descriptor: NULL where its file is to be synced as
 * ever; else journal_end is due. ours: it is open by lib/store; else there must be traces that it was, or after a power
 * cut its reader might be one who does not know of journals. */
struct journal *journal_for(int mail_fd, bool ours);
bool journal_ready(int mail_fd); /* it would be one, as things are */
/* There is a journal, anybody's: a message of this mailbox may be durable there alone, under its name there. */
bool journal_there(int mail_fd);
/* Messages of one caller, on their way into the journal: all, or NULL. While they are, the caller names their files and
 * appends their lines: short calls, no waits. */
struct journal_batch;
struct journal_batch *journal_begin(struct journal *, const struct journal_message *, size_t n);
/* made: the files have their names and the lines are there. Waits for what journal_begin began (NULL: nothing), and gives
 * the journal back. true: the messages are durable. false: sync them. Of those that were not made, which nobody may be
 * told of, the journal is rid soon; a power cut before that may bring them back. */
bool journal_end(struct journal **, struct journal_batch *, bool made);
/* Makes durable what this process has in journals, and removes them: at its end. */
void journal_finish(void);

/* At the opening of a mailbox, before anything in it is read: what a journal holds that the file system lost comes
 * back. control_fd: of the uidlist; -1: not known, then only the files come back now. path: for the log. 0; -1 errno
 * when it could not be done: the mailbox must not be used yet (EAGAIN: another process is at it). */
int journal_restore(int mail_fd, int control_fd, const char *path);
#endif
