/*
 * ahead_test - questions of one asker that are sent together: each has the answer that it has alone, whatever becomes of
 * the others and of the connection
 */
#include "table/sql/test_server.h"

static struct sql_pool *pool;

#define COUNT(q) (sizeof(q) / sizeof *(q))

/* Without a connection, and with nothing remembered. */
static void new_pool(void)
{
    static int64_t unlike_others = 70000;
    struct sql_connect how = server_connect();

    sql_pool_close_all();
    how.idle_interval = unlike_others++;
    pool = sql_pool_open(&how, "ahead.cf");
}

static void ask_together_at(int line, const struct together *q, size_t count)
{
    struct table_asked asked = { .count = 0 };

    if (begin_together(pool, q, count, &asked) != count) {
        fprintf(stderr, "line %d: not all were begun with\n", line);
        exit(1);
    }
    end_together_at(line, q, count, &asked);
}
#define ask_together(q) ask_together_at(__LINE__, q, COUNT(q))

static long executed(void)
{
    return atol(server_sql("select variable_value from information_schema.global_status "
                           "where variable_name = 'Com_stmt_execute'"));
}

static void test_answers(void)
{
    static const char all_of[] = "select name, path, quota, note from box where name like ? order by name";
    static const struct together many[] = {
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { "select nonsense from box where name = ?", "n1@x", LOOKUP_RETRY, NULL },
        { path_of, "a@x", LOOKUP_FOUND, "x/a/" },
        { "select path from gone where name = ?", "n2@x", LOOKUP_RETRY, NULL },
        { "select length(note) from box where name = ?", "b@x", LOOKUP_FOUND, "100000" },
        { "select note from box where name = ?", "n3@x", LOOKUP_NONE, NULL },
        { "select 1 / 0 from box where name = ? and name = ?", "n4@x", LOOKUP_RETRY, NULL }, /* one is given */
        { all_of, "%@x", LOOKUP_FOUND, "a@x" }, /* longer than what is read at a time */
        { path_of, "n5@x", LOOKUP_NONE, NULL },
    };

    static const struct together again[] = {
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { path_of, "b@x", LOOKUP_FOUND, "x/b/" },
        { "select nonsense from box where name = ?", "n1@x", LOOKUP_RETRY, NULL },
        { "select note from box where name = ?", "n3@x", LOOKUP_NONE, NULL },
    };

    new_pool();
    ask_together(many);
    ask_together(again); /* the statements are known */
}

/* A row too many leaves the connection unusable in the middle. */
static void test_too_many(void)
{
    static const struct together q[] = {
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { "select seq from seq_1_to_5000 where seq < ?", "4000", LOOKUP_RETRY, NULL },
        { path_of, "n1@x", LOOKUP_NONE, NULL },
        { "select quota from box where name = ?", "b@x", LOOKUP_FOUND, "-1" },
    };

    new_pool();
    ask_together(q);
    expect_fresh(pool, path_of, "a@x", LOOKUP_FOUND, "x/a/");
}

static void test_one_connection(void)
{
    static const struct together q[] = {
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { "select @seen := connection_id() from (select ?) as s", "2", LOOKUP_FOUND, NULL },
        { "select @seen = connection_id() and @seen > ?", "0", LOOKUP_FOUND, "1" },
    };

    new_pool();
    ask_together(q);
}

/* The same words twice are one question; several askers' go together, and what they have in common is asked once. */
static int running;

static void asks(void *arg)
{
    struct together q[] = { { path_of, arg, LOOKUP_NONE, NULL }, { path_of, "all@x", LOOKUP_NONE, NULL } };

    ask_together(q);
    running--;
}

static void test_shared(void)
{
    static const struct together twice[] = {
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { path_of, "n1@x", LOOKUP_NONE, NULL },
    };
    static char name[40][16];
    long before;

    new_pool();
    ask_together(twice);
    before = executed();
    ask_together(twice);
    assert(executed() == before + 2);
    before = executed();
    for (int i = 0; i < 40; i++, running++) {
        snprintf(name[i], sizeof name[i], "m%d@x", i);
        fiber_go("asker", asks, name[i]);
    }
    while (running)
        event_sleep(5);
    assert(executed() == before + 41);
}

/* "None" is for him who asked before it was sent. */
static void test_fresh(const char *text, int64_t wait_ms)
{
    struct together first[] = { { text, "soon@x", LOOKUP_NONE, NULL }, { path_of, "n0@x", LOOKUP_NONE, NULL } };
    struct together second[] = { { path_of, "n1@x", LOOKUP_NONE, NULL }, { text, "soon@x", LOOKUP_FOUND, "soon" } };
    struct table_asked one = { .count = 0 }, other = { .count = 0 };
    size_t begun;

    new_pool();
    expect(pool, path_of, "n9@x", LOOKUP_NONE, ""); /* there is a connection */
    begin_together(pool, first, 2, &one);
    event_sleep(wait_ms);
    server_sql("insert into mail.box values ('soon@x', 'soon', 0, NULL)");
    begun = begin_together(pool, second, 2, &other);
    if (begun == 1) { /* it was not waited for: who asks for it alone does */
        second[1].want = -1;
        expect(pool, text, "soon@x", LOOKUP_FOUND, "soon");
    }
    end_together(first, 2, &one);
    end_together(second, 2, &other);
    server_sql("delete from mail.box where name = 'soon@x'");
}

/* What has been found, and what stands behind it, is not asked. */
static void test_at_hand(void)
{
    static const struct together q[] = {
        { path_of, "n0@x", LOOKUP_NONE, NULL },
        { path_of, "a@x", -1, NULL },
        { path_of, "n1@x", -1, NULL },
    };
    struct table_asked asked = { .count = 0 };
    long before;

    new_pool();
    expect_fresh(pool, path_of, "a@x", LOOKUP_FOUND, "x/a/");
    before = executed();
    assert(begin_together(pool, q, 3, &asked) == 1);
    end_together(q, 3, &asked);
    assert(executed() == before + 1);
}

static const struct together slow[] = {
    { path_of, "n0@x", LOOKUP_NONE, NULL },
    { "select path from box where name = ? and sleep(0.4) = 0", "a@x", LOOKUP_FOUND, "x/a/" },
    { path_of, "n1@x", LOOKUP_NONE, NULL },
    { "select quota from box where name = ?", "b@x", LOOKUP_FOUND, "-1" },
};

/* A connection lost in the middle, and one that was dead before: the rest is asked again, and nothing is "none" that is
 * not. */
static void test_connection_lost(void)
{
    static const struct together again[] = {
        { path_of, "n2@x", LOOKUP_NONE, NULL },
        { path_of, "b@x", LOOKUP_FOUND, "x/b/" },
    };
    struct table_asked asked = { .count = 0 };
    int lines;

    new_pool();
    lines = log_lines;
    assert(begin_together(pool, slow, COUNT(slow), &asked) == COUNT(slow));
    event_sleep(200);
    server_sql("kill user reader");
    end_together(slow, COUNT(slow), &asked);
    server_sql("kill user reader");
    ask_together(again);
    assert(log_lines == lines);
}

static void test_server_killed(void)
{
    struct together q[COUNT(slow)];
    struct table_asked asked = { .count = 0 };

    new_pool();
    memcpy(q, slow, sizeof q);
    for (size_t i = 1; i < COUNT(q); i++)
        q[i].want = LOOKUP_RETRY;
    assert(begin_together(pool, q, COUNT(q), &asked) == COUNT(q));
    event_sleep(200);
    server_stop(SIGKILL);
    end_together(q, COUNT(q), &asked);
    for (size_t i = 0; i < COUNT(q); i++)
        q[i].want = LOOKUP_RETRY;
    ask_together(q); /* and where no connection is to be had at all */
}

static void all(void *arg)
{
    (void) arg;
    test_answers();
    test_too_many();
    test_one_connection();
    test_shared();
    test_fresh("select path from box where name = concat(?, left('', sleep(0.02)))", 10); /* for each row */
    test_fresh("select path from box where name = concat(?, left('', sleep(0.2)))", 200);
    test_at_hand();
    test_connection_lost();
    test_server_killed();
    sql_pool_close_all();
    event_stop();
}

int main(void)
{
    server_new();
    event_run(all, NULL);
    return 0;
}
