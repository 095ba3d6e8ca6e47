/*
 * qmgr - mail waits here: the active queue, who is delivered when, what is tried again
 *
 * Callers     cleanup ("arrived"), master (wake-up), postqueue and postsuper (triggers): lib/client/qmgr.h
 * Invariants  one process; it alone renames files into and out of active/
 *             a file leaves the queue when each recipient is delivered or its failure is reported; a crash at any
 *             point leaves a queue that the next start repairs: active/ goes back to incoming/, recipients that are
 *             marked done are not delivered again
 * Units       seconds, unless a name says otherwise
 * Errors      anything doubtful defers
 * Privilege   chroot, mail_owner, the queue's directories; agents get descriptors, no paths
 */
#include "qmgr_internal.h"
#include "client/qmgr.h"
#include "base/log.h"
#include "base/time.h"
#include <stdio.h>

enum { SWEEP_MS = 5000, STOP_WAIT_MS = 5000 /* for deliveries: agents end theirs without us */ };

int64_t qmgr_active_limit, qmgr_recipient_limit, qmgr_recipient_minimum, qmgr_minimal_backoff, qmgr_maximal_backoff,
    qmgr_bounce_lifetime, qmgr_transport_retry, qmgr_agent_seconds, qmgr_queue_run_delay;
const char *qmgr_defer_transports;
struct schedule qmgr_schedule;

static const struct param params[] = {
    { .name = "qmgr_message_active_limit",
      .type = PARAM_INT,
      .num = &qmgr_active_limit,
      .def = "20000",
      .min = 1,
      .max = 1000000,
      .doc = "Messages in the active queue." },
    { .name = "qmgr_message_recipient_limit",
      .type = PARAM_INT,
      .num = &qmgr_recipient_limit,
      .def = "20000",
      .min = 1,
      .max = 1000000,
      .doc = "Recipients held in memory by the queue manager." },
    { .name = "qmgr_message_recipient_minimum",
      .type = PARAM_INT,
      .num = &qmgr_recipient_minimum,
      .def = "10",
      .min = 1,
      .max = 100000,
      .doc = "Recipients of a message that are always held in memory." },
    { .name = "minimal_backoff_time",
      .type = PARAM_SECONDS,
      .num = &qmgr_minimal_backoff,
      .def = "300s",
      .min = 1,
      .max = 8640000,
      .doc = "Shortest time between two attempts, and how long a dead destination is left alone." },
    { .name = "maximal_backoff_time",
      .type = PARAM_SECONDS,
      .num = &qmgr_maximal_backoff,
      .def = "4000s",
      .min = 1,
      .max = 8640000,
      .doc = "Longest time between two attempts." },
    { .name = "bounce_queue_lifetime",
      .type = PARAM_SECONDS,
      .num = &qmgr_bounce_lifetime,
      .def = "5d",
      .min = 0,
      .max = 8640000,
      .doc = "Age at which an undelivered notification is given up." },
    { .name = "transport_retry_time",
      .type = PARAM_SECONDS,
      .num = &qmgr_transport_retry,
      .def = "60s",
      .min = 1,
      .max = 86400,
      .doc = "How long a delivery agent that failed is left alone." },
    { .name = "qmgr_daemon_timeout",
      .type = PARAM_SECONDS,
      .num = &qmgr_agent_seconds,
      .def = "1000s",
      .min = 1,
      .max = 86400,
      .doc = "How long the queue manager waits for a delivery agent to take a connection." },
    { .name = "queue_run_delay",
      .type = PARAM_SECONDS,
      .num = &qmgr_queue_run_delay,
      .def = "300s",
      .min = 1,
      .max = 8640000,
      .doc = "Time between two scans of the deferred queue." },
    { .name = "defer_transports",
      .type = PARAM_STRING,
      .str = &qmgr_defer_transports,
      .def = "",
      .doc = "Transports whose mail is kept until the queue is flushed and this list is changed." },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { params, qmgr_limit_params, queue_params, NULL };
static int64_t stop_asked_ms;

static void on_arrived(struct service_conn *c, struct msg *in)
{
    char id[QUEUE_ID_BYTES];

    (void) c;

    snprintf(id, sizeof id, "%s", msg_get_str(in, "queue_id", QUEUE_ID_BYTES - 1));
    bool good = msg_done(in) && queue_id_valid(id);
    if (!good)
        log_warn("malformed announcement of a message");
    else if (service_stopping())
        return;
    else if (active_count() >= (size_t) qmgr_active_limit)
        scan_request(true, false, false);
    else
        active_arrived(id);
}

static void on_trigger(const char *bytes, size_t len)
{
    bool incoming = false, deferred = false, all = false;

    for (size_t i = 0; i < len; i++)
        switch (bytes[i]) {
        case QMGR_SCAN_DEFERRED: deferred = true; break;
        case QMGR_SCAN_INCOMING:
        case QMGR_WAKEUP: incoming = true; break;
        case QMGR_SCAN_ALL: all = true; break;
        case QMGR_FLUSH_DEAD: schedule_revive(&qmgr_schedule); break;
        default: log_debug("ignored trigger %d", bytes[i]);
        }
    scan_request(incoming, deferred, all);
    deliver_dispatch();
}

static void on_wakeup(void) { scan_request(true, false, false); }

static void on_queue_run(void *arg)
{
    (void) arg;
    scan_request(false, true, false);
}

static void on_sweep(void *arg)
{
    int64_t now = time_mono_ms();

    (void) arg;
    schedule_sweep(&qmgr_schedule, now);
    agents_sweep(now);
}

static int start(void)
{
    schedule_init(&qmgr_schedule);
    if (limits_check() < 0 || active_recover() < 0)
        return -1;
    scan_start();
    (void) event_timer_every(qmgr_queue_run_delay * 1000, on_queue_run, NULL);
    (void) event_timer_every(SWEEP_MS, on_sweep, NULL);
    return 0;
}

static bool drained(void)
{
    int64_t now = time_mono_ms();

    if (stop_asked_ms == 0)
        stop_asked_ms = now;
    return deliver_busy() == 0 || now - stop_asked_ms >= STOP_WAIT_MS;
}

static const struct service_path paths[] = {
    { .path = QUEUE_INCOMING, .write = true },
    { .path = QUEUE_ACTIVE, .write = true },
    { .path = QUEUE_DEFERRED, .write = true },
    { .path = QUEUE_CORRUPT, .write = true },
    { .path = QUEUE_DEFER, .write = true },
    { .path = QUEUE_BOUNCE },
    { .path = QUEUE_TRACE },
    { .path = NULL },
};
static const struct service_request requests[] = { { .name = "arrived", .run = on_arrived }, { .name = NULL } };
static const struct service qmgr = {
    .name = "qmgr",
    .summary = "queue manager: schedules deliveries",
    .jail = JAIL_CHROOT,
    .may = MAY_OPEN | MAY_WRITE_FILES,
    .paths = paths,
    .params = tables,
    .protocol = QMGR_PROTOCOL,
    .version = QMGR_VERSION,
    .requests = requests,
    .wakeup = on_wakeup,
    .trigger = on_trigger,
    .solitary = true,
    .post_jail = start,
    .drained = drained,
};

int main(int argc, char **argv) { return service_main(&qmgr, argc, argv); }
