/*
 * notify - who is told, and the notice put into the queue
 *
 *   the mail was from     a failure goes to                                              from
 *   somebody              the sender; notify_classes bounce: bounce_notice_recipient     <>; double-bounce
 *   <> (a notice)         notify_classes 2bounce: 2bounce_notice_recipient; else nobody  double-bounce
 *   double-bounce         nobody
 *   somebody, with VERP   a failure goes to an address of the sender for each recipient
 *
 * Callers     bounce.c
 * Invariants  answers 0 only when every notice is durable in the queue, or nobody is to be told
 *             a notice never causes a notice that causes a notice: the senders above see to it
 * Errors      -1 with *err of cleanup
 */
#include "bounce_internal.h"
#include "client/cleanup.h"
#include "conf/param.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include "queue/file.h"
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

enum { CLEANUP_SECONDS_MIN = 300 };

static bool no_verp_bounces;
static const char *notify_classes, *bounce_recipient, *double_recipient, *delay_recipient;
static int64_t size_limit;

const struct param notify_params[] = {
    { .name = "notify_classes",
      .type = PARAM_STRING,
      .str = &notify_classes,
      .def = "resource, software",
      .doc = "What the postmaster is told of: bounce, 2bounce, data, delay, policy, protocol, resource, software." },
    { .name = "bounce_notice_recipient",
      .type = PARAM_STRING,
      .str = &bounce_recipient,
      .def = "postmaster",
      .min = 1,
      .doc = "Who gets copies of failure notices (notify_classes bounce)." },
    { .name = "2bounce_notice_recipient",
      .type = PARAM_STRING,
      .str = &double_recipient,
      .def = "postmaster",
      .min = 1,
      .doc = "Who gets notices that could not be delivered (notify_classes 2bounce)." },
    { .name = "delay_notice_recipient",
      .type = PARAM_STRING,
      .str = &delay_recipient,
      .def = "postmaster",
      .min = 1,
      .doc = "Who gets copies of delay warnings (notify_classes delay)." },
    { .name = "bounce_size_limit",
      .type = PARAM_BYTES,
      .num = &size_limit,
      .def = "50000",
      .min = 1,
      .doc = "Larger messages are returned with their headers only." },
    { .name = "disable_verp_bounces",
      .type = PARAM_BOOL,
      .yes = &no_verp_bounces,
      .def = "no",
      .doc = "Mail that was sent with VERP gets one notice about all its recipients, to its own sender." },
    { .type = PARAM_END },
};

static bool class_on(const char *class)
{
    struct slice rest = slice_of(notify_classes), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_caseeq(word, class))
            return true;
    return false;
}

static void put_lines(struct cleanup *c, struct slice text)
{
    struct slice line;

    while (text.len > 0 && slice_split(&text, '\n', &line))
        cleanup_record(c, REC_NORM, line);
}

/* The message itself, or its header. */
static int put_original(struct cleanup *c, const struct bounce_mail *mail, const struct queue_size *size,
                        bool headers_only)
{
    struct queue_content *content = queue_content_open(mail->fd, size);
    struct slice piece;
    bool ends, starts = true;
    int got = -1;

    if (content == NULL)
        return -1;
    while (!cleanup_failed(c) && (got = queue_content_next(content, &piece, &ends)) == 1) {
        if (headers_only && starts && ends && piece.len == 0) {
            got = 0;
            break;
        }
        cleanup_record(c, ends ? REC_NORM : REC_CONT, piece);
        starts = ends;
    }
    if (!starts) /* the original lacks its last line end: the boundary needs one */
        cleanup_record(c, REC_NORM, SLICE(""));
    queue_content_free(&content);
    return cleanup_failed(c) ? 0 : got; /* cleanup_end says what it was */
}

static const char *const notice_words[][2] = {
    [REPORT_FAILURE] = { "sender non-delivery notification", "postmaster non-delivery notification" },
    [REPORT_DELAY] = { "sender delay notification", "postmaster delay notification" },
    [REPORT_SUCCESS] = { "sender delivery status notification", "postmaster delivery status notification" },
    [REPORT_STATUS] = { "sender delivery status notification", "postmaster delivery status notification" },
};

static void put_envelope(struct cleanup *c, const char *from, const char *to)
{
    int64_t now = time_now_us();

    cleanup_printf(c, REC_TIME, "%lld %lld", (long long) (now / 1000000), (long long) (now % 1000000));
    cleanup_attr(c, "log_message_origin", "local");
    cleanup_attr(c, "rewrite_context", "local");
    cleanup_attr(c, "trace_flags", "0");
    cleanup_record(c, REC_FROM, slice_of(from));
    cleanup_record(c, REC_RCPT, slice_of(to));
    cleanup_record(c, REC_MESG, SLICE(""));
}

static int send_one(struct report *rp, const char *from, const struct queue_size *size, struct err *err)
{
    int64_t seconds = conf_ipc_timeout > CLEANUP_SECONDS_MIN ? conf_ipc_timeout : CLEANUP_SECONDS_MIN;
    int64_t deadline = time_mono_ms() + seconds * 1000;
    unsigned flags = CLEANUP_INTERNAL | (rp->mail->smtputf8 ? CLEANUP_SMTPUTF8 : 0);
    struct cleanup *c = cleanup_open(flags, deadline, err);
    struct str text;
    char *id;

    if (c == NULL)
        return -1;
    id = mem_strdup(cleanup_id(c));
    rp->notice_id = id;
    put_envelope(c, from, rp->to);
    str_init(&text, 0);
    report_head(rp, &text);
    put_lines(c, str_slice(&text));
    int status = put_original(c, rp->mail, size, rp->headers_only);
    if (status < 0) {
        err_set(err, 451, "4.3.0", "read the original message: %s", strerror(errno));
        cleanup_cancel(&c);
    } else {
        str_reset(&text);
        report_tail(rp, &text);
        put_lines(c, str_slice(&text));
        cleanup_record(c, REC_XTRA, SLICE(""));
        status = cleanup_end(&c, deadline, err);
    }
    if (status == 0)
        log_info("%s: %s: %s", rp->mail->queue_id, notice_words[rp->kind][rp->postmaster], id);
    str_free(&text);
    free(id);
    return status;
}

/* A maildrop file, which pickup returns when cleanup refused it, has no size record: where its content is must be
 * seen. */
static int find_content(struct queue_reader *reader, struct queue_size *size)
{
    struct record rec;
    off_t at = 0;

    *size = (struct queue_size){ 0 };
    while (queue_reader_next(reader, &rec, &at) == 1) {
        if (rec.type == REC_MESG)
            size->data_offset = queue_reader_tell(reader);
        if (rec.type == REC_XTRA && size->data_offset) {
            size->data_bytes = at - size->data_offset;
            return 0;
        }
    }
    return -1;
}

static int original_size(const struct bounce_mail *mail, struct queue_size *size, struct err *err)
{
    struct queue_reader *reader = queue_reader_new(mail->fd);
    struct record first;
    int status = -1;

    if (queue_reader_next(reader, &first, NULL) == 1)
        status = first.type == REC_SIZE ? queue_size_parse(first.data, size) : find_content(reader, size);
    queue_reader_free(&reader);
    return status == 0 ? 0 : err_set(err, 451, "4.3.0", "%s: the original queue file cannot be read", mail->queue_id);
}

static bool is_double_bounce(const char *sender)
{
    size_t len = strlen(conf_double_bounce_sender);

    return strncasecmp(sender, conf_double_bounce_sender, len) == 0 && (sender[len] == '@' || sender[len] == '\0');
}

/* A notice itself failed. */
static int send_double(struct report *rp, const struct queue_size *size, struct err *err)
{
    if (rp->kind != REPORT_FAILURE)
        return 0; /* nobody waits for a notice */
    if (!class_on("2bounce")) {
        log_warn("%s: undeliverable notification discarded (notify_classes has no 2bounce)", rp->mail->queue_id);
        return 0;
    }
    rp->postmaster = true;
    rp->to = double_recipient;
    return send_one(rp, conf_double_bounce_sender, size, err);
}

static int send_about(enum report_kind kind, const struct bounce_mail *mail, struct slice log, struct err *err)
{
    struct queue_size size = { 0 };
    struct report rp = {
        .kind = kind,
        .mail = mail,
        .host = conf_myhostname,
        .mail_name = conf_mail_name,
        .log = log,
        .to = mail->sender,
        .now = time_now(),
        .retry_until = mail->arrival + conf_maximal_queue_lifetime,
        .delay_hours = (conf_delay_warning_time + 1800) / 3600,
        .lifetime_days = (conf_maximal_queue_lifetime + 43200) / 86400,
    };

    if (report_count(kind, log) == 0)
        return 0;
    if (is_double_bounce(mail->sender)) {
        log_warn("%s: undeliverable postmaster notification discarded", mail->queue_id);
        return 0;
    }
    if (original_size(mail, &size, err) < 0)
        return -1;
    rp.headers_only = size.data_bytes > size_limit ||
                      (kind == REPORT_FAILURE ? mail->ret == RET_HDRS
                                              : mail->ret != RET_FULL || kind != REPORT_DELAY);
    if (*mail->sender == '\0')
        return send_double(&rp, &size, err);
    if (send_one(&rp, "", &size, err) < 0)
        return -1;
    if ((kind == REPORT_FAILURE && class_on("bounce")) || (kind == REPORT_DELAY && class_on("delay"))) {
        struct err ignored;
        rp.postmaster = true;
        rp.headers_only = true;
        rp.to = kind == REPORT_DELAY ? delay_recipient : bounce_recipient;
        if (send_one(&rp, conf_double_bounce_sender, &size, &ignored) < 0) /* the sender has heard: not again */
            log_warn("%s: postmaster copy: %s", mail->queue_id, ignored.text);
    }
    return 0;
}

/* One notice a recipient, to the sender that he was shown: the list learns whom to strike off. */
static int send_each(const struct bounce_mail *mail, struct slice log, struct err *err)
{
    struct bounce_mail one = *mail;
    struct bounce_rcpt r;
    struct str buf, sender;
    const char *from = log.p;
    int status = 0;

    str_init(&buf, 0);
    str_init(&sender, 0);
    while (status == 0 && logfile_next(&log, &buf, &r)) {
        str_reset(&sender);
        addr_verp(&sender, slice_of(mail->sender), mail->verp,
                  slice_of(*r.original != '\0' ? r.original : r.recipient));
        one.sender = sender.p;
        status = send_about(REPORT_FAILURE, &one, slice_make(from, (size_t) (log.p - from)), err);
        from = log.p;
    }
    str_free(&sender);
    str_free(&buf);
    return status;
}

int notify_send(enum report_kind kind, const struct bounce_mail *mail, struct slice log, struct err *err)
{
    bool verp = strlen(mail->verp) == 2 && *mail->sender != '\0' && !is_double_bounce(mail->sender);

    if (kind == REPORT_FAILURE && verp && !no_verp_bounces)
        return send_each(mail, log, err);
    return send_about(kind, mail, log, err);
}
