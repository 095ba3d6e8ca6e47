/*
 * imapd/cmd/append - APPEND, of one message or several
 *
 * Invariants  a message streams from the socket into the store, which holds no large one in memory
 *             all messages of one APPEND are saved, durably, or none
 *             whatever is refused, the stream stands at the next command afterwards: literals that the client sends
 *             without waiting are read and thrown away
 * Source      RFC 3501 6.3.11; 3502 (MULTIAPPEND); 4315 (APPENDUID); 7888 (LITERAL+); 7889 (TOOBIG)
 */
#include "conf/param.h"
#include "cmd/cmd.h"

#include <errno.h>

struct append {
    struct imapd_session *s;
    const char *mailbox;
    struct mailbox_save *save;
    bool refused; /* the answer is written; what still comes is thrown away */
};
struct head {
    struct imap_flags flags;
    int64_t date;
    uint64_t size;
    bool sync;
};

/* [flags SP] [date SP] and the announcement of the message, which ends the line. */
static int read_head(struct imap_arg *a, struct head *h)
{
    *h = (struct head){ .date = MAILBOX_SAVE_NOW };
    if (imap_arg_peek(a) == '(' && (imap_arg_flags(a, &h->flags) != 0 || imap_arg_space(a) != 0))
        return -1;
    if (imap_arg_peek(a) == '"' && (imap_arg_date_time(a, &h->date) != 0 || imap_arg_space(a) != 0))
        return -1;
    if (imap_arg_peek(a) != '{' ||
        imap_arg_literal(slice_make(a->p, (size_t) (a->end - a->p)), &h->size, &h->sync) != 1 ||
        memchr(a->p, '}', (size_t) (a->end - a->p)) != a->end - 1)
        return imap_arg_fail(a, "Invalid arguments.");
    return 0;
}

bool imapd_cmd_append_starts(struct slice command, struct arena *arena)
{
    struct imap_arg a;
    struct slice word;

    imap_arg_init(&a, command, arena);
    return imap_arg_tag(&a, &word) == 0 && imap_arg_space(&a) == 0 && imap_arg_word(&a, "APPEND") &&
           imap_arg_space(&a) == 0 && imap_arg_astring(&a, &word) == 0 && imap_arg_space(&a) == 0 && a.p < a.end &&
           a.end[-1] == '}';
}

static void refuse(struct append *p, enum store_why why)
{
    if (!p->refused)
        imapd_answer_why(p->s, why, p->mailbox, "TRYCREATE");
    p->refused = true;
}

static void begin_message(struct append *p, const struct head *h)
{
    enum store_why why = STORE_OK;
    const char **keywords;

    if (conf_message_size_limit > 0 && h->size > (uint64_t) conf_message_size_limit) {
        imapd_answer(p->s, "NO [TOOBIG] Message is larger than the limit of %lld bytes",
                     (long long) conf_message_size_limit);
        p->refused = true;
    } else if (h->size == 0) { /* RFC 3502: the client gives up */
        imapd_answer(p->s, "NO Can't save a zero byte message.");
        p->refused = true;
    } else if ((keywords = imapd_keyword_names(p->s, &h->flags)) == NULL) {
        p->refused = true;
    } else {
        if (p->save == NULL)
            why = mailbox_save_begin(p->s->store, p->mailbox, p->s->box, &p->save);
        if (why == STORE_OK)
            why = mailbox_save_start(p->save, (uint8_t) (h->flags.system & MAIL_SETTABLE), keywords, h->date);
        if (why != STORE_OK)
            refuse(p, why);
    }
}

/* -1: the connection is gone. */
static int receive(struct append *p, uint64_t left)
{
    while (left) {
        const char *bytes;
        ssize_t n = stream_peek(p->s->io, &bytes);

        if (n <= 0)
            return -1;
        if ((uint64_t) n > left)
            n = (ssize_t) left;
        if (!p->refused) {
            enum store_why why = mailbox_save_write(p->save, bytes, (size_t) n);
            if (why != STORE_OK)
                refuse(p, why);
        }
        stream_consume(p->s->io, (size_t) n);
        left -= (uint64_t) n;
        fiber_slice();
    }
    return 0;
}

static void commit(struct append *p)
{
    uint32_t validity, *uids;
    size_t count;
    enum store_why why = mailbox_save_commit(&p->save, p->s->arena, &validity, &uids, &count);

    if (why != STORE_OK) {
        refuse(p, why);
        return;
    }
    imap_set_print(&p->s->out, uids, count);
    imapd_answer(p->s, "OK [APPENDUID %u %s] Append completed.", validity, p->s->out.p);
    str_reset(&p->s->out);
}

/* The line behind a message: empty at the end of the command, else the head of the next message. */
static int next_line(struct append *p, struct imap_arg *a)
{
    struct imapd_session *s = p->s;
    enum stream_eol eol;

    str_reset(&s->command);
    if ((stream_line(s->io, &s->command, IMAPD_LINE_BYTES, &eol) != 0 && errno != EMSGSIZE) || eol == STREAM_EOF)
        return -1;
    imap_arg_init(a, str_slice(&s->command), s->arena);
    return 0;
}

static void stop(struct append *p, bool connection_lost)
{
    if (p->save)
        mailbox_save_cancel(&p->save);
    if (connection_lost) {
        str_reset(&p->s->answer);
        p->s->ended = "Connection closed during APPEND";
        p->s->state = IMAPD_LOGOUT;
    }
}

/* After a head that cannot be read: the client may be sending what it announced all the same. */
static bool pass_over(struct append *p, struct imap_arg *a)
{
    const char *error = a->error;
    uint64_t size;
    bool sync;

    p->refused = true;
    while (imap_arg_literal(str_slice(&p->s->command), &size, &sync) == 1 && !sync) {
        if (receive(p, size) != 0 || next_line(p, a) != 0)
            return false;
    }
    a->error = error;
    return true;
}

void imapd_cmd_append(struct imapd_session *s, struct imap_arg *a)
{
    struct append p = { .s = s };
    struct head h;
    bool lost = false;

    if (imapd_mailbox_arg(s, a, &p.mailbox) != 0 || imap_arg_space(a) != 0)
        return;
    for (;;) {
        if (read_head(a, &h) != 0) {
            lost = !pass_over(&p, a);
            break;
        }
        if (!p.refused)
            begin_message(&p, &h);
        if (p.refused && h.sync)
            break; /* the client waits for leave to send, and gets the answer instead */
        if (h.sync)
            stream_puts(s->io, "+ OK\r\n");
        if (receive(&p, h.size) != 0) {
            lost = true;
            break;
        }
        if (!p.refused) {
            enum store_why why = mailbox_save_finish(p.save);
            if (why != STORE_OK)
                refuse(&p, why);
        }
        if (next_line(&p, a) != 0) {
            lost = true;
            break;
        }
        if (a->p == a->end) {
            if (!p.refused)
                commit(&p);
            break;
        }
        if (imap_arg_space(a) != 0) {
            lost = !pass_over(&p, a);
            break;
        }
    }
    stop(&p, lost);
}
