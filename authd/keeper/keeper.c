/*
 * keeper - holds clients in IDLE whose sessions sleep: a socket and two open directories each
 *
 * Callers     dispatcher, over one connection a process (lib/client/keeper.h)
 * Invariants  takes no more than it has descriptors for; whom it serves it is not told, and nothing that a client says
 *             is read
 *             when its connection ends, or the mail system stops, all it holds are told BYE
 * Privilege   own user, chroot, no files and no network but the descriptors it is given
 */
#include "sleep.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/keeper.h"
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { GREETING_MS = 30000, SPARE_DESCRIPTORS = 64, DESCRIPTORS_A_SESSION = 1 + DISPATCHER_SLEEP_DIRS };

static const char *keeper_user;
static int64_t sessions_per_process;
static const int64_t connections = 1;
static const struct param params[] = {
    { .name = "keeper_user",
      .type = PARAM_STRING,
      .str = &keeper_user,
      .def = "$login_user",
      .min = 1,
      .doc = "Account of the processes that hold the clients of sleeping IMAP sessions." },
    { .name = "keeper_sessions_per_process",
      .type = PARAM_INT,
      .num = &sessions_per_process,
      .def = "5000",
      .min = 1,
      .max = KEEPER_SESSIONS_MAX,
      .doc =
          "Sleeping IMAP sessions that one process holds; fewer where it may not open so many files, three for each "
          "session." },
    { .type = PARAM_END },
};

struct hold { /* the connection to dispatcher */
    struct stream *link;
    struct event_sem writer;
    struct list sleepers;
    struct event_cond ended;
    bool stopping;
};
struct held {
    struct list node;
    struct hold *hold;
    struct fiber *fiber;
    struct dispatcher_sleep how;
    char *notify; /* text of `how` */
    uint32_t number;
    int fd;
};

static int64_t room(void)
{
    struct rlimit limit;
    int64_t n = sessions_per_process;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < (rlim_t) (n * DESCRIPTORS_A_SESSION + SPARE_DESCRIPTORS))
        n = ((int64_t) limit.rlim_cur - SPARE_DESCRIPTORS) / DESCRIPTORS_A_SESSION;
    return n;
}

static int say(struct hold *h, struct msg **m, uint32_t id)
{
    size_t sent;
    int rc = -1;

    fiber_shield(true); /* half a frame would be the end of all sessions */
    if (event_sem_get(&h->writer, EVENT_NEVER) == 0) {
        rc = msg_send_fd(stream_fd(h->link), *m, id, EVENT_NEVER, &sent);
        event_sem_put(&h->writer);
    }
    fiber_shield(false);
    msg_free(m);
    return rc;
}

static void asleep(void *arg)
{
    struct held *s = arg;
    bool wakes = sleep_wait(s->fd, &s->how) == SLEEP_WAKE;
    struct msg *m = msg_new(wakes ? KEEPER_W_WAKE : KEEPER_W_ENDED);

    if (wakes)
        msg_put_fd(m, s->fd);
    (void) say(s->hold, &m, s->number); /* dispatcher gone: so are its sessions */
    close(s->fd);
    list_del(&s->node);
    event_cond_broadcast(&s->hold->ended);
    fiber_detach(s->fiber);
    free(s->notify);
    free(s);
}

static int take(struct hold *h, struct msg *m)
{
    struct held *s = mem_new(sizeof *s);

    if (keeper_hold_decode(m, &s->fd, &s->how) < 0) {
        free(s);
        return -1;
    }
    s->hold = h;
    s->how.notify = s->notify = mem_strdup(s->how.notify);
    s->number = msg_id(m);
    list_append(&h->sleepers, &s->node);
    s->fiber = fiber_new("asleep", asleep, s);
    if (h->stopping)
        fiber_cancel(s->fiber);
    return 0;
}

static void stop(struct hold *h)
{
    h->stopping = true;
    list_each(it, &h->sleepers) fiber_cancel(list_entry(it, struct held, node)->fiber);
}

static void serve_dispatcher(struct hold *h)
{
    struct msg *m = msg_new(KEEPER_W_ROOM);
    bool good;

    msg_put_num(m, "sessions", room());
    good = say(h, &m, 0) == 0;
    while (good && msg_recv(h->link, &m) == 0) {
        if (strcmp(msg_name(m), KEEPER_W_HOLD) == 0)
            good = take(h, m) == 0;
        else if ((good = strcmp(msg_name(m), KEEPER_W_STOP) == 0 && msg_done(m)))
            stop(h);
        if (!good)
            log_warn("dispatcher sent a frame \"%s\" that cannot be used", msg_name(m));
        msg_free(&m);
    }
}

static void session(struct stream *stream, const struct service_peer *peer)
{
    struct hold h = { .link = stream, .writer = { .permits = 1 } };

    (void) peer;
    list_init(&h.sleepers);
    stream_deadline(stream, time_mono_ms() + GREETING_MS);
    if (ipc_greet_server(stream, KEEPER_PROTOCOL, KEEPER_VERSION) < 0)
        return;
    stream_deadline(stream, EVENT_NEVER);
    serve_dispatcher(&h);
    stop(&h);
    fiber_shield(true); /* the sleepers use what stands on this stack */
    while (!list_empty(&h.sleepers))
        event_cond_wait(&h.ended, EVENT_NEVER);
    fiber_shield(false);
}

int main(int argc, char **argv)
{
    static const struct param *const tables[] = { params, NULL };
    static const struct service keeper = {
        .name = "keeper",
        .summary = "holds the clients of sleeping IMAP sessions",
        .jail = JAIL_CHROOT,
        .user = "$keeper_user",
        .params = tables,
        .session = session,
        .sessions_max = &connections,
        .pre_jail = sleep_open,
    };

    return service_main(&keeper, argc, argv);
}
