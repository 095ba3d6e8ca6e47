/* auth_test - the client against a service of a few lines: two requests side by side, failures, a lost connection */
#include "client/auth.h"

#include "base/time.h"
#include "event/event.h"
#include "io/stream.h"
#include "ipc/client.h"

#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>

static unsigned connections;
static bool refuse;

static int64_t soon(void) { return time_mono_ms() + 3000; }

/* AUTH id MECH: OK, FAIL, CONT or silence by the mechanism's name; CONT id text answers the continued ones. */
static void serve(void *arg)
{
    struct stream *s = arg;
    struct str line;
    enum stream_eol eol;
    unsigned id;
    char mech[32], text[64];

    str_init(&line, STR_UNLIMITED);
    stream_puts(s, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tCRAM-MD5\tdictionary\tactive\nSPID\t1\nCUID\t1\n"
                   "COOKIE\tabcd\nDONE\n");
    while (stream_line(s, &line, 1000, &eol) == 0) {
        if (sscanf(line.p, "AUTH\t%u\t%31s", &id, mech) == 2) {
            if (strcmp(mech, "GOOD") == 0)
                stream_printf(s, "OK\t%u\tuser=joe\001t!\tproxy\n", id);
            else if (strcmp(mech, "BAD") == 0)
                stream_printf(s, "FAIL\t%u\tuser=joe\treason=no\tcode=user_disabled\n", id);
            else if (strcmp(mech, "TEMP") == 0)
                stream_printf(s, "FAIL\t%u\ttemp\n", id);
            else if (strcmp(mech, "LATER") == 0)
                stream_printf(s, "CONT\t%u\tYQ==\n", id);
            else if (strcmp(mech, "BIND") == 0)
                stream_printf(s, "CONT\t%u\t#\tchannel_binding=tls-exporter\n", id);
            else if (strcmp(mech, "DROP") == 0)
                break;
        } else if (sscanf(line.p, "CONT\t%u\t#\tchannel_binding=%63s", &id, text) == 2) {
            stream_printf(s, strcmp(text, "ZGF0YQ==") == 0 ? "CONT\t%u\tYQ==\n" : "FAIL\t%u\n", id);
        } else if (sscanf(line.p, "CONT\t%u\t#\tchannel_binding=", &id) == 1 && strchr(line.p, '#')) {
            stream_printf(s, "FAIL\t%u\treason=empty\n", id);
        } else if (sscanf(line.p, "CONT\t%u\t%63s", &id, text) == 2) {
            stream_printf(s, strcmp(text, "Yg==") == 0 ? "OK\t%u\tuser=b\n" : "FAIL\t%u\n", id);
        }
        str_reset(&line);
    }
    str_free(&line);
    stream_free(&s);
}

static int connector(const char *service, int64_t deadline)
{
    int ends[2];

    (void) deadline;
    assert(strcmp(service, "private/auth") == 0);
    if (refuse || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return -1;
    connections++;
    fiber_go("service", serve, stream_new(ends[1]));
    return ends[0];
}

static const struct auth_peer peer = { .service = "smtp", .remote_ip = "192.0.2.1", .nologin = true };
static struct auth_client *client;

static void two_at_a_time(void)
{
    struct auth_request *a, *b;

    assert(auth_start(client, "LATER", &peer, slice_make(NULL, 0), soon(), &a) == AUTH_CONTINUE);
    assert(auth_start(client, "LATER", &peer, slice_make(NULL, 0), soon(), &b) == AUTH_CONTINUE);
    assert(strcmp(auth_challenge(a), "YQ==") == 0 && auth_request_id(a) != auth_request_id(b));
    assert(auth_continue(b, SLICE("Yg=="), soon()) == AUTH_OK && strcmp(auth_user(b), "b") == 0);
    assert(auth_continue(a, SLICE("eA=="), soon()) == AUTH_FAIL);
    auth_request_free(&a);
    auth_request_free(&b);
}

static void answers(void)
{
    struct auth_request *r;

    assert(auth_start(client, "GOOD", &peer, SLICE("AGE="), soon(), &r) == AUTH_OK);
    assert(strcmp(auth_user(r), "joe\t!") == 0 && auth_field(r, "proxy") && !auth_field(r, "pro"));
    assert(strcmp(auth_request_cookie(r), "abcd") == 0);
    auth_request_free(&r);
    assert(auth_start(client, "BAD", &peer, SLICE(""), soon(), &r) == AUTH_FAIL);
    assert(strcmp(auth_reason(r), "no") == 0 && strcmp(auth_code(r), "user_disabled") == 0);
    auth_request_free(&r);
    assert(auth_start(client, "TEMP", &peer, SLICE(""), soon(), &r) == AUTH_RETRY);
    auth_request_free(&r);
    assert(auth_start(client, "SILENT", &peer, SLICE(""), time_mono_ms() + 50, &r) == AUTH_RETRY);
    auth_request_free(&r);
}

static int binding(void *ctx, const char *type, struct str *data)
{
    str_adds(data, ctx);
    return strcmp(type, "tls-exporter") == 0 ? 0 : -1;
}

/* The data of the channel are asked of us, not of the peer. */
static void bound(void)
{
    struct auth_peer tls = peer;
    char data[] = "data";
    struct auth_request *r;

    assert(auth_start(client, "BIND", &peer, SLICE(""), soon(), &r) == AUTH_FAIL && !strcmp(auth_reason(r), "empty"));
    auth_request_free(&r);
    tls.binding = binding;
    tls.binding_ctx = data;
    assert(auth_start(client, "BIND", &tls, SLICE(""), soon(), &r) == AUTH_CONTINUE);
    assert(strcmp(auth_challenge(r), "YQ==") == 0);
    assert(auth_continue(r, SLICE("Yg=="), soon()) == AUTH_OK);
    auth_request_free(&r);
}

static void lost(void)
{
    struct auth_request *r, *waiting;
    unsigned before = connections;

    assert(auth_start(client, "LATER", &peer, SLICE(""), soon(), &waiting) == AUTH_CONTINUE);
    assert(auth_start(client, "DROP", &peer, SLICE(""), soon(), &r) == AUTH_RETRY);
    assert(auth_continue(waiting, SLICE("Yg=="), soon()) == AUTH_RETRY);
    auth_request_free(&r);
    auth_request_free(&waiting);
    assert(auth_start(client, "GOOD", &peer, SLICE(""), soon(), &r) == AUTH_OK);
    assert(connections == before + 1);
    auth_request_free(&r);
    assert(auth_start(client, "DROP", &peer, SLICE(""), soon(), &r) == AUTH_RETRY);
    auth_request_free(&r);
    refuse = true;
    assert(auth_start(client, "GOOD", &peer, SLICE(""), soon(), &r) == AUTH_RETRY);
    auth_request_free(&r);
    refuse = false;
}

static void good(unsigned after)
{
    struct auth_request *r;

    auth_client_renew(&client);
    assert(auth_start(client, "GOOD", &peer, SLICE(""), soon(), &r) == AUTH_OK && connections == after);
    auth_request_free(&r);
}

/* A brief connection ends with its use, and is not given new requests when it is old. */
static void brief(void)
{
    struct auth_request *waiting;
    unsigned before = connections;

    client = auth_client_new("private/auth", AUTH_BRIEF);
    auth_client_patience(client, 30, 10000);
    good(before + 1);
    good(before + 1);
    event_sleep(60); /* idle: closed */
    good(before + 2);
    assert(auth_start(client, "LATER", &peer, SLICE(""), soon(), &waiting) == AUTH_CONTINUE);
    event_sleep(60); /* in use: kept */
    assert(auth_continue(waiting, SLICE("Yg=="), soon()) == AUTH_OK && connections == before + 2);
    auth_request_free(&waiting);
    for (int ms = 28; ms < 33; ms++) { /* a request that meets the end of the connection gets another */
        event_sleep(ms);
        auth_client_renew(&client);
        assert(auth_start(client, "GOOD", &peer, SLICE(""), soon(), &waiting) == AUTH_OK);
        auth_request_free(&waiting);
    }
    auth_client_patience(client, 10000, 0);
    before = connections;
    assert(auth_start(client, "LATER", &peer, SLICE(""), soon(), &waiting) == AUTH_CONTINUE);
    good(before + 1); /* old: another takes its place, and the open request goes on */
    good(before + 2);
    assert(auth_continue(waiting, SLICE("Yg=="), soon()) == AUTH_OK);
    auth_request_free(&waiting);
    auth_client_free(&client);
}

static void all(void *arg)
{
    const struct auth_mech *mechs;
    size_t count;

    (void) arg;
    client = auth_client_new("private/auth", AUTH_KEEP);
    assert(auth_mechs(client, soon(), &mechs, &count) == 0 && count == 2);
    assert(strcmp(mechs[0].name, "PLAIN") == 0 && mechs[0].flags == AUTH_MECH_PLAINTEXT);
    assert(mechs[1].flags == (AUTH_MECH_DICTIONARY | AUTH_MECH_ACTIVE));
    bound();
    two_at_a_time();
    answers();
    lost();
    auth_client_free(&client);
    brief();
    event_stop();
}

int main(void)
{
    ipc_set_connector(connector);
    event_run(all, NULL);
}
