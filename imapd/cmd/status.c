/*
 * imapd/cmd/status - STATUS
 *
 * Source      RFC 3501 6.3.10
 */
#include "cmd/cmd.h"
#include "proto/imap/print.h"

static const struct {
    const char *name;
    size_t offset;
} items[] = {
    { "MESSAGES", offsetof(struct store_status, messages) },
    { "RECENT", offsetof(struct store_status, recent) },
    { "UIDNEXT", offsetof(struct store_status, uid_next) },
    { "UIDVALIDITY", offsetof(struct store_status, uid_validity) },
    { "UNSEEN", offsetof(struct store_status, unseen) },
};
enum { ITEMS = sizeof items / sizeof *items };

static int read_items(struct imap_arg *a, bool wanted[ITEMS])
{
    if (!imap_arg_char(a, '('))
        return imap_arg_fail(a, "Status list missing.");
    while (imap_arg_peek(a) == ' ')
        a->p++;
    do {
        size_t i = 0;

        while (i < ITEMS && !imap_arg_word(a, items[i].name))
            i++;
        if (i == ITEMS)
            return imap_arg_fail(a, imap_arg_peek(a) == ')' ? "Empty status list." : "Invalid status item.");
        wanted[i] = true;
        if (imap_arg_peek(a) == ' ')
            imap_arg_space(a);
    } while (!imap_arg_char(a, ')'));
    return imap_arg_done(a);
}

void imapd_cmd_status(struct imapd_session *s, struct imap_arg *a)
{
    const char *name, *blank = "";
    bool wanted[ITEMS] = { false };
    struct store_status status;
    enum store_why why;

    if (imapd_mailbox_arg(s, a, &name) != 0 || imap_arg_space(a) != 0 || read_items(a, wanted) != 0)
        return;
    why = store_status(s->store, name, false, &status);
    if (why != STORE_OK) {
        imapd_answer_why(s, why, name, NULL);
        return;
    }
    str_adds(&s->out, "* STATUS ");
    imap_print_astring(&s->out, slice_of(name));
    str_adds(&s->out, " (");
    for (size_t i = 0; i < ITEMS; i++) {
        uint32_t value;

        if (!wanted[i])
            continue;
        memcpy(&value, (const char *) &status + items[i].offset, sizeof value);
        str_printf(&s->out, "%s%s %u", blank, items[i].name, value);
        blank = " ";
    }
    str_addc(&s->out, ')');
    imapd_untagged(s);
    imapd_answer(s, "OK Status completed.");
}
