/*
 * msg_test - frames there and back, what is malformed, descriptors
 */
#include "base/mem.h"
#include "base/time.h"
#include "ipc/msg.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    const char *bytes;
    size_t len;
    bool ok;
} frames[] = {
#define FRAME(text, ok)            \
    {                              \
        text, sizeof(text) - 1, ok \
    }
    FRAME("", false),
    FRAME("\1a\0\0\0\1\0", true),
    FRAME("\1A\0\0\0\1\0", false),  /* not a name */
    FRAME("\0\0\0\0\1\0", false),   /* no name */
    FRAME("\1a\0\0\0\1", false),    /* no number of descriptors */
    FRAME("\1a\0\0\0\1\21", false), /* 17 of them */
    FRAME("\1a\0\0\0\1\0\1x\0\0\0\2hi", true),
    FRAME("\1a\0\0\0\1\0\1x\0\0\0\3hi", false), /* value longer than the frame */
    FRAME("\1a\0\0\0\1\0\1x\377\377\377\377hi", false),
    FRAME("\1a\0\0\0\1\0\1x\0\0\0\2hi\1", false), /* half a name */
    FRAME("\1a\0\0\0\1\0\1-\0\0\0\0", false),
    FRAME("\101aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\0\1\0", false),
};

static void test_frames(void)
{
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct msg *m = NULL;
        int rc = msg_decode(slice_make(frames[i].bytes, frames[i].len), &m);
        if ((rc == 0) != frames[i].ok)
            printf("frame %zu\n", i);
        assert((rc == 0) == frames[i].ok);
        msg_free(&m);
    }
}

static struct msg *there_and_back(struct msg **in)
{
    struct str wire;
    struct msg *out = NULL;

    str_init(&wire, STR_UNLIMITED);
    msg_encode(*in, 7, &wire);
    assert(msg_decode(slice_make(wire.p + 4, wire.len - 4), &out) == 0);
    assert(msg_id(out) == 7);
    str_free(&wire);
    msg_free(in);
    return out;
}

static struct msg *sample(void)
{
    struct msg *m = msg_new("deliver");

    msg_put_str(m, "sender", "a@b");
    msg_put(m, "bytes", slice_make("x\0y", 3));
    msg_put_num(m, "size", -5);
    msg_put_str(m, "rcpt", "one");
    msg_put_num(m, "offset", 1);
    msg_put_str(m, "rcpt", "");
    msg_put_num(m, "offset", 2);
    return there_and_back(&m);
}

static void test_getters(void)
{
    struct msg *m = sample();
    struct slice s;

    assert(strcmp(msg_name(m), "deliver") == 0);
    assert(strcmp(msg_get_str(m, "sender", 10), "a@b") == 0);
    assert(msg_has(m, "bytes") && !msg_has(m, "sender"));
    s = msg_get(m, "bytes", 3);
    assert(s.len == 3 && memcmp(s.p, "x\0y", 3) == 0);
    assert(msg_get_num(m, "size", -10, 0) == -5);
    assert(msg_next(m, "rcpt", 10, &s) && slice_eq(s, "one"));
    assert(msg_get_num(m, "offset", 0, 9) == 1);
    assert(msg_next(m, "rcpt", 10, &s) && s.len == 0);
    assert(!msg_done(m)); /* one value is left */
    assert(msg_get_num(m, "offset", 0, 9) == 2);
    assert(!msg_next(m, "rcpt", 10, &s));
    assert(msg_done(m));
    msg_free(&m);
}

/* Each makes the message bad, whatever else is right. */
static void bad_absent(struct msg *m) { assert(*msg_get_str(m, "nobody", 9) == 0); }
static void bad_long(struct msg *m) { assert(msg_get(m, "sender", 2).len == 0); }
static void bad_nul(struct msg *m) { assert(*msg_get_str(m, "bytes", 9) == 0); }
static void bad_number(struct msg *m) { assert(msg_get_num(m, "sender", 3, 9) == 3); }
static void bad_range(struct msg *m) { assert(msg_get_num(m, "size", 0, 9) == 0); }
static void bad_twice(struct msg *m)
{
    msg_get(m, "sender", 9);
    msg_get(m, "sender", 9);
}
static void bad_fd(struct msg *m) { assert(msg_take_fd(m) == -1); }

static void test_bad(void)
{
    static void (*const rows[])(struct msg *) = { bad_absent, bad_long,  bad_nul, bad_number,
                                                  bad_range,  bad_twice, bad_fd };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct msg *m = sample();
        struct slice s;
        rows[i](m);
        static const char *const names[] = { "sender", "bytes", "size", "rcpt", "offset" };
        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            while (msg_next(m, names[n], 100, &s))
                continue;
        assert(!msg_done(m));
        msg_free(&m);
    }
}

struct talk {
    struct stream *s;
    bool done;
};

static void receiver(void *arg)
{
    struct talk *t = arg;
    struct msg *m;
    char c = 0;
    int fd;

    assert(msg_recv(t->s, &m) == 0);
    assert(msg_id(m) == 1 && msg_get(m, "big", MSG_BYTES).len == 1000000);
    assert(msg_fds(m) == 1);
    fd = msg_take_fd(m);
    assert(write(fd, "!", 1) == 1);
    close(fd);
    assert(msg_done(m));
    msg_free(&m);
    assert(msg_recv(t->s, &m) == 0); /* the bye before it is swallowed */
    assert(strcmp(msg_name(m), "second") == 0 && msg_id(m) == 2 && msg_done(m));
    msg_free(&m);
    assert(stream_read_full(t->s, &c, 1) == 0 && c == 'x'); /* frames end where they end */
    assert(msg_recv(t->s, &m) == -1 && errno == 0);
    t->done = true;
}

static void test_stream(void *unused)
{
    int pair[2], pipe_fds[2];
    struct talk t;
    struct stream *s;
    struct msg *m;
    struct fiber *f;
    char *big = mem_new(1000000), c;

    (void) unused;
    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(pipe_fds) == 0);
    s = stream_new(pair[0]);
    t = (struct talk){ stream_new(pair[1]), false };
    f = fiber_new("receiver", receiver, &t);
    m = msg_new("first");
    msg_put(m, "big", slice_make(big, 1000000));
    msg_put_fd(m, pipe_fds[1]);
    assert(msg_send(s, m, 1) == 0);
    msg_free(&m);
    m = msg_new(MSG_BYE);
    assert(msg_send(s, m, 0) == 0);
    msg_free(&m);
    m = msg_new("second");
    assert(msg_send(s, m, 2) == 0);
    msg_free(&m);
    stream_puts(s, "x");
    stream_flush(s);
    stream_free(&s);
    fiber_join(f, EVENT_NEVER);
    assert(t.done && read(pipe_fds[0], &c, 1) == 1 && c == '!');
    stream_free(&t.s);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    free(big);
}

/* A frame that promises a descriptor and brings none; a frame that brings one it did not promise. */
static void test_promises(void *unused)
{
    int pair[2];
    struct msg *m;

    (void) unused;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    assert(write(pair[0], "\0\0\0\7\1a\0\0\0\1\1", 11) == 11);
    assert(msg_recv_fd(pair[1], time_mono_ms() + 1000, &m) == -1 && errno == EPROTO);
    assert(write(pair[0], "\7\0\0\0", 4) == 4); /* longer than MSG_BYTES */
    assert(msg_recv_fd(pair[1], time_mono_ms() + 1000, &m) == -1 && errno == EPROTO);
    assert(msg_recv_fd(pair[1], time_mono_ms() + 50, &m) == -1 && errno == ETIMEDOUT);
    assert(write(pair[0], "\0\0", 2) == 2);
    shutdown(pair[0], SHUT_WR);
    assert(msg_recv_fd(pair[1], time_mono_ms() + 1000, &m) == -1 && errno == EPROTO); /* half a length */
    event_forget_fd(pair[1]);
    close(pair[0]);
    close(pair[1]);
}

static void test_packets(void)
{
    int pair[2], fd;
    struct msg *m = msg_new("connect");
    char *big = mem_new(MSG_PACKET_BYTES);

    assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    msg_put_str(m, "service", "private/rewrite");
    msg_put_fd(m, 0);
    assert(msg_send_packet(pair[0], m, 3) == 0);
    msg_free(&m);
    assert(msg_recv_packet(pair[1], &m) == 0 && msg_id(m) == 3);
    assert(strcmp(msg_get_str(m, "service", 100), "private/rewrite") == 0);
    fd = msg_take_fd(m);
    assert(fd > 2 && msg_done(m));
    close(fd);
    msg_free(&m);
    assert(msg_recv_packet(pair[1], &m) == -1 && errno == EAGAIN);
    m = msg_new("big");
    msg_put(m, "x", slice_make(big, MSG_PACKET_BYTES));
    assert(msg_send_packet(pair[0], m, 0) == -1 && errno == EMSGSIZE);
    msg_free(&m);
    close(pair[0]);
    assert(msg_recv_packet(pair[1], &m) == -1 && errno == 0);
    close(pair[1]);
    free(big);
}

int main(void)
{
    test_frames();
    test_getters();
    test_bad();
    test_packets();
    event_run(test_stream, NULL);
    event_run(test_promises, NULL);
}
