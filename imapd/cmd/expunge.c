/*
 * imapd/cmd/expunge - EXPUNGE, UID EXPUNGE
 *
 * Invariants  in a mailbox opened by EXAMINE both do nothing and answer OK, as Dovecot does
 *             the EXPUNGE lines come with the sync behind the command
 * Source      RFC 3501 6.4.3; 4315 2.1
 */
#include "cmd/cmd.h"

static void expunge(struct imapd_session *s, const uint32_t *seqs, size_t n)
{
    uint32_t before = mailbox_count(s->box);
    enum store_why why = mailbox_read_only(s->box) ? STORE_OK : mailbox_expunge(s->box, seqs, n);

    if (why != STORE_OK) {
        imapd_answer_why(s, why, mailbox_name(s->box), NULL);
        return;
    }
    imapd_sync(s, false);
    if (s->box && mailbox_count(s->box) < before)
        s->expunged += before - mailbox_count(s->box);
    imapd_answer(s, "OK Expunge completed.");
}

void imapd_cmd_expunge(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) == 0)
        expunge(s, NULL, 0);
}

void imapd_cmd_uid_expunge(struct imapd_session *s, struct imap_arg *a)
{
    struct imap_set set;
    uint32_t *seqs;
    size_t n;

    if (imap_set_parse(a, &set) != 0 || imap_arg_done(a) != 0 || imapd_resolve(s, a, &set, &seqs, &n) != 0)
        return;
    if (n)
        expunge(s, seqs, n);
    else
        imapd_answer(s, "OK Expunge completed.");
}
