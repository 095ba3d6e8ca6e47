/*
 * imapd/cmd/store - STORE
 *
 * Invariants  without .SILENT each message is answered with its flags, changed or not; a new keyword is announced by
 *             FLAGS and PERMANENTFLAGS before that
 * Source      RFC 3501 6.4.6
 */
#include "cmd/cmd.h"

static int read_how(struct imap_arg *a, struct mail_change *change)
{
    change->how = imap_arg_char(a, '+') ? MAIL_ADD : imap_arg_char(a, '-') ? MAIL_REMOVE : MAIL_SET;
    if (imap_arg_word(a, "FLAGS.SILENT"))
        change->silent = true;
    else if (!imap_arg_word(a, "FLAGS"))
        return imap_arg_fail(a, imap_arg_end(a) ? "Missing arguments." : "Invalid item.");
    return imap_arg_space(a);
}

static void show(struct imapd_session *s, const uint32_t *seqs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct mail *m = mailbox_mail(s->box, seqs[i]);

        if (m == NULL || m->gone)
            continue;
        str_printf(&s->out, "* %u FETCH (", seqs[i]);
        if (s->uid)
            str_printf(&s->out, "UID %u ", m->uid);
        imapd_add_flags(s, &s->out, m);
        str_addc(&s->out, ')');
        imapd_untagged(s);
        fiber_slice();
    }
}

void imapd_cmd_store(struct imapd_session *s, struct imap_arg *a)
{
    struct mail_change change = { 0 };
    struct imap_flags flags;
    struct imap_set set;
    uint32_t *seqs;
    size_t n;
    bool silent;

    if (imap_set_parse(a, &set) != 0 || imap_arg_space(a) != 0 || read_how(a, &change) != 0 ||
        imap_arg_flags(a, &flags) != 0 || imap_arg_done(a) != 0 || imapd_resolve(s, a, &set, &seqs, &n) != 0)
        return;
    if (mailbox_read_only(s->box)) {
        imapd_answer(s, "OK Store ignored with read-only mailbox.");
        return;
    }
    change.flags = (uint8_t) (flags.system & MAIL_SETTABLE);
    if ((change.keywords = imapd_keyword_names(s, &flags)) == NULL)
        return;
    silent = change.silent;
    change.silent = true; /* the answers below are this command's; the sync tells of what others did */
    if (n) {
        enum store_why why = mailbox_store(s->box, seqs, n, &change);
        if (why != STORE_OK) {
            imapd_answer_why(s, why, mailbox_name(s->box), NULL);
            return;
        }
        imapd_sync(s, true);
        if (!silent && s->ended == NULL)
            show(s, seqs, n);
    }
    imapd_answer(s, "OK Store completed.");
}
