/*
 * imapd/cmd/session - commands that need no mailbox: CAPABILITY, NOOP, CHECK, LOGOUT, ID, ENABLE, NAMESPACE
 *
 * Source      RFC 3501 6.1, 6.4.1; 2342; 2971; 5161
 */
#include "cmd/cmd.h"

enum { ID_BYTES_MAX = 30 * 1100 }; /* RFC 2971 3.3: at most 30 pairs; names of 30, values of 1024 bytes */

void imapd_cmd_capability(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) != 0)
        return;
    stream_printf(s->io, "* CAPABILITY %s\r\n", imapd_capabilities());
    imapd_answer(s, "OK Capability completed.");
}

void imapd_cmd_noop(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) == 0)
        imapd_answer(s, "OK NOOP completed.");
}

void imapd_cmd_check(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) == 0)
        imapd_answer(s, "OK Check completed.");
}

void imapd_cmd_logout(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) != 0)
        return;
    imapd_bye(s, "Logging out", "Logged out");
    imapd_answer(s, "OK Logout completed.");
}

void imapd_cmd_id(struct imapd_session *s, struct imap_arg *a)
{
    const char *from = a->p;

    if (!imap_arg_word(a, "NIL") && imap_arg_skip_list(a, 1) != 0)
        return;
    if (a->p - from > ID_BYTES_MAX) {
        imap_arg_fail(a, "Invalid arguments.");
        return;
    }
    if (imap_arg_done(a) != 0)
        return;
    stream_puts(s->io, "* ID (\"name\" \"Posthorn\")\r\n");
    imapd_answer(s, "OK ID completed.");
}

/* No extension needs to be switched on: what is asked for and not known is not listed (RFC 5161 section 3.1). */
void imapd_cmd_enable(struct imapd_session *s, struct imap_arg *a)
{
    struct slice word;

    do {
        if (imap_arg_atom(a, &word) != 0)
            return;
    } while (!imap_arg_end(a) && imap_arg_space(a) == 0);
    stream_puts(s->io, "* ENABLED\r\n");
    imapd_answer(s, "OK Enabled.");
}

void imapd_cmd_namespace(struct imapd_session *s, struct imap_arg *a)
{
    if (imap_arg_done(a) != 0)
        return;
    stream_printf(s->io, "* NAMESPACE ((\"\" \"%c\")) NIL NIL\r\n", store_separator(s->store));
    imapd_answer(s, "OK Namespace completed.");
}
