/* auth_worker_test - the client against a service of a few lines: every answer, and every way in which none comes */
#include "client/auth_worker.h"
#include "client/test_peer.h"

#include "event/event.h"

static struct arena *arena;
static struct err err;
static const char *answer_with = "ok";
static unsigned asked;

static struct msg *verdict(struct msg *in)
{
    bool pam = strcmp(msg_name(in), "pam") == 0;
    struct msg *m = msg_new(answer_with);
    struct slice password;

    asked++;
    if (pam) {
        assert(strcmp(msg_get_str(in, "service", AUTH_WORKER_SERVICE_BYTES), "imap") == 0);
        assert(strcmp(msg_get_str(in, "rhost", AUTH_WORKER_ADDRESS_BYTES), "192.0.2.1") == 0);
        assert(msg_get_num(in, "setcred", 0, 1) == 1 && msg_get_num(in, "session", 0, 1) == 0);
        assert(msg_get_num(in, "uses", 1, AUTH_WORKER_USES_MAX) == 7);
    } else {
        assert(strcmp(msg_get_str(in, "kind", 100), "shadow") == 0);
    }
    password = msg_get(in, "password", AUTH_WORKER_PASSWORD_BYTES);
    assert(slice_eq(password, "secret") && strcmp(msg_get_str(in, "user", 100), "joe") == 0 && msg_done(in));
    msg_put_str(m, "user", "joseph");
    msg_put_str(m, "why", "pam_x() failed");
    msg_put_str(m, "said", "go away");
    msg_put_num(m, "fault", 1);
    return m;
}

static struct msg *right(struct msg *in)
{
    struct msg *m;

    if (strcmp(msg_name(in), "pam") == 0 || strcmp(msg_name(in), "password") == 0)
        return verdict(in);
    m = msg_new("found");
    if (strcmp(msg_name(in), "account") == 0) {
        assert(strcmp(msg_get_str(in, "user", 100), "joe") == 0 && msg_done(in));
        msg_put_str(m, "user", "joe");
        msg_put_num(m, "uid", 1001);
        msg_put_num(m, "gid", 100);
        msg_put_str(m, "home", "/home/joe");
    } else {
        assert(strcmp(msg_get_str(in, "name", 100), "mail") == 0 && msg_done(in));
        msg_put_num(m, "id", strcmp(msg_name(in), "uid") == 0 ? 8 : 12);
    }
    return m;
}

static struct auth_worker_said said;

static enum auth_worker_verdict pam(void)
{
    const struct auth_worker_pam q = { .service = "imap",
                                       .user = "joe",
                                       .rhost = "192.0.2.1",
                                       .password = SLICE("secret"),
                                       .setcred = true,
                                       .uses = 7 };

    return auth_worker_pam(&q, arena, &said);
}

static bool pam_right(void) { return pam() == AUTH_WORKER_OK && strcmp(said.user, "joseph") == 0; }

static bool password_right(void)
{
    return auth_worker_password("shadow", "joe", SLICE("secret"), arena, &said) == AUTH_WORKER_OK;
}

static bool account_right(void)
{
    struct auth_worker_account a;

    return auth_worker_account("joe", arena, &a, &err) == LOOKUP_FOUND && a.uid == 1001 && a.gid == 100 &&
           strcmp(a.home, "/home/joe") == 0 && strcmp(a.user, "joe") == 0;
}

static bool uid_right(void)
{
    uint32_t id = 0;

    return auth_worker_uid("mail", &id, &err) == LOOKUP_FOUND && id == 8;
}

static bool gid_right(void)
{
    uint32_t id = 0;

    return auth_worker_gid("mail", &id, &err) == LOOKUP_FOUND && id == 12;
}

static void test_verdicts(void)
{
    for (int v = 0; v < AUTH_WORKER_VERDICTS; v++) {
        answer_with = auth_worker_verdict_name[v];
        assert(pam() == (enum auth_worker_verdict) v);
        assert(strcmp(said.why, "pam_x() failed") == 0 && strcmp(said.said, "go away") == 0 && said.fault);
    }
    answer_with = "nonsense";
    assert(pam() == AUTH_WORKER_LATER && strstr(said.why, "malformed"));
    answer_with = "ok";
}

/* An attempt that was made is never made again by us: modules count them. */
static void test_once(void)
{
    static const enum peer_act closes[] = { PEER_CLOSES, PEER_RIGHT };

    assert(pam_right());
    asked = 0;
    peer_play(closes, 2);
    assert(pam() == AUTH_WORKER_LATER && asked == 1);
}

static void test(void *unused)
{
    (void) unused;
    arena = arena_new();
    peer_init(AUTH_WORKER_SERVICE, AUTH_WORKER_PROTOCOL, AUTH_WORKER_VERSION, right);
    assert(pam_right() && password_right() && account_right() && uid_right() && gid_right());
    test_verdicts();
    test_once();
    peer_faults(pam_right, false);
    peer_faults(password_right, false);
    peer_faults(account_right, true);
    peer_faults(uid_right, true);
    arena_free(&arena);
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
