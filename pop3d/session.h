/*
 * pop3d/session - one POP3 session of a user who is known
 *
 * Callers     pop3d.c (one fiber a session), cmd.c (the answers)
 * Invariants  the maildrop is what the INBOX held at the start: numbers and sizes stay, whatever others do
 *             messages are removed at QUIT and never otherwise; \Seen of what was fetched is set at any end
 * Units       bytes of messages with CRLF line ends; milliseconds
 * Source      RFC 1939, 2449 (CAPA, RESP-CODES, PIPELINING), 3206 (SYS codes); words as Dovecot answers
 */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H
#include "io/stream.h"
#include "store/message.h"

enum {
    POP3D_AUTOLOGOUT_MS = 10 * 60 * 1000, /* RFC 1939 section 3: at least 10 minutes */
    POP3D_LINE_BYTES = 1024,
    POP3D_BAD_COMMANDS = 20,
    POP3D_MESSAGES_MAX = 10 * 1000 * 1000,
};

struct pop3d_message {
    uint64_t bytes;
    bool deleted, seen;
};
struct pop3d_session {
    struct stream *io;
    struct store *store;
    struct mailbox *box;
    const char *user, *id;          /* for the log */
    struct pop3d_message *messages; /* number n is messages[n - 1] */
    uint32_t count;
    bool quit, over;
    unsigned bad_commands;
    const char *ended; /* why, for the log */
    uint64_t top_count, top_bytes, retr_count, retr_bytes;
};

struct pop3d_start {
    const char *user, *id, *root;
    const struct store_places *places; /* NULL: all is below the root */
    char separator;
    struct slice input; /* what the client sent behind its last command to login */
};
/* Runs to the end of the session; owns fd, which is non-blocking, and has TCP_NODELAY where it is TCP. The first line it sends answers PASS or AUTH. */
void pop3d_session_run(int fd, const struct pop3d_start *);

/* cmd.c: one line of the client, without its line end. */
void pop3d_cmd_run(struct pop3d_session *, struct slice line);
#endif
