/* report_test - log records there and back; the text of notices */
#include "bounce_internal.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *log; /* as Postfix or we wrote it */
    const char *out; /* recipient|original|orcpt|offset|notify|dsn|action|reason of each record, ";" between */
} logs[] = {
    { "\n<a@x>: no\nrecipient=a@x\noffset=523\nnotify_flags=4\nstatus=5.1.1\naction=failed\nreason=no\n\n",
      "a@x|||523|4|5.1.1|failed|no" },
    { "\n<a@x>: "
      "no\nrecipient=a@x\noriginal_recipient=b@x\ndsn_orig_rcpt=rfc822;b@x\nstatus=4.0.0\naction=delayed\nreason="
      "r\n\n"
      "\n<c@x>: no\nrecipient=c@x\nstatus=4.0.0\naction=delayed\nreason=s\n\n",
      "a@x|b@x|rfc822;b@x|0|0|4.0.0|delayed|r;c@x|||0|0|4.0.0|delayed|s" },
    { "<old@x>: reason: with colon\n", "old@x|||0|0|||reason: with colon" },
    { "\n<\"a b\"@x>: no\nrecipient=\"a b\"@x\nstatus=5.0.0\nreason=no\n", "a b@x|||0|0|5.0.0||no" },
    { "\n<>: no\nrecipient=<>\nreason=no\n\n", "|||0|0|||no" },
    { "", "" },
    { "\n\n\n", "" },
    { "garbage\n", "|||0|0|||" },
};

static void test_read(void)
{
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        struct slice rest = slice_of(logs[i].log);
        struct bounce_rcpt r;
        struct str buf, out;

        str_init(&buf, 0);
        str_init(&out, 0);
        while (logfile_next(&rest, &buf, &r))
            str_printf(&out, "%s%s|%s|%s|%lld|%d|%s|%s|%s", out.len ? ";" : "", r.recipient, r.original, r.orcpt,
                       (long long) r.offset, r.notify, r.dsn, r.action, r.reason);
        const char *want = logs[i].out;
        if (strcmp(out.p, want) != 0) {
            fprintf(stderr, "row %zu: got \"%s\", want \"%s\"\n", i, out.p, want);
            exit(1);
        }
        str_free(&out);
        str_free(&buf);
    }
}

static void test_write(void)
{
    struct bounce_rcpt in = { .recipient = "a b@x",
                              .original = "c@x",
                              .orcpt = "rfc822;c@x",
                              .offset = 99,
                              .notify = 6,
                              .dsn = "5.1.1",
                              .action = "failed",
                              .reason = "two\nlines",
                              .diag_type = "smtp",
                              .diag_text = "550 no",
                              .mta_type = "dns",
                              .mta_name = "mx.x" };
    struct bounce_rcpt back;
    struct str text, buf;

    str_init(&text, 0);
    str_init(&buf, 0);
    logfile_format(&in, &text);
    assert(strcmp(text.p, "\n<\"a b\"@x>: two?lines\nrecipient=\"a b\"@x\noriginal_recipient=c@x\noffset=99\n"
                          "dsn_orig_rcpt=rfc822;c@x\nnotify_flags=6\nstatus=5.1.1\naction=failed\ndiag_type=smtp\n"
                          "diag_text=550 no\nmta_type=dns\nmta_mname=mx.x\nreason=two?lines\n\n") == 0);
    struct slice rest = str_slice(&text);
    assert(logfile_next(&rest, &buf, &back) && !logfile_next(&rest, &buf, &(struct bounce_rcpt){ 0 }));
    str_free(&text);
    str_free(&buf);
}

static const char failure_log[] =
    "\n<bob@x.test>: no\nrecipient=bob@x.test\noriginal_recipient=all@x.test\noffset=1\nstatus=5.1.1\naction=failed\n"
    "diag_type=smtp\ndiag_text=550 5.1.1 unknown\nmta_type=dns\nmta_mname=mx.x.test\n"
    "reason=host mx.x.test[192.0.2.1] said: 550 5.1.1 unknown (in reply to RCPT TO command)\n\n"
    "\n<quiet@x.test>: no\nrecipient=quiet@x.test\nnotify_flags=1\nstatus=5.1.1\naction=failed\nreason=no\n\n";

static void test_report(void)
{
    struct bounce_mail mail = {
        .queue_id = "ABC", .sender = "alice@x.test", .envid = "id+1", .encoding = "8bit", .arrival = 1700000000
    };
    struct report rp = { .kind = REPORT_FAILURE,
                         .mail = &mail,
                         .to = "alice@x.test",
                         .notice_id = "DEF",
                         .host = "mail.x.test",
                         .mail_name = "Postfix",
                         .now = 1700000100,
                         .log = slice_of(failure_log) };
    static const char *const parts[] = {
        "Received: by mail.x.test (Postfix)\n\tid DEF; ",
        "\nFrom: Mail Delivery System <MAILER-DAEMON@mail.x.test>\nSubject: Undelivered Mail Returned to Sender\nTo: "
        "alice@x.test\n",
        "\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\nContent-Type: multipart/report; "
        "report-type=delivery-status;\n"
        "\tboundary=\"ABC.1700000100/mail.x.test\"\nContent-Transfer-Encoding: 8bit\n\nThis is a MIME-encapsulated "
        "message.\n",
        "\n--ABC.1700000100/mail.x.test\nContent-Description: Notification\nContent-Type: text/plain; "
        "charset=us-ascii\n",
        "\n<bob@x.test> (expanded from <all@x.test>): host mx.x.test[192.0.2.1] said: 550\n    5.1.1 unknown (in "
        "reply to RCPT TO command)\n",
        "\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; "
        "mail.x.test\n"
        "Original-Envelope-Id: id+1\nX-Postfix-Queue-ID: ABC\nX-Postfix-Sender: rfc822; alice@x.test\nArrival-Date: ",
        "\nFinal-Recipient: rfc822; bob@x.test\nOriginal-Recipient: rfc822;all@x.test\nAction: failed\nStatus: "
        "5.1.1\n"
        "Remote-MTA: dns; mx.x.test\nDiagnostic-Code: smtp; 550 5.1.1 unknown\n",
        "\nContent-Description: Undelivered Message\nContent-Type: message/rfc822\nContent-Transfer-Encoding: "
        "8bit\n\n",
    };
    struct str out;

    str_init(&out, 0);
    report_head(&rp, &out);
    const char *at = out.p;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *found = strstr(at, parts[i]);
        if (found == NULL) {
            fprintf(stderr, "missing: %s\nin: %s\n", parts[i], at);
            exit(1);
        }
        at = found;
    }
    assert(strstr(out.p, "quiet@") == NULL); /* NOTIFY=NEVER */
    assert(report_count(REPORT_FAILURE, rp.log) == 1 && report_count(REPORT_SUCCESS, rp.log) == 0);
    str_reset(&out);
    rp.kind = REPORT_DELAY;
    rp.headers_only = true;
    report_head(&rp, &out);
    assert(strstr(out.p, "Subject: Delayed Mail (still being retried)\n") && strstr(out.p, "\nWill-Retry-Until: "));
    assert(strstr(out.p, "Content-Description: Undelivered Message Headers\nContent-Type: text/rfc822-headers\n"));
    str_free(&out);
}

int main(void)
{
    test_read();
    test_write();
    test_report();
    return 0;
}
