/*
 * finish - every recipient read so far has an outcome: tell the sender, then remove or defer the file
 *
 * The order: more recipients; the bounce log; the success reports; too old: all that is left becomes a failure; the
 * delay warning; and only then the file is removed, or goes to deferred/ until its next attempt.
 *
 * Callers     active.c: the last message_release of a message starts this in a fiber
 * Invariants  the file is removed only when no recipient is left and every notice is in the queue
 *             a step that fails keeps the file: it is deferred, and the step is done again at the next attempt
 */
#include "qmgr_internal.h"
#include "base/log.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool log_exists(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];
    struct stat st;

    queue_path(path, queue, id);
    return stat(path, &st) == 0 || errno != ENOENT;
}

static struct bounce_mail about(const struct message *m, int fd)
{
    return (struct bounce_mail){
        .queue_id = m->id,
        .sender = m->env.sender,
        .verp = m->env.verp,
        .envid = m->env.envelope_id,
        .ret = m->env.ret_flags,
        .encoding = m->env.encoding,
        .smtputf8 = (m->env.size.sendopts & QUEUE_SMTPUTF8_ASKED) != 0,
        .arrival = m->env.arrival_usec / 1000000,
        .fd = fd,
    };
}

static bool tell(const struct message *m, int fd, enum bounce_log log, const char *queue)
{
    struct bounce_mail mail = about(m, fd);
    struct err err;

    if (!(m->logs & 1u << log) || !log_exists(queue, m->id) || bounce_flush(log, &mail, &err) == 0)
        return true;
    log_warn("%s: notification of the sender: %s", m->id, err.text);
    return false;
}

static bool too_old(const struct message *m)
{
    int64_t lifetime = *m->env.sender ? conf_maximal_queue_lifetime : qmgr_bounce_lifetime;

    return m->expire || time_now() >= m->env.create_time + lifetime;
}

/* True: everybody who is left was told of as a failure; the message has ended. */
static bool expire(const struct message *m, int fd)
{
    size_t reasons = defer_reasons(m->id);
    struct str sender;

    /* Who is not in the log would not be told of: then the mail is kept. */
    if (reasons < m->deferred) {
        log_warn("%s: expired, but of %zu recipients only %zu have a reason in the defer log: tried again", m->id,
                 m->deferred, reasons);
        return false;
    }
    str_init(&sender, 0);
    addr_quote(&sender, slice_of(m->env.sender));
    log_info("%s: from=<%s>, status=%s, returned to sender", m->id, sender.p,
             m->expire ? "force-expired" : "expired");
    str_free(&sender);
    return tell(m, fd, BOUNCE_LOG_DEFER, QUEUE_DEFER);
}

static void warn_delayed(const struct message *m, int fd)
{
    struct bounce_mail mail = about(m, fd);
    struct err err;

    if (m->env.warn_time == 0 || m->env.warn_time > time_now())
        return;
    /* Marked first: a crash in between loses one warning; the other order could send one at each attempt. */
    if (queue_set_warn_time(fd, m->env.warn_offset, 0) < 0)
        log_warn("%s: mark the delay warning as sent: %s", m->id, strerror(errno));
    else if (bounce_warn(&mail, &err) < 0) {
        log_warn("%s: delay warning: %s", m->id, err.text);
        (void) queue_set_warn_time(fd, m->env.warn_offset, m->env.warn_time);
    }
}

static void defer(const struct message *m, int fd)
{
    int64_t age = time_now() - m->env.create_time;
    int64_t delay = age < qmgr_minimal_backoff   ? qmgr_minimal_backoff
                    : age > qmgr_maximal_backoff ? qmgr_maximal_backoff
                                                 : age;
    struct stat st;

    /* The "retry now" mark was obeyed. */
    if (m->flush && fstat(fd, &st) == 0 && fchmod(fd, (st.st_mode & 07777) & ~(mode_t) QUEUE_MODE_UNTHROTTLE) < 0)
        log_warn("%s: reset mode: %s", m->id, strerror(errno));
    if (queue_set_attempt(fd, time_now() + delay) < 0)
        log_warn("%s: set time of the next attempt: %s", m->id, strerror(errno));
    if (queue_move(m->id, QUEUE_ACTIVE, QUEUE_DEFERRED) < 0 && errno != ENOENT)
        log_warn("%s: move from %s to %s: %s: it stays until the next start", m->id, QUEUE_ACTIVE, QUEUE_DEFERRED,
                 strerror(errno));
}

static void remove_log(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    queue_path(path, queue, id);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("%s: remove %s: %s", id, path, strerror(errno));
}

static void end(const struct message *m)
{
    if (queue_remove(QUEUE_ACTIVE, m->id) < 0) {
        if (errno != ENOENT)
            log_warn("%s: remove queue file: %s", m->id, strerror(errno));
        return;
    }
    if (m->logs & 1u << BOUNCE_LOG_DEFER)
        remove_log(QUEUE_DEFER, m->id);
    log_info("%s: removed", m->id);
}

void message_corrupt(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];
    int fd;

    log_warn("saving corrupt file \"%s\" from queue \"%s\" to queue \"%s\"", id, queue, QUEUE_CORRUPT);
    fd = queue_open(queue, id, O_RDWR);
    if (fd >= 0 && fchmod(fd, QUEUE_MODE_CORRUPT) < 0)
        log_warn("%s: set mode: %s", id, strerror(errno));
    if (fd >= 0)
        close(fd);
    queue_path(path, QUEUE_CORRUPT, id);
    if (queue_move(id, queue, QUEUE_CORRUPT) < 0 && errno != ENOENT)
        log_fatal("move %s to %s: %s", id, path, strerror(errno));
}

void message_finish(void *arg)
{
    struct message *m = arg;
    int fd;
    bool told;

    if (m->env.more != 0 && message_more(m) == 0 && m->env.recipient_count > 0) {
        message_schedule(m);
        return;
    }
    if (m->env.more != 0)
        m->deferred++; /* they could not be read: next time */
    fd = message_open(m);
    if (fd < 0) { /* removed behind our back by postsuper, or out of descriptors: nothing is known, nothing is done */
        message_free(&m);
        return;
    }
    told = tell(m, fd, BOUNCE_LOG_BOUNCE, QUEUE_BOUNCE) && tell(m, fd, BOUNCE_LOG_TRACE, QUEUE_TRACE);
    if (told && m->deferred > 0 && too_old(m) && expire(m, fd))
        end(m);
    else if (told && m->deferred == 0)
        end(m);
    else {
        if (m->deferred > 0 && !too_old(m))
            warn_delayed(m, fd);
        defer(m, fd);
    }
    message_close(m, fd);
    message_free(&m);
}
