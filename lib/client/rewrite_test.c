/* rewrite_test - answers are kept for a moment, faults never; a fault is "later", never "no" and never half a route */
#include "client/rewrite.h"
#include "client/test_peer.h"
#include "conf/param.h"

static const char *transport = "smtp", *last_question = "";
static int64_t class = REWRITE_CLASS_DEFAULT;
static char question[400];
static unsigned asked;

static struct msg *right(struct msg *in)
{
    struct msg *m = msg_new("ok");

    asked++;
    if (strcmp(msg_name(in), "rewrite") == 0) {
        snprintf(question, sizeof question, "rewrite %d ", (int) msg_get_num(in, "context", 0, 1));
        strcat(question, msg_get_str(in, "address", 100));
        msg_put_str(m, "address", "joe@x.test");
    } else {
        snprintf(question, sizeof question, "%s <%s> ", msg_name(in), msg_get_str(in, "sender", 100));
        strcat(question, msg_get_str(in, "address", 100));
        msg_put_str(m, "transport", transport);
        msg_put_str(m, "nexthop", "mx.x.test");
        msg_put_str(m, "recipient", "joe@x.test");
        msg_put_num(m, "class", class);
        msg_put_num(m, "routed", 1);
    }
    last_question = question;
    assert(msg_done(in));
    return m;
}

static struct msg *later(struct msg *in)
{
    (void) in;
    return msg_new("retry");
}

static bool canonical(void)
{
    struct str out;
    enum lookup found;
    bool good;

    rewrite_flush();
    str_init(&out, 100);
    str_adds(&out, "<");
    found = rewrite_canonical(REWRITE_REMOTE, "joe", &out);
    good = found == LOOKUP_FOUND && strcmp(out.p, "<joe@x.test") == 0;
    assert(good || (found == LOOKUP_RETRY && strcmp(out.p, "<") == 0));
    str_free(&out);
    return good;
}

static bool resolve(void)
{
    struct arena *arena = arena_new();
    struct rewrite_route r = { .class = -1 };
    enum lookup found;
    bool good;

    rewrite_flush();
    found = rewrite_resolve("s@x.test", "joe@x.test", arena, &r);
    good = found == LOOKUP_FOUND && strcmp(r.transport, "smtp") == 0 && strcmp(r.nexthop, "mx.x.test") == 0 &&
           strcmp(r.recipient, "joe@x.test") == 0 && r.class == REWRITE_CLASS_DEFAULT && r.routed && !r.error;
    assert(good || found == LOOKUP_RETRY);
    arena_free(&arena);
    return good;
}

static void test_routes(void)
{
    struct arena *arena = arena_new();
    struct rewrite_route r;
    static const struct {
        const char *transport;
        int64_t class;
        enum lookup found;
        bool error;
    } rows[] = {
        { "local", REWRITE_CLASS_LOCAL, LOOKUP_FOUND, false },
        { "error", REWRITE_CLASS_DEFAULT, LOOKUP_FOUND, true },
        { "", REWRITE_CLASS_LOCAL, LOOKUP_RETRY, false },
        { "local", REWRITE_CLASS_DEFAULT + 1, LOOKUP_RETRY, false },
        { "local", -1, LOOKUP_RETRY, false },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rewrite_flush();
        transport = rows[i].transport;
        class = rows[i].class;
        assert(rewrite_resolve("", "joe@x.test", arena, &r) == rows[i].found);
        assert(strcmp(last_question, "resolve <> joe@x.test") == 0);
        assert(rows[i].found != LOOKUP_FOUND || (r.error == rows[i].error && (int64_t) r.class == rows[i].class));
    }
    transport = "smtp";
    class = REWRITE_CLASS_DEFAULT;
    arena_free(&arena);
}

static void test_cache(void)
{
    struct arena *arena = arena_new();
    struct rewrite_route r;
    struct str out;
    unsigned before;

    str_init(&out, 1000);
    rewrite_flush();
    before = asked;
    for (int i = 0; i < 3; i++) {
        assert(rewrite_resolve("a", "b", arena, &r) == LOOKUP_FOUND);
        assert(rewrite_canonical(REWRITE_LOCAL, "b", &out) == LOOKUP_FOUND);
    }
    assert(asked == before + 2);
    /* Not the same question: the other context, sender and address joined otherwise. */
    assert(rewrite_canonical(REWRITE_REMOTE, "b", &out) == LOOKUP_FOUND && asked == before + 3);
    assert(rewrite_resolve("", "ab", arena, &r) == LOOKUP_FOUND && asked == before + 4);
    assert(rewrite_resolve("ab", "", arena, &r) == LOOKUP_FOUND && asked == before + 5);
    peer.leap_ms += REWRITE_CACHE_MS + 1000;
    assert(rewrite_resolve("a", "b", arena, &r) == LOOKUP_FOUND && asked == before + 6);
    /* "later" is not kept */
    peer.right = later;
    assert(rewrite_resolve("a", "c", arena, &r) == LOOKUP_RETRY);
    assert(rewrite_resolve("a", "b", arena, &r) == LOOKUP_FOUND); /* what is known holds for its moment */
    peer.right = right;
    assert(rewrite_resolve("a", "c", arena, &r) == LOOKUP_FOUND && asked == before + 7);
    /* A full cache begins anew: the answer of just now is still given whole. */
    for (int i = 0; i < 2 * REWRITE_CACHE_ENTRIES + 7; i++) {
        char address[32];
        snprintf(address, sizeof address, "u%d@x.test", i);
        assert(rewrite_resolve("a", address, arena, &r) == LOOKUP_FOUND && strcmp(r.transport, "smtp") == 0);
    }
    before = asked; /* the newest of them is known */
    assert(rewrite_resolve("a", "u2006@x.test", arena, &r) == LOOKUP_FOUND && asked == before);
    /* Half an answer is not kept either. */
    static const enum peer_act empty[] = { PEER_EMPTY };
    rewrite_flush();
    peer_play(empty, 1);
    assert(rewrite_resolve("a", "d", arena, &r) == LOOKUP_RETRY);
    assert(rewrite_canonical(REWRITE_LOCAL, "d", &out) == LOOKUP_RETRY);
    peer_play(peer_right_only, 1);
    assert(rewrite_resolve("a", "d", arena, &r) == LOOKUP_FOUND && strcmp(r.transport, "smtp") == 0);
    str_reset(&out);
    assert(rewrite_canonical(REWRITE_LOCAL, "d", &out) == LOOKUP_FOUND && strcmp(out.p, "joe@x.test") == 0);
    str_free(&out);
    arena_free(&arena);
}

static void test_complete(void)
{
    static const char *const complete[] = { "u@x.test", "a@b@x.test", "u%y@x.test", "a!u@[1.2.3.4]", "u@.test" },
                             *const asked_for[] = { "",        "u",      "u@",          "u@x", "u@x.test.",
                                                    "@x.test", "u@x.y.", "@a:u@x.test", "@",   "u.v@x" };
    unsigned before = asked;
    struct str out;

    rewrite_flush();
    str_init(&out, 100);
    for (size_t i = 0; i < sizeof complete / sizeof *complete; i++) {
        str_reset(&out);
        assert(rewrite_canonical(REWRITE_LOCAL, complete[i], &out) == LOOKUP_FOUND && asked == before);
        assert(strcmp(out.p, complete[i]) == 0);
    }
    for (size_t i = 0; i < sizeof asked_for / sizeof *asked_for; i++) {
        str_reset(&out);
        assert(rewrite_canonical(REWRITE_LOCAL, asked_for[i], &out) == LOOKUP_FOUND);
        assert(strcmp(out.p, "joe@x.test") == 0 && asked == ++before);
    }
    str_free(&out);
}

/* What may have been refused is asked again by the next who comes, once; what is ours is not. */
static void test_since(void)
{
    static const struct {
        const char *transport;
        int64_t class;
        bool again;
    } rows[] = {
        { "smtp", REWRITE_CLASS_DEFAULT, true }, { "error", REWRITE_CLASS_VIRTUAL_ALIAS, true },
        { "error", REWRITE_CLASS_LOCAL, true },  { "lmtp", REWRITE_CLASS_VIRTUAL_MAILBOX, false },
        { "relay", REWRITE_CLASS_RELAY, false }, { "local", REWRITE_CLASS_LOCAL, false },
    };
    struct arena *arena = arena_new();
    struct rewrite_route r;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t came;
        unsigned before = asked;

        rewrite_flush();
        transport = rows[i].transport;
        class = rows[i].class;
        came = time_mono_us();
        for (int n = 0; n < 3; n++) /* several checks of one command */
            assert(rewrite_resolve_since(came, "a", "b@new.test", arena, &r) == LOOKUP_FOUND && asked == before + 1);
        event_sleep(1);
        transport = "lmtp"; /* inserted meanwhile */
        class = REWRITE_CLASS_VIRTUAL_MAILBOX;
        came = time_mono_us();
        for (int n = 0; n < 3; n++)
            assert(rewrite_resolve_since(came, "a", "b@new.test", arena, &r) == LOOKUP_FOUND);
        assert(asked == before + 1 + rows[i].again);
        assert(!rows[i].again || r.class == REWRITE_CLASS_VIRTUAL_MAILBOX);
    }
    transport = "smtp";
    class = REWRITE_CLASS_DEFAULT;
    arena_free(&arena);
}

static void test_limits(void)
{
    char *longest = mem_new(REWRITE_ADDRESS_BYTES + 2);
    struct arena *arena = arena_new();
    struct rewrite_route r;
    struct str out;
    unsigned before = asked;

    memset(longest, 'x', REWRITE_ADDRESS_BYTES + 1);
    str_init(&out, 5); /* shorter than the answer: not a cut address */
    assert(rewrite_canonical(REWRITE_LOCAL, longest, &out) == LOOKUP_RETRY);
    assert(rewrite_resolve("", longest, arena, &r) == LOOKUP_RETRY);
    assert(rewrite_resolve(longest, "", arena, &r) == LOOKUP_RETRY && asked == before);
    assert(rewrite_canonical(REWRITE_LOCAL, "joe", &out) == LOOKUP_RETRY && asked == before + 1);
    str_reset(&out);
    assert(rewrite_canonical(REWRITE_LOCAL, "joe@x.test", &out) == LOOKUP_RETRY && asked == before + 1);
    str_free(&out);
    arena_free(&arena);
    free(longest);
}

static void test(void *unused)
{
    (void) unused;
    conf_ipc_timeout = 10;
    conf_error_service_name = "error";
    peer_init(REWRITE_SERVICE, REWRITE_PROTOCOL, REWRITE_VERSION, right);
    peer_faults(canonical, true);
    peer_faults(resolve, true);
    test_routes();
    test_cache();
    test_complete();
    test_since();
    test_limits();
    rewrite_flush();
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
