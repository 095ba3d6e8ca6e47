/*
 * client_test - one connection for many fibers, lost connections, byes, greetings
 *
 * The server is a fiber of the same process: each connection is half of a socket pair.
 */
#include "base/time.h"
#include "ipc/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode { ANSWER, DIE_UNGREETED, DIE_UNANSWERED, DIE_ONCE, BYE_FIRST, OTHER_VERSION };
static enum mode mode;
static int connections;

static void reply_number(struct stream *s, struct msg *in)
{
    struct msg *out = msg_new("ok");

    msg_put_num(out, "n", msg_get_num(in, "n", 0, 1000) * 2);
    assert(msg_send(s, out, msg_id(in)) == 0);
    msg_free(&out);
}

/* Collects two requests and answers them the other way round. */
static void answer_all(struct stream *s)
{
    struct msg *held = NULL, *in;

    while (msg_recv(s, &in) == 0) {
        if (held == NULL && msg_has(in, "hold")) {
            held = in;
            continue;
        }
        reply_number(s, in);
        msg_free(&in);
        if (held) {
            reply_number(s, held);
            msg_free(&held);
        }
    }
}

static void serve_one(void *arg)
{
    struct stream *s = stream_new((int) (intptr_t) arg);
    int number = ++connections;
    struct msg *m;

    if (mode == DIE_UNGREETED && number < 3) {
        stream_free(&s);
        return;
    }
    if (ipc_greet_server(s, "test", mode == OTHER_VERSION ? 2 : 1) == 0) {
        if (mode == DIE_UNANSWERED || (mode == DIE_ONCE && number == 1)) {
            if (msg_recv(s, &m) == 0)
                msg_free(&m);
        } else if (mode == BYE_FIRST && number == 1) {
            assert(msg_recv(s, &m) == 0);
            struct msg *bye = msg_new(MSG_BYE);
            assert(msg_send(s, bye, 0) == 0);
            msg_free(&bye);
            event_sleep(20);
            reply_number(s, m);
            msg_free(&m);
            answer_all(s);
        } else {
            answer_all(s);
        }
    }
    stream_free(&s);
}

static int connect_pair(const char *service, int64_t deadline)
{
    int pair[2];

    (void) deadline;
    assert(strcmp(service, "private/test") == 0);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    fiber_go("server", serve_one, (void *) (intptr_t) pair[1]);
    return pair[0];
}

static struct ipc_client *client;
static int64_t call(int64_t n, bool hold, bool again_ok)
{
    struct msg *m = msg_new("double"), *reply;
    int64_t out = -1;

    msg_put_num(m, "n", n);
    if (hold)
        msg_put_str(m, "hold", "");
    reply = ipc_call(client, &m, again_ok, time_mono_ms() + 5000);
    if (reply) {
        out = msg_get_num(reply, "n", 0, 2000);
        assert(msg_done(reply));
    }
    int keep = errno;
    msg_free(&reply);
    errno = keep;
    return out;
}

static int held_done, calls_done;
static void held_call(void *unused)
{
    (void) unused;
    assert(call(21, true, false) == 42);
    held_done = ++calls_done;
}
static void quick_call(void *unused)
{
    (void) unused;
    assert(call(4, false, false) == 8);
    calls_done++;
}

static void begin(enum mode m)
{
    mode = m;
    connections = 0;
    client = ipc_client_new("private/test", "test", 1);
}

static void test_side_by_side(void)
{
    struct fiber *a, *b;

    begin(ANSWER);
    a = fiber_new("held", held_call, NULL);
    b = fiber_new("quick", quick_call, NULL);
    fiber_join(a, EVENT_NEVER);
    fiber_join(b, EVENT_NEVER);
    assert(calls_done == 2 && held_done == 2 && connections == 1);
    for (int i = 0; i < 100; i++)
        assert(call(i, false, false) == 2 * i);
    assert(connections == 1);
    ipc_client_free(&client);
}

static void test_lost(void)
{
    begin(DIE_UNANSWERED);
    assert(call(1, false, false) == -1 && errno == ECONNRESET && connections == 1);
    ipc_client_free(&client);
    begin(DIE_ONCE);
    assert(call(1, false, true) == 2 && connections == 2);
    ipc_client_free(&client);
}

/* Nothing was asked yet: the successor is. */
static void test_ungreeted(void)
{
    begin(DIE_UNGREETED);
    assert(call(1, false, false) == 2 && connections == 3);
    ipc_client_free(&client);
}

static void test_bye(void)
{
    begin(BYE_FIRST);
    assert(call(1, false, false) == 2 && connections == 1);
    assert(call(2, false, false) == 4 && connections == 2);
    ipc_client_free(&client);
}

/* A client may go while a connection of its own, told to close, still waits for an answer. */
static void leaving_call(void *unused)
{
    (void) unused;
    call(7, false, false);
}
static void test_bye_and_free(void)
{
    struct fiber *f;

    begin(BYE_FIRST);
    f = fiber_new("leaving", leaving_call, NULL);
    event_sleep(10); /* the bye is here, the answer is not */
    ipc_client_free(&client);
    fiber_join(f, EVENT_NEVER);
    event_sleep(20);
}

static void test_greeting(void)
{
    begin(OTHER_VERSION);
    assert(call(1, false, true) == -1 && errno == EPROTO);
    ipc_client_free(&client);
}

static void test_timeout(void)
{
    struct msg *m = msg_new("double");

    begin(ANSWER);
    msg_put_num(m, "n", 1);
    msg_put_str(m, "hold", "");
    assert(ipc_call(client, &m, true, time_mono_ms() + 50) == NULL && errno == ETIMEDOUT);
    assert(call(3, false, false) == 6); /* the late answer to the first disturbs nobody */
    assert(call(5, false, false) == 10);
    assert(connections == 1);
    ipc_client_free(&client);
}

static void test_open(void)
{
    struct stream *s;

    mode = ANSWER;
    s = ipc_open("private/test", "test", 1, time_mono_ms() + 1000);
    assert(s && ipc_reusable(s));
    shutdown(stream_fd(s), SHUT_WR);
    event_sleep(20);
    assert(!ipc_reusable(s)); /* the server has closed */
    stream_free(&s);
}

static void all(void *unused)
{
    (void) unused;
    test_side_by_side();
    test_lost();
    test_ungreeted();
    test_bye();
    test_bye_and_free();
    test_greeting();
    test_timeout();
    test_open();
}

int main(void)
{
    ipc_set_connector(connect_pair);
    event_run(all, NULL);
    assert(fiber_count() == 0);
}
