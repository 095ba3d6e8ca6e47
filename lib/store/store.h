/*
 * store - a user's mail: the tree of mailboxes
 *
 * Callers     imapd, pop3d, lib/deliver
 * Invariants  may block; one process of a user may hold several, and other processes (lmtpd, Dovecot) change the same
 *             tree at any time
 *             names are modified UTF-7 as on the IMAP wire, with the store's separator; INBOX in any case is the
 *             root; on disk Maildir++ (.a.b below the root) unless places say otherwise
 * Ownership   a store outlives its mailboxes; lists live in the arena given
 * Errors      enum store_why; store_error says what happened, for the log
 * Privilege   the mail user's; root may be "/" inside a chroot
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include "base/mem.h"
#include "base/str.h"

enum store_why {
    STORE_OK = 0,
    STORE_NONEXISTENT, /* [NONEXISTENT], or [TRYCREATE] for APPEND and COPY */
    STORE_EXISTS,      /* [ALREADYEXISTS] */
    STORE_BAD_NAME,    /* [CANNOT] */
    STORE_NOSELECT,    /* exists only as a parent */
    STORE_HAS_CHILDREN,
    STORE_READ_ONLY, /* [READ-ONLY] */
    STORE_EXPUNGED,  /* [EXPUNGEISSUED]: the message is gone */
    STORE_LIMIT,     /* [LIMIT]: too many keywords, name too long */
    STORE_FULL,      /* [OVERQUOTA]: disk or quota */
    STORE_DAMAGED,   /* the mailbox was deleted or replaced under us: the session must close it */
    STORE_FAILED,    /* [SERVERBUG]: log store_error */
};
enum { STORE_NAME_BYTES = 1000, STORE_MAILBOXES_MAX = 100000, STORE_KEYWORDS_MAX = 64, STORE_KEYWORD_BYTES = 255 };

struct store_special {
    const char *name, *use; /* "Sent", "\\Sent" */
};
/* Where parts of the mail lie elsewhere: Dovecot's INBOX=, CONTROL=, INDEX=, and LAYOUT=fs. */
struct store_places {
    int inbox_fd, control_fd, index_fd; /* directories, the caller's; 0: none */
    bool fs;                            /* a/b is a/b below the root, not .a.b */
    bool no_index;
};
/* As dispatcher hands them over: descriptors in this order, words in a hint. */
enum { STORE_PLACE_INBOX, STORE_PLACE_CONTROL, STORE_PLACE_INDEX, STORE_PLACES };
#define STORE_HINT_FS       "fs "
#define STORE_HINT_NO_INDEX "no-index "
void store_places_given(const int fd[STORE_PLACES], const char *hint, struct store_places *out);

struct store_config {
    const char *root;                    /* the Maildir */
    const struct store_places *places;   /* NULL: all below the root, Maildir++ */
    char separator;                      /* '.' or '/' */
    bool create;                         /* make a missing root with cur, new, tmp */
    const struct store_special *special; /* ends with name NULL; NULL: store_special_default */
};
extern const struct store_special store_special_default[]; /* Drafts, Sent, Junk, Trash, Archive */

struct store;
enum store_why store_open(const struct store_config *, struct store **out);
void store_close(struct store **);
char store_separator(const struct store *);
const char *store_error(const struct store *); /* of the last call that failed */

/* Mailboxes. */
enum { /* store_entry.attributes */
       STORE_NOSELECT_ATTR = 1,
       STORE_CHILDREN = 2, /* \HasChildren, else \HasNoChildren */
       STORE_SUBSCRIBED = 4,
       STORE_MARKED = 8,  /* new/ holds something */
       STORE_MISSING = 16 /* only subscribed: \NonExistent */
};
struct store_entry {
    const char *name; /* "INBOX" first, the rest sorted */
    unsigned attributes;
    const char *special_use; /* "\\Sent" or NULL */
};
struct store_list {
    struct store_entry *entries;
    size_t count;
};
/* All mailboxes, and the parents that exist only by their children (\Noselect). missing: also subscribed names
 * without a mailbox. marked: look into new/ (a directory read each). */
enum store_why store_list(struct store *, bool missing, bool marked, struct arena *, struct store_list *out);
enum store_why store_exists(struct store *, const char *name); /* STORE_OK, STORE_NOSELECT, STORE_NONEXISTENT ... */
enum store_why store_create(struct store *, const char *name); /* a trailing separator is allowed and dropped */
enum store_why store_delete(struct store *, const char *name); /* children stay; then it is \Noselect */
/* With its children. Of INBOX: its messages move to the new mailbox, INBOX stays, empty (RFC 3501 6.3.5). */
enum store_why store_rename(struct store *, const char *from, const char *to);
enum store_why store_subscribe(struct store *, const char *name, bool on);
int store_make_maildir(int parent_fd, const char *path, bool folder); /* cur, new, tmp; maildirfolder. -1 errno */
bool store_name_valid(const struct store *, const char *name);

struct store_status {
    uint32_t messages, recent, unseen, uid_next, uid_validity;
    uint64_t size_bytes; /* virtual; only when asked */
    uint64_t highest_modseq;
};
enum store_why store_status(struct store *, const char *name, bool size, struct store_status *out);
#endif
