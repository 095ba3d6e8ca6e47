/*
 * pop3d/cmd - the commands of the transaction state
 *
 * Callers     session.c
 * Invariants  a command answers once; a number is checked before a command runs
 * Source      RFC 1939 sections 5 to 7; 2449
 */
#include "base/log.h"
#include "session.h"

#include <stdio.h>

enum { CHUNK_BYTES = 8192, NO_LIMIT = -1, WORD_BYTES = 64 };

struct args {
    uint32_t number; /* 0: none was given */
    int64_t lines;   /* of TOP */
};
enum argument { NONE, MAYBE_NUMBER, NUMBER, NUMBER_LINES };

static struct pop3d_message *message(struct pop3d_session *s, uint32_t n) { return &s->messages[n - 1]; }

static void totals(const struct pop3d_session *s, uint32_t *count, uint64_t *bytes)
{
    *count = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        if (!s->messages[i].deleted) {
            *bytes += s->messages[i].bytes;
            ++*count;
        }
    }
}

static void cmd_stat(struct pop3d_session *s, const struct args *a)
{
    uint32_t count;
    uint64_t bytes;

    (void) a;
    totals(s, &count, &bytes);
    stream_printf(s->io, "+OK %u %llu\r\n", count, (unsigned long long) bytes);
}

static void cmd_list(struct pop3d_session *s, const struct args *a)
{
    uint32_t count;
    uint64_t bytes;

    if (a->number) {
        stream_printf(s->io, "+OK %u %llu\r\n", a->number, (unsigned long long) message(s, a->number)->bytes);
        return;
    }
    totals(s, &count, &bytes);
    stream_printf(s->io, "+OK %u messages:\r\n", count);
    for (uint32_t n = 1; n <= s->count; n++) {
        if (!message(s, n)->deleted)
            stream_printf(s->io, "%u %llu\r\n", n, (unsigned long long) message(s, n)->bytes);
        fiber_slice();
    }
    stream_puts(s->io, ".\r\n");
}

/* Byte-stable for ever: clients remember it. A record of dovecot-uidlist may override Dovecot's default %08Xu%08Xv.
 */
static void print_uidl(struct pop3d_session *s, const char *before, uint32_t n)
{
    const char *kept = message_pop3_uidl(s->box, n);

    if (kept)
        stream_printf(s->io, "%s%u %s\r\n", before, n, kept);
    else
        stream_printf(s->io, "%s%u %08x%08x\r\n", before, n, mailbox_mail(s->box, n)->uid,
                      mailbox_uid_validity(s->box));
}

static void cmd_uidl(struct pop3d_session *s, const struct args *a)
{
    if (a->number) {
        print_uidl(s, "+OK ", a->number);
        return;
    }
    stream_puts(s->io, "+OK\r\n");
    for (uint32_t n = 1; n <= s->count; n++) {
        if (!message(s, n)->deleted)
            print_uidl(s, "", n);
        fiber_slice();
    }
    stream_puts(s->io, ".\r\n");
}

/* Dot-stuffing, and an end after so many lines of the body (NO_LIMIT: all). */
struct lines {
    bool line_start, in_body, line_empty;
    int64_t left;
    uint64_t bytes;
    char last;
};

/* Sends what of the chunk is to be sent; false when the last line wanted is out. */
static bool send_chunk(struct stream *io, struct lines *l, const char *p, size_t len)
{
    size_t from = 0;

    for (size_t i = 0; i < len; i++) {
        if (l->line_start) {
            if (l->in_body && l->left == 0) {
                stream_write(io, p + from, i - from);
                l->bytes += i - from;
                return false;
            }
            if (p[i] == '.') {
                stream_write(io, p + from, i - from);
                l->bytes += i - from;
                from = i;
                stream_write(io, ".", 1);
            }
            l->line_empty = true;
        }
        l->line_start = p[i] == '\n';
        if (l->line_start) {
            if (l->in_body && l->left > 0)
                l->left--;
            if (l->line_empty)
                l->in_body = true;
        } else if (p[i] != '\r') {
            l->line_empty = false;
        }
    }
    stream_write(io, p + from, len - from);
    l->bytes += len - from;
    if (len)
        l->last = p[len - 1];
    return true;
}

static void send_message(struct pop3d_session *s, uint32_t n, int64_t body_lines, const char *first_line,
                         uint64_t *bytes)
{
    struct message_file *file;
    struct lines l = { .line_start = true, .line_empty = true, .left = body_lines, .last = '\n' };
    char chunk[CHUNK_BYTES];
    ssize_t got = 0;
    enum store_why why = message_open(s->box, n, &file);

    if (why != STORE_OK) {
        if (why != STORE_EXPUNGED)
            log_error("pop3(%s)<%s>: message %u: %s", s->user, s->id, n, store_error(s->store));
        stream_printf(s->io, why == STORE_EXPUNGED
                                 ? "-ERR Message was removed by another session.\r\n"
                                 : "-ERR [SYS/TEMP] Internal error occurred. Refer to server log.\r\n");
        return;
    }
    stream_puts(s->io, first_line);
    message_range(file, 0, message_physical_bytes(file), 0);
    while (stream_error(s->io) == 0 && (got = message_read(file, chunk, sizeof chunk)) > 0) {
        if (!send_chunk(s->io, &l, chunk, (size_t) got)) {
            l.last = '\n';
            break;
        }
        fiber_slice();
    }
    message_close(&file);
    if (got < 0) { /* half a message must not look whole */
        log_error("pop3(%s)<%s>: message %u cannot be read", s->user, s->id, n);
        s->ended = "A message could not be read to its end";
        s->over = true;
        return;
    }
    stream_puts(s->io, l.last == '\n' ? ".\r\n" : "\r\n.\r\n");
    *bytes += l.bytes;
}

static void cmd_retr(struct pop3d_session *s, const struct args *a)
{
    char first[64];

    snprintf(first, sizeof first, "+OK %llu octets\r\n", (unsigned long long) message(s, a->number)->bytes);
    send_message(s, a->number, NO_LIMIT, first, &s->retr_bytes);
    message(s, a->number)->seen = true;
    s->retr_count++;
}

static void cmd_top(struct pop3d_session *s, const struct args *a)
{
    send_message(s, a->number, a->lines, "+OK\r\n", &s->top_bytes);
    s->top_count++;
}

static void cmd_dele(struct pop3d_session *s, const struct args *a)
{
    message(s, a->number)->deleted = true;
    stream_puts(s->io, "+OK Marked to be deleted.\r\n");
}

static void cmd_rset(struct pop3d_session *s, const struct args *a)
{
    (void) a;
    for (uint32_t i = 0; i < s->count; i++)
        s->messages[i].deleted = s->messages[i].seen = false;
    stream_puts(s->io, "+OK\r\n");
}

static void cmd_noop(struct pop3d_session *s, const struct args *a)
{
    (void) a;
    stream_puts(s->io, "+OK\r\n");
}

static void cmd_capa(struct pop3d_session *s, const struct args *a)
{
    (void) a;
    stream_puts(s->io, "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n.\r\n");
}

static void cmd_quit(struct pop3d_session *s, const struct args *a)
{
    (void) a;
    s->quit = s->over = true;
    s->ended = "Logged out";
}

static const struct {
    const char *name;
    enum argument argument;
    void (*run)(struct pop3d_session *, const struct args *);
} commands[] = {
    { "STAT", NONE, cmd_stat },   { "LIST", MAYBE_NUMBER, cmd_list }, { "UIDL", MAYBE_NUMBER, cmd_uidl },
    { "RETR", NUMBER, cmd_retr }, { "TOP", NUMBER_LINES, cmd_top },   { "DELE", NUMBER, cmd_dele },
    { "RSET", NONE, cmd_rset },   { "NOOP", NONE, cmd_noop },         { "CAPA", NONE, cmd_capa },
    { "QUIT", NONE, cmd_quit },
};

static bool bad(struct pop3d_session *s, const char *before, struct slice word, const char *after)
{
    word = slice_sub(word, 0, WORD_BYTES);
    stream_printf(s->io, "-ERR %s%.*s%s\r\n", before, (int) word.len, word.len ? word.p : "", after);
    if (++s->bad_commands >= POP3D_BAD_COMMANDS) {
        stream_puts(s->io, "-ERR Too many bad commands.\r\n");
        s->ended = "Too many bad commands";
        s->over = true;
    }
    return false;
}

static bool read_args(struct pop3d_session *s, enum argument kind, struct slice rest, struct args *out)
{
    static const struct slice none = { "", 0 };
    struct slice word;
    uint64_t n;

    *out = (struct args){ .lines = NO_LIMIT };
    if (kind == NONE)
        return true;
    if (!slice_word(&rest, " \t", &word))
        return kind == MAYBE_NUMBER || bad(s, "Message number missing.", none, "");
    if (slice_u64(word, UINT32_MAX, &n) != 0)
        return bad(s, "Invalid message number: ", word, "");
    if (n == 0 || n > s->count)
        return bad(s, "There's no message ", word, ".");
    out->number = (uint32_t) n;
    if (message(s, out->number)->deleted)
        return bad(s, "Message is deleted.", none, "");
    if (kind != NUMBER_LINES)
        return true;
    if (!slice_word(&rest, " \t", &word) || slice_u64(word, INT64_MAX, &n) != 0)
        return bad(s, "Line count missing.", none, "");
    out->lines = (int64_t) n;
    return true;
}

void pop3d_cmd_run(struct pop3d_session *s, struct slice line)
{
    struct slice name = { NULL, 0 };
    struct args args;

    slice_word(&line, " \t", &name);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!slice_caseeq(name, commands[i].name))
            continue;
        if (read_args(s, commands[i].argument, line, &args)) {
            s->bad_commands = 0;
            commands[i].run(s, &args);
        }
        return;
    }
    if (name.p == NULL || !slice_is_ascii(name))
        name = SLICE("");
    bad(s, "Unknown command: ", name, "");
}
