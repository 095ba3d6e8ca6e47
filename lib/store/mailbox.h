/*
 * mailbox - an open mailbox: a numbered view of its messages that changes only in mailbox_sync
 *
 * Callers     imapd (one view a session), pop3d, lib/deliver
 * Invariants  sequence numbers are 1..mailbox_count, uids rise with them; both change only inside mailbox_sync and
 *             mailbox_expunge's next sync
 *             a message that others expunged stays in the view, its `gone` set, until a sync that may say so
 *             a uid is shown only after it is on disk (fdatasync of dovecot-uidlist)
 * Ownership   struct mail pointers are borrowed until the next sync; texts go into the caller's str
 * Units       size: bytes with CRLF line ends; dates: seconds since 1970
 * Errors      enum store_why
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H
#include "proto/mime/part.h"
#include "store/store.h"

enum mail_flag {
    MAIL_ANSWERED = 1,
    MAIL_FLAGGED = 2,
    MAIL_DELETED = 4,
    MAIL_SEEN = 8,
    MAIL_DRAFT = 16,
    MAIL_RECENT = 32, /* read only */
    MAIL_SETTABLE = 31
};
struct mail {
    uint32_t uid;
    uint8_t flags;     /* enum mail_flag */
    bool gone;         /* expunged by others; the next sync tells */
    uint64_t keywords; /* bit n: mailbox_keyword(mb, n) */
    uint64_t modseq;
};

struct mailbox;
enum store_why mailbox_open(struct store *, const char *name, bool read_only, struct mailbox **out); /* synced */
/* The same at a cost that does not grow with the mailbox when nothing has changed since it was closed: no message is
 * known then, and mailbox_load is due before any other call than mailbox_sync, mailbox_summary, mailbox_close and those
 * that ask for names and UIDs of the mailbox as a whole. */
enum store_why mailbox_open_lazily(struct store *, const char *name, bool read_only, struct mailbox **out);
/* STORE_DAMAGED: the index is damaged, and the next opening will do without; what the client was told may be wrong. */
enum store_why mailbox_load(struct mailbox *);
struct mailbox_summary {
    uint32_t count, recent, unseen, first_unseen; /* first_unseen: a sequence number; 0: none */
};
void mailbox_summary(const struct mailbox *, struct mailbox_summary *out);
void mailbox_close(struct mailbox **); /* writes what the index may keep */
/* A large mailbox that had to be read without an index: mailbox_keep writes it now, so that who opens it next, while it
 * is open here, need not do the same. */
bool mailbox_unkept(const struct mailbox *);
void mailbox_keep(struct mailbox *);
const char *mailbox_name(const struct mailbox *);
bool mailbox_named(const struct mailbox *, const char *name); /* "inbox/a" names INBOX/a */
bool mailbox_read_only(const struct mailbox *);
int mailbox_directory(const struct mailbox *, bool in_new); /* a descriptor of new/ or cur/, to watch; -1 errno */
uint32_t mailbox_uid_validity(const struct mailbox *);
uint32_t mailbox_uid_next(const struct mailbox *);
uint32_t mailbox_count(const struct mailbox *);
uint32_t mailbox_recent(const struct mailbox *);
size_t mailbox_keyword_count(const struct mailbox *);
const char *mailbox_keyword(const struct mailbox *, size_t n);         /* NULL past the end; "" for a gap */
const struct mail *mailbox_mail(const struct mailbox *, uint32_t seq); /* NULL when out of range */
uint32_t mailbox_seq(const struct mailbox *, uint32_t uid);            /* 0: no such uid */
uint32_t mailbox_seq_from(const struct mailbox *, uint32_t uid); /* first with that uid or a higher one; count + 1 */

/* What changed since the last sync, in the order IMAP tells it. */
enum mailbox_event_type {
    MAILBOX_KEYWORDS,     /* the keyword list grew: FLAGS and PERMANENTFLAGS again */
    MAILBOX_EXPUNGE,      /* seq: the number at the time it is told (highest first); uid */
    MAILBOX_EXISTS,       /* seq: the new count */
    MAILBOX_RECENT_COUNT, /* seq: the new number of recent messages */
    MAILBOX_FLAGS         /* seq: whose flags or keywords changed; not for the view's own silent stores */
};
struct mailbox_event {
    enum mailbox_event_type type;
    uint32_t seq, uid;
};
struct mailbox_changes {
    struct mailbox_event *events;
    size_t count;
};
/* Looks at the disk. keep_expunged: inside FETCH, STORE, SEARCH (RFC 3501 7.4.1), expunges are held for a later sync.
 * The list is the mailbox's until the next sync. */
enum store_why mailbox_sync(struct mailbox *, bool keep_expunged, const struct mailbox_changes **out);
/* The client has its answer, and sends no more at once (MAILBOX_REST_MS): what nobody waited for is done now, as the
 * index's records of new messages. Without it they are written when there are many, and at mailbox_close. */
enum { MAILBOX_REST_MS = 2 };
bool mailbox_wants_rest(const struct mailbox *);
void mailbox_rest(struct mailbox *);
/* A directory changed so shortly before it was read that a later change may carry the same time: who waits for notice
 * must sync once more, MAILBOX_SETTLE_MS later. */
enum { MAILBOX_SETTLE_MS = 2100 };
bool mailbox_unsettled(const struct mailbox *);

/* A session that sleeps: what its client knows, as bytes (appended to *out); later, on the same mailbox opened anew,
 * the changes since. freeze: -1 when it would be more than max bytes, or when the client is still to be told something
 * (sync first). thaw: STORE_DAMAGED when the mailbox is another, or has changed in a way that IMAP cannot tell. */
int mailbox_freeze(struct mailbox *, size_t max, struct str *out);
enum store_why mailbox_thaw(struct mailbox *, struct slice frozen, const struct mailbox_changes **out);

/* Changing. */
enum mail_store_how { MAIL_SET, MAIL_ADD, MAIL_REMOVE };
/* keywords: names, made where new (STORE_LIMIT when there is no room); silent: no MAILBOX_FLAGS event for this view's
 * own change (others see it). A message that is gone is skipped. */
struct mail_change {
    enum mail_store_how how;
    uint8_t flags;
    const char *const *keywords; /* ends with NULL; may be NULL */
    bool silent;
};
enum store_why mailbox_store(struct mailbox *, const uint32_t *seqs, size_t n, const struct mail_change *);
bool mailbox_keyword_valid(const char *name);
/* Removes those of the given messages that have \Deleted; seqs NULL: all. The next sync tells the events. */
enum store_why mailbox_expunge(struct mailbox *, const uint32_t *seqs, size_t n);
/* Removes them whatever their flags: POP3's QUIT. */
enum store_why mailbox_remove(struct mailbox *, const uint32_t *seqs, size_t n);

/* COPYUID: pairs in the order given; messages that were gone are not in it. */
struct mailbox_copied {
    uint32_t uid_validity;
    uint32_t *from, *to;
    size_t count;
};
enum store_why mailbox_copy(struct mailbox *, const uint32_t *seqs, size_t n, const char *to, bool move,
                            struct arena *, struct mailbox_copied *out);

/* Saving: several messages, all or none. The bytes stream into tmp/. selected: a mailbox that the caller has open, or
 * NULL: when it is the one of that name, it knows the new messages without reading its directories. */
struct mailbox_save;
enum { MAILBOX_SAVE_NOW = -1 }; /* as date */
enum store_why mailbox_save_begin(struct store *, const char *name, struct mailbox *selected,
                                  struct mailbox_save **out);
enum store_why mailbox_save_start(struct mailbox_save *, uint8_t flags, const char *const *keywords, int64_t date);
enum store_why mailbox_save_write(struct mailbox_save *, const void *p, size_t len); /* CRLF or LF, kept as LF */
enum store_why mailbox_save_finish(struct mailbox_save *);                           /* this message is complete */
/* Durable, with uids: uids (count as saved) live in the arena. Frees *save whatever the answer. */
enum store_why mailbox_save_commit(struct mailbox_save **, struct arena *, uint32_t *uid_validity, uint32_t **uids,
                                   size_t *count);
void mailbox_save_cancel(struct mailbox_save **);
#endif
