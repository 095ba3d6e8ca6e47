/*
 * session - the life of an LMTP connection
 *
 * Callers     lib/service: one fiber a connection
 * Invariants  a command line has at most LINE_BYTES; each wait at most lmtpd_timeout; after ERRORS_MAX refused
 *             commands the connection ends
 *             only CR LF "." CR LF ends DATA
 * Errors      replies in Dovecot's words
 * Source      RFC 2033, RFC 5321, RFC 3030 (CHUNKING), RFC 6152, RFC 6531, RFC 2034
 */
#include "lmtpd.h"

#include "base/codec.h"
#include "base/log.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include "proto/smtp/command.h"
#include "proto/smtp/data.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

enum { LINE_BYTES = 4096, PART_BYTES = 8192, ERRORS_MAX = 20, CHUNK_MAX_BYTES = 1 << 30 };

int64_t lmtpd_recipient_limit, lmtpd_timeout, lmtpd_sessions_per_process;
const struct param lmtpd_params[] = {
    { .name = "lmtpd_recipient_limit",
      .type = PARAM_INT,
      .num = &lmtpd_recipient_limit,
      .def = "1000",
      .min = 1,
      .max = 50000,
      .doc = "Recipients of one message that lmtpd takes." },
    { .name = "lmtpd_timeout",
      .type = PARAM_SECONDS,
      .num = &lmtpd_timeout,
      .def = "300s",
      .min = 1,
      .doc = "How long lmtpd waits for its client's next bytes." },
    { .name = "lmtpd_sessions_per_process",
      .type = PARAM_INT,
      .num = &lmtpd_sessions_per_process,
      .def = "100",
      .min = 1,
      .max = 10000,
      .doc = "Sessions that share one lmtpd process." },
    { .type = PARAM_END },
};

struct command {
    const char *verb;
    /* -1: the connection ends. *err with a code: the reply to send. */
    int (*run)(struct lmtpd_session *, struct slice rest, struct err *);
};

static void reply(struct lmtpd_session *s, const char *line) { stream_printf(s->stream, "%s\r\n", line); }

/* 16 random bytes as Dovecot shows a session: base64 without its padding. */
static void make_id(char out[LMTPD_ID_BYTES])
{
    unsigned char bytes[16];
    struct str text;

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        log_fatal("getrandom failed");
    str_init(&text, LMTPD_ID_BYTES);
    base64_encode(&text, slice_make((const char *) bytes, sizeof bytes));
    snprintf(out, LMTPD_ID_BYTES, "%.22s", text.p);
    str_free(&text);
}

static int cmd_lhlo(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    size_t n = 0;

    if (rest.len == 0)
        return err_set(err, 501, "5.5.4", "Missing hostname"), 0;
    for (size_t i = 0; i < rest.len && n + 1 < sizeof s->helo;
         i++) /* it goes into Received: nothing but a host name */
        if (ascii_isalnum(rest.p[i]) || strchr("-._:[]", rest.p[i]) || (unsigned char) rest.p[i] > 127)
            s->helo[n++] = rest.p[i];
    s->helo[n] = '\0';
    lmtpd_reset(s);
    stream_printf(s->stream, "250-%s\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n",
                  conf_myhostname);
    reply(s, conf_smtputf8_enable ? "250-PIPELINING\r\n250 SMTPUTF8" : "250 PIPELINING");
    return 0;
}

static int cmd_helo(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    (void) s, (void) rest;
    return err_set(err, 500, "5.5.1", "This is LMTP: say LHLO"), 0;
}

static int cmd_mail(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    struct smtp_mail_params params;
    struct slice more;
    struct str sender;
    int bad = 0;

    if (s->now.sender)
        return err_set(err, 503, "5.5.1", "MAIL already given"), 0;
    str_init(&sender, ADDR_BYTES);
    if (smtp_command_path(rest, "FROM:", false, true, &sender, &more) != SMTP_PATH_OK)
        bad = err_set(err, 501, "5.5.4", "Invalid parameters: Invalid path");
    else if (smtp_mail_params(more, SMTP_MAIL_BODY | (conf_smtputf8_enable ? SMTP_MAIL_SMTPUTF8 : 0), &params, err) <
             0)
        bad = err->code == 555 ? err_set(err, 555, "5.5.4", "Unsupported parameters") : -1;
    else if (!utf8_valid(str_slice(&sender)))
        bad = err_set(err, 501, "5.1.7", "Invalid sender address");
    if (bad == 0) {
        s->now.arena = arena_new();
        s->now.sender = arena_strdup(s->now.arena, sender.p);
        s->now.number++;
        reply(s, "250 2.1.0 OK");
    }
    str_free(&sender);
    return 0;
}

static int cmd_rcpt(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    struct smtp_rcpt_params params;
    struct slice more;
    struct str address;
    int bad = 0;

    if (s->now.sender == NULL)
        return err_set(err, 503, "5.5.1", "MAIL needed first"), 0;
    str_init(&address, ADDR_BYTES);
    if (smtp_command_path(rest, "TO:", false, false, &address, &more) != SMTP_PATH_OK)
        bad = err_set(err, 501, "5.5.4", "Invalid parameters: Invalid path");
    else if (smtp_rcpt_params(more, SMTP_RCPT_ORCPT, &params, err) < 0)
        bad = err->code == 555 ? err_set(err, 555, "5.5.4", "Unsupported parameters") : -1;
    else if (!utf8_valid(str_slice(&address)))
        bad = err_set(err, 501, "5.1.3", "Invalid recipient address");
    else
        bad = lmtpd_add_recipient(s, address.p, err);
    if (bad == 0)
        reply(s, "250 2.1.5 OK");
    str_free(&address);
    return 0;
}

static void on_piece(void *ctx, enum smtp_data_piece piece, struct slice text)
{
    lmtpd_content(ctx, text.p, text.len);
    if (piece == SMTP_DATA_LINE)
        lmtpd_content(ctx, "\n", 1);
}

static int needs_recipients(struct lmtpd_session *s, struct err *err)
{
    if (s->now.sender == NULL)
        return err_set(err, 503, "5.5.1", "MAIL needed first");
    if (s->now.count == 0)
        return err_set(err, 554, "5.5.1", "No valid recipients");
    return 0;
}

static int cmd_data(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    struct smtp_data data;
    const char *bytes;
    ssize_t n = 1;

    if (rest.len)
        return err_set(err, 501, "5.5.4", "Invalid parameters"), 0;
    if (s->now.begun)
        return err_set(err, 503, "5.5.1", "BDAT has begun"), 0;
    if (needs_recipients(s, err) < 0)
        return 0;
    reply(s, "354 OK");
    (void) stream_flush(s->stream); /* while the client sends, the file is made */
    lmtpd_begin(s);
    smtp_data_init(&data, PART_BYTES, false);
    while (!data.done && (n = stream_peek(s->stream, &bytes)) > 0)
        stream_consume(s->stream, smtp_data_feed(&data, slice_make(bytes, (size_t) n), on_piece, s));
    bool whole = data.done;
    smtp_data_free(&data);
    if (!whole)
        return -1;
    lmtpd_deliver(s);
    lmtpd_reset(s);
    return 0;
}

/* One chunk; its bytes are read whatever becomes of them. -1: the connection is gone. */
static int read_chunk(struct lmtpd_session *s, struct smtp_data *data, uint64_t octets, bool keep)
{
    const char *bytes;
    ssize_t n;

    while (octets) {
        if ((n = stream_peek(s->stream, &bytes)) <= 0)
            return -1;
        size_t take = (uint64_t) n < octets ? (size_t) n : (size_t) octets;
        if (keep)
            (void) smtp_data_feed(data, slice_make(bytes, take), on_piece, s);
        stream_consume(s->stream, take);
        octets -= take;
    }
    return 0;
}

static int cmd_bdat(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    struct smtp_data data;
    struct slice line, verb;
    struct str text;
    enum stream_eol eol;
    uint64_t octets;
    bool last, good;
    int ret = 0;

    if (smtp_command_bdat(rest, &octets, &last) < 0 || octets > CHUNK_MAX_BYTES) {
        (void) err_set(err, 501, "5.5.4", "Invalid chunk size parameter");
        return -1; /* how many bytes follow is not known */
    }
    good = needs_recipients(s, err) == 0;
    if (good)
        lmtpd_begin(s);
    smtp_data_init(&data, PART_BYTES, true);
    str_init(&text, LINE_BYTES);
    while ((ret = read_chunk(s, &data, octets, good)) == 0 && good && !last) {
        stream_printf(s->stream, "250 2.0.0 OK, %llu octets received\r\n", (unsigned long long) octets);
        str_reset(&text);
        if (stream_line(s->stream, &text, LINE_BYTES, &eol) < 0) {
            ret = -1;
            break;
        }
        line = str_slice(&text);
        smtp_command_split(line, &verb, &rest);
        if (!slice_caseeq(verb, "BDAT")) { /* RSET, QUIT or nonsense: the message is given up */
            lmtpd_reset(s);
            reply(s, slice_caseeq(verb, "RSET") ? "250 2.0.0 OK" : "503 5.5.1 BDAT or RSET expected");
            if (slice_caseeq(verb, "QUIT"))
                ret = -1;
            good = false;
            break;
        }
        if (smtp_command_bdat(rest, &octets, &last) < 0 || octets > CHUNK_MAX_BYTES) {
            (void) err_set(err, 501, "5.5.4", "Invalid chunk size parameter");
            ret = -1;
            break;
        }
    }
    if (ret == 0 && good) {
        smtp_data_finish(&data, on_piece, s);
        lmtpd_deliver(s);
        lmtpd_reset(s);
    }
    str_free(&text);
    smtp_data_free(&data);
    return ret;
}

static int cmd_rset(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    (void) rest, (void) err;
    lmtpd_reset(s);
    reply(s, "250 2.0.0 OK");
    return 0;
}

static int cmd_noop(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    (void) rest, (void) err;
    reply(s, "250 2.0.0 OK");
    return 0;
}

static int cmd_vrfy(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    (void) rest, (void) err;
    reply(s, "252 2.3.3 Try RCPT instead");
    return 0;
}

static int cmd_quit(struct lmtpd_session *s, struct slice rest, struct err *err)
{
    (void) rest, (void) err;
    reply(s, "221 2.0.0 Bye");
    (void) stream_flush(s->stream);
    return -1;
}

static const struct command commands[] = {
    { "LHLO", cmd_lhlo }, { "HELO", cmd_helo }, { "EHLO", cmd_helo }, { "MAIL", cmd_mail },
    { "RCPT", cmd_rcpt }, { "DATA", cmd_data }, { "BDAT", cmd_bdat }, { "RSET", cmd_rset },
    { "NOOP", cmd_noop }, { "VRFY", cmd_vrfy }, { "QUIT", cmd_quit },
};

static int run_line(struct lmtpd_session *s, struct slice line, struct err *err)
{
    struct slice verb, rest;

    smtp_command_split(line, &verb, &rest);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (slice_caseeq(verb, commands[i].verb)) {
            if (*s->helo == '\0' && (commands[i].run == cmd_mail || commands[i].run == cmd_rcpt))
                return err_set(err, 503, "5.5.1", "LHLO needed first"), 0;
            return commands[i].run(s, rest, err);
        }
    return err_set(err, 500, "5.5.1", "Unknown command"), 0;
}

static void serve(struct lmtpd_session *s)
{
    enum stream_eol eol;
    struct str line;
    unsigned errors = 0;
    int ret = 0;

    str_init(&line, LINE_BYTES);
    while (ret == 0 && errors < ERRORS_MAX) {
        struct err err = { 0 };
        str_reset(&line);
        if (stream_line(s->stream, &line, LINE_BYTES, &eol) < 0) {
            if (errno != EMSGSIZE)
                break;
            (void) err_set(&err, 500, "5.5.2", "Line too long");
        } else if (eol == STREAM_EOF) {
            break;
        } else {
            ret = run_line(s, str_slice(&line), &err);
        }
        if (err.code) {
            lmtpd_reply(s, &err);
            errors++;
        }
    }
    if (errors >= ERRORS_MAX)
        stream_printf(s->stream, "421 4.7.0 %s Too many invalid commands.\r\n", conf_myhostname);
    else if (stream_error(s->stream) == ETIMEDOUT)
        stream_printf(s->stream, "421 4.4.2 %s Disconnected for inactivity.\r\n", conf_myhostname);
    (void) stream_flush(s->stream);
    str_free(&line);
}

void lmtpd_session(struct stream *stream, const struct service_peer *peer)
{
    struct lmtpd_session s = { .stream = stream };
    char port[16];

    make_id(s.id);
    if (peer->addr)
        io_address_text(peer->addr, peer->addr_len, s.client, port);
    stream_timeout(stream, lmtpd_timeout * 1000);
    stream_printf(stream, "220 %s %s ready.\r\n", conf_myhostname, conf_mail_name);
    serve(&s);
    lmtpd_reset(&s);
}
