/* cleanup_test - one message, frame by frame: it counts as taken only when "done 250" was said to its end */
#include "client/cleanup.h"
#include "client/test_peer.h"

enum { LONGEST_BYTES = 1000 + RECORD_HEAD_BYTES }; /* of the records here */
static struct str received;
static int64_t flags_seen;
static int64_t code = 250;
static const char *dsn = "2.0.0", *reason = "Ok: queued", *queue_id = "4AA05AA49A9";
static bool refuses;
static unsigned opened, ended;

static struct msg *done(void)
{
    struct msg *m = msg_new(CLEANUP_DONE);

    msg_put_num(m, "code", code);
    msg_put_str(m, "dsn", dsn);
    msg_put_str(m, "reason", reason);
    return m;
}

static void receive(struct msg *in)
{
    struct slice records = msg_get(in, "records", RECORD_BYTES + CLEANUP_DATA_BYTES + RECORD_HEAD_BYTES);

    assert(records.len <= CLEANUP_DATA_BYTES + LONGEST_BYTES);
    str_addslice(&received, records);
}

static struct msg *right(struct msg *in)
{
    struct msg *m = NULL;

    if (strcmp(msg_name(in), CLEANUP_OPEN) == 0) {
        opened++;
        flags_seen = msg_get_num(in, "flags", 0, 0xffff);
        str_reset(&received);
        if (refuses)
            m = done();
        else
            msg_put_str(m = msg_new(CLEANUP_OPENED), "queue_id", queue_id);
    } else if (strcmp(msg_name(in), CLEANUP_DATA) == 0) {
        receive(in);
    } else {
        assert(strcmp(msg_name(in), CLEANUP_END) == 0);
        receive(in);
        ended++;
        m = done();
    }
    assert(msg_done(in));
    return m;
}

static int64_t soon(void) { return time_mono_ms() + 5000; }

/* 0; -1 at the opening, -2 at the end. */
static int send_message(struct err *err)
{
    struct cleanup *c = cleanup_open(CLEANUP_EXTERNAL, soon(), err);

    if (c == NULL)
        return -1;
    assert(strcmp(cleanup_id(c), queue_id) == 0);
    cleanup_printf(c, REC_TIME, "%d %d", 1, 2);
    cleanup_attr(c, "a", "b");
    cleanup_record(c, REC_FROM, SLICE("s@x.test"));
    return cleanup_end(&c, soon(), err) == 0 ? 0 : -2;
}

static void forget_connections(void)
{
    static const enum peer_act closes[] = { PEER_CLOSES };
    struct err err;

    peer_play(closes, 1);
    assert(send_message(&err) < 0);
    peer_play(peer_right_only, 1);
}

static bool is_later(const struct err *e) { return e->code == 451 && strcmp(e->dsn, "4.3.0") == 0 && e->text[0]; }

/* Each fault at each step: open, end. */
static void test_faults(void)
{
    for (int act = PEER_REFUSES; act < PEER_ACTS; act++) {
        for (int step = peer_of_connection((enum peer_act) act) ? 1 : 0; step < 2; step++) {
            enum peer_act script[2] = { PEER_RIGHT, PEER_RIGHT };
            struct err err = { 0 };
            int rc;

            forget_connections();
            script[peer_of_connection((enum peer_act) act) ? 0 : step] = (enum peer_act) act;
            peer_play(script, 2);
            rc = send_message(&err);
            if (act == PEER_UNGREETED) { /* nothing was begun: the next process is asked */
                assert(rc == 0);
            } else if (rc == 0 || !is_later(&err)) {
                fprintf(stderr, "%s at step %d: %d, %d %s\n", peer_act_name[act], step, rc, err.code, err.text);
                abort();
            }
            peer_play(peer_right_only, 1);
            assert(send_message(&err) == 0);
        }
    }
}

static void test_answers(void)
{
    static const struct {
        int64_t code;
        const char *dsn, *reason;
        int rc, err_code;
    } rows[] = {
        { 250, "2.0.0", "Ok", 0, 0 },
        { 552, "5.3.4", "Message size exceeds limit", -2, 552 },
        { 451, "4.3.0", "No room", -2, 451 },
        { 550, "5.7.1", "", -2, 550 },
        { 300, "3.0.0", "what is that", -2, 451 },
        { 251, "2.0.0", "nearly", -2, 451 },
        { 200, "2.0.0", "below all codes", -2, 451 },
        { 600, "6.0.0", "past all codes", -2, 451 },
        { 250, "2.0.0000000000000000", "a status that is too long", -2, 451 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { 0 };
        code = rows[i].code;
        dsn = rows[i].dsn;
        reason = rows[i].reason;
        int rc = send_message(&err);
        if (rc != rows[i].rc || (rc && err.code != rows[i].err_code) ||
            (rc && rows[i].err_code == rows[i].code && strcmp(err.text, rows[i].reason) != 0)) {
            fprintf(stderr, "%lld: %d, %d %s\n", (long long) rows[i].code, rc, err.code, err.text);
            abort();
        }
    }
    /* Refused at the opening, with words of its own. */
    struct err err;
    refuses = true;
    code = 452;
    dsn = "4.3.1";
    reason = "Insufficient system storage";
    assert(send_message(&err) == -1 && err.code == 452 && strcmp(err.dsn, "4.3.1") == 0 &&
           strcmp(err.text, reason) == 0);
    refuses = false;
    queue_id = "";
    assert(cleanup_open(0, soon(), &err) == NULL && is_later(&err));
    queue_id = "4AA05AA49A9";
    code = 250;
    dsn = "2.0.0";
    reason = "Ok";
}

/* All bytes arrive, in order, in frames of a bounded size; E is added when the caller has not. */
static void test_records(void)
{
    struct str want;
    struct err err;
    struct cleanup *c = cleanup_open(CLEANUP_INTERNAL, soon(), &err);
    char piece[1000];

    assert(c && flags_seen == CLEANUP_INTERNAL);
    str_init(&want, STR_UNLIMITED);
    for (int i = 0; i < 500; i++) {
        memset(piece, 'a' + i % 26, sizeof piece);
        record_put(&want, REC_NORM, slice_make(piece, (size_t) (i * 2)));
        cleanup_record(c, REC_NORM, slice_make(piece, (size_t) (i * 2)));
    }
    assert(!cleanup_failed(c));
    record_put(&want, REC_END, SLICE(""));
    unsigned before = ended;
    assert(cleanup_end(&c, soon(), &err) == 0 && c == NULL && ended == before + 1);
    assert(slice_same(str_slice(&want), str_slice(&received)));
    str_free(&want);

    /* A record that is too long: nothing is queued, and nobody says so to cleanup but the closed connection. */
    char *big = mem_new(RECORD_BYTES + 2);
    memset(big, 'x', RECORD_BYTES + 1);
    c = cleanup_open(0, soon(), &err);
    before = ended;
    cleanup_record(c, REC_NORM, slice_make(big, RECORD_BYTES + 1));
    assert(cleanup_failed(c));
    assert(cleanup_end(&c, soon(), &err) == -1 && is_later(&err) && ended == before);
    free(big);

    c = cleanup_open(0, soon(), &err);
    cleanup_record(c, REC_FROM, SLICE("x"));
    cleanup_cancel(&c);
    cleanup_cancel(&c);
    event_sleep(5);
    assert(c == NULL && ended == before);
}

/* The connection is kept between messages, for a while, and not past its own end. */
static void test_kept(void)
{
    struct err err;
    unsigned before;

    forget_connections();
    before = peer.connections;
    for (int i = 0; i < 3; i++)
        assert(send_message(&err) == 0);
    assert(peer.connections == before + 1);
    peer.leap_ms += 6000;
    assert(send_message(&err) == 0 && peer.connections == before + 2);
    struct cleanup *two[2];
    for (int i = 0; i < 2; i++)
        assert((two[i] = cleanup_open(0, soon(), &err)) != NULL);
    assert(peer.connections == before + 3);
    for (int i = 0; i < 2; i++)
        assert(cleanup_end(&two[i], soon(), &err) == 0);
    /* It ends while it is idle, or just when it is used again: nothing was begun, so a fresh one is opened. */
    static const enum peer_act dies[] = { PEER_CLOSES, PEER_RIGHT };
    peer_play(dies, 2);
    assert(send_message(&err) == 0);
}

static void test(void *unused)
{
    unsigned flags = CLEANUP_EXTERNAL;

    (void) unused;
    str_init(&received, STR_UNLIMITED);
    peer_init("public/cleanup", CLEANUP_PROTOCOL, CLEANUP_VERSION, right);
    test_faults();
    test_answers();
    test_records();
    test_kept();
    assert(cleanup_override("no_header_body_checks, no_milters", &flags) == 0 &&
           flags == (CLEANUP_BCC_OK | CLEANUP_MAP_OK));
    assert(cleanup_override("no_address_mappings no_unknown_recipient_checks", &flags) == 0 && flags == 0);
    assert(cleanup_override("no_virus", &flags) == -1);
    str_free(&received);
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
