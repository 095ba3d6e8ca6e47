/*
 * dispatcher - which process gets the socket of a client that has logged in
 *
 * login gives the socket with authd's request id and cookie (never a user name); dispatcher asks authd whose it is,
 * finds or spawns that user's imapd or pop3d and sends the socket on, over that process's control channel.
 *
 * A session that waits for long (IMAP's IDLE) can sleep: its process gives the socket back with what it must remember,
 * and may end. dispatcher wakes it, in a process of the same user, when the client says something, when one of the
 * directories that came with it has changed, or when its time is over.
 *
 * Callers     login (dispatcher_hand_over), imapd and pop3d (dispatcher_link_*), dispatcher (encode, decode)
 * Invariants  a session id is unique among the sessions of a process; each session that a link gave is taken once, and
 *             ended once if it was taken
 *             a user's process never learns cookies, and never names a user: dispatcher tells it
 * Ownership   a struct dispatcher_session owns its descriptor and its text
 * Errors      hand over: anything doubtful is DISPATCHER_UNAVAILABLE
 */
#ifndef CLIENT_DISPATCHER_H
#define CLIENT_DISPATCHER_H
#include "base/str.h"
#include "event/event.h"
#include "ipc/msg.h"

#define DISPATCHER_SERVICE  "private/dispatcher"
#define DISPATCHER_PROTOCOL "dispatcher"
enum { DISPATCHER_VERSION = 3 };
enum { DISPATCHER_INPUT_BYTES = 65536, DISPATCHER_TAG_BYTES = 256, DISPATCHER_TEXT_BYTES = 1024 };
enum { DISPATCHER_STATE_BYTES = 16384, DISPATCHER_SLEEP_DIRS = 2 };

struct dispatcher_session {
    char *protocol;        /* "imap", "pop3" */
    char *id;              /* session id for the log, "c2b/2tFgcLx/AAAB" */
    char *rip, *lip;       /* numeric addresses of client and server */
    unsigned rport, lport; /* 0 for unix sockets */
    bool tls;              /* the client speaks TLS: login relays it, fd is one end of a socket pair */
    bool secured;          /* TLS, or a connection within this host */
    char *tag;             /* imap: of the command that is still to be answered "TAG OK [CAPABILITY ..] Logged in" */
    bool capability_untagged; /* imap: the client has asked CAPABILITY itself: answer "* CAPABILITY", then the OK */
    struct str input;         /* what the client sent behind its last command */
    int fd;
    /* Known only behind dispatcher: */
    char *user;       /* canonical user name */
    char *maildir;    /* of the INBOX as seen after the chroot: "/" or "/Maildir" */
    struct str state; /* of a session that has slept: what its process gave; empty: a new one */
    bool slept;       /* dispatcher_link_sleep has taken it */
};
struct dispatcher_session *dispatcher_session_new(void);
void dispatcher_session_free(struct dispatcher_session **); /* closes fd unless it is -1 */

/* login's side. On DISPATCHER_OK the client is served elsewhere; login closes (or relays) its end. */
enum dispatcher_answer { DISPATCHER_OK, DISPATCHER_LIMIT, DISPATCHER_DENIED, DISPATCHER_UNAVAILABLE };
struct dispatcher_claim {
    uint32_t client_pid; /* the CPID that login told authd */
    uint32_t request;
    char cookie[33];
};
enum dispatcher_answer dispatcher_hand_over(const struct dispatcher_session *, const struct dispatcher_claim *,
                                            int64_t deadline, pid_t *mail_pid, char *reason, size_t reason_bytes);
/* The process that took the last session handed over; 0: none, or the last try failed. */
int64_t dispatcher_pid(void);

/* The user's process: control_fd as the spawner gave it. */
struct dispatcher_link;
struct dispatcher_link *dispatcher_link_new(int control_fd);
void dispatcher_link_free(struct dispatcher_link **);
/* Waits for the next client. 0; -1 with errno ETIMEDOUT (no client within the deadline), 0 (dispatcher has closed:
 * end when the sessions at hand have ended), ESHUTDOWN (the mail system stops: end them soon), or another. */
int dispatcher_link_next(struct dispatcher_link *, struct dispatcher_session **out, int64_t deadline);
/* To be called before anything is read from or written to the client. 0: it is this process's. -1: dispatcher has given
 * it to another process, or is gone: close it without a word. */
int dispatcher_link_taken(struct dispatcher_link *, const char *id);
/* The session is over; dispatcher forgets it and may end the process when it was the last. */
void dispatcher_link_ended(struct dispatcher_link *, const char *id);

/* What wakes a sleeping session, beside its client. */
struct dispatcher_sleep {
    int dir_fd[DISPATCHER_SLEEP_DIRS];       /* -1: none; opened for this and nothing else */
    int64_t mtime_ns[DISPATCHER_SLEEP_DIRS]; /* as the session saw them last: another wakes it at once */
    const char *notify;                      /* written to the client every notify_ms: "* OK Still here\r\n" */
    int64_t notify_ms, notify_in_ms, end_in_ms;
};
/* Gives the session away: its fd and dir_fds are duplicated, session->state (at most DISPATCHER_STATE_BYTES) travels
 * with it. 0: it sleeps, and nothing may be written to it any more; -1: go on as before. */
int dispatcher_link_sleep(struct dispatcher_link *, struct dispatcher_session *, const struct dispatcher_sleep *);

/* Change notice: `changed` runs in a fiber of its own, soon after an entry of that directory came, went or was
 * renamed (it may also run for nothing: look). dir_fd is borrowed for the call. NULL with errno when the system gives
 * no notice: then look at intervals. */
struct dispatcher_watch;
struct dispatcher_watch *dispatcher_watch_new(struct dispatcher_link *, int dir_fd, event_fn changed, void *arg);
void dispatcher_watch_free(struct dispatcher_watch **);

/* Frames, for both ends and for tests. The session's descriptor is lent to the frame: it must outlive it. */
struct msg *dispatcher_session_encode(const struct dispatcher_session *, const char *name);
int dispatcher_session_decode(struct msg *, struct dispatcher_session **out); /* leaves values it does not know */
#endif
