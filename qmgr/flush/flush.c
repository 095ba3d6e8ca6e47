/*
 * flush - tries one message, or the mail for one destination, now
 *
 * Speaks Postfix's attribute protocol: after the greeting "protocol=queue_flush_protocol" one request of "name NUL value NUL"
 * pairs, ended by a NUL, and one answer, "status":
 *   send_file queue_id   that message
 *   send_site site       all deferred mail for recipients of that domain, if fast_flush_domains lists it
 *   add, refresh, purge  what Postfix's own daemons ask: there is no log of destinations to keep; the queue itself is read
 *
 * Callers     postqueue -i, -s, sendmail -qI, -qR; other people's programs
 * Invariants  a message that is tried now is in incoming/, with the mark that makes qmgr forget what it knows against its
 *             destinations
 * Errors      a message that is not deferred is left alone; the status is that of Postfix's
 * Privilege   chroot, mail_owner; deferred/ and incoming/
 */
#include "client/qmgr.h"
#include "queue/file.h"
#include "service/service.h"
#include "table/match.h"
#include "table/table.h"
#include "base/log.h"
#include "base/time.h"
#include "conf/param.h"
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { WAIT_MS = 60 * 1000, RECIPIENTS_MAX = 100000 };
enum status { STATUS_OK = 0, STATUS_DENIED = 4, STATUS_BAD = 3 };

static struct match *domains;

static int read_request(struct stream *s, struct flush_request *r)
{
    char bytes[FLUSH_REQUEST_BYTES + 1];
    size_t len = 0;
    ssize_t n;
    int rc = 0;

    while (rc == 0) {
        n = stream_read(s, bytes + len, sizeof bytes - len);
        if (n <= 0)
            return -1;
        len += (size_t) n;
        rc = flush_request_parse(slice_make(bytes, len), r);
    }
    return rc;
}

static bool send_one(const char *id)
{
    int fd = queue_open(QUEUE_DEFERRED, id, O_RDWR);
    struct stat st;
    bool ok;

    if (fd < 0)
        return false;
    ok = fstat(fd, &st) == 0 && queue_is_ready(&st) &&
         fchmod(fd, (st.st_mode & 07777) | QUEUE_MODE_UNTHROTTLE) == 0 && queue_set_attempt(fd, time_now()) == 0 &&
         queue_move(id, QUEUE_DEFERRED, QUEUE_INCOMING) == 0;
    if (!ok && errno != ENOENT)
        log_warn("%s: flush: %s", id, strerror(errno));
    close(fd);
    return ok;
}

static bool goes_to(const char *path, const char *site)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct queue_envelope e;
    bool found = false;

    if (fd < 0)
        return false;
    if (queue_envelope_read(fd, RECIPIENTS_MAX, &e, NULL) == 0) {
        for (size_t i = 0; i < e.recipient_count && !found; i++) {
            const char *at = strrchr(e.recipients[i].address, '@');
            found = at && slice_caseeq(slice_of(at + 1), site);
        }
        queue_envelope_free(&e);
    }
    close(fd);
    return found;
}

static size_t send_site(const char *site)
{
    struct queue_scan *scan = queue_scan_open(QUEUE_DEFERRED);
    const char *id, *path;
    size_t count = 0;

    if (scan == NULL) {
        log_warn("open queue %s: %s", QUEUE_DEFERRED, strerror(errno));
        return 0;
    }
    while (!service_stopping() && (id = queue_scan_next(scan, &path)) != NULL) {
        if (goes_to(path, site)) {
            char copy[QUEUE_ID_BYTES];
            snprintf(copy, sizeof copy, "%s", id);
            count += send_one(copy);
        }
        fiber_slice();
    }
    queue_scan_free(&scan);
    return count;
}

static void answer(struct stream *s, enum status status)
{
    stream_printf(s, "status%c%d%c%c", 0, (int) status, 0, 0);
    (void) stream_flush(s);
}

static void serve_file(struct stream *s, const char *id)
{
    if (!queue_id_valid(id)) {
        answer(s, STATUS_BAD);
        return;
    }
    if (send_one(id))
        (void) qmgr_trigger("I");
    answer(s, STATUS_OK);
}

/* Answered first: who asks need not wait for a look at the whole queue. */
static void serve_site(struct stream *s, const char *site)
{
    if (match_domain(domains, site) != LOOKUP_FOUND) {
        answer(s, STATUS_DENIED);
        return;
    }
    answer(s, STATUS_OK);
    if (send_site(site) > 0)
        (void) qmgr_trigger("I");
}

static void session(struct stream *s, const struct service_peer *peer)
{
    struct flush_request r;

    (void) peer;
    stream_timeout(s, WAIT_MS);
    stream_printf(s, "protocol%cqueue_flush_protocol%c%c", 0, 0, 0);
    if (stream_flush(s) < 0 || read_request(s, &r) < 0)
        return;
    switch (r.what) {
    case FLUSH_SEND_FILE: serve_file(s, r.queue_id); break;
    case FLUSH_SEND_SITE: serve_site(s, r.site); break;
    case FLUSH_NOTHING: answer(s, STATUS_OK); break;
    case FLUSH_UNKNOWN: answer(s, STATUS_BAD); break;
    }
}

static int pre_jail(void)
{
    domains = match_new("fast_flush_domains", conf_fast_flush_domains);
    return 0;
}

static const struct param *const params[] = { queue_params, NULL };
static const struct service_path paths[] = { { .path = QUEUE_DEFERRED, .write = true },
                                             { .path = QUEUE_INCOMING, .write = true },
                                             { .path = NULL } };
static const struct service flush = {
    .name = "flush",
    .summary = "tries deferred mail for one destination now",
    .jail = JAIL_CHROOT,
    .may = MAY_OPEN | MAY_WRITE_FILES,
    .paths = paths,
    .params = params,
    .pre_jail = pre_jail,
    .stale = table_restart,
    .session = session,
};

int main(int argc, char **argv) { return service_main(&flush, argc, argv); }
