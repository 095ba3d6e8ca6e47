/* pop3d/session - opening the maildrop, reading lines, the update state. Contract: session.h */
#include "session.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>

static enum store_why open_maildrop(struct pop3d_session *s, const struct pop3d_start *start)
{
    struct store_config config = {
        .root = start->root, .places = start->places, .separator = start->separator, .create = true
    };
    enum store_why why = store_open(&config, &s->store);

    if (why == STORE_OK)
        why = mailbox_open(s->store, "INBOX", false, &s->box);
    if (why != STORE_OK)
        return why;
    s->count = mailbox_count(s->box);
    if (s->count > POP3D_MESSAGES_MAX)
        s->count = POP3D_MESSAGES_MAX;
    s->messages = mem_array(s->count ? s->count : 1, sizeof *s->messages);
    for (uint32_t n = 1; n <= s->count; n++) {
        why = message_size(s->box, n, &s->messages[n - 1].bytes);
        if (why == STORE_EXPUNGED)
            s->messages[n - 1].bytes =
                0; /* counted all the same: numbers follow the view; RETR will say it is gone */
        else if (why != STORE_OK)
            return why;
        fiber_slice();
    }
    return STORE_OK;
}

static void serve(struct pop3d_session *s)
{
    struct str line;
    enum stream_eol eol;

    str_init(&line, POP3D_LINE_BYTES);
    while (!s->over && stream_error(s->io) == 0) {
        if (stream_wait_input(s->io, time_mono_ms() + POP3D_AUTOLOGOUT_MS) != 0) {
            if (errno == ETIMEDOUT) {
                stream_puts(s->io, "-ERR Disconnected for inactivity.\r\n");
                s->ended = "Inactivity";
            } else if (errno == ECANCELED) {
                stream_puts(s->io, "-ERR Server shutting down.\r\n");
                s->ended = "Server shutting down";
            }
            break;
        }
        str_reset(&line);
        int rc = stream_line(s->io, &line, POP3D_LINE_BYTES, &eol);
        if ((rc != 0 && errno != EMSGSIZE) || eol == STREAM_EOF)
            break;
        if (rc != 0)
            str_set(&line, "(too long)"); /* answered as the unknown command it is */
        pop3d_cmd_run(s, str_slice(&line));
    }
    str_free(&line);
}

static uint32_t *collect(struct pop3d_session *s, bool deleted, size_t *n)
{
    uint32_t *seqs = mem_array(s->count ? s->count : 1, sizeof *seqs);

    *n = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        if (deleted ? s->messages[i].deleted : s->messages[i].seen && !(s->quit && s->messages[i].deleted))
            seqs[(*n)++] = i + 1;
    }
    return seqs;
}

/* RFC 1939 section 6. */
static void update(struct pop3d_session *s)
{
    static const struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN, .silent = true };
    enum store_why why = STORE_OK;
    size_t n, removed = 0;
    uint32_t *seqs = collect(s, false, &n);

    if (n && mailbox_store(s->box, seqs, n, &seen) != STORE_OK)
        log_warn("pop3(%s)<%s>: cannot set \\Seen: %s", s->user, s->id, store_error(s->store));
    free(seqs);
    if (!s->quit)
        return;
    seqs = collect(s, true, &removed);
    if (removed)
        why = mailbox_remove(s->box, seqs, removed);
    free(seqs);
    if (why != STORE_OK)
        log_error("pop3(%s)<%s>: cannot remove messages: %s", s->user, s->id, store_error(s->store));
    stream_puts(s->io, why != STORE_OK
                           ? "-ERR [SYS/TEMP] Couldn't update mailbox, some messages were not removed.\r\n"
                       : removed ? "+OK Logging out, messages deleted.\r\n"
                                 : "+OK Logging out.\r\n");
}

static void log_end(const struct pop3d_session *s)
{
    size_t deleted = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < s->count; i++) {
        deleted += s->messages[i].deleted && s->quit;
        bytes += s->messages[i].bytes;
    }
    log_info("pop3(%s)<%s>: Disconnected: %s top=%llu/%llu, retr=%llu/%llu, del=%zu/%u, size=%llu", s->user, s->id,
             s->ended ? s->ended : "Connection closed", (unsigned long long) s->top_count,
             (unsigned long long) s->top_bytes, (unsigned long long) s->retr_count,
             (unsigned long long) s->retr_bytes, deleted, s->count, (unsigned long long) bytes);
}

void pop3d_session_run(int fd, const struct pop3d_start *start)
{
    struct pop3d_session s = { .io = stream_accepted(fd), .user = start->user, .id = start->id };
    enum store_why why;

    stream_timeout(s.io, POP3D_AUTOLOGOUT_MS + 60 * 1000); /* behind the session's own, which says why */
    stream_unread(s.io, start->input.p, start->input.len);
    why = open_maildrop(&s, start);
    if (why == STORE_OK) {
        stream_puts(s.io, "+OK Logged in.\r\n");
        serve(&s);
        update(&s);
    } else {
        log_error("pop3(%s)<%s>: cannot open %s: %s", s.user, s.id, start->root,
                  s.store ? store_error(s.store) : strerror(errno));
        stream_puts(s.io, "-ERR [SYS/TEMP] Internal error occurred. Refer to server log for more information.\r\n");
        s.ended = "Mail cannot be opened";
    }
    stream_last_words(s.io); /* and the end at once: who passes them on to the client finds both together */
    stream_free(&s.io);
    log_end(&s);
    if (s.box)
        mailbox_close(&s.box);
    if (s.store)
        store_close(&s.store);
    free(s.messages);
}
