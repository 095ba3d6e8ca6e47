/*
 * pickup - mail that sendmail left in maildrop/ goes to cleanup
 *
 * Callers     master (wake-up), postdrop and postsuper (the byte 'W' on public/pickup)
 * Invariants  a maildrop file is removed only after cleanup said that the message is on disk; a crash between the two
 *             brings the message twice, never not at all
 *             at most COPIES_MAX files are in work at a time, so that they share the disk's commits
 * Errors      passing faults leave the file for the next wake-up; a file that is none goes to corrupt/
 * Privilege   chroot to the queue directory, mail_owner; reads and removes in maildrop/
 */
#include "base/log.h"
#include "base/map.h"
#include "client/bounce.h"
#include "client/cleanup.h"
#include "conf/param.h"
#include "copy.h"
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { COPIES_MAX = 16, BUSY_MAX = 100000 };

static const char *content_filter;
static unsigned cleanup_flags;
static struct event_sem copies = { .permits = COPIES_MAX };
static struct map *busy; /* ids in work */

/* Mail that cleanup refuses for good goes back to its sender. */
static int return_message(int fd, const char *id, const struct err *why)
{
    struct queue_envelope e;
    struct err err = { 0 };
    int rc = queue_envelope_read(fd, BUSY_MAX, &e, &err);

    if (rc < 0)
        return -1;
    for (size_t i = 0; rc == 0 && i < e.recipient_count; i++) {
        struct bounce_rcpt r = { .recipient = e.recipients[i].address,
                                 .orcpt = e.recipients[i].dsn_orcpt,
                                 .offset = e.recipients[i].offset,
                                 .notify = e.recipients[i].notify,
                                 .dsn = why->dsn,
                                 .action = "failed",
                                 .reason = why->text };
        rc = bounce_append(BOUNCE_LOG_BOUNCE, id, &r);
    }
    struct bounce_mail mail = { .queue_id = id,
                                .sender = e.sender,
                                .verp = e.verp,
                                .envid = e.envelope_id,
                                .ret = e.ret_flags,
                                .encoding = e.encoding,
                                .arrival = e.arrival_usec / 1000000,
                                .fd = fd };
    if (rc == 0)
        rc = bounce_flush(BOUNCE_LOG_BOUNCE, &mail, &err);
    queue_envelope_free(&e);
    return rc;
}

static void finish(int fd, const char *id, enum copy_result result, const struct err *err)
{
    switch (result) {
    case COPY_LATER:
        if (err->code)
            log_warn("%s: message stays in %s: %s %s", id, QUEUE_MAILDROP, err->dsn, err->text);
        return;
    case COPY_CORRUPT:
        log_warn("%s: moved to %s", id, QUEUE_CORRUPT);
        if (queue_move(id, QUEUE_MAILDROP, QUEUE_CORRUPT) < 0)
            log_warn("%s: move to %s: %s", id, QUEUE_CORRUPT, strerror(errno));
        return;
    case COPY_REFUSED:
        if (return_message(fd, id, err) < 0) {
            log_warn("%s: cannot be returned to its sender now: %s %s", id, err->dsn, err->text);
            return;
        }
        break;
    case COPY_DONE: break;
    }
    if (queue_remove(QUEUE_MAILDROP, id) < 0)
        log_warn("%s: remove from %s: %s", id, QUEUE_MAILDROP, strerror(errno));
}

static void copy_one(void *arg)
{
    char *id = arg;
    struct stat st;
    struct err err = { 0 };
    int fd = queue_open(QUEUE_MAILDROP, id, O_RDONLY);

    if (fd < 0) {
        if (errno != ENOENT)
            log_warn("%s: open in %s: %s", id, QUEUE_MAILDROP, strerror(errno));
    } else {
        /* Not executable: postdrop still writes. Two links: somebody means to have us read another file of theirs. */
        if (fstat(fd, &st) == 0 && queue_is_ready(&st) && st.st_nlink == 1)
            finish(fd, id, copy_message(fd, &st, id, cleanup_flags, content_filter, &err), &err);
        close(fd);
    }
    map_del(busy, slice_of(id));
    event_sem_put(&copies);
    free(id);
}

static void scan(void)
{
    struct queue_scan *files = queue_scan_open(QUEUE_MAILDROP);
    const char *id;

    if (files == NULL) {
        log_warn("open directory %s: %s", QUEUE_MAILDROP, strerror(errno));
        return;
    }
    while (!service_stopping() && (id = queue_scan_next(files, NULL)) != NULL) {
        if (map_get(busy, slice_of(id)))
            continue;
        char *own = mem_strdup(id);
        if (event_sem_get(&copies, EVENT_NEVER) < 0 || !map_set(busy, slice_of(own), files)) {
            free(own);
            break;
        }
        fiber_go("pickup message", copy_one, own);
    }
    queue_scan_free(&files);
}

static int pre_jail(void)
{
    content_filter = conf_value("content_filter");
    const char *receive_override_options = conf_value("receive_override_options");
    if (content_filter == NULL)
        content_filter = "";
    cleanup_flags = CLEANUP_EXTERNAL;
    if (receive_override_options && cleanup_override(receive_override_options, &cleanup_flags) < 0) {
        log_error("receive_override_options: unknown word in \"%s\"", receive_override_options);
        return -1;
    }
    busy = map_new(BUSY_MAX, NULL);
    return 0;
}

static bool drained(void) { return map_count(busy) == 0; }

static const struct param *const params[] = { queue_params, NULL };
static const struct service_path paths[] = { { .path = "maildrop", .write = true },
                                             { .path = "corrupt", .write = true },
                                             { .path = NULL } };
static const struct service pickup = {
    .name = "pickup",
    .summary = "hand mail from the maildrop directory to cleanup",
    .jail = JAIL_CHROOT,
    .may = MAY_OPEN | MAY_WRITE_FILES,
    .paths = paths,
    .params = params,
    .wakeup = scan,
    .solitary = true,
    .pre_jail = pre_jail,
    .drained = drained,
};

int main(int argc, char **argv) { return service_main(&pickup, argc, argv); }
