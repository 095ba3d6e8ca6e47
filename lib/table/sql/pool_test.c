/*
 * pool_test - right answers: what is asked, joined, remembered, and not
 */
#include "table/sql/test_server.h"

static void test_questions(struct sql_pool *p)
{
    struct str text;

    for (int i = 0; i < 2; i++) { /* the second time the statement is known */
        expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
        expect_fresh(p, "select quota from box where name = ?", "b@x", LOOKUP_FOUND, "-1");
        expect_fresh(p, path_of, "c@x", LOOKUP_NONE, "");
        expect_fresh(p, path_of, "' or ''='", LOOKUP_NONE, "");
        expect_fresh(p, "select path from box where name = 'a@x'", NULL, LOOKUP_FOUND, "x/a/");
        expect_fresh(p, "select length(note) from box where name = ?", "b@x", LOOKUP_FOUND, "100000");
    }
    str_init(&text, 1000);
    str_adds(&text, "select hex('");
    sql_pool_escape(&text, SLICE("a'\"\\\n\r\0\032%_"));
    str_adds(&text, "')");
    expect(p, text.p, NULL, LOOKUP_FOUND, "6127225C0A0D001A255F");
    str_free(&text);
}

/* A cell reads the same whether the question was prepared or not. */
static void test_types(struct sql_pool *p)
{
    static const char *const value[] = {
        "1",
        "-7",
        "18446744073709551615",
        "1.50",
        "0.1e0",
        "1e100",
        "date'2026-11-22'",
        "timestamp'2026-11-22 01:02:03'",
        "time'-11:02:03'",
        "cast(1.25 as decimal(10,4))",
        "true",
        "'\xc3\xa9'",
        "x'00ff'",
        "cast('z' as binary)",
        "cast(3 as unsigned)",
        "2.5/3",
        "pi()",
        "now(6) is not null",
        "''",
    };
    struct slice one = SLICE("1");

    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        char *text = mem_printf("select %s, null from box where name = 'a@x'", value[i]);
        char *prepared = mem_printf("%s and 1 = ?", text);
        struct sql_question plain = { .text = text }, with = { .text = prepared, .params = 1, .param = &one };
        struct arena *arena = arena_new();
        struct sql_rows a, b;
        struct err err;
        assert(sql_pool_ask(p, &plain, 1, arena, &a, &err) == LOOKUP_FOUND);
        assert(sql_pool_ask(p, &with, 1, arena, &b, &err) == LOOKUP_FOUND);
        assert(a.columns == 2 && b.columns == 2 && a.cell[1].p == NULL && b.cell[1].p == NULL);
        if (!slice_same(a.cell[0], b.cell[0])) {
            fprintf(stderr, "%s: %.*s, prepared %.*s\n", value[i], (int) a.cell[0].len, a.cell[0].p,
                    (int) b.cell[0].len, b.cell[0].p);
            exit(1);
        }
        arena_free(&arena);
        free(text);
        free(prepared);
    }
}

static void test_bounds(struct sql_pool *p)
{
    struct sql_question all = { .text = "select name from box" };
    struct sql_question wide = { .text = "select repeat('x', 5000000)" };
    struct sql_question wrong = { .text = "select name from box where name = ?",
                                  .params = 2,
                                  .param = (struct slice[]){ SLICE("a"), SLICE("b") } };
    struct arena *arena = arena_new();
    struct sql_rows rows;
    struct err err;

    assert(sql_pool_ask(p, &all, 2, arena, &rows, &err) == LOOKUP_FOUND && rows.rows == 2 && rows.columns == 1);
    assert(strcmp(rows.name[0], "name") == 0);
    assert(sql_pool_ask(p, &all, 1, arena, &rows, &err) == LOOKUP_RETRY && strstr(err.text, "too many"));
    assert(sql_pool_ask(p, &wide, 1, arena, &rows, &err) == LOOKUP_RETRY);
    assert(sql_pool_ask(p, &wrong, 1, arena, &rows, &err) == LOOKUP_RETRY && strstr(err.text, "2 parameters"));
    expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "x/a/"); /* the connection is as good as before, or another */
    arena_free(&arena);
}

static void test_remembered(struct sql_pool *p)
{
    int64_t start;

    expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
    start = time_mono_ms();
    server_sql("update mail.box set path = 'new' where name = 'a@x'");
    if (time_mono_ms() - start < 1500)
        expect(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
    expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "new"); /* and that is remembered in its place */
    expect(p, path_of, "a@x", LOOKUP_FOUND, "new");
    server_sql("update mail.box set path = 'newer' where name = 'a@x'");
    event_sleep(sql_cache_time * 1000 + 50);
    expect(p, path_of, "a@x", LOOKUP_FOUND, "newer");
    server_sql("update mail.box set path = 'x/a/' where name = 'a@x'");

    expect(p, path_of, "late@x", LOOKUP_NONE, "");
    server_sql("insert into mail.box values ('late@x', 'late', 0, NULL)");
    expect(p, path_of, "late@x", LOOKUP_FOUND, "late");
    server_sql("delete from mail.box where name = 'late@x'");
    event_sleep(sql_cache_time * 1000 + 50);
    expect(p, path_of, "late@x", LOOKUP_NONE, "");
}

/* "None" holds for the request that heard it, and for no other. */
static void test_asked(struct sql_pool *p)
{
    struct slice name = SLICE("soon@x");
    struct table_asked one = { .count = 0 }, other = { .count = 0 };
    struct sql_question q = { .text = path_of, .params = 1, .param = &name, .asked = &one };
    struct arena *arena = arena_new();
    struct sql_rows rows;
    struct err err;

    assert(sql_pool_ask(p, &q, 10, arena, &rows, &err) == LOOKUP_NONE && rows.columns == 1 && one.count == 1);
    server_sql("insert into mail.box values ('soon@x', 'soon', 0, NULL)");
    assert(sql_pool_ask(p, &q, 10, arena, &rows, &err) == LOOKUP_NONE && rows.columns == 1 && one.count == 1);
    q.asked = &other;
    assert(sql_pool_ask(p, &q, 10, arena, &rows, &err) == LOOKUP_FOUND && other.count == 0);
    server_sql("delete from mail.box where name = 'soon@x'");
    arena_free(&arena);
}

static int running;
static struct sql_pool *the_pool;

struct asker {
    const char *text, *param;
    enum lookup got;
    char cell[64];
};

static void asks(void *arg)
{
    struct asker *a = arg;

    snprintf(a->cell, sizeof a->cell, "%s", ask_as(the_pool, a->text, a->param, false, &a->got));
    running--;
}

static void start_asker(struct asker *a)
{
    running++;
    fiber_go("asker", asks, a);
}

static void wait_for_askers(void)
{
    while (running)
        event_sleep(5);
}

static long executed(void)
{
    return atol(server_sql("select variable_value from information_schema.global_status "
                           "where variable_name = 'Com_stmt_execute'"));
}

static void test_joined(struct sql_pool *p)
{
    static const char slow[] = "select path from box where name = ? and sleep(0.3) = 0";
    struct asker asker[100];
    long before = executed();
    int64_t start = time_mono_ms();

    the_pool = p;
    for (int i = 0; i < 100; i++) {
        asker[i] = (struct asker){ .text = slow, .param = "a@x" };
        start_asker(&asker[i]);
    }
    wait_for_askers();
    for (int i = 0; i < 100; i++)
        assert(asker[i].got == LOOKUP_FOUND && strcmp(asker[i].cell, "x/a/") == 0);
    assert(executed() == before + 1 && time_mono_ms() - start < 5000);
}

/* Who asks after the row was inserted must not be told what a question said that was on its way before. */
static void test_not_joined(struct sql_pool *p)
{
    static const char gone[] = "select path from box where name = ? and 0 = (select sleep(0.4))";
    struct asker first = { .text = gone, .param = "in@x" }, second = first;

    the_pool = p;
    start_asker(&first);
    event_sleep(200);
    server_sql("insert into mail.box values ('in@x', 'in', 0, NULL)");
    start_asker(&second);
    wait_for_askers();
    assert(second.got == LOOKUP_FOUND && strcmp(second.cell, "in") == 0);
    server_sql("delete from mail.box where name = 'in@x'");
}

static int connections(void)
{
    return atoi(server_sql("select count(*) from information_schema.processlist where user = 'reader'"));
}

/* Slow questions do not make others wait, until the limit is reached; then they wait their turn. */
static void test_beside_each_other(struct sql_pool *p)
{
    struct asker asker[30];
    char param[30][32];
    int64_t start;

    the_pool = p;
    for (int i = 0; i < 15; i++) {
        snprintf(param[i], sizeof param[i], "%d@slow", i);
        asker[i] = (struct asker){ .text = "select ? from (select sleep(1)) as s", .param = param[i] };
        start_asker(&asker[i]);
    }
    event_sleep(300);
    start = time_mono_ms();
    expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
    assert(time_mono_ms() - start < 600);
    wait_for_askers();
    assert(time_mono_ms() - start < 4000);
    for (int i = 0; i < 15; i++)
        assert(asker[i].got == LOOKUP_FOUND && strcmp(asker[i].cell, param[i]) == 0);

    for (int i = 0; i < 30; i++) {
        snprintf(param[i], sizeof param[i], "%d@many", i);
        asker[i] = (struct asker){ .text = "select ? from (select sleep(0.7)) as s", .param = param[i] };
        start_asker(&asker[i]);
    }
    event_sleep(500);
    assert(connections() <= sql_connection_limit);
    wait_for_askers();
    for (int i = 0; i < 30; i++)
        assert(asker[i].got == LOOKUP_FOUND && strcmp(asker[i].cell, param[i]) == 0);
}

static void test_idle_closed(void)
{
    struct sql_connect how = server_connect();
    struct sql_pool *p;
    int before = connections();

    how.idle_interval = 300;
    p = sql_pool_open(&how, "idle.cf");
    assert(p != server_pool() && p == sql_pool_open(&how, "other.cf"));
    expect(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
    assert(connections() == before + 1);
    for (int i = 0; i < 40 && connections() > before; i++)
        event_sleep(50);
    assert(connections() == before);
    expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
}

/* What a server may do to new sessions, and what becomes of a table under a prepared statement. */
static void test_modes(struct sql_pool *p)
{
    struct sql_connect how = server_connect();
    struct sql_pool *strict;
    struct str text;

    server_sql("set global autocommit = 0; set global sql_mode = 'ORACLE,NO_BACKSLASH_ESCAPES'");
    how.idle_interval = 12345;
    strict = sql_pool_open(&how, "modes.cf");
    str_init(&text, 200);
    str_adds(&text, "select concat('");
    sql_pool_escape(&text, SLICE("' and '\\"));
    str_adds(&text, "')");
    expect(strict, text.p, NULL, LOOKUP_FOUND, "' and '\\");
    str_free(&text);
    expect(strict, "select \"double\" || '!'", NULL, LOOKUP_FOUND, "double!");
    expect(strict, path_of, "a@x", LOOKUP_FOUND, "x/a/");
    server_sql("set autocommit = 1; update mail.box set path = 'seen' where name = 'a@x'");
    expect_fresh(strict, path_of, "a@x", LOOKUP_FOUND, "seen");
    server_sql("set autocommit = 1; update mail.box set path = 'x/a/' where name = 'a@x'");
    server_sql("set global autocommit = 1; set global sql_mode = default");

    expect_fresh(p, "select * from box where name = ?", "a@x", LOOKUP_FOUND, "a@x");
    server_sql("alter table mail.box add column extra int default 7 first");
    expect_fresh(p, "select * from box where name = ?", "a@x", LOOKUP_FOUND, "7");
    server_sql("alter table mail.box drop column extra");
    expect_fresh(p, "select * from box where name = ?", "a@x", LOOKUP_FOUND, "a@x");
}

static void test_many_statements(struct sql_pool *p)
{
    for (int i = 0; i < 100; i++) {
        char *text = mem_printf("select %d + ?", i);
        char *sum = mem_printf("%d", i + 1);
        expect(p, text, "1", LOOKUP_FOUND, sum);
        free(text);
        free(sum);
    }
    assert(atoi(server_sql("select variable_value from information_schema.global_status "
                           "where variable_name = 'Prepared_stmt_count'")) <= 33 * connections());
}

/* Ten times more answers than fit: memory keeps within sql_cache_size, and old ones are asked for again. */
static void test_memory(struct sql_pool *p)
{
    char name[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i);
        expect(p, "select ?, repeat('y', 10000)", name, LOOKUP_FOUND, name);
    }
    assert(sql_answer_bytes() <= (size_t) sql_cache_size && sql_answer_bytes() > (size_t) sql_cache_size / 2);
}

static void test_procedure(struct sql_pool *p)
{
    server_sql("create procedure mail.find(n varchar(255)) select path from mail.box where name = n; "
               "create procedure mail.nothing() set @x = 1;");
    for (int i = 0; i < 3; i++) {
        expect_fresh(p, "call find(?)", "a@x", LOOKUP_FOUND, "x/a/");
        expect_fresh(p, "call find('b@x')", NULL, LOOKUP_FOUND, "x/b/");
        expect_fresh(p, "call find(?)", "c@x", LOOKUP_NONE, "");
        expect_fresh(p, "call nothing()", NULL, LOOKUP_NONE, "");
    }
}

static size_t rows_seen, rows_wanted;

static int one_row(void *ctx, const struct sql_rows *one)
{
    char want[32];

    (void) ctx;
    snprintf(want, sizeof want, "%zu", rows_seen + 1);
    assert(one->rows == 1 && one->columns == 2 && strcmp(one->name[1], "note") == 0);
    assert(slice_eq(one->cell[0], want) && one->cell[1].len == 1000);
    if (rows_seen % 1000 == 0)
        event_sleep(1); /* who takes rows may wait; others ask meanwhile */
    return ++rows_seen == rows_wanted ? -1 : 0;
}

/* More than fits into an answer, row by row. */
static void test_each(struct sql_pool *p)
{
    static const char text[] = "select seq, repeat('z', 1000) as note from seq_1_to_20000 where seq > ?";
    struct slice zero = SLICE("0");
    struct sql_question q = { .text = text, .params = 1, .param = &zero };
    struct sql_question plain = { .text = "select seq, repeat('z', 1000) as note from seq_1_to_20000" };
    struct err err = { .text = "" };

    assert(sql_pool_each(p, &q, one_row, NULL, &err) == 0 && rows_seen == 20000);
    rows_seen = 0;
    assert(sql_pool_each(p, &plain, one_row, NULL, &err) == 0 && rows_seen == 20000);
    rows_seen = 0;
    rows_wanted = 10;
    assert(sql_pool_each(p, &q, one_row, NULL, &err) == -1 && rows_seen == 10);
    expect_fresh(p, path_of, "a@x", LOOKUP_FOUND, "x/a/");
}

static void test_refused(void)
{
    struct sql_connect how = server_connect();

    how.charset = "gbk";
    expect(sql_pool_open(&how, "gbk.cf"), path_of, "a@x", LOOKUP_RETRY, NULL);
    assert(strstr(server_log, "gbk.cf: charset gbk"));
    how.charset = NULL;
    how.hosts = "inet:x:99999";
    expect(sql_pool_open(&how, "port.cf"), path_of, "a@x", LOOKUP_RETRY, NULL);
    assert(strstr(server_log, "port.cf: bad port"));
    how.hosts = "unix:/nowhere";
    how.tls_ca_file = "/nowhere/ca.pem";
    expect(sql_pool_open(&how, "tls.cf"), path_of, "a@x", LOOKUP_RETRY, NULL);
    assert(strstr(server_log, "tls.cf: /nowhere/ca.pem: No such file"));
}

static void all(void *arg)
{
    struct sql_pool *p = server_pool();

    (void) arg;
    test_questions(p);
    test_types(p);
    test_bounds(p);
    test_remembered(p);
    test_asked(p);
    test_joined(p);
    test_not_joined(p);
    test_beside_each_other(p);
    test_idle_closed();
    test_modes(p);
    test_many_statements(p);
    test_procedure(p);
    test_each(p);
    test_memory(p);
    test_refused();
    sql_pool_close_all();
    event_stop();
}

int main(void)
{
    server_new();
    event_run(all, NULL);
    return 0;
}
