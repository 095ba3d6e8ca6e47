/* qmgr_test - an announcement is sent, or it is said that it was not; nobody waits for an answer */
#include "client/qmgr.h"
#include "client/test_peer.h"
#include "base/file.h"

static char heard[64];

static struct msg *right(struct msg *in)
{
    snprintf(heard, sizeof heard, "%s %s", msg_name(in), msg_get_str(in, "queue_id", 32));
    assert(msg_done(in));
    return NULL;
}

static int trigger_end = -1;
static int connect_trigger(const char *service, int64_t deadline)
{
    int ends[2];

    (void) deadline;
    assert(strcmp(service, "public/qmgr") == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    trigger_end = ends[1];
    return ends[0];
}

static int refuse(const char *service, int64_t deadline)
{
    (void) service;
    (void) deadline;
    errno = ENOENT;
    return -1;
}

static void test(void *unused)
{
    static const struct {
        enum peer_act act[2];
        int status;
    } rows[] = {
        { { PEER_RIGHT, PEER_RIGHT }, 0 },     { { PEER_REFUSES, PEER_RIGHT }, -1 },
        { { PEER_UNGREETED, PEER_RIGHT }, 0 }, { { PEER_MUTE, PEER_RIGHT }, -1 },
        { { PEER_STRANGER, PEER_RIGHT }, -1 }, { { PEER_GARBAGE, PEER_RIGHT }, 0 }, /* it was sent all the same */
    };
    static const enum peer_act ends[] = { PEER_CLOSES };
    char bytes[16];

    (void) unused;
    peer_init("public/qmgr", QMGR_PROTOCOL, QMGR_VERSION, right);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char id[16], want[64];
        peer_play(ends, 1); /* each row over a connection of its own */
        (void) qmgr_arrived("0");
        event_sleep(5);
        peer_play(rows[i].act, 2);
        heard[0] = '\0';
        snprintf(id, sizeof id, "4AA05AA49A%zu", i);
        snprintf(want, sizeof want, "arrived %s", id);
        if (qmgr_arrived(id) != rows[i].status) {
            fprintf(stderr, "row %zu\n", i);
            abort();
        }
        event_sleep(5);
        assert((strcmp(heard, want) == 0) == (rows[i].status == 0));
    }
    ipc_set_connector(connect_trigger);
    assert(qmgr_trigger(QMGR_TRIGGER_FLUSH) == 0);
    assert(file_read_all(trigger_end, bytes, sizeof bytes) == 4 && memcmp(bytes, "FADI", 4) == 0);
    ipc_set_connector(refuse);
    assert(qmgr_trigger("W") == -1 && errno == ENOENT);
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
