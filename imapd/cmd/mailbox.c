/*
 * imapd/cmd/mailbox - CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE
 *
 * Invariants  a name that is to be made must be valid modified UTF-7, so that no mailbox has a second spelling
 * Source      RFC 3501 6.3.3 to 6.3.7, 5.1.3
 */
#include "cmd/cmd.h"
#include "proto/imap/mailbox.h"

static bool spelled_well(struct imapd_session *s, const char *name)
{
    struct str utf8;
    int rc;

    str_init(&utf8, STORE_NAME_BYTES * 3);
    rc = imap_mailbox_decode(slice_of(name), &utf8);
    str_free(&utf8);
    if (rc != 0)
        imapd_answer(s, "NO Mailbox name is not valid mUTF-7");
    return rc == 0;
}

static void finish(struct imapd_session *s, enum store_why why, const char *name, const char *command,
                   const char *missing)
{
    if (why == STORE_OK)
        imapd_answer(s, "OK %s completed.", command);
    else
        imapd_answer_why(s, why, name, missing);
}

/* RFC 3501 6.3.3: "A/B/" announces children; the separator at the end is no part of the name. */
static char *without_separator(struct imapd_session *s, const char *name)
{
    size_t len = strlen(name);

    if (len > 1 && name[len - 1] == store_separator(s->store))
        len--;
    return arena_strndup(s->arena, name, len);
}

void imapd_cmd_create(struct imapd_session *s, struct imap_arg *a)
{
    const char *name;

    if (imapd_mailbox_arg(s, a, &name) != 0 || imap_arg_done(a) != 0)
        return;
    if (spelled_well(s, name))
        finish(s, store_create(s->store, name), name, "Create", NULL);
}

static bool is_selected(const struct imapd_session *s, const char *name)
{
    return s->box && mailbox_named(s->box, name);
}

void imapd_cmd_delete(struct imapd_session *s, struct imap_arg *a)
{
    const char *name;

    if (imapd_mailbox_arg(s, a, &name) != 0 || imap_arg_done(a) != 0)
        return;
    if (slice_caseeq(slice_of(name), "INBOX")) {
        imapd_answer(s, "NO INBOX can't be deleted.");
        return;
    }
    if (is_selected(s, name))
        imapd_close_mailbox(s);
    finish(s, store_delete(s->store, name), name, "Delete", "NONEXISTENT");
}

void imapd_cmd_rename(struct imapd_session *s, struct imap_arg *a)
{
    const char *from, *to;

    if (imapd_mailbox_arg(s, a, &from) != 0 || imap_arg_space(a) != 0 || imapd_mailbox_arg(s, a, &to) != 0 ||
        imap_arg_done(a) != 0)
        return;
    to = without_separator(s, to);
    if (!spelled_well(s, to))
        return;
    if (is_selected(s, from) && !slice_caseeq(slice_of(from), "INBOX"))
        imapd_close_mailbox(s);
    enum store_why why = store_rename(s->store, from, to);
    finish(s, why, why == STORE_EXISTS ? to : from, "Rename", "NONEXISTENT");
}

static void subscribe(struct imapd_session *s, struct imap_arg *a, bool on)
{
    const char *name;
    enum store_why why = STORE_OK;

    if (imapd_mailbox_arg(s, a, &name) != 0 || imap_arg_done(a) != 0)
        return;
    name = without_separator(s, name);
    if (on && (why = store_exists(s->store, name)) == STORE_NOSELECT)
        why = STORE_OK;
    if (why == STORE_OK)
        why = store_subscribe(s->store, name, on);
    finish(s, why, name, on ? "Subscribe" : "Unsubscribe", NULL);
}

void imapd_cmd_subscribe(struct imapd_session *s, struct imap_arg *a) { subscribe(s, a, true); }
void imapd_cmd_unsubscribe(struct imapd_session *s, struct imap_arg *a) { subscribe(s, a, false); }
