/*
 * virtual - delivers into the Maildirs that virtual_mailbox_maps names
 *
 * Callers     qmgr: private/virtual
 * Invariants  each recipient gets a file of its own with its own Return-Path, X-Original-To and Delivered-To
 *             a message that went through this mailbox before (Delivered-To) bounces: a loop
 * Units       bytes
 * Errors      Postfix's words and status codes; doubt defers
 * Privilege   the mail user; Landlock to virtual_mailbox_base
 */
#include "base/log.h"
#include "client/deliver.h"
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
#include <unistd.h>

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

static void write_trace(struct maildir_message *m, const struct deliver_request *rq, const struct deliver_rcpt *rcpt)
{
    struct str head, external;

    str_init(&head, 8 * ADDR_BYTES);
    str_init(&external, 2 * ADDR_BYTES);
    addr_quote(&external, slice_of(rq->sender));
    str_printf(&head, "Return-Path: <%s>\n", external.p);
    if (*rcpt->original)
        str_printf(&head, "X-Original-To: %s\n", rcpt->original);
    str_printf(&head, "Delivered-To: %s\n", rcpt->address);
    maildir_write(m, head.p, head.len);
    str_free(&head);
    str_free(&external);
}

/* 1: written; 0: the queue file cannot be read (errno). */
static int write_content(struct maildir_message *m, const struct deliver_request *rq)
{
    struct queue_size size = { .data_offset = rq->data_offset, .data_bytes = rq->data_size };
    struct queue_content *content = queue_content_open(rq->fd, &size);
    struct slice piece;
    bool ends;
    int ret = -1;

    while (content && !maildir_too_big(m) && (ret = queue_content_next(content, &piece, &ends)) > 0) {
        maildir_write(m, piece.p, piece.len);
        if (ends)
            maildir_write(m, "\n", 1);
    }
    queue_content_free(&content);
    return ret >= 0;
}

static int deliver_file(struct deliver_request *rq, const struct deliver_rcpt *rcpt, const char *dir, bool no_index,
                        struct err *err)
{
    struct maildir_message *m;
    int ret = -1;

    if (maildir_begin(dir, MAILDIR_MAKE, mailbox_limit, &m, err) < 0)
        return -1;
    write_trace(m, rq, rcpt);
    if (!write_content(m, rq))
        (void) err_set(err, 451, "4.3.0", "queue file read error: %s", strerror(errno));
    else if (maildir_end(m, err) == 0)
        ret = maildir_deliver(m, dir, MAILDIR_MAKE | (no_index ? MAILDIR_NO_INDEX : 0), err);
    maildir_free(&m);
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

static void deliver_rcpt(struct deliver_request *rq, struct deliver_rcpt *rcpt)
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
    } else if (found == LOOKUP_FOUND && box.uid != geteuid()) {
        log_warn(
            "%s: to=<%s>: its mailbox belongs to uid %u, this process runs as %u: set virtual_uid_maps = static:N",
            rq->queue_id, rcpt->address, (unsigned) box.uid, (unsigned) geteuid());
        (void) err_set(&err, 0, "4.3.5", "mail system configuration error");
    } else if (found == LOOKUP_FOUND && !box.maildir) {
        log_warn("%s: to=<%s>: %s is no Maildir: its path must end in \"/\"", rq->queue_id, rcpt->address, box.path);
        (void) err_set(&err, 0, "4.3.5", "mail system configuration error");
    } else if (found == LOOKUP_FOUND && deliver_verify(rq)) {
        sent.text = "delivers to maildir";
        deliver_sent(rq, rcpt, &sent);
        return;
    } else if (found == LOOKUP_FOUND && deliver_file(rq, rcpt, box.path, box.no_index, &err) == 0) {
        deliver_sent(rq, rcpt, &sent);
        return;
    }
    settle(rq, rcpt, &err);
}

static void run(struct deliver_request *rq)
{
    for (size_t i = 0; i < rq->rcpt_count; i++)
        deliver_rcpt(rq, &rq->rcpts[i]);
}

static void on_deliver(struct service_conn *c, struct msg *in) { deliver_serve(c, in, run); }

static int open_tables(void)
{
    if (mailbox_limit > 0 && (conf_message_size_limit == 0 || mailbox_limit < conf_message_size_limit)) {
        log_error("main.cf configuration error: virtual_mailbox_limit is smaller than message_size_limit");
        return -1;
    }
    userdb_open();
    return 0;
}

static bool stale(void)
{
    const char *spec;

    return table_stale(&spec);
}

static const struct param *const tables[] = { params, userdb_params, NULL };
static const struct service_path paths[] = { { .path = "$virtual_mailbox_base", .write = true, .optional = true },
                                             { .path = NULL } };
static const struct service_request requests[] = { { .name = "deliver", .run = on_deliver, .in_order = true },
                                                   { .name = NULL } };
static const struct service virtual = {
    .name = "virtual",
    .summary = "delivers into the Maildirs that virtual_mailbox_maps names",
    .jail = JAIL_USER,
    .user = "$virtual_uid_maps",
    .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
    .paths = paths,
    .params = tables,
    .protocol = DELIVER_PROTOCOL,
    .version = DELIVER_VERSION,
    .requests = requests,
    .exclusive = true,
    .pre_jail = open_tables,
    .stale = stale,
};

int main(int argc, char **argv) { return service_main(&virtual, argc, argv); }
