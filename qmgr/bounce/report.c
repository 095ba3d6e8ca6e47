/*
 * report - the text of a delivery status notification
 *
 * Callers     notify.c
 * Invariants  pure: reads a struct report, appends lines that end in LF; the original message goes between
 *             report_head and report_tail
 * Source      RFC 3464 (message/delivery-status), RFC 6522 (multipart/report), RFC 6533 (SMTPUTF8), RFC 3461 6
 */
#include "bounce_internal.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include "proto/smtp/command.h"
#include <stdio.h>
#include <strings.h>

enum { WRAP_COLUMNS = 79, WRAP_INDENT = 4 };

static const struct {
    int notify;      /* the NOTIFY bit that asks for it; 0: everybody in the log */
    bool by_default; /* also without NOTIFY */
    const char *subject, *postmaster_subject, *action, *dsn, *what;
    const char *words;
} kinds[] = {
    [REPORT_FAILURE] = { NOTIFY_FAILURE, true, "Undelivered Mail Returned to Sender",
                         "Postmaster Copy: Undelivered Mail", "failed", "5.0.0", "Undelivered ",
                         "Your message could not be delivered to one or more recipients.\n"
                         "It is attached below, as far as its size allows.\n" },
    [REPORT_DELAY] = { NOTIFY_DELAY, true, "Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail",
                       "delayed", "4.0.0", "Undelivered ",
                       "This is only a warning: you do not need to send your message again.\n\n" },
    [REPORT_SUCCESS] = { NOTIFY_SUCCESS, false, "Successful Mail Delivery Report",
                         "Postmaster Copy: Successful Delivery", "delivered", "2.0.0", "",
                         "Your message was delivered to the recipients listed below. If it was delivered\n"
                         "to mailboxes you will receive no further notice. Else other mail systems may\n"
                         "still tell you about failures.\n" },
    [REPORT_STATUS] = { 0, true, "Mail Delivery Status Report", "Postmaster Copy: Delivery Status", "delivered",
                        "2.0.0", "", "Here is the delivery report that you asked for.\n" },
};

bool report_wants(enum report_kind kind, const struct bounce_rcpt *r)
{
    if (kinds[kind].notify == 0)
        return true;
    return r->notify == 0 ? kinds[kind].by_default : (r->notify & kinds[kind].notify) != 0;
}

size_t report_count(enum report_kind kind, struct slice log)
{
    struct bounce_rcpt r;
    struct str buf;
    size_t count = 0;

    str_init(&buf, 0);
    while (logfile_next(&log, &buf, &r))
        count += report_wants(kind, &r);
    str_free(&buf);
    return count;
}

void report_boundary(const struct report *rp, struct str *out)
{
    str_printf(out, "%s.%lld/%s", rp->mail->queue_id, (long long) rp->now, rp->host);
}

/* Breaks at blanks; what follows a break is indented, so that a header goes on. */
static void add_wrapped(struct str *out, const char *text)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");

        if (column > 0 && column + 1 + word > WRAP_COLUMNS) {
            str_printf(out, "\n%*s", WRAP_INDENT, "");
            column = WRAP_INDENT;
        } else if (column > 0) {
            str_addc(out, ' ');
            column++;
        }
        str_add(out, text, word);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    str_addc(out, '\n');
}

static void add_part(const struct report *rp, struct str *out, const char *description, const char *type)
{
    str_adds(out, "\n--");
    report_boundary(rp, out);
    str_printf(out, "\nContent-Description: %s\nContent-Type: %s\n", description, type);
}

/* What strangers chose must not start a line of its own. */
static void add_plain(struct str *out, const char *text)
{
    for (; *text != '\0'; text++)
        str_addc(out, (unsigned char) *text < ' ' || *text == 127 ? '?' : *text);
}

static void add_address(struct str *out, const char *address)
{
    struct str quoted;

    str_init(&quoted, 0);
    addr_quote(&quoted, slice_of(address));
    add_plain(out, quoted.p);
    str_free(&quoted);
}

static void add_header(const struct report *rp, struct str *out)
{
    char date[TIME_TEXT_BYTES];

    time_rfc5322((time_t) rp->now, date);
    str_printf(out, "Received: by %s (%s)\n\tid %s; %s\n", rp->host, rp->mail_name, rp->notice_id, date);
    str_printf(out, "Date: %s\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\n", date, rp->host);
    str_printf(out,
               "Subject: %s\nTo: ", rp->postmaster ? kinds[rp->kind].postmaster_subject : kinds[rp->kind].subject);
    add_address(out, rp->to);
    str_adds(out, "\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
                  "Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"");
    report_boundary(rp, out);
    str_adds(out, "\"\n");
    if (*rp->mail->encoding != '\0')
        str_printf(out, "Content-Transfer-Encoding: %s\n", rp->mail->encoding);
    str_adds(out, "\nThis is a MIME-encapsulated message.\n");
}

static void add_words(const struct report *rp, struct str *out)
{
    struct slice log = rp->log;
    struct bounce_rcpt r;
    struct str buf, line;

    add_part(rp, out, "Notification",
             rp->mail->smtputf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii");
    if (rp->mail->smtputf8)
        str_adds(out, "Content-Transfer-Encoding: 8bit\n");
    str_printf(out, "\nThis is the mail system at host %s.\n\n%s", rp->host, kinds[rp->kind].words);
    if (rp->kind == REPORT_DELAY)
        str_printf(out,
                   "It could not be delivered for more than %lld hour(s).\n"
                   "Delivery is tried again until it is %lld day(s) old.\n",
                   (long long) rp->delay_hours, (long long) rp->lifetime_days);
    if (rp->kind != REPORT_SUCCESS && rp->kind != REPORT_STATUS)
        str_adds(out, "\nFor help, please write to postmaster, and include this report.\n");
    str_adds(out, "\n                   The mail system\n");
    str_init(&buf, 0);
    str_init(&line, 0);
    while (logfile_next(&log, &buf, &r)) {
        if (!report_wants(rp->kind, &r))
            continue;
        str_set(&line, "<");
        add_address(&line, r.recipient);
        str_addc(&line, '>');
        if (*r.original != '\0') {
            str_adds(&line, " (expanded from <");
            add_address(&line, r.original);
            str_adds(&line, ">)");
        }
        str_printf(&line, ": %s", r.reason);
        str_addc(out, '\n');
        add_wrapped(out, line.p);
    }
    str_free(&line);
    str_free(&buf);
}

static void add_field(struct str *out, const char *head, const char *value)
{
    struct str line;

    str_init(&line, 0);
    str_printf(&line, "%s%s", head, value);
    add_wrapped(out, line.p);
    str_free(&line);
}

static const char *address_type(const struct report *rp, const char *address)
{
    return rp->mail->smtputf8 && !slice_is_ascii(slice_of(address)) ? "utf-8" : "rfc822";
}

static void add_rcpt_fields(const struct report *rp, struct str *out, const struct bounce_rcpt *r)
{
    bool class_fits = r->dsn[0] != '\0' && (rp->kind == REPORT_STATUS || r->dsn[0] == kinds[rp->kind].dsn[0]);
    char head[64];

    str_printf(out, "\nFinal-Recipient: %s; ", address_type(rp, r->recipient));
    add_address(out, r->recipient);
    if (*r->orcpt != '\0')
        str_printf(out, "\nOriginal-Recipient: %s", r->orcpt);
    else if (*r->original != '\0') {
        str_printf(out, "\nOriginal-Recipient: %s;", address_type(rp, r->original));
        add_address(out, r->original);
    }
    /* Mail that is too old has failed, whatever the last attempt was called; its status stays what it was. */
    str_printf(out, "\nAction: %s\nStatus: %s\n",
               rp->kind == REPORT_FAILURE || *r->action == '\0' ? kinds[rp->kind].action : r->action,
               class_fits || (rp->kind == REPORT_FAILURE && r->dsn[0] == '4') ? r->dsn : kinds[rp->kind].dsn);
    if (*r->mta_name != '\0')
        str_printf(out, "Remote-MTA: %s; %s\n", *r->mta_type ? r->mta_type : "dns", r->mta_name);
    snprintf(head, sizeof head, "Diagnostic-Code: %.20s; ", *r->diag_type ? r->diag_type : "X-Postfix");
    add_field(out, head, *r->diag_type && *r->diag_text ? r->diag_text : r->reason);
    if (rp->kind == REPORT_DELAY) {
        char date[TIME_TEXT_BYTES];
        time_rfc5322((time_t) rp->retry_until, date);
        str_printf(out, "Will-Retry-Until: %s\n", date);
    }
}

static void add_status(const struct report *rp, struct str *out)
{
    const struct bounce_mail *mail = rp->mail;
    struct slice log = rp->log;
    struct bounce_rcpt r;
    struct str buf;
    char date[TIME_TEXT_BYTES];

    add_part(rp, out, "Delivery report",
             mail->smtputf8 ? "message/global-delivery-status" : "message/delivery-status");
    if (mail->smtputf8)
        str_adds(out, "Content-Transfer-Encoding: 8bit\n");
    str_printf(out, "\nReporting-MTA: dns; %s\n", rp->host);
    str_init(&buf, 0);
    if (*mail->envid != '\0') {
        str_printf(out, "Original-Envelope-Id: ");
        add_plain(out, mail->envid);
        str_addc(out, '\n');
    }
    str_printf(out, "X-%s-Queue-ID: %s\n", rp->mail_name, mail->queue_id);
    str_printf(out, "X-%s-Sender: %s; ", rp->mail_name, address_type(rp, mail->sender));
    add_address(out, mail->sender);
    time_rfc5322((time_t) mail->arrival, date);
    str_printf(out, "\nArrival-Date: %s\n", date);
    while (logfile_next(&log, &buf, &r))
        if (report_wants(rp->kind, &r))
            add_rcpt_fields(rp, out, &r);
    str_free(&buf);
}

void report_head(const struct report *rp, struct str *out)
{
    char description[64];

    add_header(rp, out);
    add_words(rp, out);
    add_status(rp, out);
    snprintf(description, sizeof description, "%s%s", kinds[rp->kind].what,
             rp->headers_only ? "Message Headers" : "Message");
    if (rp->headers_only)
        add_part(rp, out, description, rp->mail->smtputf8 ? "message/global-headers" : "text/rfc822-headers");
    else
        add_part(rp, out, description, rp->mail->smtputf8 ? "message/global" : "message/rfc822");
    if (*rp->mail->encoding != '\0')
        str_printf(out, "Content-Transfer-Encoding: %s\n", rp->mail->encoding);
    str_addc(out, '\n');
}

void report_tail(const struct report *rp, struct str *out)
{
    str_adds(out, "\n--");
    report_boundary(rp, out);
    str_adds(out, "--\n");
}
