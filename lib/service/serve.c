/*
 * serve - listeners, sessions, and the end of a process
 *
 * Invariants  a connection is taken only by who will serve it: a process that is full, stale or ending leaves it to
 *             the others in the listener's queue
 *             listeners are watched by every process of a service, not by one at a time: a process that dies with the
 *             wake-up in its hands would take the client's turn with it
 *             draining never breaks a session; only "stop" cancels what is left after STOP_GRACE_MS
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "ipc/msg.h"
#include "service/channel.h"
#include "service/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    STOP_GRACE_MS = 2000,
    STOP_UNWIND_MS = 5000,
    DRAIN_LOOK_MS = 200,
    STALE_TIMER_MS = 5000,
    STALE_LOOK_MS = 250,
    STATUS_MS = 200,
    FULL_WAIT_MS = 1000,
    FIRST_BYTE_MS = 10000,
    TRIGGER_BYTES = 100,
    DATAGRAMS_AT_ONCE = 16,
    NAP_NS = 500000,
};

struct session {
    struct list node;
    struct fiber *fiber;
    int fd;
};
static struct list sessions = { &sessions, &sessions };
static int64_t session_count, resting, use_count, idle_since;
static bool draining, stopping, taking = true;
static struct event_cond room, ended;
static struct fiber *acceptors[SERVICE_LISTENERS_MAX];
static bool status_due;
static int64_t stale_looked;
static bool wakeup_running, wakeup_again;

bool serve_draining(void) { return draining; }
bool serve_stopped(void) { return stopping; }

static int64_t sessions_limit(void)
{
    const struct service *svc = service_state.svc;
    int64_t limit = svc->sessions_max ? *svc->sessions_max : 0;

    if (svc->exclusive && service_state.quota > 0 && (limit == 0 || service_state.quota < limit))
        limit = service_state.quota;
    return limit;
}

static bool has_room(void)
{
    int64_t limit = sessions_limit();

    return limit <= 0 || session_count < limit;
}

static void say_status(void)
{
    struct msg *m = msg_new(CHANNEL_STATUS);

    status_due = false;
    msg_put_num(m, "sessions", session_count);
    msg_put_num(m, "taking", taking);
    msg_put_num(m, "ending", draining);
    msg_put_num(m, "uses", use_count);
    channel_say(&m);
}

static void say_later(void *unused)
{
    (void) unused;
    event_sleep(STATUS_MS);
    if (status_due)
        say_status();
}

/* Master must know at once when nobody takes connections any more; the rest may wait a moment and be summed up. */
static void status_changed(void)
{
    bool now = !draining && has_room();

    if (service_state.alone)
        return;
    if (now != taking || draining) {
        taking = now;
        say_status();
    } else if (!status_due) {
        status_due = true;
        fiber_go("status", say_later, NULL);
    }
}

void serve_quota(int64_t n)
{
    service_state.quota = n;
    status_changed();
    event_cond_broadcast(&room);
}

void serve_idle_from(int64_t ms)
{
    if (ms > idle_since)
        idle_since = ms;
}

void service_rest(bool begins)
{
    resting += begins ? 1 : -1;
    idle_since = begins ? time_mono_ms() : idle_since;
}

static void session_begin(struct session *s)
{
    s->fiber = fiber_self();
    list_append(&sessions, &s->node);
}

static bool used_up(void)
{
    int64_t places = service_state.svc->use_each ? sessions_limit() : 1;

    return service_state.max_use > 0 && use_count / (places > 0 ? places : 1) >= service_state.max_use;
}

static void session_end(struct session *s)
{
    list_del(&s->node);
    free(s);
    event_solo(--session_count <= 1);
    if (service_state.svc->protocol == NULL && !service_state.svc->rests)
        idle_since = time_mono_ms();
    if (used_up() && !service_state.svc->solitary && !service_state.alone)
        serve_drain(SERVE_RELOAD);
    status_changed();
    event_cond_signal(&room);
    event_cond_broadcast(&ended);
}

/* Postfix's triggers: a few letters on a connection of their own. */
static void take_triggers(const char *bytes, size_t len)
{
    const struct service *svc = service_state.svc;

    if (svc->wakeup && (memchr(bytes, 'W', len) || svc->trigger == NULL))
        serve_wakeup();
    if (svc->trigger && len > 0)
        svc->trigger(bytes, len);
}

/* The first byte tells a trigger (a letter) from a frame (a length, whose first byte is 0). */
static bool is_trigger(int fd)
{
    char c = 0;
    ssize_t n;

    if (service_state.svc->session || (service_state.svc->trigger == NULL && service_state.svc->wakeup == NULL))
        return false; /* a text protocol may wait for the server to speak first */
    if (service_state.svc->protocol == NULL)
        return true;
    while ((n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT)) < 0 && (errno == EAGAIN || errno == EINTR))
        if (event_wait_fd(fd, EVENT_READ, time_mono_ms() + FIRST_BYTE_MS) < 0)
            return false;
    return n == 1 && ascii_isalpha(c);
}

static void serve_trigger(int fd)
{
    char bytes[TRIGGER_BYTES];
    ssize_t n = -1;

    if (event_wait_fd(fd, EVENT_READ, time_mono_ms() + FIRST_BYTE_MS) >= 0)
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    event_forget_fd(fd);
    close(fd);
    if (n > 0)
        take_triggers(bytes, (size_t) n);
}

/* A "pass" service gets its client's socket as a descriptor over the connection. */
static int receive_passed(int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char byte[TRIGGER_BYTES];
    struct iovec iov = { byte, sizeof byte };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space };
    struct cmsghdr *c;
    int passed = -1;

    mh.msg_controllen = sizeof control.space;
    if (event_wait_fd(fd, EVENT_READ, time_mono_ms() + FIRST_BYTE_MS) >= 0 &&
        recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) > 0 && (c = CMSG_FIRSTHDR(&mh)) != NULL &&
        c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof passed))
        memcpy(&passed, CMSG_DATA(c), sizeof passed);
    event_forget_fd(fd);
    close(fd);
    return passed;
}

static void serve_text(struct stream *s, int fd)
{
    struct sockaddr_storage addr = { 0 }, server = { 0 };
    struct service_peer peer = { .endpoint = "" };
    struct sockaddr_un own = { 0 };
    socklen_t len = sizeof addr;

    if (getpeername(fd, (struct sockaddr *) &addr, &len) == 0 && addr.ss_family != AF_UNIX) {
        peer.addr = (struct sockaddr *) &addr;
        peer.addr_len = len;
        len = sizeof server;
        if (getsockname(fd, (struct sockaddr *) &server, &len) == 0) {
            peer.server_addr = (struct sockaddr *) &server;
            peer.server_addr_len = len;
        }
    } else {
        len = sizeof own - 1; /* a path that fills it has no NUL */
        if (getsockname(fd, (struct sockaddr *) &own, &len) == 0 && own.sun_family == AF_UNIX)
            peer.endpoint = own.sun_path;
    }
    service_state.svc->session(s, &peer);
}

static void session_body(void *arg)
{
    struct session *s = arg;
    int fd = s->fd;

    session_begin(s);
    if (service_state.kind == KIND_PASS)
        fd = receive_passed(fd);
    if (fd >= 0 && service_state.kind == KIND_UNIX && is_trigger(fd)) {
        serve_trigger(fd);
    } else if (fd >= 0) {
        /* What was accepted is as its listener is, and as accept was told. */
        struct stream *stream = service_state.kind == KIND_PASS ? stream_new(fd) : stream_accepted(fd);
        if (service_state.svc->session)
            serve_text(stream, fd);
        else if (service_state.svc->protocol)
            request_serve(stream);
        stream_flush(stream);
        stream_free(&stream);
    }
    session_end(s);
}

bool serve_stale(void)
{
    int64_t now = time_mono_ms();

    if (draining || now - stale_looked < STALE_LOOK_MS)
        return false;
    stale_looked = now;
    return watch_changed() || (service_state.svc->stale && service_state.svc->stale());
}

static void start_session(int fd)
{
    struct session *s = mem_new(sizeof *s);

    s->fd = fd;
    list_init(&s->node);
    event_solo(++session_count <= 1);
    use_count++;
    status_changed();
    fiber_go(service_state.svc->name, session_body, s);
}

static int listener_ready(int fd)
{
    if (!has_room()) {
        event_forget_fd(fd);
        return event_cond_wait(&room, EVENT_NEVER) < 0 ? -1 : 0;
    }
    if (event_wait_fd(fd, EVENT_READ, EVENT_NEVER) < 0)
        return -1;
    if (!service_state.alone && serve_stale()) {
        serve_drain(SERVE_RELOAD);
        return -1;
    }
    return has_room() ? 1 : 0;
}

/* Master connects as root, or as the user who runs the whole. */
static bool welcome(int client)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (!service_state.svc->introduced || service_state.alone)
        return true;
    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid()))
        return true;
    log_warn("turned away process %ld of uid %u: only master connects to this service", (long) peer.pid,
             (unsigned) peer.uid);
    return false;
}

static void accept_clients(int index)
{
    int fd = service_state.listeners[index];

    while (!draining) {
        int ready = listener_ready(fd), client;
        if (ready < 0)
            break;
        if (ready == 0)
            continue;
        client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client >= 0 && welcome(client))
            start_session(client);
        else if (client >= 0)
            close(client);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("cannot accept a connection: %s", strerror(errno));
            event_sleep(FULL_WAIT_MS);
        }
    }
}

/* All that have arrived are taken by one call. Then those to come gather for a moment that is too short to be missed by
 * anybody, and shorter than it takes them to fill the queue (10 by the kernel's default): under load the senders wake
 * this process once in NAP_NS, not once a datagram. One that finds it idle is taken at once. */
static void read_datagrams(int fd)
{
    static char bytes[DATAGRAMS_AT_ONCE][SERVICE_DATAGRAM_BYTES];
    struct iovec iov[DATAGRAMS_AT_ONCE];
    struct mmsghdr in[DATAGRAMS_AT_ONCE];

    static const struct timespec nap = { .tv_nsec = NAP_NS };

    while (!draining) {
        for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
            iov[i] = (struct iovec){ bytes[i], sizeof bytes[i] };
            in[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i], .msg_iovlen = 1 } };
        }
        int n = recvmmsg(fd, in, DATAGRAMS_AT_ONCE, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++)
            service_state.svc->datagram(bytes[i], in[i].msg_len);
        if (n > 0 && service_state.svc->datagrams_end)
            service_state.svc->datagrams_end();
        if (n == DATAGRAMS_AT_ONCE)
            continue;
        if (n > 0) {
            idle_since = time_mono_ms();
            nanosleep(&nap, NULL);
        } else if (errno == EAGAIN && event_wait_fd(fd, EVENT_READ, EVENT_NEVER) < 0) {
            break;
        }
    }
}

static void read_fifo(int fd)
{
    char bytes[TRIGGER_BYTES];

    while (!draining) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n > 0)
            take_triggers(bytes, (size_t) n);
        else if (event_wait_fd(fd, EVENT_READ, EVENT_NEVER) < 0)
            break;
    }
}

static void listen_body(void *arg)
{
    int index = (int) (intptr_t) arg, fd = service_state.listeners[index], one = 1;

    if (service_state.kind == KIND_INET)
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (service_state.kind == KIND_DGRAM)
        read_datagrams(fd);
    else if (service_state.kind == KIND_FIFO)
        read_fifo(fd);
    else
        accept_clients(index);
    event_forget_fd(fd);
}

void serve_wakeup(void)
{
    if (service_state.svc->wakeup == NULL) {
        if (service_state.svc->trigger)
            service_state.svc->trigger("W", 1);
        return;
    }
    wakeup_again = true;
    if (wakeup_running)
        return;
    wakeup_running = true;
    while (wakeup_again && !stopping) {
        wakeup_again = false;
        service_state.svc->wakeup();
    }
    wakeup_running = false;
    idle_since = time_mono_ms();
    event_cond_broadcast(&ended);
}

static bool is_drained(void)
{
    const struct service *svc = service_state.svc;

    return session_count == 0 && !wakeup_running && (svc->drained == NULL || svc->drained());
}

static void cancel_sessions(void)
{
    list_each(it, &sessions) fiber_cancel(list_entry(it, struct session, node)->fiber);
    request_cancel();
}

static void drain_body(void *unused)
{
    int64_t cancel_at = 0, give_up_at = EVENT_NEVER;

    (void) unused;
    while (!is_drained() && time_mono_ms() < give_up_at) {
        if (stopping && cancel_at == 0)
            cancel_at = time_mono_ms() + STOP_GRACE_MS;
        if (cancel_at && time_mono_ms() >= cancel_at && give_up_at == EVENT_NEVER) {
            give_up_at = time_mono_ms() + STOP_UNWIND_MS;
            cancel_sessions();
        }
        request_close_idle();
        if (event_cond_wait(&ended, time_mono_ms() + DRAIN_LOOK_MS) < 0 && errno == ECANCELED)
            break;
    }
    if (service_state.svc->stop)
        service_state.svc->stop();
    event_stop();
}

void serve_drain(enum serve_end how)
{
    if (how == SERVE_STOP)
        stopping = true;
    if (draining)
        return;
    draining = true;
    for (int i = 0; i < service_state.listener_count; i++)
        if (acceptors[i])
            fiber_cancel(acceptors[i]);
    status_changed();
    request_bye();
    fiber_go("drain", drain_body, NULL);
}

static void on_term(void *unused)
{
    (void) unused;
    serve_drain(SERVE_STOP);
}

/* Where connections are kept, no new one may come to ask. */
static void look_for_staleness(void *unused)
{
    (void) unused;
    if (serve_stale())
        serve_drain(SERVE_RELOAD);
}

/* Clients keep their connections for a next question: who has not been asked one for so long is idle too, and its
 * clients, told so, come to a new process when they have one. */
static void look_for_idleness(void *unused)
{
    int64_t since = time_mono_ms() - service_state.max_idle * 1000;

    (void) unused;
    if (!draining && session_count == request_idle(since) + resting && !wakeup_running && idle_since <= since)
        serve_drain(SERVE_RELOAD);
}

/* The watchdog: as long as the loop turns, the alarm is put off. */
static void put_off_alarm(void *unused)
{
    (void) unused;
    alarm((unsigned) conf_daemon_timeout);
}

static void say_ready(void)
{
    const struct service *svc = service_state.svc;
    struct msg *m = msg_new(CHANNEL_READY);

    msg_put_num(m, "exclusive", svc->exclusive);
    msg_put_num(m, "solitary", svc->solitary);
    msg_put_num(m, "overlaps", svc->overlaps);
    msg_put_num(m, "sessions_max", svc->sessions_max ? *svc->sessions_max : 0);
    channel_say(&m);
}

static void serve_stdio(void)
{
    struct stream *s = stream_pair(STDIN_FILENO, STDOUT_FILENO);

    if (service_state.svc->session)
        serve_text(s, STDIN_FILENO);
    else if (service_state.svc->protocol)
        request_serve(s);
    stream_flush(s);
    stream_free(&s);
    if (service_state.svc->stop)
        service_state.svc->stop();
    event_stop();
}

void serve(void *unused)
{
    const struct service *svc = service_state.svc;

    (void) unused;
    idle_since = time_mono_ms();
    event_signal(SIGTERM, on_term, NULL);
    if (service_state.alone)
        event_signal(SIGINT, on_term, NULL);
    channel_start();
    if (svc->post_jail && svc->post_jail() < 0)
        _exit(1);
    if (service_state.kind == KIND_STDIO) {
        serve_stdio();
        return;
    }
    say_ready();
    for (int i = 0; i < service_state.listener_count; i++)
        acceptors[i] = fiber_new("listener", listen_body, (void *) (intptr_t) i);
    if (service_state.alone)
        return;
    if (svc->stale || watch_any())
        event_timer_every(STALE_TIMER_MS, look_for_staleness, NULL);
    if (!svc->solitary && service_state.max_idle > 0)
        event_timer_every(service_state.max_idle * 1000 / 4 + 250, look_for_idleness, NULL);
    if (conf_daemon_timeout > 0) {
        put_off_alarm(NULL);
        event_timer_every(conf_daemon_timeout * 1000 / 4 + 250, put_off_alarm, NULL);
    }
}
