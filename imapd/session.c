/* imapd/session - the loop of a session and what its commands share. Contract: session.h */
#include "session.h"
#include "base/log.h"
#include "base/time.h"
#include "cmd/cmd.h"
#include "proto/imap/print.h"

#include <errno.h>
#include <stdio.h>

_Static_assert((int) IMAP_ANSWERED == MAIL_ANSWERED && (int) IMAP_FLAGGED == MAIL_FLAGGED &&
                   (int) IMAP_DELETED == MAIL_DELETED && (int) IMAP_SEEN == MAIL_SEEN &&
                   (int) IMAP_DRAFT == MAIL_DRAFT && (int) IMAP_RECENT == MAIL_RECENT,
               "flags of the wire and of the store are the same bits");

enum { SKIP_CHUNK_BYTES = 4096 };

const char *imapd_capabilities(void)
{
    return "IMAP4rev1 SASL-IR ID ENABLE IDLE MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS MOVE LITERAL+ "
           "SPECIAL-USE";
}

void imapd_answer(struct imapd_session *s, const char *fmt, ...)
{
    va_list args;

    str_reset(&s->answer);
    va_start(args, fmt);
    str_vprintf(&s->answer, fmt, args);
    va_end(args);
    for (size_t i = 0; i < s->answer.len; i++) { /* a name the client sent may hold a line end */
        if ((unsigned char) s->answer.p[i] < ' ' || s->answer.p[i] == 127)
            s->answer.p[i] = '?';
    }
}

void imapd_bye(struct imapd_session *s, const char *words, const char *why)
{
    stream_printf(s->io, "* BYE %s\r\n", words);
    if (s->ended == NULL)
        s->ended = why;
    s->state = IMAPD_LOGOUT;
}

void imapd_answer_why(struct imapd_session *s, enum store_why why, const char *mailbox, const char *missing)
{
    switch (why) {
    case STORE_OK: break;
    case STORE_NONEXISTENT:
        imapd_answer(s, missing ? "NO [%s] Mailbox doesn't exist: %s" : "NO %sMailbox doesn't exist: %s",
                     missing ? missing : "", mailbox);
        return;
    case STORE_EXISTS: imapd_answer(s, "NO [ALREADYEXISTS] Mailbox already exists"); return;
    case STORE_BAD_NAME: imapd_answer(s, "NO [CANNOT] Invalid mailbox name: %s", mailbox); return;
    case STORE_NOSELECT: imapd_answer(s, "NO Mailbox isn't selectable: %s", mailbox); return;
    case STORE_HAS_CHILDREN: imapd_answer(s, "NO [CANNOT] Mailbox has children: %s", mailbox); return;
    case STORE_READ_ONLY: imapd_answer(s, "NO [READ-ONLY] Mailbox is read-only"); return;
    case STORE_EXPUNGED:
        imapd_answer(s, "NO [EXPUNGEISSUED] Some of the requested messages no longer exist.");
        return;
    case STORE_LIMIT: imapd_answer(s, "NO [LIMIT] Too many keywords, or a name too long"); return;
    case STORE_FULL: imapd_answer(s, "NO [OVERQUOTA] Quota exceeded (mailbox for user is full)"); return;
    case STORE_DAMAGED:
        imapd_bye(s, "IMAP session state is inconsistent, please relogin.", "Mailbox was replaced under the session");
        break;
    case STORE_FAILED: break;
    }
    log_error("imap(%s)<%s>: %s: %s", s->user, s->id, mailbox, store_error(s->store));
    imapd_answer(s, "NO [SERVERBUG] Internal error occurred. Refer to server log for more information.");
}

void imapd_untagged(struct imapd_session *s)
{
    if (str_over(&s->out)) {
        imapd_bye(s, "A reply became too large.", "A reply became too large");
    } else {
        stream_write(s->io, s->out.p, s->out.len);
        stream_write(s->io, "\r\n", 2);
    }
    str_reset(&s->out);
}

void imapd_close_mailbox(struct imapd_session *s)
{
    if (s->box)
        mailbox_close(&s->box);
    if (s->state == IMAPD_SELECTED)
        s->state = IMAPD_AUTHENTICATED;
}

void imapd_add_flags(struct imapd_session *s, struct str *out, const struct mail *m)
{
    struct slice names[STORE_KEYWORDS_MAX];
    size_t n = 0;

    for (size_t k = 0; k < STORE_KEYWORDS_MAX && m->keywords >> k; k++) {
        const char *name = m->keywords >> k & 1 ? mailbox_keyword(s->box, k) : NULL;
        if (name && *name)
            names[n++] = slice_of(name);
    }
    str_adds(out, "FLAGS (");
    imap_print_flags(out, m->flags, names, n);
    str_addc(out, ')');
}

void imapd_print_keywords(struct imapd_session *s)
{
    static const char system[] = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
    struct str names;

    str_init(&names, STR_UNLIMITED); /* STORE_KEYWORDS_MAX names of STORE_KEYWORD_BYTES */
    for (size_t k = 0; k < mailbox_keyword_count(s->box); k++) {
        const char *name = mailbox_keyword(s->box, k);
        if (name && *name)
            str_printf(&names, " %s", name);
    }
    stream_printf(s->io, "* FLAGS (%s%s)\r\n", system, names.p);
    if (mailbox_read_only(s->box))
        stream_puts(s->io, "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n");
    else
        stream_printf(s->io, "* OK [PERMANENTFLAGS (%s%s%s)] Flags permitted.\r\n", system, names.p,
                      mailbox_keyword_count(s->box) < STORE_KEYWORDS_MAX ? " \\*" : "");
    str_free(&names);
}

static void tell(struct imapd_session *s, const struct mailbox_event *e)
{
    const struct mail *m;

    switch (e->type) {
    case MAILBOX_KEYWORDS: imapd_print_keywords(s); break;
    case MAILBOX_EXPUNGE: stream_printf(s->io, "* %u EXPUNGE\r\n", e->seq); break;
    case MAILBOX_EXISTS: stream_printf(s->io, "* %u EXISTS\r\n", e->seq); break;
    case MAILBOX_RECENT_COUNT: stream_printf(s->io, "* %u RECENT\r\n", e->seq); break;
    case MAILBOX_FLAGS:
        if ((m = mailbox_mail(s->box, e->seq)) == NULL)
            break;
        str_printf(&s->out, "* %u FETCH (", e->seq);
        if (s->uid)
            str_printf(&s->out, "UID %u ", m->uid);
        imapd_add_flags(s, &s->out, m);
        str_addc(&s->out, ')');
        imapd_untagged(s);
        break;
    }
}

void imapd_tell(struct imapd_session *s, const struct mailbox_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        tell(s, &changes->events[i]);
}

void imapd_sync(struct imapd_session *s, bool keep_expunged)
{
    const struct mailbox_changes *changes;
    enum store_why why;

    if (s->box == NULL || s->state != IMAPD_SELECTED)
        return;
    why = mailbox_sync(s->box, keep_expunged, &changes);
    if (why == STORE_DAMAGED || why == STORE_NONEXISTENT) {
        imapd_bye(s, "IMAP session state is inconsistent, please relogin.", "Mailbox was deleted under the session");
        return;
    }
    if (why != STORE_OK) { /* the view stays as it was; the next command looks again */
        log_warn("imap(%s)<%s>: %s: %s", s->user, s->id, mailbox_name(s->box), store_error(s->store));
        return;
    }
    imapd_tell(s, changes);
}

int imapd_resolve(struct imapd_session *s, struct imap_arg *a, struct imap_set *set, uint32_t **seqs, size_t *count)
{
    uint32_t messages = mailbox_count(s->box), star = messages;
    size_t n = 0;

    if (s->uid)
        star = messages ? mailbox_mail(s->box, messages)->uid : 0;
    bool had_ranges = set->count > 0;
    imap_set_resolve(set, star);
    if (!s->uid && had_ranges && (messages == 0 || imap_set_last(set) > messages))
        return imap_arg_fail(a, "Invalid messageset");
    *seqs = arena_alloc(a->arena, (messages ? messages : 1) * sizeof **seqs);
    for (size_t i = 0; i < set->count; i++) {
        struct imap_range r = set->ranges[i];
        uint32_t seq = s->uid ? mailbox_seq_from(s->box, r.first) : r.first;

        for (; seq <= messages && (s->uid ? mailbox_mail(s->box, seq)->uid : seq) <= r.last; seq++)
            (*seqs)[n++] = seq;
    }
    *count = n;
    return 0;
}

int imapd_mailbox_arg(struct imapd_session *s, struct imap_arg *a, const char **name)
{
    struct slice word;

    (void) s;
    if (imap_arg_astring(a, &word) != 0)
        return -1;
    if (word.len > STORE_NAME_BYTES)
        return imap_arg_fail(a, "Mailbox name too long.");
    *name = arena_strndup(a->arena, word.p, word.len);
    return 0;
}

const char **imapd_keyword_names(struct imapd_session *s, const struct imap_flags *flags)
{
    const char **names = arena_alloc(s->arena, (flags->keyword_count + 1) * sizeof *names);

    for (size_t i = 0; i < flags->keyword_count; i++) {
        names[i] = arena_strndup(s->arena, flags->keywords[i].p, flags->keywords[i].len);
        if (!mailbox_keyword_valid(names[i])) {
            imapd_answer(s, "NO [CANNOT] Invalid keyword: %s", names[i]);
            return NULL;
        }
    }
    return names;
}

/* Throws away a literal nobody will look at, so that the next command is found. */
static int skip(struct imapd_session *s, uint64_t bytes)
{
    char chunk[SKIP_CHUNK_BYTES];

    while (bytes) {
        ssize_t n = stream_read(s->io, chunk, bytes < sizeof chunk ? (size_t) bytes : sizeof chunk);
        if (n <= 0)
            return -1;
        bytes -= (uint64_t) n;
    }
    return 0;
}

enum collected { COLLECTED, COLLECTED_APPEND, COLLECTED_TOO_LONG, COLLECTED_END };

/* One command with its literals into s->command. */
static enum collected collect(struct imapd_session *s)
{
    bool too_long = false;

    str_reset(&s->command);
    for (;;) {
        size_t from = s->command.len;
        enum stream_eol eol;
        uint64_t size;
        bool sync;
        int rc = stream_line(s->io, &s->command, IMAPD_LINE_BYTES, &eol);

        if ((rc != 0 && errno != EMSGSIZE) || eol == STREAM_EOF) /* half a line is no command */
            return COLLECTED_END;
        if (rc != 0)
            return COLLECTED_TOO_LONG;
        rc = imap_arg_literal(slice_sub(str_slice(&s->command), from, s->command.len), &size, &sync);
        if (rc < 0 && s->command.p[s->command.len - 2] == '+') { /* what follows could not be told from commands */
            imapd_bye(s, "Literal size too large", "Literal size too large");
            return COLLECTED_END;
        }
        if (rc <= 0) /* no literal, or one that the client does not send before it is asked to */
            return too_long ? COLLECTED_TOO_LONG : COLLECTED;
        if (!too_long && imapd_cmd_append_starts(str_slice(&s->command), s->arena))
            return COLLECTED_APPEND;
        if (too_long || size > IMAPD_COMMAND_BYTES || s->command.len + size > IMAPD_COMMAND_BYTES) {
            too_long = true;
            if (sync)
                return COLLECTED_TOO_LONG;
            str_cut(&s->command, from < IMAPD_LINE_BYTES ? from : IMAPD_LINE_BYTES);
            if (skip(s, size) != 0)
                return COLLECTED_END;
            continue;
        }
        if (sync)
            stream_puts(s->io, "+ OK\r\n");
        str_add(&s->command, "\r\n", 2);
        from = s->command.len;
        str_reserve(&s->command, (size_t) size);
        if (stream_read_full(s->io, s->command.p + from, (size_t) size) != 0)
            return COLLECTED_END;
        s->command.len += (size_t) size;
        s->command.p[s->command.len] = 0;
    }
}

static void bad(struct imapd_session *s, const char *name, const char *words)
{
    imapd_answer(s, "BAD Error in IMAP %s: %s", name, words);
}

static const struct imapd_cmd *find(struct imapd_session *s, struct imap_arg *a)
{
    struct slice tag, name, second;
    const char *full;
    const struct imapd_cmd *cmd;

    snprintf(s->tag, sizeof s->tag, "*");
    if (imap_arg_tag(a, &tag) != 0) {
        bad(s, "tag", "Invalid tag");
        return NULL;
    }
    snprintf(s->tag, sizeof s->tag, "%.*s", (int) tag.len, tag.p);
    if (imap_arg_space(a) != 0 || imap_arg_atom(a, &name) != 0) {
        bad(s, "command", "Invalid command name");
        return NULL;
    }
    full = arena_strndup(s->arena, name.p, name.len);
    s->uid = false;
    if (slice_caseeq(name, "UID") && imap_arg_space(a) == 0 && imap_arg_atom(a, &second) == 0) {
        full = arena_printf(s->arena, "UID %.*s", (int) second.len, second.p);
        s->uid = true;
    }
    cmd = imapd_cmd_find(slice_of(full));
    if (cmd == NULL)
        bad(s, slice_is_ascii(slice_of(full)) ? arena_printf(s->arena, "command %.40s", full) : "command",
            "Unknown command");
    else if (!(cmd->states & s->state))
        imapd_answer(s, "BAD No mailbox selected.");
    else
        return cmd;
    return NULL;
}

/* SELECT has left the messages where they are; commands of the selected state ask for them. */
static bool load_messages(struct imapd_session *s, const struct imapd_cmd *cmd)
{
    if (cmd->states != IMAPD_SELECTED || cmd->run == imapd_cmd_unselect || mailbox_load(s->box) == STORE_OK)
        return true;
    imapd_answer_why(s, STORE_DAMAGED, mailbox_name(s->box), NULL);
    return false;
}

static void run(struct imapd_session *s)
{
    struct imap_arg a;
    const struct imapd_cmd *cmd;

    imap_arg_init(&a, str_slice(&s->command), s->arena);
    str_reset(&s->answer);
    cmd = find(s, &a);
    if (cmd) {
        if (!imap_arg_end(&a))
            imap_arg_space(&a);
        if (a.error == NULL && load_messages(s, cmd))
            cmd->run(s, &a);
        if (a.error)
            bad(s, arena_printf(s->arena, "command %s", cmd->name), a.error);
        if (cmd->sync != IMAPD_SYNC_NO && s->ended == NULL)
            imapd_sync(s, cmd->sync == IMAPD_SYNC_KEEP);
    }
    if (s->answer.len)
        stream_printf(s->io, "%s %s\r\n", s->tag, s->answer.p);
    s->bad_commands = slice_starts(str_slice(&s->answer), "BAD") ? s->bad_commands + 1 : 0;
    if (s->bad_commands >= IMAPD_BAD_COMMANDS && s->ended == NULL)
        imapd_bye(s, "Too many invalid IMAP commands.", "Too many invalid IMAP commands");
}

static void too_long(struct imapd_session *s)
{
    struct imap_arg a;
    struct slice tag = SLICE("*");

    imap_arg_init(&a, str_slice(&s->command), s->arena);
    if (imap_arg_tag(&a, &tag) != 0)
        tag = SLICE("*");
    stream_printf(s->io, "%.*s BAD Error in IMAP command received by server: Too long argument\r\n", (int) tag.len,
                  tag.p);
    if (++s->bad_commands >= IMAPD_BAD_COMMANDS)
        imapd_bye(s, "Too many invalid IMAP commands.", "Too many invalid IMAP commands");
}

/* Who sends one command after the other need not wait for what can be done later. */
static int wait_for_command(struct imapd_session *s)
{
    if (s->box && mailbox_wants_rest(s->box)) {
        if (stream_wait_input(s->io, time_mono_ms() + MAILBOX_REST_MS) == 0)
            return 0;
        if (errno != ETIMEDOUT)
            return -1;
        mailbox_rest(s->box);
    }
    return stream_wait_input(s->io, time_mono_ms() + IMAPD_AUTOLOGOUT_MS);
}

static void serve(struct imapd_session *s)
{
    while (s->state != IMAPD_LOGOUT && s->state != IMAPD_ASLEEP) {
        if (wait_for_command(s) != 0) {
            if (errno == EINTR) /* a notice that came when IDLE was over */
                continue;
            if (errno == ETIMEDOUT)
                imapd_bye(s, "Disconnected for inactivity.", "Inactivity");
            else if (errno == ECANCELED)
                imapd_bye(s, "Server shutting down.", "Server shutting down");
            return;
        }
        arena_reset(s->arena);
        switch (collect(s)) {
        case COLLECTED:
        case COLLECTED_APPEND: run(s); break;
        case COLLECTED_TOO_LONG: too_long(s); break;
        case COLLECTED_END: return;
        }
        if (s->command.cap > IMAPD_LINE_BYTES)
            str_free(&s->command);
        if (s->out.cap > IMAPD_LINE_BYTES)
            str_free(&s->out);
    }
}

static void greet(struct imapd_session *s, const struct imapd_start *start)
{
    if (start->tag == NULL) {
        stream_printf(s->io, "* PREAUTH [CAPABILITY %s] Logged in as %s\r\n", imapd_capabilities(), s->user);
    } else if (start->capability_untagged) {
        stream_printf(s->io, "* CAPABILITY %s\r\n%s OK Logged in\r\n", imapd_capabilities(), start->tag);
    } else {
        stream_printf(s->io, "%s OK [CAPABILITY %s] Logged in\r\n", start->tag, imapd_capabilities());
    }
}

static bool open_store(struct imapd_session *s, const struct imapd_start *start)
{
    struct store_config config = {
        .root = start->root, .places = start->places, .separator = start->separator, .create = true
    };

    if (store_open(&config, &s->store) == STORE_OK)
        return true;
    log_error("imap(%s)<%s>: cannot open %s: %s", s->user, s->id, start->root,
              s->store ? store_error(s->store) : strerror(errno));
    if (start->tag)
        stream_printf(s->io, "%s NO [UNAVAILABLE] Internal error occurred. Refer to server log.\r\n", start->tag);
    imapd_bye(s, "Internal error occurred. Refer to server log for more information.", "Mail cannot be opened");
    return false;
}

static void log_end(const struct imapd_session *s)
{
    log_info("imap(%s)<%s>: Disconnected: %s in=%llu out=%llu expunged=%llu body_count=%llu", s->user, s->id,
             s->ended ? s->ended : "Connection closed", (unsigned long long) s->bytes_in,
             (unsigned long long) s->bytes_out, s->expunged, s->body_fetched);
}

/* The end follows the last words at once: who passes them on to the client finds both together. */
static void hang_up(struct imapd_session *s)
{
    if (s->state == IMAPD_ASLEEP) /* the connection lives on elsewhere */
        stream_flush(s->io);
    else
        stream_last_words(s->io);
    s->bytes_in += stream_bytes_in(s->io);
    s->bytes_out += stream_bytes_out(s->io);
    stream_free(&s->io);
}

static void end(struct imapd_session *s)
{
    imapd_close_mailbox(s);
    if (s->store)
        store_close(&s->store);
    str_free(&s->command);
    str_free(&s->answer);
    str_free(&s->out);
    arena_free(&s->arena);
}

void imapd_session_run(int fd, const struct imapd_start *start)
{
    struct imapd_session s = { .io = stream_accepted(fd),
                               .state = IMAPD_AUTHENTICATED,
                               .link = start->link,
                               .client = start->client,
                               .user = start->user,
                               .id = start->id,
                               .arena = arena_new() };

    str_init(&s.command, IMAPD_COMMAND_BYTES + IMAPD_LINE_BYTES);
    str_init(&s.answer, IMAPD_LINE_BYTES);
    str_init(&s.out, IMAPD_REPLY_BYTES);
    stream_timeout(s.io, IMAPD_AUTOLOGOUT_MS + 60 * 1000); /* behind the session's own, which says BYE */
    stream_unread(s.io, start->input.p, start->input.len);
    if (open_store(&s, start)) {
        if (start->state.len == 0)
            greet(&s, start);
        else
            imapd_wake(&s, start->state);
        serve(&s);
    }
    hang_up(&s);
    if (s.state != IMAPD_ASLEEP)
        log_end(&s);
    end(&s);
}
