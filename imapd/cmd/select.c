/*
 * imapd/cmd/select - SELECT, EXAMINE, UNSELECT, CLOSE
 *
 * Source      RFC 3501 6.3.1, 6.3.2, 6.4.2; 3691; order of the untagged replies as Dovecot sends them
 */
#include "cmd/cmd.h"

static void show(struct imapd_session *s)
{
    struct mailbox_summary sum;

    mailbox_summary(s->box, &sum);
    imapd_print_keywords(s);
    stream_printf(s->io, "* %u EXISTS\r\n", sum.count);
    stream_printf(s->io, "* %u RECENT\r\n", sum.recent);
    if (sum.first_unseen)
        stream_printf(s->io, "* OK [UNSEEN %u] First unseen.\r\n", sum.first_unseen);
    stream_printf(s->io, "* OK [UIDVALIDITY %u] UIDs valid\r\n", mailbox_uid_validity(s->box));
    stream_printf(s->io, "* OK [UIDNEXT %u] Predicted next UID\r\n", mailbox_uid_next(s->box));
}

static void open_mailbox(struct imapd_session *s, struct imap_arg *a, bool read_only)
{
    const char *name;
    enum store_why why;

    if (imapd_mailbox_arg(s, a, &name) != 0)
        return;
    if (!imap_arg_end(a) && (imap_arg_space(a) != 0 || imap_arg_skip_list(a, 4) != 0))
        return;
    if (imap_arg_done(a) != 0)
        return;
    if (s->box) {
        imapd_close_mailbox(s);
        stream_puts(s->io, "* OK [CLOSED] Previous mailbox closed.\r\n");
    }
    why = mailbox_open_lazily(s->store, name, read_only, &s->box);
    if (why != STORE_OK) {
        imapd_answer_why(s, why, name, NULL);
    } else {
        s->state = IMAPD_SELECTED;
        show(s);
        imapd_answer(s, "OK [%s] %s completed.", mailbox_read_only(s->box) ? "READ-ONLY" : "READ-WRITE",
                     read_only ? "Examine" : "Select");
        if (mailbox_unkept(s->box) && stream_flush(s->io) == 0) /* the client has its answer first */
            mailbox_keep(s->box);
    }
}

void imapd_cmd_select(struct imapd_session *s, struct imap_arg *a) { open_mailbox(s, a, false); }
void imapd_cmd_examine(struct imapd_session *s, struct imap_arg *a) { open_mailbox(s, a, true); }

void imapd_cmd_unselect(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) != 0)
        return;
    imapd_close_mailbox(s);
    imapd_answer(s, "OK Unselect completed.");
}

void imapd_cmd_close(struct imapd_session *s, struct imap_arg *a)
{
    enum store_why why = STORE_OK;

    if (imap_arg_done(a) != 0)
        return;
    if (!mailbox_read_only(s->box))
        why = mailbox_expunge(s->box, NULL, 0);
    if (why != STORE_OK)
        imapd_answer_why(s, why, mailbox_name(s->box), NULL);
    else
        imapd_answer(s, "OK Close completed.");
    imapd_close_mailbox(s);
}
