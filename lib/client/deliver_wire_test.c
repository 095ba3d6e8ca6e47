/*
 * deliver_wire_test - a request of which anything is missing, doubled, cut or out of bounds is malformed as a whole, and
 * its descriptors are closed; what an agent answers is taken whole or not at all
 */
#include "client/deliver.h"
#include "client/test_peer.h"
#include <dirent.h>
#include <fcntl.h>

enum { VALUES_MAX = 60 };
struct value {
    char name[64], text[64];
};
static struct value values[VALUES_MAX];
static size_t count;

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    assert(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* The values of a good request for two recipients, as text. */
static void take_apart(void)
{
    struct deliver_rcpt rcpts[2] = { { "a@x", "", "", 10, 1, DELIVER_OPEN },
                                     { "b@x", "c@x", "rfc822;c@x", 20, 0, DELIVER_OPEN } };
    struct deliver_request rq = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
                                  .queue_id = "4AA05AA49A9",
                                  .transport = "smtp",
                                  .nexthop = "x",
                                  .sender = "s@x",
                                  .rcpts = rcpts,
                                  .rcpt_count = 2,
                                  .data_offset = 5,
                                  .sendopts = DELIVER_UTF8_REQUESTED };
    struct msg *m = deliver_encode(&rq);
    struct str wire;
    const unsigned char *p, *end;

    str_init(&wire, STR_UNLIMITED);
    msg_encode(m, 1, &wire);
    p = (const unsigned char *) wire.p + 4;
    end = (const unsigned char *) wire.p + wire.len;
    p += 1 + *p + 4 + 1;
    for (count = 0; p < end; count++) {
        struct value *v = &values[count];
        size_t len = *p++, size;
        assert(count < VALUES_MAX && len < sizeof v->name);
        memcpy(v->name, p, len);
        p += len;
        size = (size_t) p[0] << 24 | (size_t) p[1] << 16 | (size_t) p[2] << 8 | p[3];
        assert(size < sizeof v->text);
        memcpy(v->text, p + 4, size);
        p += 4 + size;
    }
    str_free(&wire);
    msg_free(&m);
    close(rq.fd);
}

/* Decodes the request with value `at` left out (text NULL), or replaced, or, with `twice`, said again. */
static bool good(size_t at, const char *text, bool twice, int fds)
{
    struct msg *m = msg_new("deliver");
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct deliver_request *rq;

    for (size_t i = 0; i < count; i++) {
        if (i != at || text)
            msg_put_str(m, values[i].name, i == at ? text : values[i].text);
        if (i == at && twice)
            msg_put_str(m, values[i].name, text);
    }
    for (int i = 0; i < fds; i++)
        msg_put_fd(m, fd);
    close(fd);
    rq = deliver_decode(m);
    msg_free(&m);
    if (rq) {
        struct arena *arena = rq->arena;
        close(rq->fd);
        arena_free(&arena);
    }
    return rq != NULL;
}

static size_t place_of(const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i].name, name) == 0)
            return i;
    abort();
}

static void test_decode(void)
{
    static const char *const numbers[] = { "data_offset", "data_size",   "content_bytes", "arrival_us", "active_us",
                                           "ret",         "trace_flags", "sendopts",      "rcpt_count" };
    static const char *const not_numbers[] = { "", "-1", "x", "1x", " 1", "99999999999999999999" };
    static const struct {
        const char *name, *text;
        bool good;
    } rows[] = {
        { "rcpt_count", "2", true },     { "rcpt_count", "0", false },
        { "rcpt_count", "1", false },    { "rcpt_count", "3", false },
        { "rcpt_count", "5001", false }, { "ret", "3", true },
        { "ret", "4", false },           { "trace_flags", "65536", false },
        { "sendopts", "65535", true },   { "place", "10 1", true },
        { "place", "10", false },        { "place", "10 16", false },
        { "place", "10 15", true },      { "place", "a 1", false },
        { "place", "10 1 1", false },    { "place", "-1 0", false },
        { "place", "", false },          { "place", "9223372036854775808 0", false },
        { "sender", "", true },          { "rcpt", "", true },
    };
    size_t before = open_descriptors();

    assert(good(count, NULL, false, 1));
    for (size_t i = 0; i < count; i++) {
        if (good(i, NULL, false, 1) || good(i, values[i].text, true, 1)) {
            fprintf(stderr, "%s may be missing or said twice\n", values[i].name);
            abort();
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (size_t n = 0; n < sizeof not_numbers / sizeof *not_numbers; n++)
            if (good(place_of(numbers[i]), not_numbers[n], false, 1)) {
                fprintf(stderr, "%s \"%s\" is taken\n", numbers[i], not_numbers[n]);
                abort();
            }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (good(place_of(rows[i].name), rows[i].text, false, 1) != rows[i].good) {
            fprintf(stderr, "%s \"%s\"\n", rows[i].name, rows[i].text);
            abort();
        }
    assert(!good(count, NULL, false, 0) && !good(count, NULL, false, 2));
    char *long_text = mem_new(DELIVER_TEXT_BYTES + 2);
    memset(long_text, 'x', DELIVER_TEXT_BYTES + 1);
    assert(!good(place_of("nexthop"), long_text, false, 1));
    long_text[DELIVER_TEXT_BYTES] = '\0';
    assert(good(place_of("nexthop"), long_text, false, 1));
    long_text[DELIVER_ADDRESS_BYTES + 1] = '\0';
    assert(!good(place_of("rcpt"), long_text, false, 1));
    free(long_text);
    assert(open_descriptors() == before);
}

static void test_many(void)
{
    struct deliver_rcpt *rcpts = mem_array(DELIVER_RCPTS_MAX + 1, sizeof *rcpts);
    struct deliver_request rq = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
                                  .queue_id = "4AA05AA49A9",
                                  .rcpts = rcpts };

    for (size_t i = 0; i <= DELIVER_RCPTS_MAX; i++)
        rcpts[i].address = "a@x";
    for (rq.rcpt_count = DELIVER_RCPTS_MAX; rq.rcpt_count <= DELIVER_RCPTS_MAX + 1; rq.rcpt_count++) {
        struct msg *m = deliver_encode(&rq);
        struct deliver_request *back = deliver_decode(m);

        assert((back != NULL) == (rq.rcpt_count <= DELIVER_RCPTS_MAX));
        msg_free(&m);
        if (back) {
            struct arena *arena = back->arena;
            close(back->fd);
            arena_free(&arena);
        }
    }
    close(rq.fd);
    free(rcpts);
}

static int64_t deferred, logs = 1 << BOUNCE_LOG_TRACE;
static const char *dsn = "";

static struct msg *right(struct msg *in)
{
    struct msg *m = msg_new("done");
    struct deliver_request *rq = deliver_decode(in);
    struct arena *arena;

    assert(rq && rq->rcpt_count == 2 && strcmp(rq->rcpts[1].orcpt, "rfc822;c@x") == 0);
    close(rq->fd);
    arena = rq->arena;
    arena_free(&arena);
    msg_put_num(m, "deferred", deferred);
    msg_put_num(m, "logs", logs);
    msg_put_str(m, "dsn", dsn);
    msg_put_str(m, "reason", "no route to host");
    return m;
}

static struct deliver_answer answer;

static int ask(void)
{
    struct deliver_rcpt rcpts[2] = { { "a@x", "", "", 10, 1, DELIVER_OPEN },
                                     { "b@x", "c@x", "rfc822;c@x", 20, 0, DELIVER_OPEN } };
    struct deliver_request rq = {
        .fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .queue_id = "4AA05AA49A9", .rcpts = rcpts, .rcpt_count = 2
    };
    struct stream *s = ipc_open("private/smtp", DELIVER_PROTOCOL, DELIVER_VERSION, time_mono_ms() + 3000);
    int rc, keep;

    assert(s);
    stream_timeout(s, 3000);
    rc = deliver_ask(s, &rq, &answer);
    keep = errno;
    stream_free(&s);
    close(rq.fd);
    errno = keep;
    return rc;
}

static struct msg *malformed(struct msg *in)
{
    (void) in;
    return msg_new("malformed");
}

static void test_ask(void *unused)
{
    (void) unused;
    peer_init("private/smtp", DELIVER_PROTOCOL, DELIVER_VERSION, right);
    size_t before = open_descriptors();
    deferred = 1;
    assert(ask() == 0 && answer.deferred == 1 && answer.logs == 1 << BOUNCE_LOG_TRACE && answer.dead_dsn[0] == '\0');
    dsn = "4.4.1";
    assert(ask() == 0 && strcmp(answer.dead_dsn, "4.4.1") == 0 &&
           strcmp(answer.dead_reason, "no route to host") == 0);
    deferred = 3; /* of two recipients */
    assert(ask() == -1 && errno == EPROTO);
    deferred = -1;
    assert(ask() == -1 && errno == EPROTO);
    deferred = 0;
    dsn = "4.4.1234567890";
    assert(ask() == -1 && errno == EPROTO);
    dsn = "";
    for (int act = PEER_CLOSES; act < PEER_ACTS; act++) {
        enum peer_act always[] = { (enum peer_act) act };
        peer_play(always, 1);
        if (ask() != -1 || errno == EBADMSG) { /* EBADMSG would say that the transport is well */
            fprintf(stderr, "%s: errno %d\n", peer_act_name[act], errno);
            abort();
        }
        peer_play(peer_right_only, 1);
        assert(ask() == 0);
    }
    peer.right = malformed;
    assert(ask() == -1 && errno == EBADMSG);
    event_sleep(5);
    assert(open_descriptors() == before);
    event_stop();
}

int main(void)
{
    take_apart();
    test_decode();
    test_many();
    peer_run(test_ask);
    return 0;
}
