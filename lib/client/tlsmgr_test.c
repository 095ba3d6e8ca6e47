/* tlsmgr_test - keys are taken as they come, asked for again in time, and never replaced by half an answer */
#include "client/tlsmgr.h"
#include "client/tlsmgr_wire.h"
#include "client/test_peer.h"

static size_t taken;
static unsigned char newest;
static unsigned times;
static size_t bytes = TLS_TICKET_KEY_BYTES;
static int64_t refresh_seconds = 10;

/* In place of io/tls.c: what a context would be given. */
void tls_ctx_ticket_keys(struct tls_ctx *ctx, const unsigned char *keys, size_t count)
{
    assert(ctx != NULL);
    taken = count;
    newest = keys[0];
    times++;
}

static struct msg *right(struct msg *in)
{
    static unsigned char keys[TLSMGR_KEYS * TLS_TICKET_KEY_BYTES + 1];
    struct msg *m = msg_new("ok");

    assert(strcmp(msg_name(in), TLSMGR_REQUEST) == 0 && msg_done(in));
    memset(keys, 'a', sizeof keys);
    msg_put(m, TLSMGR_V_KEYS, slice_make((const char *) keys, bytes));
    msg_put_num(m, TLSMGR_V_REFRESH, refresh_seconds);
    return m;
}

/* Lets the keeper ask until n requests have come: the clock leaps over its pauses, not over a question on its way. */
static void until(unsigned n)
{
    for (int i = 1; peer.requests < n && i < 2000; i++) {
        if (i % 100 == 0)
            peer.leap_ms += 100000;
        event_sleep(1);
    }
    assert(peer.requests >= n);
    event_sleep(20);
}

static void test(void *unused)
{
    static const struct {
        size_t bytes;
        int64_t refresh;
        bool good;
    } rows[] = {
        { TLS_TICKET_KEY_BYTES, 5, true },
        { (size_t) 2 * TLS_TICKET_KEY_BYTES, 5, true },
        { (size_t) 2 * TLS_TICKET_KEY_BYTES + 1, 5, false },
        { TLS_TICKET_KEY_BYTES - 1, 5, false },
        { 0, 5, false },
        { TLS_TICKET_KEY_BYTES, 0, false },
        { TLS_TICKET_KEY_BYTES, 86401, false },
    };
    unsigned before;
    int64_t began;

    (void) unused;
    peer_init("private/tlsmgr", TLSMGR_PROTOCOL, TLSMGR_PROTOCOL_VERSION, right);
    tlsmgr_keep_keys(NULL); /* no context: nothing to ask */
    event_sleep(20);
    assert(peer.connections == 0);
    tlsmgr_keep_keys((struct tls_ctx *) &taken);
    until(1);
    assert(times == 1 && taken == 1 && newest == 'a');
    began = time_mono_ms(); /* as often as tlsmgr says, not more */
    peer.leap_ms += 9000;
    event_sleep(20);
    assert(peer.requests == 1 && time_mono_ms() - began >= 9000);
    peer.leap_ms += 1000;
    event_sleep(20);
    assert(peer.requests == 2 && times == 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes = rows[i].bytes;
        refresh_seconds = rows[i].refresh;
        before = times;
        until(peer.requests + 1);
        assert((times > before) == rows[i].good);
        assert(!rows[i].good || taken == rows[i].bytes / TLS_TICKET_KEY_BYTES);
    }
    bytes = TLS_TICKET_KEY_BYTES;
    refresh_seconds = 5;
    for (int act = PEER_REFUSES; act < PEER_ACTS; act++) { /* the keys of before stay; it goes on asking */
        enum peer_act always[] = { (enum peer_act) act };
        before = times;
        peer_play(always, 1);
        for (int i = 0; i < 5; i++) {
            peer.leap_ms += 100000;
            event_sleep(2);
        }
        assert(times == before || peer_of_connection((enum peer_act) act)); /* the connection of before is kept */
        peer_play(peer_right_only, 1);
        before = times;
        until(peer.requests + 1);
        for (int i = 0; times == before && i < 100; i++)
            until(peer.requests + 1);
        assert(times > before);
    }
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
