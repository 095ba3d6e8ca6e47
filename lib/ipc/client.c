/*
 * client - the calling side: connecting, greeting, requests in flight
 *
 * A struct link is one connection. Its reader fiber hands replies to the fibers that wait; they and the reader hold
 * references, so that a link outlives neither its descriptor nor those who look at it.
 */
#include "ipc/client.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { GREETING_VERSION_MAX = 1000000, PROTOCOL_BYTES = 64, GREETING_ATTEMPTS = 3 };
static const char greeting_name[] = "greeting";

struct link {
    struct ipc_client *client; /* NULL once the client was freed */
    struct stream *stream;
    int error;     /* 0 while usable; why it ended */
    bool retiring; /* the server said bye */
    size_t refs;
    uint32_t next_id;
    struct list calls;
    struct event_sem sending;
    struct fiber *reader;
};
struct call {
    struct list node;
    uint32_t id;
    struct msg *reply;
    bool done;
    int error;
    struct event_cond cond;
};
struct ipc_client {
    char *service, *protocol;
    int version;
    struct link *link;
    struct event_sem connecting;
};

static ipc_connector connector;
static char *queue_directory;

void ipc_set_connector(ipc_connector fn) { connector = fn; }

void ipc_set_queue_directory(const char *path)
{
    free(queue_directory);
    queue_directory = mem_strdup(path);
}

/* Outside a fiber (before the loop runs) a connection is made by a call that may block. */
static int connect_blocking(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd;

    if ((size_t) snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *) &addr, sizeof addr) < 0) {
        int keep = errno;
        close(fd);
        errno = keep;
        fd = -1;
    }
    return fd;
}

int ipc_connect(const char *service, int64_t deadline)
{
    char *path;
    int fd, keep;

    if (connector)
        return connector(service, deadline);
    path = service[0] == '/' || queue_directory == NULL ? mem_strdup(service)
                                                        : mem_printf("%s/%s", queue_directory, service);
    fd = fiber_self() ? io_connect_unix(path, deadline) : connect_blocking(path);
    keep = errno;
    free(path);
    errno = keep;
    return fd;
}

static int greet_send(int fd, const char *protocol, int version, int64_t deadline)
{
    struct msg *m = msg_new(greeting_name);
    size_t sent;
    int rc;

    msg_put_str(m, "protocol", protocol);
    msg_put_num(m, "version", version);
    rc = msg_send_fd(fd, m, 0, deadline, &sent);
    msg_free(&m);
    return rc;
}

static int greet_check(struct stream *s, const char *protocol, int version)
{
    struct msg *m;
    int rc = 0;

    if (msg_recv_any(s, &m) < 0)
        return -1;
    if (strcmp(msg_name(m), greeting_name) != 0) {
        log_warn("unexpected \"%s\" where a greeting for protocol %s was due", msg_name(m), protocol);
        rc = -1;
    } else {
        const char *theirs = msg_get_str(m, "protocol", PROTOCOL_BYTES);
        int64_t v = msg_get_num(m, "version", 0, GREETING_VERSION_MAX);
        if (!msg_done(m) || strcmp(theirs, protocol) != 0 || v != version) {
            log_warn("a peer speaks protocol %s version %lld, not %s version %d", theirs, (long long) v, protocol,
                     version);
            rc = -1;
        }
    }
    msg_free(&m);
    if (rc < 0)
        errno = EPROTO;
    return rc;
}

int ipc_greet_server(struct stream *s, const char *protocol, int version)
{
    int64_t until = stream_until(s);
    int rc = greet_check(s, protocol, version), keep = errno;

    if (rc == 0 || keep == EPROTO) /* on a mismatch the client logs it too */
        if (greet_send(stream_fd(s), protocol, version, until) < 0)
            return -1;
    errno = keep;
    return rc;
}

static struct stream *open_once(const char *service, const char *protocol, int version, int64_t deadline)
{
    int fd = ipc_connect(service, deadline);
    struct stream *s;

    if (fd < 0)
        return NULL;
    s = stream_new(fd);
    stream_deadline(s, deadline);
    if (greet_send(fd, protocol, version, deadline) < 0 || greet_check(s, protocol, version) < 0) {
        int keep = errno ? errno : ECONNRESET;
        stream_free(&s);
        errno = keep;
        return NULL;
    }
    stream_deadline(s, EVENT_NEVER);
    return s;
}

/* A process that dies between accept and greeting takes nothing with it but the connection: its successor is asked.
 */
struct stream *ipc_open(const char *service, const char *protocol, int version, int64_t deadline)
{
    struct stream *s = NULL;

    for (int attempt = 0; attempt < GREETING_ATTEMPTS && s == NULL; attempt++) {
        s = open_once(service, protocol, version, deadline);
        if (s == NULL && errno != ECONNRESET && errno != EPIPE)
            break;
    }
    return s;
}

bool ipc_reusable(struct stream *s)
{
    char c;
    ssize_t n = recv(stream_fd(s), &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return n < 0 && (errno == EAGAIN || errno == EINTR) && stream_error(s) == 0 && stream_buffered(s) == 0;
}

/* No new call starts on this link, and its client may be freed before it. */
static void link_part(struct link *l)
{
    if (l->client && l->client->link == l)
        l->client->link = NULL;
    l->client = NULL;
}

static void link_drop(struct link *l)
{
    if (--l->refs > 0)
        return;
    link_part(l);
    stream_free(&l->stream);
    free(l);
}

/* From now on nobody starts a call on this link; who waits on it learns `error`. */
static void link_end(struct link *l, int error)
{
    link_part(l);
    if (l->error == 0)
        l->error = error;
    list_each(it, &l->calls)
    {
        struct call *c = list_entry(it, struct call, node);
        list_del(&c->node);
        c->done = true;
        c->error = error;
        event_cond_signal(&c->cond);
    }
}

static void deliver_reply(struct link *l, struct msg **reply)
{
    list_each(it, &l->calls)
    {
        struct call *c = list_entry(it, struct call, node);
        if (c->id != msg_id(*reply))
            continue;
        list_del(&c->node);
        c->done = true;
        c->reply = *reply;
        *reply = NULL;
        event_cond_signal(&c->cond);
        return;
    }
    msg_free(reply); /* its caller has given up waiting */
}

static void read_replies(void *arg)
{
    struct link *l = arg;
    struct msg *m;

    while (!(l->retiring && list_empty(&l->calls)) && msg_recv_any(l->stream, &m) == 0) {
        if (strcmp(msg_name(m), MSG_BYE) == 0) {
            msg_free(&m);
            l->retiring = true;
            link_part(l);
        } else {
            deliver_reply(l, &m);
        }
    }
    link_end(l, ECONNRESET);
    link_drop(l);
}

static struct link *link_open(struct ipc_client *c, int64_t deadline)
{
    struct stream *s = ipc_open(c->service, c->protocol, c->version, deadline);
    struct link *l;

    if (s == NULL)
        return NULL;
    l = mem_new(sizeof *l);
    l->client = c;
    l->stream = s;
    l->sending.permits = 1;
    l->refs = 1; /* the reader's */
    list_init(&l->calls);
    c->link = l;
    l->reader = fiber_new("ipc reader", read_replies, l);
    fiber_detach(l->reader);
    return l;
}

/* The current link with a reference for the caller; connects when there is none, one fiber for all. */
static struct link *link_get(struct ipc_client *c, int64_t deadline)
{
    struct link *l;

    if (c->link == NULL) {
        if (event_sem_get(&c->connecting, deadline) < 0)
            return NULL;
        l = c->link ? c->link : link_open(c, deadline);
        event_sem_put(&c->connecting);
        if (l == NULL)
            return NULL;
    }
    l = c->link;
    if (l)
        l->refs++; /* NOLINT(clang-analyzer-unix.Malloc): the reader's reference lasts as long as c->link */
    else
        errno = ECONNRESET;
    return l;
}

struct ipc_client *ipc_client_new(const char *service, const char *protocol, int version)
{
    struct ipc_client *c = mem_new(sizeof *c);

    c->service = mem_strdup(service);
    c->protocol = mem_strdup(protocol);
    c->version = version;
    c->connecting.permits = 1;
    return c;
}

void ipc_client_free(struct ipc_client **cp)
{
    struct ipc_client *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    if (c->link) {
        struct link *l = c->link;
        link_end(l, ECANCELED);
        shutdown(stream_fd(l->stream), SHUT_RDWR); /* the reader sees the end and drops its reference */
    }
    free(c->service);
    free(c->protocol);
    free(c);
}

/* Takes its turn and sends. -1 with errno; *again: nothing of the request can have reached the server. */
static int send_once(struct link *l, struct msg *request, uint32_t id, int64_t deadline, bool *again)
{
    size_t sent = 0;
    int rc;

    *again = false;
    if (event_sem_get(&l->sending, deadline) < 0)
        return -1;
    if (l->error || l->retiring) {
        event_sem_put(&l->sending);
        *again = true;
        errno = ECONNRESET;
        return -1;
    }
    rc = msg_send_fd(stream_fd(l->stream), request, id, deadline, &sent);
    if (rc < 0) {
        int keep = errno;
        *again = sent == 0 && keep != EMSGSIZE && keep != ETIMEDOUT && keep != ECANCELED;
        if (sent > 0 || *again) { /* half a frame, or a dead socket: useless for others too */
            link_end(l, ECONNRESET);
            shutdown(stream_fd(l->stream), SHUT_RDWR);
        }
        errno = keep;
    }
    event_sem_put(&l->sending);
    return rc;
}

/* 0 with a reply; -1 with errno; *again as above. */
static int call_once(struct link *l, struct msg *request, int64_t deadline, struct msg **reply, bool *again)
{
    struct call call = { .id = ++l->next_id };

    if (l->error || l->retiring) { /* the reader may be about to leave */
        *again = true;
        errno = ECONNRESET;
        return -1;
    }
    list_append(&l->calls, &call.node); /* the answer may be read before the sender runs again */
    if (send_once(l, request, call.id, deadline, again) < 0) {
        int keep = errno;
        if (!call.done)
            list_del(&call.node);
        msg_free(&call.reply);
        errno = keep;
        return -1;
    }
    while (!call.done)
        if (event_cond_wait(&call.cond, deadline) < 0 && !call.done) {
            int keep = errno;
            list_del(&call.node);
            errno = keep;
            return -1;
        }
    if (call.reply == NULL) {
        errno = call.error;
        return -1;
    }
    *reply = call.reply;
    return 0;
}

int ipc_tell(struct ipc_client *c, struct msg **m, int64_t deadline)
{
    int rc = -1, keep = 0;

    for (bool again = true; rc < 0 && again;) {
        struct link *l = link_get(c, deadline);
        again = false;
        if (l == NULL) {
            keep = errno;
            break;
        }
        rc = send_once(l, *m, ++l->next_id, deadline, &again);
        keep = errno;
        link_drop(l);
    }
    msg_free(m);
    errno = keep;
    return rc;
}

struct msg *ipc_call(struct ipc_client *c, struct msg **request, bool again_ok, int64_t deadline)
{
    struct msg *reply = NULL;
    int keep = 0;

    for (int attempt = 0; attempt < 2 && reply == NULL; attempt++) {
        bool unsent = true;
        struct link *l = link_get(c, deadline);
        if (l == NULL) {
            keep = errno;
            break;
        }
        if (call_once(l, *request, deadline, &reply, &unsent) < 0) {
            keep = errno;
            if (!unsent && (!again_ok || keep != ECONNRESET))
                attempt = 2;
        }
        link_drop(l);
    }
    msg_free(request);
    errno = keep;
    return reply;
}
