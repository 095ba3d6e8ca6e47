/*
 * pool_fault_test - a database that is killed, hangs, is locked, refuses: nothing false is answered, known answers go
 * on, the log gets one line
 */
#include "table/sql/test_server.h"

#include "base/file.h"

#include <sys/un.h>

enum { KILLED_MS = 8000, SOON_MS = 500 };
static struct sql_pool *the_pool;

static enum lookup ask(const char *name) /* of a user that no answer is known of, unless he was asked for before */
{
    enum lookup got;

    (void) ask_as(the_pool, path_of, name, false, &got);
    return got;
}

static enum lookup ask_fresh(const char *name)
{
    enum lookup got;

    (void) ask_as(the_pool, path_of, name, true, &got);
    return got;
}

static int64_t time_of(enum lookup (*fn)(const char *), const char *name, enum lookup want)
{
    int64_t start = time_mono_ms();
    enum lookup got = fn(name);

    if (got != want) {
        fprintf(stderr, "%s: %d, expected %d\n", name, got, want);
        exit(1);
    }
    return time_mono_ms() - start;
}

/* The database is asked again, at the latest after that time. */
static void expect_back(int64_t within_ms)
{
    int64_t end = time_mono_ms() + within_ms;

    while (ask_fresh("a@x") != LOOKUP_FOUND) {
        assert(time_mono_ms() < end);
        event_sleep(50);
    }
}

static void new_pool(const char *hosts)
{
    static int64_t unlike_others = 50000;
    char source[32];
    struct sql_connect how = server_connect();

    sql_pool_close_all(); /* what earlier ones left idle */
    how.idle_interval = unlike_others++;
    if (hosts)
        how.hosts = hosts;
    snprintf(source, sizeof source, "test%d.cf", (int) unlike_others);
    the_pool = sql_pool_open(&how, source);
    log_lines = 0;
}

/* The answer is known, and older than what is used without asking. */
static void know(const char *name)
{
    assert(ask(name) == LOOKUP_FOUND);
    event_sleep(sql_cache_time * 1000 + 10);
}

static void test_killed(void)
{
    new_pool(NULL);
    know("a@x");
    server_stop(SIGKILL);
    assert(time_of(ask, "a@x", LOOKUP_FOUND) < SOON_MS);
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d@nobody", i);
        assert(time_of(ask, name, LOOKUP_RETRY) < SOON_MS);
        assert(time_of(ask, "a@x", LOOKUP_FOUND) < SOON_MS);
    }
    assert(time_of(ask_fresh, "a@x", LOOKUP_RETRY) < SOON_MS); /* who wants to be sure is not given an old answer */
    assert(log_lines == 1 && strstr(server_log, ".cf: unix:/tmp/") && strstr(server_log, "start the server"));
    sql_stale_time = 1;
    assert(ask("a@x") == LOOKUP_RETRY); /* too old by now */
    sql_stale_time = 3600;
    server_start();
    expect_back(KILLED_MS);
    assert(ask("1@nobody") == LOOKUP_NONE);
    server_stop(SIGKILL); /* while nobody asks: the connections at hand are dead, and nobody notices */
    server_start();
    assert(ask_fresh("a@x") == LOOKUP_FOUND && ask_fresh("b@x") == LOOKUP_FOUND);
    assert(log_lines == 1);
}

static void test_hung(void)
{
    int64_t took;

    new_pool(NULL);
    know("a@x");
    server_halt();
    took = time_of(ask, "a@x", LOOKUP_FOUND);
    assert(took < 5000);
    assert(time_of(ask, "a@x", LOOKUP_FOUND) < SOON_MS);
    assert(time_of(ask, "2@nobody", LOOKUP_RETRY) < 5000);
    assert(time_of(ask_fresh, "a@x", LOOKUP_RETRY) < 5000);
    assert(log_lines == 1 && strstr(server_log, "no answer in time"));
    kill(server_pid, SIGCONT);
    expect_back(KILLED_MS);
    assert(ask("2@nobody") == LOOKUP_NONE);
}

static int running;
static enum lookup crowd_got[64];
static const char *crowd_text = path_of;

static void one_of_crowd(void *arg)
{
    enum lookup *got = arg;
    char name[32];

    snprintf(name, sizeof name, "%td@crowd", got - crowd_got);
    (void) ask_as(the_pool, crowd_text, name, false, got);
    running--;
}

static void crowd_asks(int n)
{
    for (running = 0; running < n; running++)
        fiber_go("crowd", one_of_crowd, &crowd_got[running]);
    while (running)
        event_sleep(10);
}

static void crowd_answers(int n, enum lookup want)
{
    crowd_asks(n);
    for (int i = 0; i < n; i++)
        if (crowd_got[i] != want) {
            fprintf(stderr, "%d of the crowd: %d, expected %d\n", i, crowd_got[i], want);
            exit(1);
        }
}

static int connections(void)
{
    return atoi(server_sql("select count(*) from information_schema.processlist where user = 'reader'"));
}

static void test_locked(void)
{
    int64_t start;

    new_pool(NULL);
    know("a@x");
    sql_question_timeout = 4;
    run("(mariadb --no-defaults -S %s/sock -u root -e 'lock tables mail.box write; select sleep(9)' >/dev/null 2>&1 "
        "&)",
        server_dir);
    event_sleep(300);
    start = time_mono_ms();
    crowd_answers(40, LOOKUP_RETRY);
    assert(time_mono_ms() - start < 5000);
    assert(time_of(ask, "a@x", LOOKUP_FOUND) < SOON_MS); /* nothing has been answered for seconds: not waited for */
    crowd_asks(40);
    assert(connections() <= sql_connection_limit + 1); /* those who were told "later" did not leave theirs behind */
    while (ask("1@crowd") == LOOKUP_RETRY)
        assert(time_mono_ms() - start < 15000);
    crowd_answers(40, LOOKUP_NONE);
    sql_question_timeout = 10;
}

static void kill_connections(void)
{
    run("mariadb --no-defaults -N -S %s/sock -u root -e \"select concat('kill ', id, ';') from "
        "information_schema.processlist where user = 'reader'\" | mariadb --no-defaults -S %s/sock -u root",
        server_dir, server_dir);
}

static void test_connections_killed(void)
{
    new_pool(NULL);
    crowd_asks(20);
    for (int i = 0; i < 3; i++) {
        kill_connections();
        crowd_answers(20, LOOKUP_NONE);
    }
    assert(log_lines == 0);
}

static void test_password_changed(void)
{
    new_pool(NULL);
    know("a@x");
    server_sql("alter user reader identified by 'other'");
    assert(ask_fresh("a@x") == LOOKUP_FOUND); /* a connection at hand is as good as before */
    kill_connections();
    for (int i = 0; i < 20; i++) {
        assert(ask("3@nobody") == LOOKUP_RETRY && ask("a@x") == LOOKUP_FOUND);
        event_sleep(20);
    }
    assert(ask_fresh("a@x") == LOOKUP_RETRY);
    assert(log_lines == 1 && strstr(server_log, "Access denied") && strstr(server_log, "check user and password"));
    assert(strstr(server_log, "secret") == NULL);
    server_sql("alter user reader identified by 'secret'");
    expect_back(KILLED_MS);
    server_sql("revoke select on mail.* from reader");
    kill_connections();
    assert(ask("3@nobody") == LOOKUP_RETRY);
    server_sql("grant select on mail.* to reader");
    expect_back(KILLED_MS);
}

static void test_no_table(void)
{
    char syntax[] = "select path from box where name = 'pass word";
    enum lookup got;

    new_pool(NULL);
    know("a@x");
    server_sql("rename table mail.box to mail.gone");
    for (int i = 0; i < 5; i++)
        assert(ask("4@nobody") == LOOKUP_RETRY && ask("a@x") == LOOKUP_FOUND);
    assert(log_lines == 1 && strstr(server_log, "make the table or correct the query"));
    server_sql("rename table mail.gone to mail.box");
    assert(ask("4@nobody") == LOOKUP_NONE);
    (void) ask_as(the_pool, syntax, NULL, false, &got);
    assert(got == LOOKUP_RETRY && log_lines == 1); /* of the same file, within a minute */
    struct sql_question q = { .text = syntax, .source = "other.cf" };
    struct arena *arena = arena_new();
    struct sql_rows rows;
    struct err err;
    assert(sql_pool_ask(the_pool, &q, 1, arena, &rows, &err) == LOOKUP_RETRY && log_lines == 2);
    assert(strstr(server_log, "other.cf: ") && strstr(server_log, "pass word") == NULL);
    arena_free(&arena);
}

/* The server takes fewer connections than we would open: those that there are serve all. */
static void test_full(void)
{
    new_pool(NULL);
    crowd_text = "select path from (select sleep(0.1)) as s left join box on name = ? where path is not null";
    server_sql("set global max_connections = 10");
    kill_connections();
    sql_cache_time = 0;
    for (int i = 0; i < 3; i++)
        crowd_answers(40, LOOKUP_NONE);
    assert(log_lines == 1 && strstr(server_log, "Too many connections") && strstr(server_log, "max_connections"));
    server_sql("set global max_connections = 100; grant usage on *.* to reader with max_user_connections 3");
    kill_connections();
    crowd_answers(40, LOOKUP_NONE);
    server_sql("grant usage on *.* to reader with max_user_connections 0");
    crowd_text = path_of;
    sql_cache_time = 2;
}

/* What stands for other hosts: a relay to the server that can be told to stop, and a port that accepts and is silent. */
struct relay {
    int listener, port;
    bool stalled;
    struct event_cond moved;
    int accepted;
};
struct pump {
    struct relay *relay;
    int from, to;
    struct pump *other;
    bool ended;
};

static void pump_body(void *arg)
{
    struct pump *p = arg;
    char buffer[8192];
    ssize_t n;

    while (event_wait_fd(p->from, EVENT_READ, EVENT_NEVER) > 0 && (n = read(p->from, buffer, sizeof buffer)) > 0) {
        while (p->relay->stalled && event_cond_wait(&p->relay->moved, EVENT_NEVER) == 0)
            ;
        if (file_write_all(p->to, buffer, (size_t) n) < 0)
            break;
    }
    shutdown(p->to, SHUT_WR);
    p->ended = true;
    if (!p->other->ended)
        return;
    event_forget_fd(p->from);
    event_forget_fd(p->to);
    close(p->from);
    close(p->to);
    free(p->other);
    free(p);
}

static void relay_body(void *arg)
{
    struct relay *r = arg;
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    snprintf(sun.sun_path, sizeof sun.sun_path, "%.60s/sock", server_dir);
    while (event_wait_fd(r->listener, EVENT_READ, EVENT_NEVER) > 0) {
        int client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC),
            up = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct pump *a = mem_new(sizeof *a), *b = mem_new(sizeof *b);
        r->accepted++;
        if (connect(up, (struct sockaddr *) &sun, sizeof sun) < 0)
            continue;
        *a = (struct pump){ r, client, up, b, false };
        *b = (struct pump){ r, up, client, a, false };
        fiber_go("pump", pump_body, a);
        fiber_go("pump", pump_body, b);
    }
}

static void listen_on(struct relay *r)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof sin;

    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert(bind(r->listener, (struct sockaddr *) &sin, sizeof sin) == 0 && listen(r->listener, 100) == 0);
    assert(getsockname(r->listener, (struct sockaddr *) &sin, &len) == 0);
    r->port = ntohs(sin.sin_port);
}

static void stall(struct relay *r, bool yes)
{
    r->stalled = yes;
    event_cond_broadcast(&r->moved);
}

/* Of three hosts one refuses and one accepts and says nothing: the third costs no time, whichever is tried first. */
static void test_three_hosts(void)
{
    static struct relay silent;
    char hosts[200];
    int64_t slowest = 0;

    listen_on(&silent);
    snprintf(hosts, sizeof hosts, "inet:127.0.0.1:%d, 127.0.0.1:%d inet:[127.0.0.1]:%d", free_port(), silent.port,
             server_port);
    for (int i = 0; i < 10; i++) {
        new_pool(hosts);
        int64_t took = time_of(ask_fresh, "a@x", LOOKUP_FOUND);
        slowest = took > slowest ? took : slowest;
        for (int k = 0; k < 20; k++)
            assert(time_of(ask_fresh, "a@x", LOOKUP_FOUND) < SOON_MS);
    }
    assert(slowest < 1500); /* a hedge, or two */
    event_sleep(2500);      /* until nobody tries the silent one any more */
    close(silent.listener);
}

/* A host that stops in the middle of things is left for the other one, once; it comes back by itself. */
static void test_host_stops(void)
{
    static struct relay a, b;
    char hosts[200];
    int64_t start;

    listen_on(&a);
    listen_on(&b);
    fiber_go("relay", relay_body, &a);
    fiber_go("relay", relay_body, &b);
    snprintf(hosts, sizeof hosts, "127.0.0.1:%d 127.0.0.1:%d", a.port, b.port);
    new_pool(hosts);
    crowd_asks(30);
    struct relay *in_use = a.accepted > b.accepted ? &a : &b, *other = in_use == &a ? &b : &a;
    stall(in_use, true);
    start = time_mono_ms();
    sql_cache_time = 0;
    crowd_answers(30, LOOKUP_NONE);
    assert(time_mono_ms() - start < 6500 && time_mono_ms() - start > 500);
    start = time_mono_ms();
    for (int i = 0; i < 10; i++)
        crowd_asks(30);
    assert(time_mono_ms() - start < 2500 && other->accepted > 0);
    assert(log_lines == 1 && strstr(server_log, "other hosts are asked"));
    stall(in_use, false);
    start = time_mono_ms();
    for (int before = in_use->accepted; in_use->accepted == before; event_sleep(100)) {
        assert(ask("5@nobody") == LOOKUP_NONE);
        assert(time_mono_ms() - start < 70000);
    }
    sql_cache_time = 2;
}

static int asked_names;

static enum lookup names(const char *host, struct str *out, struct err *err)
{
    asked_names++;
    if (strcmp(host, "db.test") == 0) {
        str_adds(out, "127.0.0.2 127.0.0.1"); /* nobody listens at the first */
        return LOOKUP_FOUND;
    }
    if (strcmp(host, "none.test") == 0)
        return LOOKUP_NONE;
    event_sleep(30000); /* DNS is dead */
    err_set(err, 0, NULL, "no answer");
    return LOOKUP_RETRY;
}

static void test_names(void)
{
    char hosts[200];
    struct sql_pool *dead, *mixed;

    sql_pool_resolver(names);
    snprintf(hosts, sizeof hosts, "db.test:%d", server_port);
    new_pool(hosts);
    assert(ask_fresh("a@x") == LOOKUP_FOUND && asked_names == 1);
    snprintf(hosts, sizeof hosts, "dead.test:%d 127.0.0.1:%d", server_port, server_port);
    new_pool(hosts);
    mixed = the_pool;
    for (int i = 0; i < 5; i++)
        assert(time_of(ask_fresh, "a@x", LOOKUP_FOUND) < 1000);
    snprintf(hosts, sizeof hosts, "dead.test:%d", server_port);
    new_pool(hosts);
    dead = the_pool;
    assert(time_of(ask, "a@x", LOOKUP_RETRY) < 5000);
    assert(log_lines >= 1 && strstr(server_log, "no answer from DNS"));
    the_pool = mixed;
    assert(time_of(ask_fresh, "a@x", LOOKUP_FOUND) < SOON_MS && dead != mixed);
    snprintf(hosts, sizeof hosts, "none.test:%d", server_port);
    new_pool(hosts);
    assert(time_of(ask, "a@x", LOOKUP_RETRY) < SOON_MS && strstr(server_log, "there is no such name"));
    sql_pool_resolver(NULL);
}

static void all(void *arg)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "killed", test_killed },
        { "hung", test_hung },
        { "locked", test_locked },
        { "connections killed", test_connections_killed },
        { "password changed", test_password_changed },
        { "no table", test_no_table },
        { "full", test_full },
        { "three hosts", test_three_hosts },
        { "host stops", test_host_stops },
        { "names", test_names },
    };

    (void) arg;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        int64_t start = time_mono_ms();
        tests[i].run();
        fprintf(stderr, "%s: %lld ms\n", tests[i].name, (long long) (time_mono_ms() - start));
    }
    sql_pool_close_all();
    event_stop();
}

int main(void)
{
    server_new();
    event_run(all, NULL);
    return 0;
}
