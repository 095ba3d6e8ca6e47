/*
 * active - messages in active/: taken in, held in memory, given back at start
 *
 * Callers     scan.c, qmgr.c ("arrived")
 * Invariants  rename decides who takes a file: two feeds of one id leave one message
 *             a file whose lock another process holds is being delivered by an agent of an earlier queue manager:
 *             it is looked at again later, never delivered twice
 * Errors      a malformed file goes to corrupt/; a passing fault puts the file into deferred/
 */
#include "qmgr_internal.h"
#include "base/log.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOCKED_SECONDS = 10, ABANDONED_SECONDS = 24 * 3600 };

static size_t count;           /* messages in memory */
static size_t open_files;      /* of them, with the file kept open */
static size_t recipient_count; /* in memory */
static time_t recovered;       /* when this process took over what another had left */

size_t active_count(void) { return count; }

int active_recover(void)
{
    struct queue_scan *scan = queue_scan_open(QUEUE_ACTIVE);
    const char *id, *path;
    size_t moved = 0;

    if (scan == NULL) {
        log_error("open queue %s: %s", QUEUE_ACTIVE, strerror(errno));
        return -1;
    }
    while ((id = queue_scan_next(scan, &path)) != NULL) {
        if (queue_move(id, QUEUE_ACTIVE, QUEUE_INCOMING) == 0)
            moved++;
        else if (errno != ENOENT) {
            log_error("move %s from %s to %s: %s", id, QUEUE_ACTIVE, QUEUE_INCOMING, strerror(errno));
            queue_scan_free(&scan);
            return -1;
        }
    }
    queue_scan_free(&scan);
    recovered = time_now();
    if (moved > 0)
        log_debug("%zu messages go on where the last queue manager stopped", moved);
    return 0;
}

int message_open(struct message *m)
{
    int fd;

    if (m->fd >= 0)
        return m->fd;
    fd = queue_open(QUEUE_ACTIVE, m->id, O_RDWR);
    if (fd < 0)
        log_warn("%s: open queue file: %s", m->id, strerror(errno));
    else if (queue_lock(fd, false, false) < 0)
        log_warn("%s: lock queue file: %s", m->id, strerror(errno));
    return fd;
}

void message_close(struct message *m, int fd)
{
    if (fd >= 0 && fd != m->fd)
        close(fd);
}

void message_hold(struct message *m) { m->pending++; }

void message_release(struct message *m)
{
    if (--m->pending == 0)
        fiber_go("finish", message_finish, m);
}

static void count_recipients(struct message *m)
{
    recipient_count += m->env.recipient_count - m->counted;
    m->counted = m->env.recipient_count;
}

static size_t recipients_max(void)
{
    size_t most = (size_t) qmgr_recipient_limit, least = (size_t) qmgr_recipient_minimum;

    return recipient_count + least >= most ? least : most - recipient_count;
}

int message_more(struct message *m)
{
    struct err err;
    int fd = message_open(m), status;

    status = fd < 0 ? -1 : queue_envelope_more(fd, recipients_max(), &m->env, &err);
    if (fd >= 0 && status < 0)
        log_warn("%s: %s", m->id, err.text);
    message_close(m, fd);
    count_recipients(m);
    return status;
}

void message_free(struct message **m)
{
    struct message *old = *m;

    *m = NULL;
    for (struct job *j = old->jobs, *next; j != NULL; j = next) {
        next = j->next;
        job_free(&j);
    }
    recipient_count -= old->counted;
    queue_envelope_free(&old->env);
    if (old->fd >= 0) {
        close(old->fd);
        open_files--;
    }
    free(old);
    count--;
    scan_room();
}

static void log_active(const struct message *m)
{
    struct str sender;
    int64_t rest = m->env.more ? m->env.size.recipients - (int64_t) (m->env.done + m->env.recipient_count) : 0;

    str_init(&sender, 0);
    addr_quote(&sender, slice_of(m->env.sender));
    log_info("%s: from=<%s>, size=%lld, nrcpt=%lld (queue active)", m->id, sender.p,
             (long long) m->env.size.data_bytes,
             (long long) (rest > 0 ? rest : 0) + (long long) m->env.recipient_count);
    str_free(&sender);
}

/* The file is in active/ and ours. */
static void start(const char *id, int fd, mode_t mode, bool fresh)
{
    struct message *m = mem_new(sizeof *m);
    struct err err;

    count++;
    snprintf(m->id, sizeof m->id, "%s", id);
    m->fd = -1;
    m->active_us = time_now_us();
    m->expire = (mode & QUEUE_MODE_EXPIRE) != 0;
    m->flush = (mode & QUEUE_MODE_UNTHROTTLE) != 0;
    m->logs = fresh ? 0 : DELIVER_LOGS;
    if (queue_envelope_read(fd, recipients_max(), &m->env, &err) < 0) {
        bool corrupt = errno == EBADMSG;

        log_warn("%s: %s", id, err.text);
        if (corrupt)
            message_corrupt(QUEUE_ACTIVE, id);
        else if (queue_set_attempt(fd, time_now() + qmgr_minimal_backoff) < 0 ||
                 queue_move(id, QUEUE_ACTIVE, QUEUE_DEFERRED) < 0)
            log_fatal("%s: move from %s to %s: %s", id, QUEUE_ACTIVE, QUEUE_DEFERRED, strerror(errno));
        close(fd);
        message_free(&m);
        return;
    }
    if (open_files < deliver_max()) {
        m->fd = fd;
        open_files++;
    } else
        close(fd);
    count_recipients(m);
    log_active(m);
    message_schedule(m);
}

/* A file that a cleanup did not finish before it was killed: nobody was told that it was taken. A living cleanup
 * holds the lock; the age is for the moment between its open and its lock. */
static void remove_abandoned(const char *queue, const char *id, int fd, const struct stat *st)
{
    if (strcmp(queue, QUEUE_INCOMING) != 0 || st->st_mtime > time_now() - ABANDONED_SECONDS ||
        queue_lock(fd, true, false) < 0)
        return;
    if (queue_remove(queue, id) == 0)
        log_info("%s: removed from %s, was never finished", id, queue);
    else if (errno != ENOENT)
        log_warn("%s: remove from %s: %s", id, queue, strerror(errno));
}

/* What failed last time is about to be tried again: its reasons are old. */
static void forget_reasons(const char *id)
{
    char log[QUEUE_PATH_BYTES];

    queue_path(log, QUEUE_DEFER, id);
    if (unlink(log) < 0 && errno != ENOENT)
        log_warn("%s: remove %s: %s", id, log, strerror(errno));
}

static void feed(const char *queue, const char *id, bool ignore_time, bool announced)
{
    struct stat st = { 0 };
    int fd = queue_open_stat(queue, id, O_RDWR, &st);

    if (fd < 0) {
        if (errno != ENOENT)
            log_warn("%s: open queue file in %s: %s", id, queue, strerror(errno));
        return;
    }
    if (!queue_is_ready(&st) || (st.st_mtime > time_now() && !ignore_time && !(st.st_mode & QUEUE_MODE_UNTHROTTLE))) {
        if (!queue_is_ready(&st))
            remove_abandoned(queue, id, fd, &st);
        close(fd);
        return;
    }
    /* Only what is younger than this process has surely had no agent, whose lock or logs there might be: one that was
     * killed may have begun with it. */
    bool fresh = announced && st.st_mtime > recovered;
    if (!fresh && queue_lock(fd, true, false) < 0) {
        if (strcmp(queue, QUEUE_INCOMING) != 0)
            log_info("%s: skipped, still being delivered", id);
        scan_incoming_in(LOCKED_SECONDS);
        close(fd);
        return;
    }
    if (queue_lock(fd, false, false) < 0 || queue_move(id, queue, QUEUE_ACTIVE) < 0) {
        if (errno != ENOENT)
            log_warn("%s: move from %s to %s: %s", id, queue, QUEUE_ACTIVE, strerror(errno));
        close(fd);
        return;
    }
    if (!fresh)
        forget_reasons(id);
    start(id, fd, st.st_mode, fresh);
}

void active_feed(const char *queue, const char *id, bool ignore_time) { feed(queue, id, ignore_time, false); }
void active_arrived(const char *id) { feed(QUEUE_INCOMING, id, false, true); }
