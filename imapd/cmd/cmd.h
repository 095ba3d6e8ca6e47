/*
 * imapd/cmd - the commands; table.c lists them, one family stands in one file
 *
 * Callers     imapd/session.c
 * Invariants  a command reads its arguments from the cursor, answers once with imapd_answer, or returns with the
 *             cursor's error set (BAD); it does not print the tagged line
 * Source      RFC 3501 section 6 and the RFC named in each file
 */
#ifndef IMAPD_CMD_CMD_H
#define IMAPD_CMD_CMD_H
#include "session.h"

enum imapd_cmd_sync {
    IMAPD_SYNC_NO,   /* tells nothing */
    IMAPD_SYNC_KEEP, /* all but EXPUNGE: RFC 3501 7.4.1 */
    IMAPD_SYNC_ALL
};
struct imapd_cmd {
    const char *name; /* "UID FETCH" is a name too */
    unsigned states;  /* enum imapd_state it is allowed in */
    enum imapd_cmd_sync sync;
    void (*run)(struct imapd_session *, struct imap_arg *);
};
const struct imapd_cmd *imapd_cmd_find(struct slice name);

void imapd_cmd_capability(struct imapd_session *, struct imap_arg *);
void imapd_cmd_noop(struct imapd_session *, struct imap_arg *);
void imapd_cmd_check(struct imapd_session *, struct imap_arg *);
void imapd_cmd_logout(struct imapd_session *, struct imap_arg *);
void imapd_cmd_id(struct imapd_session *, struct imap_arg *);
void imapd_cmd_enable(struct imapd_session *, struct imap_arg *);
void imapd_cmd_namespace(struct imapd_session *, struct imap_arg *);
void imapd_cmd_select(struct imapd_session *, struct imap_arg *);
void imapd_cmd_examine(struct imapd_session *, struct imap_arg *);
void imapd_cmd_unselect(struct imapd_session *, struct imap_arg *);
void imapd_cmd_close(struct imapd_session *, struct imap_arg *);
void imapd_cmd_list(struct imapd_session *, struct imap_arg *);
void imapd_cmd_lsub(struct imapd_session *, struct imap_arg *);
void imapd_cmd_create(struct imapd_session *, struct imap_arg *);
void imapd_cmd_delete(struct imapd_session *, struct imap_arg *);
void imapd_cmd_rename(struct imapd_session *, struct imap_arg *);
void imapd_cmd_subscribe(struct imapd_session *, struct imap_arg *);
void imapd_cmd_unsubscribe(struct imapd_session *, struct imap_arg *);
void imapd_cmd_status(struct imapd_session *, struct imap_arg *);
void imapd_cmd_append(struct imapd_session *, struct imap_arg *);
void imapd_cmd_fetch(struct imapd_session *, struct imap_arg *);
void imapd_cmd_store(struct imapd_session *, struct imap_arg *);
void imapd_cmd_search(struct imapd_session *, struct imap_arg *);
void imapd_cmd_copy(struct imapd_session *, struct imap_arg *);
void imapd_cmd_move(struct imapd_session *, struct imap_arg *);
void imapd_cmd_expunge(struct imapd_session *, struct imap_arg *);
void imapd_cmd_uid_expunge(struct imapd_session *, struct imap_arg *);
void imapd_cmd_idle(struct imapd_session *, struct imap_arg *);

/* Is what was collected the head of an APPEND up to the announcement of its message? Then the message is not read
 * into memory: imapd_cmd_append streams it. */
bool imapd_cmd_append_starts(struct slice command, struct arena *);
#endif
