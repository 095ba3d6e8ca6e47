/*
 * penalty_test - how long whom a failure costs
 */
#include "penalty.h"
#include <assert.h>
#include <stdio.h>

static struct arena *a;

static struct authd_request *from(const char *rip, uint64_t attempt)
{
    struct authd_peer peer = { .rip = rip };
    struct authd_request *r = authd_request_new(a, &peer, "PLAIN");

    r->attempt = attempt;
    return r;
}

static const struct {
    enum { FAIL, OK, ASK } what;
    const char *rip;
    uint64_t attempt;
    int seconds; /* of ASK */
} steps[] = {
    { ASK, "192.0.2.1", 1, 0 },
    { FAIL, "192.0.2.1", 1, 0 },
    { ASK, "192.0.2.1", 2, 4 },
    { ASK, "192.0.2.2", 2, 0 },
    { FAIL, "192.0.2.1", 1, 0 },
    { ASK, "192.0.2.1", 2, 4 }, /* the same guess */
    { FAIL, "192.0.2.1", 2, 0 },
    { ASK, "192.0.2.1", 3, 8 },
    { FAIL, "192.0.2.1", 3, 0 },
    { ASK, "192.0.2.1", 4, 15 },
    { FAIL, "192.0.2.1", 4, 0 },
    { FAIL, "192.0.2.1", 5, 0 },
    { ASK, "192.0.2.1", 6, 15 },
    { ASK, "::ffff:192.0.2.1", 6, 15 },
    { OK, "192.0.2.1", 9, 0 },
    { ASK, "192.0.2.1", 6, 0 }, /* forgiven */
    { FAIL, "192.0.2.1", 7, 0 },
    { ASK, "192.0.2.1", 9, 0 }, /* who logs in as before does not wait */
    { ASK, "192.0.2.1", 7, 4 },
    { FAIL, "192.0.2.1", 9, 0 },
    { ASK, "192.0.2.1", 9, 8 },
    { FAIL, "192.0.2.3", 0, 0 },
    { FAIL, "192.0.2.3", 0, 0 },
    { ASK, "192.0.2.3", 0, 8 }, /* unknown guesses */
    { FAIL, "2001:db8:1::1", 1, 0 },
    { ASK, "2001:db8:1:2::3", 2, 4 },
    { ASK, "2001:db8:2::1", 2, 0 },
    { FAIL, "", 1, 0 },
    { ASK, "", 1, 0 },
    { FAIL, "no address", 1, 0 },
    { ASK, "no address", 1, 0 },
};

static void test_bounds(void)
{
    char rip[32];

    for (unsigned n = 0; n < PENALTY_CLIENTS + 10; n++) {
        snprintf(rip, sizeof rip, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
        penalty_failed(from(rip, n + 1));
    }
    assert(penalty_seconds(from("10.0.0.1", 1)) == 0 && penalty_seconds(from(rip, 1)) == 4); /* the oldest went */
    for (unsigned n = 0; n < PENALTY_KNOWN + 10; n++)
        penalty_succeeded(from("198.51.100.1", n + 1000));
    penalty_failed(from("198.51.100.1", 1));
    assert(penalty_seconds(from("198.51.100.1", 1000)) == 4);
    assert(penalty_seconds(from("198.51.100.1", PENALTY_KNOWN + 1000)) == 0);
}

int main(void)
{
    a = arena_new();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct authd_request *r = from(steps[i].rip, steps[i].attempt);

        if (steps[i].what == FAIL)
            penalty_failed(r);
        else if (steps[i].what == OK)
            penalty_succeeded(r);
        else
            assert(penalty_seconds(r) == steps[i].seconds);
    }
    struct authd_request *trusted = from("192.0.2.3", 1);
    trusted->peer.no_penalty = true;
    assert(penalty_seconds(trusted) == 0);
    test_bounds();
    arena_free(&a);
    return 0;
}
