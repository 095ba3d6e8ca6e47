/*
 * relay - bytes between a TLS client and the process that serves it
 *
 * Callers     authd/login/sasl.c
 * Invariants  one fiber a direction; an idle direction holds no buffer; the end of either side ends both, after what
 *             was under way has been sent
 * Errors      none to report: the serving process sees its end of file and says so
 */
#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"
#include "session.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RELAY_BYTES = 16384, FIRST_WORDS_MS = 1000 };
struct relay {
    struct stream *client;
    int fd;
    struct event_cond news;
    bool spoken; /* the first words have left for the client */
    bool down;   /* the fiber towards the client has ended */
};

static int send_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n >= 0) {
            p += n;
            len -= (size_t) n;
        } else if (errno == EAGAIN) {
            if (event_wait_fd(fd, EVENT_WRITE, EVENT_NEVER) < 0)
                return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

/* What is there; then whether that was all: the last words leave together with the end. The first ones answer the login,
 * and end nothing. false: that direction is over. */
static bool pass_on(struct relay *r)
{
    char *bytes = mem_new(RELAY_BYTES);
    int tries = r->spoken ? 2 : 1; /* no more: others wait for their turn */
    ssize_t n = RELAY_BYTES;
    bool some = false;

    while (tries-- > 0 && n > 0)
        if ((n = read(r->fd, bytes, RELAY_BYTES)) > 0) {
            stream_write(r->client, bytes, (size_t) n);
            some = true;
        }
    free(bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    if (!some) /* what TLS keeps for the client waits for company */
        return true;
    if (stream_flush(r->client) != 0)
        return false;
    if (!r->spoken) {
        r->spoken = true;
        event_cond_broadcast(&r->news);
    }
    return true;
}

/* From the serving process to the client. Its first words are mostly there before dispatcher's answer. */
static void towards_client(void *arg)
{
    struct relay *r = arg;

    while (pass_on(r) && event_wait_fd(r->fd, EVENT_READ, EVENT_NEVER) >= 0)
        ;
    stream_tls_shutdown(r->client);
    shutdown(stream_fd(r->client), SHUT_RDWR);
    event_forget_fd(stream_fd(r->client)); /* wakes the other fiber; if it is awake, it reads an end of file */
    r->down = true;
    event_cond_broadcast(&r->news);
}

void login_relay(struct login_session *s, int fd)
{
    struct relay r = { .client = s->stream, .fd = fd };
    const char *bytes;
    ssize_t n;

    stream_timeout(s->stream, EVENT_NEVER);
    stream_deadline(s->stream, EVENT_NEVER);
    fiber_go("relay to client", towards_client, &r);
    /* The answer to the login is on its way: who would read now would have to send what TLS has left for the client (a
     * ticket) alone. */
    if (!r.spoken && !r.down)
        event_cond_wait(&r.news, time_mono_ms() + FIRST_WORDS_MS);
    while ((n = stream_peek(s->stream, &bytes)) > 0) {
        if (send_all(fd, bytes, (size_t) n) != 0)
            break;
        stream_consume(s->stream, (size_t) n);
    }
    if (!r.down)
        shutdown(fd, SHUT_WR); /* the serving process reads the end, says its last words, closes */
    fiber_shield(true);
    while (!r.down)
        event_cond_wait(&r.news, EVENT_NEVER);
    fiber_shield(false);
    event_forget_fd(fd);
    close(fd);
}
