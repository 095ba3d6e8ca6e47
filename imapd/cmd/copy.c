/*
 * imapd/cmd/copy - COPY, MOVE
 *
 * Source      RFC 3501 6.4.7; 4315 3 (COPYUID); 6851: COPYUID goes untagged before the EXPUNGE lines of a MOVE
 */
#include "cmd/cmd.h"

static void copy(struct imapd_session *s, struct imap_arg *a, bool move)
{
    struct mailbox_copied done = { 0 };
    struct imap_set set;
    struct str *out = &s->out;
    const char *to, *command = move ? "Move" : "Copy";
    uint32_t *seqs;
    enum store_why why;
    size_t n;

    if (imap_set_parse(a, &set) != 0 || imap_arg_space(a) != 0 || imapd_mailbox_arg(s, a, &to) != 0 ||
        imap_arg_done(a) != 0 || imapd_resolve(s, a, &set, &seqs, &n) != 0)
        return;
    if (move && mailbox_read_only(s->box)) {
        imapd_answer_why(s, STORE_READ_ONLY, to, NULL);
        return;
    }
    if (n == 0) {
        imapd_answer(s, "OK No messages found.");
        return;
    }
    why = mailbox_copy(s->box, seqs, n, to, move, s->arena, &done);
    if (why != STORE_OK) {
        imapd_answer_why(s, why, to, "TRYCREATE");
        return;
    }
    if (done.count == 0) {
        imapd_answer(s, "OK No messages found.");
        return;
    }
    str_printf(out, "[COPYUID %u ", done.uid_validity);
    imap_set_print(out, done.from, done.count);
    str_addc(out, ' ');
    imap_set_print(out, done.to, done.count);
    str_addc(out, ']');
    if (move) {
        stream_printf(s->io, "* OK %s Moved UIDs.\r\n", out->p);
        imapd_answer(s, "OK %s completed.", command);
        s->expunged += done.count;
    } else {
        imapd_answer(s, "OK %s %s completed.", out->p, command);
    }
    str_reset(out);
}

void imapd_cmd_copy(struct imapd_session *s, struct imap_arg *a) { copy(s, a, false); }
void imapd_cmd_move(struct imapd_session *s, struct imap_arg *a) { copy(s, a, true); }
