/*
 * mysql_test - which questions are asked before they are known to be needed, and that answers do not depend on it
 */
#include "table/sql/mysql.h"
#include "table/sql/test_server.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct table *table(const char *name, const char *query, const char *more)
{
    char path[128], spec[160];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s.cf", server_dir, name);
    f = fopen(path, "w");
    assert(f);
    fprintf(f, "user = reader\npassword = secret\nhosts = unix:%s/sock\ndbname = mail\nquery = %s\n%s\n", server_dir,
            query, more);
    fclose(f);
    snprintf(spec, sizeof spec, "mysql:%s", path);
    return table_open(spec, TABLE_FOLD);
}

static long executed(void)
{
    return atol(server_sql("select variable_value from information_schema.global_status "
                           "where variable_name = 'Com_stmt_execute'"));
}

static enum lookup alone(struct table *t, const char *key)
{
    struct str out;
    enum lookup answer;

    str_init(&out, TABLE_VALUE_BYTES);
    answer = table_lookup(t, key, &out);
    str_free(&out);
    return answer;
}

/* As proxymap asks: the first answer, and of which. */
static enum lookup first_of(const struct sql_next *next, size_t count, size_t *at, struct str *out)
{
    struct table_asked asked = { .count = 0 };
    enum lookup answer = LOOKUP_NONE;
    size_t sent = 0;

    for (*at = 0; *at < count; ++*at) {
        if (*at >= sent)
            sent = *at + sql_ask_ahead(next + *at, count - *at, &asked);
        str_reset(out);
        answer = table_lookup_asked(next[*at].table, next[*at].key, &asked, out);
        if (answer != LOOKUP_NONE)
            break;
    }
    sql_asked_end(&asked);
    return answer;
}

static size_t seen_to(const struct sql_next *next, size_t count)
{
    struct table_asked asked = { .count = 0 };
    size_t n = sql_ask_ahead(next, count, &asked);

    sql_asked_end(&asked);
    event_sleep(50); /* what was sent has come back */
    return n;
}

static void learn_none(struct table *t)
{
    char key[32];

    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "learn%d@x", i);
        assert(alone(t, key) == LOOKUP_NONE);
    }
}

static void test_learning(struct table *path, struct table *quota)
{
    struct sql_next next[] = { { path, "n0@x" }, { quota, "n0@x" }, { path, "n1@x" }, { quota, "n1@x" } };
    long before;

    assert(seen_to(next, 4) == 1 && seen_to(next, 1) == 1); /* nothing is known yet */
    learn_none(path);
    assert(seen_to(next, 4) == 1); /* of the second */
    learn_none(quota);
    before = executed();
    assert(seen_to(next, 4) == 4 && executed() == before + 4);
    for (int i = 0; i < 3; i++) /* what finds is not followed by what would not be asked */
        assert(alone(path, i % 2 ? "a@x" : "b@x") == LOOKUP_FOUND);
    assert(seen_to(next, 4) == 1);
    learn_none(path);
}

/* The guess was wrong, or it was not made at all: the answer is the same. */
static void test_answers(struct table *path, struct table *quota)
{
    static const struct {
        const char *key[2];
        size_t at;
        enum lookup want;
        const char *value;
    } rows[] = {
        { { "n2@x", "n3@x" }, 4, LOOKUP_NONE, "" },     { { "a@x", "n4@x" }, 0, LOOKUP_FOUND, "x/a/" },
        { { "n5@x", "b@x" }, 2, LOOKUP_FOUND, "x/b/" }, { { "N6@X", "B@x" }, 2, LOOKUP_FOUND, "x/b/" },
        { { "n7@x", "\xff@x" }, 4, LOOKUP_NONE, "" },   { { "' or '1'='1", "n8@x" }, 4, LOOKUP_NONE, "" },
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sql_next next[] = {
            { path, rows[i].key[0] }, { quota, rows[i].key[0] }, { path, rows[i].key[1] }, { quota, rows[i].key[1] }
        };
        struct str out;
        size_t at;
        enum lookup got;

        str_init(&out, TABLE_VALUE_BYTES);
        learn_none(path);
        learn_none(quota);
        event_sleep(sql_cache_time * 1000 + 20);
        got = first_of(next, 4, &at, &out);
        if (got != rows[i].want || at != rows[i].at || strcmp(got == LOOKUP_FOUND ? out.p : "", rows[i].value) != 0) {
            fprintf(stderr, "row %zu: %d of %zu [%s]\n", i, got, at, out.p);
            exit(1);
        }
        str_free(&out);
    }
}

/* Asked in their turn only: what may do more than look, what is slow or failed, what has no such key. */
static void test_in_turn(struct table *path, struct table *quota)
{
    struct table *call = table("call", "call mail.seen('%s')", "");
    struct table *slow = table("slow", "select path from box where name = concat('%s', left('', sleep(0.06)))", "");
    struct table *wrong = table("wrong", "select path from nowhere where name = '%s'", "");
    struct table *far = table("far", "select path from box where name = '%s'", "domain = far.test");
    struct table *lists = table("lists", "select path from box where name = '%s'", "domain = inline:{x=y}");
    struct table *others[] = { call, slow, wrong, lists };
    long before;

    server_sql("create procedure mail.seen(n varchar(255)) select path from mail.box where name = n");
    learn_none(path);
    learn_none(quota);
    learn_none(call);
    learn_none(slow);
    learn_none(lists);
    for (int i = 0; i < 4; i++)
        assert(alone(wrong, "learn@x") == LOOKUP_RETRY);
    assert(alone(far, "n0@far.test") == LOOKUP_NONE && alone(far, "n1@far.test") == LOOKUP_NONE);
    for (size_t i = 0; i < COUNT(others); i++) {
        struct sql_next behind[] = { { path, "n0@x" }, { quota, "n0@x" }, { others[i], "n0@x" }, { path, "n1@x" } };
        before = executed();
        assert(seen_to(behind, 4) == 2 && seen_to(behind + 2, 2) == 1 && executed() == before + 2);
    }
    struct sql_next no_key[] = { { path, "n0@x" }, { far, "n0@x" }, { quota, "n0@x" }, { NULL, "n0@x" } };
    before = executed();
    assert(seen_to(no_key, 4) == 3 && executed() == before + 2);
    for (size_t i = 0; i < COUNT(others); i++)
        table_close(&others[i]);
    table_close(&far);
}

static void all(void *arg)
{
    struct table *path, *quota;

    (void) arg;
    sql_tables_register();
    path = table("path", "select path from box where name = '%s'", "");
    quota = table("quota", "select quota from box where name = '%s'", "");
    test_learning(path, quota);
    test_answers(path, quota);
    test_in_turn(path, quota);
    table_close(&path);
    table_close(&quota);
    sql_pool_close_all();
    event_stop();
}

int main(void)
{
    server_new();
    event_run(all, NULL);
    return 0;
}
