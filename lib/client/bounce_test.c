/* bounce_test - what each request says, and that only "ok" is taken for done */
#include "client/bounce.h"
#include "client/test_peer.h"
#include "conf/param.h"
#include <fcntl.h>
#include <sys/stat.h>

static const struct bounce_rcpt rcpt = { .recipient = "a b@x.test",
                                         .original = "c@x.test",
                                         .orcpt = "rfc822;c@x.test",
                                         .offset = 523,
                                         .notify = NOTIFY_FAILURE,
                                         .dsn = "5.1.1",
                                         .action = "failed",
                                         .reason = "no such user",
                                         .diag_type = "smtp",
                                         .diag_text = "550 no",
                                         .mta_type = "dns",
                                         .mta_name = "mx.x.test" };
static const struct bounce_rcpt bare = { .recipient = "d@x.test", .dsn = "4.0.0", .action = "delayed", .reason = "" };
static struct bounce_mail mail = {
    .queue_id = "4AA05AA49A9", .sender = "s@x.test", .verp = "+=", .ret = RET_HDRS, .smtputf8 = true, .arrival = 12345
};
static const char *said; /* the request that is due, and its values */
static const char *status = "ok", *reason;
static int got_fd = -1;

static void collect(struct msg *in, struct str *out)
{
    static const char *const names[] = { "queue_id", "sender",    "verp",      "envid",     "ret",
                                         "encoding", "smtputf8",  "arrival",   "recipient", "original",
                                         "orcpt",    "offset",    "notify",    "dsn",       "action",
                                         "reason",   "diag_type", "diag_text", "mta_type",  "mta_name" };

    str_adds(out, msg_name(in));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (msg_has(in, names[i]))
            str_printf(out, "|%s", msg_get_str(in, names[i], 100));
    if (msg_fds(in))
        got_fd = msg_take_fd(in);
    assert(msg_done(in));
}

static struct msg *right(struct msg *in)
{
    struct msg *m = msg_new(status);
    struct str text;

    str_init(&text, 2000);
    collect(in, &text);
    if (strcmp(text.p, said) != 0) {
        fprintf(stderr, "said %s\ndue  %s\n", text.p, said);
        abort();
    }
    str_free(&text);
    if (reason)
        msg_put_str(m, "reason", reason);
    return m;
}

#define MAIL "4AA05AA49A9|s@x.test|+=||2||1|12345"
#define RCPT "|a b@x.test|c@x.test|rfc822;c@x.test|523|4|5.1.1|failed|no such user|smtp|550 no|dns|mx.x.test"
static enum bounce_log which;
static struct err why;

static bool append(void) { return bounce_append(which, mail.queue_id, &rcpt) == 0; }
static bool append_bare(void) { return bounce_append(which, mail.queue_id, &bare) == 0; }
static bool forget(void) { return bounce_forget(which, mail.queue_id) == 0; }
static bool flush(void) { return bounce_flush(which, &mail, &why) == 0; }
static bool warn(void) { return bounce_warn(&mail, &why) == 0; }
static bool one(void) { return bounce_one(&mail, &rcpt, &why) == 0; }

/* again: asked a second time it does no harm; the others could send a second notice each time. */
static const struct {
    bool (*ask)(void);
    enum bounce_log log;
    const char *service, *said;
    bool again;
} rows[] = {
    { append, BOUNCE_LOG_BOUNCE, "private/bounce", "append|4AA05AA49A9" RCPT, true },
    { append_bare, BOUNCE_LOG_DEFER, "private/defer", "append|4AA05AA49A9|d@x.test|||0|0|4.0.0|delayed|", true },
    { append, BOUNCE_LOG_TRACE, "private/trace", "append|4AA05AA49A9" RCPT, true },
    { forget, BOUNCE_LOG_DEFER, "private/defer", "forget|4AA05AA49A9", true },
    { flush, BOUNCE_LOG_BOUNCE, "private/bounce", "flush|" MAIL, false },
    { flush, BOUNCE_LOG_DEFER, "private/defer", "flush|" MAIL, false },
    { warn, BOUNCE_LOG_DEFER, "private/defer", "warn|" MAIL, false },
    { one, BOUNCE_LOG_BOUNCE, "private/bounce", "one|" MAIL RCPT, false },
};

static bool has_file(size_t i) { return rows[i].ask == flush || rows[i].ask == warn || rows[i].ask == one; }

static void test(void *unused)
{
    struct stat mine, theirs;

    (void) unused;
    conf_ipc_timeout = 10;
    mail.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert(fstat(mail.fd, &mine) == 0);
    peer_init("", BOUNCE_PROTOCOL, BOUNCE_VERSION, right);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        peer.service = rows[i].service;
        said = rows[i].said;
        which = rows[i].log;
        assert(rows[i].ask());
        if (has_file(i)) { /* the queue file goes along; ours stays open */
            assert(got_fd >= 0 && fstat(got_fd, &theirs) == 0 && theirs.st_rdev == mine.st_rdev);
            close(got_fd);
            got_fd = -1;
        }
        status = "retry";
        reason = "disk full";
        assert(!rows[i].ask());
        if (has_file(i))
            assert(why.code == 451 && strcmp(why.dsn, "4.3.0") == 0 && strcmp(why.text, "disk full") == 0);
        reason = NULL;
        assert(!rows[i].ask() && (!has_file(i) || strcmp(why.text, "failed") == 0));
        status = "malformed";
        assert(!rows[i].ask());
        status = "ok";
    }
    event_stop();
}

/* "ok" has no values, and a surplus one does not make it less: the log was written. */
static struct msg *plain_ok(struct msg *in)
{
    if (msg_fds(in))
        close(msg_take_fd(in));
    return msg_new("ok");
}

static void faults(void *unused)
{
    static const enum peer_act bad[] = { PEER_REFUSES, PEER_UNGREETED, PEER_MUTE,    PEER_STRANGER, PEER_CLOSES,
                                         PEER_SILENT,  PEER_HALF,      PEER_GARBAGE, PEER_HUGE,     PEER_OTHER_NAME };

    (void) unused;
    peer_init("", BOUNCE_PROTOCOL, BOUNCE_VERSION, plain_ok);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        peer.service = rows[i].service;
        which = rows[i].log;
        for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
            enum peer_act script[] = { PEER_CLOSES, bad[n] };
            static const enum peer_act closes[] = { PEER_CLOSES };
            peer_play(closes, 1);
            (void) rows[i].ask();
            peer_play(script + 1, 1);
            why = (struct err){ 0 };
            if (rows[i].ask()) {
                fprintf(stderr, "%s: %s is taken for ok\n", rows[i].said, peer_act_name[bad[n]]);
                abort();
            }
            assert(!has_file(i) || (why.code == 451 && why.text[0]));
            peer_play(peer_right_only, 1);
            if (!rows[i].ask()) {
                fprintf(stderr, "%s: no answer after %s\n", rows[i].said, peer_act_name[bad[n]]);
                abort();
            }
        }
        enum peer_act once[] = { PEER_CLOSES, PEER_RIGHT };
        peer_play(once, 2);
        assert(rows[i].ask() == rows[i].again);
    }
    event_stop();
}

int main(void)
{
    peer_run(test);
    peer_run(faults);
    close(mail.fd);
    return 0;
}
