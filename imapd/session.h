/*
 * imapd/session - one IMAP session of a user who is known: reads commands, runs them, answers
 *
 * Callers     imapd.c (one fiber a session), imapd/cmd/ (the answers)
 * Invariants  a command answers once: imapd_answer, or an error in its arguments; the tagged line is printed by the
 *             session, behind the changes that the command may tell (cmd.h: the row says which)
 *             replies are buffered and leave in one write, before the next wait for input
 *             message numbers change only in imapd_sync, so a command sees one numbering from its first byte to its
 *             last
 * Ownership   the session owns its stream, store and mailbox; what a command makes lives in `arena`
 * Units       milliseconds, bytes
 * Source      RFC 3501; words and order of untagged replies as Dovecot answers
 */
#ifndef IMAPD_SESSION_H
#define IMAPD_SESSION_H
#include "io/stream.h"
#include "proto/imap/arg.h"
#include "proto/imap/set.h"
#include "store/mailbox.h"

enum {
    IMAPD_AUTOLOGOUT_MS = 30 * 60 * 1000, /* RFC 3501 5.4: at least 30 minutes */
    IMAPD_LINE_BYTES = 65536,             /* one line of a command, without its literals */
    IMAPD_COMMAND_BYTES = 256 * 1024,     /* a command with its literals; APPEND's message does not count */
    IMAPD_BAD_COMMANDS = 20,              /* in a row, then BYE */
    IMAPD_REPLY_BYTES = 64 << 20,         /* one untagged line without message text: LIST, SEARCH, ENVELOPE */
};

extern int64_t imapd_idle_notify_seconds; /* parameter imap_idle_notify_interval */
extern int64_t imapd_hibernate_seconds;   /* parameter imap_hibernate_timeout; 0: never */

enum imapd_state { IMAPD_AUTHENTICATED = 1, IMAPD_SELECTED = 2, IMAPD_LOGOUT = 4, IMAPD_ASLEEP = 8 };

struct dispatcher_link;
struct dispatcher_session;
struct imapd_session {
    struct stream *io;
    struct store *store;
    struct mailbox *box; /* NULL unless selected */
    enum imapd_state state;
    struct dispatcher_link *link;      /* NULL: no change notice, IDLE looks at intervals */
    struct dispatcher_session *client; /* what it came with; goes back when the session sleeps */
    const char *user, *id;             /* for the log */
    struct arena *arena;               /* of the command */
    struct str command, answer;
    struct str out; /* the untagged line being made */
    char tag[IMAP_TAG_BYTES + 1];
    bool uid; /* the UID form of a command runs */
    unsigned bad_commands;
    const char *ended;               /* why, for the log; NULL: goes on */
    unsigned long long expunged;     /* messages removed by this session */
    unsigned long long body_fetched; /* FETCHed sections */
    uint64_t bytes_in, bytes_out;    /* before the session slept last */
};

struct imapd_start {
    struct dispatcher_link *link;
    struct dispatcher_session *client;
    const char *user, *id, *root;
    const struct store_places *places; /* NULL: all is below the root */
    char separator;
    const char *tag;          /* of the LOGIN or AUTHENTICATE still to be answered; NULL: a PREAUTH greeting */
    bool capability_untagged; /* the client asked CAPABILITY itself before it logged in */
    struct slice input;       /* what the client sent behind that command */
    struct slice state;       /* of a session that has slept; empty: it begins */
};
/* Runs to the end of the session; owns fd, which is non-blocking, and has TCP_NODELAY where it is TCP. */
void imapd_session_run(int fd, const struct imapd_start *);

#define STILL_HERE "* OK Still here\r\n"
/* hibernate.c: a session in IDLE given to dispatcher, and back. */
struct imapd_idle {      /* of the command that waits */
    int64_t end, notify; /* when it is over, and when the client is told again that we are here: time_mono_ms */
};
/* True: the session sleeps; nothing may be written any more. */
bool imapd_hibernate(struct imapd_session *, const struct imapd_idle *);
void imapd_wake(struct imapd_session *, struct slice state); /* and waits on in IDLE, or says BYE */
/* cmd/idle.c: the rest of an IDLE that was answered "+ idling". */
void imapd_idle_on(struct imapd_session *, const struct imapd_idle *);

/* For commands. */
void imapd_answer(struct imapd_session *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Answers NO (or BYE) with Dovecot's words. missing: the response code when the mailbox does not exist, or NULL. */
void imapd_answer_why(struct imapd_session *, enum store_why, const char *mailbox, const char *missing);
void imapd_untagged(struct imapd_session *); /* sends s->out as one line and empties it */
void imapd_bye(struct imapd_session *, const char *words, const char *why);
void imapd_close_mailbox(struct imapd_session *);
/* Looks at the disk and tells what has changed. keep_expunged: while message numbers must stay. */
void imapd_sync(struct imapd_session *, bool keep_expunged);
void imapd_tell(struct imapd_session *, const struct mailbox_changes *);
void imapd_print_keywords(struct imapd_session *); /* FLAGS and PERMANENTFLAGS */
void imapd_add_flags(struct imapd_session *, struct str *, const struct mail *);
/* Numbers or UIDs of a set as message numbers, rising; an invalid number is an error in the arguments (-1). */
int imapd_resolve(struct imapd_session *, struct imap_arg *, struct imap_set *, uint32_t **seqs, size_t *count);
const char *imapd_capabilities(void);
int imapd_mailbox_arg(struct imapd_session *, struct imap_arg *, const char **name);
/* Flags of a client as the store wants them: keywords end with NULL. NULL and an answer when one is not allowed. */
const char **imapd_keyword_names(struct imapd_session *, const struct imap_flags *);
#endif
