/*
 * smtpd cmd data - the content of a message: DATA and BDAT
 *
 * Callers     smtpd/command.c
 * Invariants  250 only after cleanup said that the message is on disk
 *             content is read to its end whatever happens to it, or the connection ends: what follows is never taken
 *             for commands
 *             only CR LF . CR LF ends DATA (lib/proto/smtp/data.h)
 * Units       bytes; the size counts two bytes a line end
 * Source      RFC 5321 4.1.1.4, RFC 3030; words are Postfix's
 */
#include "check/check.h"
#include "cmd/cmd.h"
#include "params.h"

#include "base/log.h"
#include "base/time.h"
#include "client/cleanup.h"
#include "proto/smtp/data.h"
#include "proto/smtp/reply.h"

#include <errno.h>
#include <stdlib.h>

enum { MS = 1000 };

struct smtpd_content {
    struct smtp_data machine;
    struct smtpd_session *s;
    bool too_big;
};

void smtpd_content_free(struct smtpd_content **cp)
{
    struct smtpd_content *c = *cp;

    if (c == NULL)
        return;
    smtp_data_free(&c->machine);
    free(c);
    *cp = NULL;
}

static struct smtpd_content *content_new(struct smtpd_session *s, bool chunked)
{
    struct smtpd_content *c = mem_new(sizeof *c);

    smtp_data_init(&c->machine, (size_t) conf_line_length_limit, chunked);
    c->s = s;
    s->mail.size = 0;
    return s->mail.content = c;
}

static void on_piece(void *ctx, enum smtp_data_piece piece, struct slice text)
{
    struct smtpd_content *c = ctx;
    struct smtpd_mail *m = &c->s->mail;

    m->size += text.len + (piece == SMTP_DATA_LINE ? 2 : 0);
    if (conf_message_size_limit > 0 && m->size > (uint64_t) conf_message_size_limit)
        c->too_big = true;
    if (!c->too_big)
        smtpd_message_content(c->s, piece == SMTP_DATA_LINE, text);
}

/* smtpd_per_request_deadline: data that arrives earns time, smtpd_min_data_rate bytes a second. */
static void earn_time(struct smtpd_session *s, int64_t *deadline, size_t bytes)
{
    int64_t most = time_mono_ms() + smtpd_timeout * MS;

    if (!smtpd_per_request_deadline)
        return;
    *deadline += (int64_t) bytes * MS / smtpd_min_data_rate;
    if (*deadline > most)
        *deadline = most;
    stream_deadline(s->stream, *deadline);
}

/* Reads DATA to its end, or `left` bytes of a chunk. into NULL: thrown away. -1: the client is gone. */
static int receive(struct smtpd_session *s, struct smtpd_content *into, uint64_t left)
{
    int64_t deadline = time_mono_ms() + smtpd_timeout * MS;
    const char *bytes;

    while (left > 0) {
        ssize_t n = stream_peek(s->stream, &bytes);
        size_t take, used;

        if (n <= 0) {
            smtpd_session_fail(s, n < 0 && errno == ETIMEDOUT ? "timeout" : "lost connection");
            return -1;
        }
        take = (uint64_t) n > left ? (size_t) left : (size_t) n;
        used = into ? smtp_data_feed(&into->machine, slice_make(bytes, take), on_piece, into) : take;
        stream_consume(s->stream, used);
        left -= used;
        earn_time(s, &deadline, used);
        if (into != NULL && into->machine.done)
            return 0;
    }
    return 0;
}

/* smtpd_forbid_bare_newline = reject. */
static bool bare_newline(struct smtpd_session *s, const struct smtpd_content *c)
{
    if (c->machine.bare_lf == 0 || s->bare_lf_exempt)
        return false;
    if (slice_caseeq(slice_of(smtpd_forbid_bare_newline), "note"))
        log_info("%s: bare <LF> received from %s", smtpd_queue_id(s), s->peer.namaddr);
    return slice_caseeq(slice_of(smtpd_forbid_bare_newline), "reject");
}

/* The whole content is here: what becomes of it. chunk: the words of the last BDAT's reply need its size. */
static int finish(struct smtpd_session *s, bool chunked, uint64_t chunk)
{
    struct smtpd_content *c = s->mail.content;
    const char *denied;
    struct err err;
    char id[256];
    int answer = -1;

    s->where = "END-OF-MESSAGE";
    snprintf(id, sizeof id, "%s", smtpd_queue_id(s));
    if (bare_newline(s, c)) {
        log_info("%s: reject: bare <LF> received after %s from %s", id, chunked ? "BDAT" : "DATA", s->peer.namaddr);
        smtpd_reply(s, "%d 5.5.2 %s Error: bare <LF> received", (int) smtpd_forbid_bare_newline_reject_code,
                    conf_myhostname);
        s->closing = true;
    } else if (c->too_big) {
        log_warn("%s: queue file size limit exceeded", id);
        smtpd_reply(s, "552 5.3.4 Error: message file too big");
    } else if ((denied = smtpd_check_end_of_data(s)) != NULL) {
        smtpd_reply(s, "%s", denied);
    } else if (smtpd_message_end(s, &err)) {
        smtpd_reply_err(s, &err);
    } else {
        snprintf(id, sizeof id, "%s", smtpd_queue_id(s)); /* postdrop tells it only now */
        if (chunked)
            smtpd_reply(s, "250 2.0.0 Ok: %llu bytes queued as %s", (unsigned long long) chunk, id);
        else
            smtpd_reply(s, "250 2.0.0 Ok: queued as %s", id);
        s->errors = s->junk = 0;
        answer = 0;
    }
    smtpd_session_reset_mail(s);
    return answer;
}

/* Why no content can come now; NULL when it can. */
static const char *not_now(const struct smtpd_session *s)
{
    if (s->mail.rcpt_count)
        return NULL;
    return s->mail.active ? "554 5.5.1 Error: no valid recipients" : "503 5.5.1 Error: need RCPT command";
}

int smtpd_cmd_data(struct smtpd_session *s, struct slice args)
{
    const char *denied = not_now(s);

    if (s->mail.data != SMTPD_NO_DATA)
        denied = "503 5.5.1 Error: DATA after BDAT";
    else if (denied == NULL && args.len)
        denied = "501 5.5.4 Syntax: DATA";
    if (denied == NULL)
        denied = smtpd_check_data(s);
    s->recipient = NULL;
    if (denied != NULL) {
        smtpd_reply(s, "%s", denied);
        return -1;
    }
    smtpd_reply(s, "354 End data with <CR><LF>.<CR><LF>");
    smtpd_message_begin(s);
    if (receive(s, content_new(s, false), UINT64_MAX))
        return -1;
    return finish(s, false, 0);
}

/* The chunk follows its command whether it is wanted or not. */
static int skip_chunk(struct smtpd_session *s, uint64_t octets, bool last, const char *reply)
{
    if (receive(s, NULL, octets))
        return -1;
    if (s->mail.active) {
        smtpd_session_reset_mail(s);
        s->mail.data = last ? SMTPD_NO_DATA : SMTPD_BDAT_FAILED;
    }
    smtpd_reply(s, "%s", reply);
    return -1;
}

static int first_chunk(struct smtpd_session *s, uint64_t octets, bool last)
{
    const char *denied = not_now(s);

    if (denied == NULL)
        denied = smtpd_check_data(s);
    s->recipient = NULL;
    if (denied != NULL) {
        char words[SMTPD_REPLY_BYTES];

        snprintf(words, sizeof words, "%s", denied);
        return skip_chunk(s, octets, last, words);
    }
    smtpd_message_begin(s);
    content_new(s, true);
    s->mail.data = SMTPD_BDAT_MORE;
    return 0;
}

static int failed_chunk(struct smtpd_session *s, uint64_t octets, bool last)
{
    if (receive(s, NULL, octets))
        return -1;
    if (last)
        smtpd_session_reset_mail(s);
    smtpd_reply(s, "551 5.0.0 Discarded %llu bytes after earlier error", (unsigned long long) octets);
    return -1;
}

int smtpd_cmd_bdat(struct smtpd_session *s, struct slice args)
{
    uint64_t octets;
    bool last;

    if (!s->esmtp || s->hidden & SMTP_EHLO_CHUNKING) {
        smtpd_reply(s, "521 5.5.1 Error: command not implemented");
        return -1;
    }
    if (smtp_command_bdat(args, &octets, &last)) {
        log_warn("%s: malformed BDAT command syntax from %s: %.*s", smtpd_queue_id(s), s->peer.namaddr,
                 (int) (args.len > 100 ? 100 : args.len), args.p);
        smtpd_reply(s, "521 5.5.4 Syntax: BDAT count [LAST]");
        return -1;
    }
    if (s->mail.data == SMTPD_BDAT_FAILED)
        return failed_chunk(s, octets, last);
    if (octets == 0 && !last) {
        log_warn("%s: null BDAT request from %s", smtpd_queue_id(s), s->peer.namaddr);
        return skip_chunk(s, octets, last, "551 5.7.1 Null BDAT request");
    }
    if (conf_message_size_limit > 0 &&
        (octets > (uint64_t) conf_message_size_limit || s->mail.size > (uint64_t) conf_message_size_limit - octets)) {
        log_warn("%s: BDAT request from %s exceeds message size limit", smtpd_queue_id(s), s->peer.namaddr);
        return skip_chunk(s, octets, last, "552 5.3.4 Chunk exceeds message size limit");
    }
    if (s->mail.data == SMTPD_NO_DATA && first_chunk(s, octets, last))
        return -1;
    if (receive(s, s->mail.content, octets))
        return -1;
    if (!last) {
        smtpd_reply(s, "250 2.0.0 Ok: %llu bytes", (unsigned long long) octets);
        return 0;
    }
    smtp_data_finish(&s->mail.content->machine, on_piece, s->mail.content);
    return finish(s, true, octets);
}
