/*
 * virtual - delivers into the Maildirs that virtual_mailbox_maps names
 *
 * Callers     qmgr: private/virtual
 * Invariants  each recipient gets a file of its own with its own Return-Path, X-Original-To and Delivered-To
 *             a message that went through this mailbox before (Delivered-To) bounces: a loop
 * Units       bytes
 * Errors      Postfix's words and status codes; doubt defers
 * Privilege   the mail user where one owns all mailboxes, else mail_owner; Landlock to virtual_mailbox_base; may have
 *             processes of other accounts started (program mailboxd)
 */
#include "base/log.h"
#include "client/deliver.h"
#include "client/mailboxd.h"
#include "client/userdb.h"
#include "conf/param.h"
#include "deliver/maildir.h"
#include "proto/addr/addr.h"
#include "proto/mime/field.h"
#include "queue/file.h"
#include "table/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 1 << 18 };
static int64_t mailbox_limit;
static const struct param params[] = {
    { .name = "virtual_mailbox_limit",
      .type = PARAM_BYTES,
      .num = &mailbox_limit,
      .def = "51200000",
      .doc = "Most bytes of one Maildir file that virtual writes; 0: no limit." },
    { .type = PARAM_END },
};

/* Delivered-To fields of the message: each line of a header that the queue file holds. */
static bool delivered_before(struct deliver_request *rq, const char *address)
{
    struct queue_size size = { .data_offset = rq->data_offset, .data_bytes = rq->data_size };
    struct queue_content *content = queue_content_open(rq->fd, &size);
    struct slice piece, rest;
    struct mime_field field;
    struct str header;
    bool ends = true, start = true, found = false;

    str_init(&header, HEADER_BYTES);
    while (content && !str_over(&header) && queue_content_next(content, &piece, &ends) > 0) {
        if (start && ends && piece.len == 0)
            break;
        str_addslice(&header, piece);
        if (ends)
            str_addc(&header, '\n');
        start = ends;
    }
    queue_content_free(&content);
    rest = str_slice(&header);
    while (!found && mime_field_next(&rest, &field))
        found = slice_caseeq(field.name, "Delivered-To") && addr_same(slice_trim(field.value), slice_of(address));
    str_free(&header);
    return found;
}

static void trace(struct str *head, const struct deliver_request *rq, const struct deliver_rcpt *rcpt)
{
    struct str external;

    str_init(&external, 2 * ADDR_BYTES);
    addr_quote(&external, slice_of(rq->sender));
    str_printf(head, "Return-Path: <%s>\n", external.p);
    if (*rcpt->original)
        str_printf(head, "X-Original-To: %s\n", rcpt->original);
    str_printf(head, "Delivered-To: %s\n", rcpt->address);
    str_free(&external);
}

/* Where the content of the queue file goes: one of the two. */
struct target {
    struct maildir_message *message;
    struct mailboxd_content *content;
};

static void put(const struct target *to, const void *p, size_t len)
{
    if (to->message)
        maildir_write(to->message, p, len);
    else
        mailboxd_content_write(to->content, p, len);
}

/* 1: written; 0: the queue file cannot be read (errno). */
static int write_content(const struct target *to, const struct deliver_request *rq)
{
    struct queue_size size = { .data_offset = rq->data_offset, .data_bytes = rq->data_size };
    struct queue_content *content = queue_content_open(rq->fd, &size);
    struct slice piece;
    bool ends;
    int ret = -1;

    while (content && !(to->message && maildir_too_big(to->message)) &&
           (ret = queue_content_next(content, &piece, &ends)) > 0) {
        put(to, piece.p, piece.len);
        if (ends)
            put(to, "\n", 1);
    }
    queue_content_free(&content);
    return ret >= 0;
}

static int unreadable(struct err *err)
{
    return err_set(err, 451, "4.3.0", "queue file read error: %s", strerror(errno));
}

static int deliver_file(struct deliver_request *rq, struct slice head, const struct userdb_mailbox *box,
                        struct err *err)
{
    unsigned how = MAILDIR_MAKE | (box->no_index ? MAILDIR_NO_INDEX : 0);
    struct target to = { 0 };
    int ret = -1;

    if (maildir_begin(box->path, MAILDIR_MAKE, mailbox_limit, &to.message, err) < 0)
        return -1;
    maildir_write(to.message, head.p, head.len);
    if (!write_content(&to, rq))
        (void) unreadable(err);
    else if (maildir_end(to.message, err) == 0)
        ret = maildir_deliver(to.message, box->path, how, err);
    maildir_free(&to.message);
    return ret;
}

/* *content: of this delivery, read once for all the recipients that need it. */
static int deliver_foreign(struct deliver_request *rq, struct slice head, const struct userdb_mailbox *box,
                           struct mailboxd_content **content, struct err *err)
{
    struct target to = { 0 };
    uint64_t bytes;

    if (*content == NULL) {
        to.content = mailboxd_content_new();
        if (!write_content(&to, rq))
            (void) unreadable(err);
        else if (mailboxd_content_end(to.content, err) == 0)
            *content = to.content;
        if (*content == NULL) {
            mailboxd_content_free(&to.content);
            return -1;
        }
    }
    return mailboxd_deliver(box, head, mailbox_limit, *content, &bytes, err);
}

static int deliver_to(struct deliver_request *rq, const struct deliver_rcpt *rcpt, const struct userdb_mailbox *box,
                      struct mailboxd_content **content, struct err *err)
{
    struct str head;
    int ret;

    str_init(&head, 8 * ADDR_BYTES);
    trace(&head, rq, rcpt);
    if (mailboxd_needed(box))
        ret = deliver_foreign(rq, str_slice(&head), box, content, err);
    else
        ret = deliver_file(rq, str_slice(&head), box, err);
    str_free(&head);
    return ret;
}

static void settle(struct deliver_request *rq, struct deliver_rcpt *rcpt, const struct err *err)
{
    struct deliver_result result = { .relay = "virtual", .dsn = err->dsn, .text = err->text };

    if (err->dsn[0] == '5')
        deliver_bounce(rq, rcpt, &result);
    else
        deliver_defer(rq, rcpt, &result);
}

static void deliver_rcpt(struct deliver_request *rq, struct deliver_rcpt *rcpt, struct mailboxd_content **content)
{
    struct deliver_result sent = { .relay = "virtual", .dsn = "2.0.0", .text = "delivered to maildir" };
    struct err err = { .dsn = "4.3.0", .text = "" };
    struct userdb_mailbox box;
    enum lookup found;

    if (delivered_before(rq, rcpt->address)) {
        (void) err_set(&err, 0, "5.4.6", "mail forwarding loop for %s", rcpt->address);
        settle(rq, rcpt, &err);
        return;
    }
    found = userdb_find(rcpt->address, "virtual", rq->arena, &box, &err);
    if (found == LOOKUP_NONE) {
        (void) err_set(&err, 0, "5.1.1", "unknown user: \"%s\"", rcpt->address);
    } else if (found == LOOKUP_FOUND && !box.maildir) {
        log_warn("%s: to=<%s>: %s is no Maildir: its path must end in \"/\"", rq->queue_id, rcpt->address, box.path);
        (void) err_set(&err, 0, "4.3.5", "mail system configuration error");
    } else if (found == LOOKUP_FOUND && deliver_verify(rq)) {
        sent.text = "delivers to maildir";
        deliver_sent(rq, rcpt, &sent);
        return;
    } else if (found == LOOKUP_FOUND && deliver_to(rq, rcpt, &box, content, &err) == 0) {
        deliver_sent(rq, rcpt, &sent);
        return;
    }
    settle(rq, rcpt, &err);
}

static void run(struct deliver_request *rq)
{
    struct mailboxd_content *content = NULL;

    for (size_t i = 0; i < rq->rcpt_count; i++)
        deliver_rcpt(rq, &rq->rcpts[i], &content);
    mailboxd_content_free(&content);
}

static void on_deliver(struct service_conn *c, struct msg *in) { deliver_serve(c, in, run); }

static struct service_path paths[] = { { .write = true, .optional = true }, { .path = NULL } };

static int open_tables(void)
{
    if (mailbox_limit > 0 && (conf_message_size_limit == 0 || mailbox_limit < conf_message_size_limit)) {
        log_error("main.cf configuration error: virtual_mailbox_limit is smaller than message_size_limit");
        return -1;
    }
    userdb_open();
    paths[0].path = userdb_base();
    return 0;
}

static bool stale(void)
{
    const char *spec;

    return table_stale(&spec);
}

static const struct param *const tables[] = { params, userdb_params, mailboxd_params, NULL };
static const struct service_request requests[] = { { .name = "deliver", .run = on_deliver, .in_order = true },
                                                   { .name = NULL } };
static const struct service virtual = {
    .name = "virtual",
    .summary = "delivers into the Maildirs that virtual_mailbox_maps names",
    .jail = JAIL_USER,
    .user = "$virtual_uid_maps $mail_owner",
    .mail_groups = true,
    .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
    .paths = paths,
    .params = tables,
    .protocol = DELIVER_PROTOCOL,
    .version = DELIVER_VERSION,
    .requests = requests,
    .exclusive = true,
    .pre_jail = open_tables,
    .stale = stale,
    .stop = maildir_finish,
};

int main(int argc, char **argv) { return service_main(&virtual, argc, argv); }
