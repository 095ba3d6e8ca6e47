/* deliver_test - a request survives the wire; how delays are written */
#include "client/deliver.h"
#include "conf/param.h"
#include "event/event.h"
#include "io/stream.h"
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    int64_t arrival, active, agent, connected, now;
    const char *out;
} delays[] = {
    { 1000000, 1000000, 1000000, 0, 1000000, "delay=0, delays=0/0/0/0" },
    { 0, 123456, 133456, 143456, 163456, "delay=0.16, delays=0.12/0.01/0.01/0.02" },
    { 0, 1000000, 1000000, 1000000, 76400000, "delay=76, delays=1/0/0/75" },
    { 0, 0, 0, 0, 1234567, "delay=1.2, delays=0/1.2/0/0" }, /* no agent: all of it was waiting */
    { 0, 0, 996000, 0, 996000, "delay=1, delays=0/1/0/0" },
    { 0, 12600000, 12600000, 0, 12600000, "delay=13, delays=13/0/0/0" },
    { 5000000, 4000000, 6000000, 0, 6000000, "delay=1, delays=0/2/0/0" }, /* a clock that was set back */
};

static void test_delays(void)
{
    conf_delay_logging_resolution_limit = 2;
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        struct deliver_request rq = { .arrival_us = delays[i].arrival,
                                      .active_us = delays[i].active,
                                      .agent_us = delays[i].agent,
                                      .connected_us = delays[i].connected };
        char out[DELIVER_DELAYS_BYTES];

        deliver_delays(&rq, delays[i].now, out);
        if (strcmp(out, delays[i].out) != 0) {
            fprintf(stderr, "row %zu: got \"%s\", want \"%s\"\n", i, out, delays[i].out);
            assert(0);
        }
    }
}

static void test_wire(void)
{
    struct deliver_rcpt rcpts[2] = { { .address = "a b@x",
                                       .original = "c@x",
                                       .orcpt = "rfc822;c@x",
                                       .offset = 523,
                                       .notify = NOTIFY_SUCCESS | NOTIFY_DELAY },
                                     { .address = "d@x", .original = "", .orcpt = "", .offset = 1LL << 40 } };
    struct deliver_request rq = { .fd = open("/dev/null", O_RDONLY),
                                  .queue_id = "4AA05AA49A9",
                                  .transport = "smtp",
                                  .nexthop = "[host]:25",
                                  .sender = "",
                                  .encoding = "8bit",
                                  .ret = RET_HDRS,
                                  .data_offset = 700,
                                  .data_size = 5000,
                                  .arrival_us = 5,
                                  .rcpts = rcpts,
                                  .rcpt_count = 2 };
    struct msg *m = deliver_encode(&rq);
    struct deliver_request *back = deliver_decode(m);

    assert(back != NULL && strcmp(back->nexthop, "[host]:25") == 0 && strcmp(back->sender, "") == 0);
    assert(strcmp(back->envid, "") == 0 && back->ret == RET_HDRS && back->data_size == 5000 && back->rcpt_count == 2);
    assert(strcmp(back->rcpts[0].address, "a b@x") == 0 && back->rcpts[0].offset == 523 &&
           back->rcpts[0].notify == 10);
    assert(strcmp(back->rcpts[0].original, "c@x") == 0 && back->rcpts[1].offset == 1LL << 40);
    assert(strcmp(back->rcpts[1].address, "d@x") == 0 && strcmp(back->rcpts[1].orcpt, "") == 0);
    msg_free(&m);
    close(back->fd);
    struct arena *arena = back->arena;
    arena_free(&arena);

    rq.rcpt_count = 0;
    m = deliver_encode(&rq);
    assert(deliver_decode(m) == NULL);
    msg_free(&m);
    m = msg_new("deliver");
    assert(deliver_decode(m) == NULL);
    msg_free(&m);
    close(rq.fd);
}

static const struct {
    const char *in, *dsn, *words;
} splits[] = {
    { "5.1.1 no such user", "5.1.1", "no such user" },
    { "no such user", "5.0.0", "no such user" },
    { "4.3.0", "4.3.0", "" },
    { "", "5.0.0", "" },
    { "5.1 x", "5.0.0", "5.1 x" },
};

static const struct {
    const char *answer;
    int status, error;
} answers[] = { { "malformed", -1, EBADMSG }, { "else", -1, EPROTO } };
static int ends[2];

static void agent(void *arg)
{
    struct stream *s = stream_new(ends[1]);
    struct msg *in = NULL, *answer = msg_new(arg);

    assert(msg_recv(s, &in) == 0 && msg_send(s, answer, msg_id(in)) == 0 && stream_flush(s) == 0);
    msg_free(&in);
    msg_free(&answer);
    stream_free(&s);
}

/* An agent that refuses one request is no dead transport: the queue manager must be able to tell. */
static void test_refusal(void *arg)
{
    struct deliver_rcpt rcpt = { .address = "a@x", .original = "", .orcpt = "" };

    (void) arg;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct deliver_request rq = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .queue_id = "4AA05AA49A9" };
        struct deliver_answer answer;
        struct stream *s;

        rq.rcpts = &rcpt;
        rq.rcpt_count = 1;
        assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        s = stream_new(ends[0]);
        fiber_go("agent", agent, (void *) (uintptr_t) answers[i].answer);
        assert(deliver_ask(s, &rq, &answer) == answers[i].status && errno == answers[i].error);
        stream_free(&s);
        close(rq.fd);
    }
    event_stop();
}

int main(void)
{
    event_run(test_refusal, NULL);
    test_delays();
    test_wire();
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        char dsn[ERR_DSN_BYTES];
        const char *words;
        deliver_split_dsn(splits[i].in, "5.0.0", dsn, &words);
        assert(strcmp(dsn, splits[i].dsn) == 0 && strcmp(words, splits[i].words) == 0);
    }
    return 0;
}
