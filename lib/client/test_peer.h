/*
 * test_peer - a service that answers right, wrong, half or not at all, for the unit tests of lib/client
 *
 * Callers     *_test.c of this directory, each as its own program
 * Invariants  the service is a fiber of the same process, each connection half of a socket pair; each connection and
 *             each request takes the next act of peer_script, the last act stays
 *             a peer that keeps silent sets the clock forward, so that the longest deadline passes at once
 */
#ifndef CLIENT_TEST_PEER_H
#define CLIENT_TEST_PEER_H
#include "base/mem.h"
#include "base/time.h"
#include "ipc/client.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum peer_act {
    PEER_RIGHT,
    /* Of a connection: */
    PEER_REFUSES,
    PEER_UNGREETED, /* taken and closed */
    PEER_MUTE,      /* taken, and that is all */
    PEER_STRANGER,  /* speaks another version */
    /* Of a request: */
    PEER_CLOSES,
    PEER_SILENT,
    PEER_HALF,       /* of the right answer, then the end */
    PEER_GARBAGE,    /* a length and noise */
    PEER_HUGE,       /* the length of a frame that nobody takes */
    PEER_OTHER_NAME, /* the right values under a name that is no answer */
    PEER_EMPTY,      /* the right name, no values */
    PEER_SURPLUS,    /* the right answer and one value more */
    PEER_ACTS
};
static const char *const peer_act_name[PEER_ACTS] = { "right",      "refuses", "ungreeted", "mute",  "stranger",
                                                      "closes",     "silent",  "half",      "noise", "huge",
                                                      "other name", "empty",   "surplus" };
enum { PEER_LEAP_MS = 3600 * 1000, NAME_AT = 5 /* in a frame: behind its length and the name's */ };

static struct {
    const char *service, *protocol; /* what is to be asked for */
    int version;
    struct msg *(*right)(struct msg *request); /* the right answer; NULL: no answer is due */
    const enum peer_act *script;
    size_t script_len, at;
    unsigned connections, requests;
    int64_t leap_ms;
} peer;

/* The library's clock: this program's definition is the one that is linked. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int rc = (int) syscall(SYS_clock_gettime, clock, ts);

    if (clock == CLOCK_MONOTONIC)
        ts->tv_sec += peer.leap_ms / 1000;
    return rc;
}

static bool peer_of_connection(enum peer_act act) { return act >= PEER_REFUSES && act <= PEER_STRANGER; }

static enum peer_act peer_now(void) { return peer.script[peer.at]; }

static enum peer_act peer_take(void)
{
    enum peer_act act = peer_now();

    if (peer.at + 1 < peer.script_len)
        peer.at++;
    return act;
}

static void peer_raw(struct stream *s, const void *bytes, size_t len)
{
    stream_write(s, bytes, len);
    stream_flush(s);
}

/* False: the connection ends. */
static bool peer_answer(struct stream *s, struct msg *request, enum peer_act act)
{
    struct msg *m = peer.right ? peer.right(request) : NULL, *other;
    struct str wire;
    bool go_on = true;

    str_init(&wire, STR_UNLIMITED);
    if (m)
        msg_encode(m, msg_id(request), &wire);
    switch (act) {
    case PEER_SILENT: peer.leap_ms += PEER_LEAP_MS; break;
    case PEER_CLOSES: go_on = false; break;
    case PEER_HALF:
        peer_raw(s, wire.p, wire.len / 2);
        go_on = false;
        break;
    case PEER_GARBAGE: peer_raw(s, "\0\0\0\x09noise\xff\xff\xff\xff", 13); break;
    case PEER_HUGE:
        peer_raw(s,
                 "\x7f\xff\xff\xff"
                 "body",
                 8);
        break;
    case PEER_OTHER_NAME:
        if (m)
            wire.p[NAME_AT] = 'x';
        peer_raw(s, wire.p, wire.len);
        break;
    case PEER_EMPTY:
        other = msg_new(m ? msg_name(m) : "nonsense");
        msg_send(s, other, msg_id(request));
        msg_free(&other);
        break;
    case PEER_SURPLUS:
        if (m)
            msg_put_str(m, "surplus", "1");
        /* fallthrough */
    default:
        if (m)
            msg_send(s, m, msg_id(request));
    }
    msg_free(&m);
    str_free(&wire);
    return go_on;
}

static void peer_serve(void *arg)
{
    struct stream *s = arg;
    enum peer_act act = peer_of_connection(peer_now()) ? peer_take() : PEER_RIGHT;
    struct msg *in;
    const char *rest;

    stream_timeout(s, EVENT_NEVER);
    if (act == PEER_MUTE) {
        peer.leap_ms += PEER_LEAP_MS;
        while (stream_peek(s, &rest) > 0)
            stream_consume(s, stream_buffered(s));
    } else if (act != PEER_UNGREETED &&
               ipc_greet_server(s, peer.protocol, peer.version + (act == PEER_STRANGER)) == 0) {
        for (bool go_on = true; go_on && msg_recv(s, &in) == 0; msg_free(&in)) {
            peer.requests++;
            go_on = peer_answer(s, in, peer_of_connection(peer_now()) ? PEER_RIGHT : peer_take());
        }
    }
    stream_free(&s);
}

static int peer_connect(const char *service, int64_t deadline)
{
    int ends[2];

    (void) deadline;
    if (strcmp(service, peer.service) != 0) {
        fprintf(stderr, "asked for %s, not %s\n", service, peer.service);
        abort();
    }
    if (peer_now() == PEER_REFUSES) {
        peer_take();
        errno = ECONNREFUSED;
        return -1;
    }
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    peer.connections++;
    fiber_go("peer", peer_serve, stream_new(ends[1]));
    return ends[0];
}

static void peer_play(const enum peer_act *script, size_t len)
{
    peer.script = script;
    peer.script_len = len;
    peer.at = 0;
}

static const enum peer_act peer_right_only[] = { PEER_RIGHT };

static void peer_init(const char *service, const char *protocol, int version, struct msg *(*right)(struct msg *) )
{
    peer.service = service;
    peer.protocol = protocol;
    peer.version = version;
    peer.right = right;
    peer_play(peer_right_only, 1);
    ipc_set_connector(peer_connect);
}

/* `ask` answers whether it got the right answer. It must say no for each fault, and yes again for the request behind
 * it; it is asked a second time by itself only when `again_ok`. */
__attribute__((unused)) static void peer_faults(bool (*ask)(void), bool again_ok)
{
    for (int act = PEER_REFUSES; act < PEER_ACTS; act++) {
        enum peer_act always[] = { (enum peer_act) act }, once[] = { (enum peer_act) act, PEER_RIGHT };
        bool second = act == PEER_UNGREETED || (again_ok && (act == PEER_CLOSES || act == PEER_HALF ||
                                                             act == PEER_GARBAGE || act == PEER_HUGE));

        peer_play(peer_right_only, 1);
        if (!ask()) {
            fprintf(stderr, "after a fault: no right answer\n");
            abort();
        }
        static const enum peer_act closes[] = { PEER_CLOSES };
        if (peer_of_connection((enum peer_act) act)) { /* a kept connection must go first */
            peer_play(closes, 1);
            (void) ask();
        }
        peer_play(always, 1);
        if (ask()) {
            fprintf(stderr, "%s: taken for an answer\n", peer_act_name[act]);
            abort();
        }
        peer_play(closes, 1);
        (void) ask();
        peer_play(once, 2);
        if (ask() != second) {
            fprintf(stderr, "%s once, then right: %s\n", peer_act_name[act],
                    second ? "not asked again" : "asked again");
            abort();
        }
    }
    peer_play(peer_right_only, 1);
    assert(ask());
}

__attribute__((unused)) static void peer_run(event_fn test)
{
    alarm(120);
    event_run(test, NULL);
}
#endif
