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

static void test_numbers(void)
{
    static const int64_t numbers[] = { 0, 9, 10, -1, 1234567890, INT64_MAX, -INT64_MAX };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct msg *m = msg_new("numbers");
        msg_put_num(m, "n", numbers[i]);
        m = there_and_back(&m);
        assert(msg_get_num(m, "n", -INT64_MAX, INT64_MAX) == numbers[i] && msg_done(m));
        msg_free(&m);
    }
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

static void expect(int error, const char *bytes, size_t len, int fd)
{
    int pair[2];
    struct stream *in;
    struct msg *m = NULL;

    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    in = stream_new(pair[1]);
    stream_deadline(in, time_mono_ms() + (error == ETIMEDOUT ? 50 : 2000));
    if (fd >= 0) {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof fd)];
        } control = { .align = {
                          .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd) } };
        struct iovec iov = { (void *) (uintptr_t) bytes, len };
        struct msghdr mh = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space
        };
        memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
        assert(sendmsg(pair[0], &mh, 0) == (ssize_t) len);
    } else {
        assert(write(pair[0], bytes, len) == (ssize_t) len);
    }
    if (error != ETIMEDOUT)
        shutdown(pair[0], SHUT_WR);
    assert(msg_recv_any(in, &m) == (error ? -1 : 0) && (error == 0 || errno == error));
    msg_free(&m);
    stream_free(&in);
    close(pair[0]);
}

/* Frames that are none; one that promises a descriptor and brings none; one that brings one it did not promise. */
static void test_promises(void *unused)
{
    (void) unused;
    expect(0, "\0\0\0\7\1a\0\0\0\1\0", 11, -1);
    expect(EPROTO, "\0\0\0\7\1a\0\0\0\1\1", 11, -1);
    expect(0, "\0\0\0\7\1a\0\0\0\1\1", 11, 0);
    expect(EPROTO, "\0\0\0\7\1a\0\0\0\1\0", 11, 0);
    expect(EPROTO, "\7\0\0\0", 4, -1); /* longer than MSG_BYTES */
    expect(EPROTO, "\0\0\0\0", 4, -1);
    expect(EPROTO, "\0\0", 2, -1);                 /* half a length */
    expect(EPROTO, "\0\0\0\7", 4, -1);             /* nothing behind it */
    expect(EPROTO, "\0\0\0\7\1a\0\0\0\1", 10, -1); /* not all of it */
    expect(ETIMEDOUT, "\0\0\0\7\1a\0\0\0\1", 10, -1);
}

/* Frames that arrive in one piece, the second with a descriptor, are told apart. */
static void test_two_at_once(void *unused)
{
    static const char one[] = "\0\0\0\7\1a\0\0\0\1\0";
    int pair[2];
    size_t sent;
    struct stream *in;
    struct msg *m = msg_new("b");

    (void) unused;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    in = stream_new(pair[1]);
    stream_deadline(in, time_mono_ms() + 2000);
    assert(write(pair[0], one, 11) == 11);
    msg_put_fd(m, 0);
    assert(msg_send_fd(pair[0], m, 2, EVENT_NEVER, &sent) == 0);
    msg_free(&m);
    assert(write(pair[0], one, 11) == 11);
    assert(msg_recv_any(in, &m) == 0 && strcmp(msg_name(m), "a") == 0 && msg_done(m));
    msg_free(&m);
    assert(msg_recv_any(in, &m) == 0 && strcmp(msg_name(m), "b") == 0 && msg_fds(m) == 1);
    close(msg_take_fd(m));
    msg_free(&m);
    assert(msg_recv_any(in, &m) == 0 && strcmp(msg_name(m), "a") == 0 && msg_done(m));
    msg_free(&m);
    stream_free(&in);
    close(pair[0]);
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
    test_numbers();
    test_bad();
    test_packets();
    event_run(test_stream, NULL);
    event_run(test_promises, NULL);
    event_run(test_two_at_once, NULL);
}
