/*
 * showq - lists the mail queue
 *
 * Callers     postqueue and other people's programs that connect to public/showq: nothing is asked, the list comes
 * Invariants  read only
 * Errors      what cannot be read is left out
 * Privilege   chroot to the queue directory, mail_owner; reads the queues and the logs of deferred mail
 */
#include "queue/listing.h"
#include "queue/dir.h"
#include "service/service.h"

enum { WRITE_MS = 300 * 1000 };

static int put(void *ctx, struct slice bytes)
{
    stream_write(ctx, bytes.p, bytes.len);
    fiber_slice();
    return stream_error(ctx) ? -1 : 0;
}

static void session(struct stream *s, const struct service_peer *peer)
{
    (void) peer;
    stream_timeout(s, WRITE_MS);
    if (queue_listing(put, s) == 0)
        (void) stream_flush(s); /* a client that went away needs no list */
}

static const struct param *const params[] = { queue_params, NULL };
static const struct service_path paths[] = {
    { .path = "maildrop" }, { .path = "incoming" }, { .path = "active" }, { .path = "deferred" },
    { .path = "hold" },     { .path = "defer" },    { .path = "bounce" }, { .path = NULL },
};
static const struct service showq = {
    .name = "showq",
    .summary = "list the mail queue",
    .jail = JAIL_CHROOT,
    .may = MAY_OPEN,
    .paths = paths,
    .params = params,
    .session = session,
};

int main(int argc, char **argv) { return service_main(&showq, argc, argv); }
