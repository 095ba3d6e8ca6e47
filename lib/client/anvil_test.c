/* anvil_test - counts come through; whatever goes wrong is "unknown", which stops nobody */
#include "client/anvil.h"
#include "client/anvil_wire.h"
#include "client/test_peer.h"

static int64_t connections = 3, rate = 7;

static struct msg *right(struct msg *in)
{
    struct msg *m = msg_new("ok");

    assert(strcmp(msg_name(in), ANVIL_REQUEST) == 0 && msg_get_num(in, ANVIL_V_EVENT, 0, 9) == ANVIL_RECIPIENT);
    assert(strcmp(msg_get_str(in, ANVIL_V_IDENT, 255), "smtp:192.0.2.1") == 0 && msg_done(in));
    msg_put_num(m, ANVIL_V_CONNECTIONS, connections);
    msg_put_num(m, ANVIL_V_RATE, rate);
    return m;
}

static struct msg *unknown(struct msg *in)
{
    (void) in;
    return msg_new("unknown");
}

static bool ask(void)
{
    struct anvil_counts c = { -1, -1 };

    return anvil_count(ANVIL_RECIPIENT, "smtp", "192.0.2.1", &c) && c.connections == 3 && c.rate == 7;
}

static void test(void *unused)
{
    char name[ANVIL_IDENT_BYTES];
    struct anvil_counts c;

    (void) unused;
    peer_init("private/anvil", ANVIL_PROTOCOL, ANVIL_PROTOCOL_VERSION, right);
    peer_faults(ask, false);
    connections = -1; /* below what a count can be */
    assert(!anvil_count(ANVIL_RECIPIENT, "smtp", "192.0.2.1", &c));
    peer.right = unknown;
    assert(!anvil_count(ANVIL_RECIPIENT, "smtp", "192.0.2.1", &c));
    /* An identity that does not fit is not cut, or two clients would be counted as one. */
    unsigned before = peer.requests;
    memset(name, 'x', sizeof name);
    name[sizeof name - sizeof "smtp:"] = '\0';
    assert(!anvil_count(ANVIL_RECIPIENT, "smtp:", name, &c) && peer.requests == before);
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
