/*
 * pool_test - questions put to a mariadbd of the test's own
 */
#include "table/sql/pool.h"

#include "event/event.h"

#include <assert.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static pid_t server;

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
    char command[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(1);
    }
}

static void sql(const char *text) { run("mariadb --no-defaults -S %s/sock -u root -e \"%s\"", dir, text); }

static const char *account(void) { return getuid() == 0 ? "mysql" : getpwuid(getuid())->pw_name; }

static void start_server(void)
{
    char command[512];

    server = fork();
    if (server == 0) {
        snprintf(command, sizeof command,
                 "exec mariadbd --no-defaults --user=%s --datadir=%s/data --socket=%s/sock --skip-networking "
                 "--pid-file=%s/pid --innodb-buffer-pool-size=16M --innodb-log-file-size=8M >>%s/log 2>&1",
                 account(), dir, dir, dir, dir);
        execl("/bin/sh", "sh", "-c", command, (char *) NULL);
        _exit(127);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(command, sizeof command, "mariadb --no-defaults -S %s/sock -u root -e 'select 1' >/dev/null 2>&1",
                 dir);
        if (system(command) == 0)
            return;
        usleep(100000);
    }
    fprintf(stderr, "mariadbd did not start: %s/log\n", dir);
    exit(1);
}

static void stop_server(int signo)
{
    int status;

    kill(server, signo);
    while (waitpid(server, &status, 0) < 0 && errno == EINTR)
        ;
}

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/pool-test.XXXXXX");
    assert(mkdtemp(dir));
    chmod(dir, 0755);
    if (getuid() == 0)
        run("chown mysql %s", dir);
    run("mariadb-install-db --no-defaults --user=%s --datadir=%s/data --auth-root-authentication-method=normal "
        "--skip-test-db >%s/log 2>&1",
        account(), dir, dir);
    start_server();
    sql("create database mail; create user reader@localhost identified by 'secret'; "
        "grant select on mail.* to reader@localhost; "
        "create table mail.box (name varchar(255) primary key, path varchar(255), quota bigint, note longtext); "
        "insert into mail.box values ('a@x', 'x/a/', 5, NULL), ('b@x', 'x/b/', -1, repeat('n', 100000));");
}

static struct sql_pool *open_pool(const char *password)
{
    static char hosts[128];

    snprintf(hosts, sizeof hosts, "unix:%s/sock", dir);
    return sql_pool_open(
        &(struct sql_connect){ .hosts = hosts, .user = "reader", .password = password, .dbname = "mail" }, "test.cf");
}

static void one(struct sql_pool *p, const char *text, const char *param, enum lookup want, const char *cell)
{
    struct slice given = slice_of(param);
    struct sql_question q = { .text = text, .params = param != NULL, .param = &given };
    struct arena *arena = arena_new();
    struct sql_rows rows;
    struct err err = { 0 };
    enum lookup got = sql_pool_ask(p, &q, 10, arena, &rows, &err);

    if (got != want || (cell && (rows.rows != 1 || !slice_eq(rows.cell[0], cell)))) {
        fprintf(stderr, "%s [%s]: %d, %zu rows, %s\n", text, param ? param : "", got, rows.rows, err.text);
        exit(1);
    }
    arena_free(&arena);
}

static void questions(void *arg)
{
    struct sql_pool *p = open_pool("secret"), *wrong = open_pool("wrong");

    (void) arg;
    assert(p == open_pool("secret") && p != wrong);
    for (int i = 0; i < 2; i++) { /* the second time the statement is known */
        one(p, "select path from box where name = ?", "a@x", LOOKUP_FOUND, "x/a/");
        one(p, "select quota from box where name = ?", "b@x", LOOKUP_FOUND, "-1");
        one(p, "select path from box where name = ?", "c@x", LOOKUP_NONE, NULL);
        one(p, "select path from box where name = ?", "' or ''='", LOOKUP_NONE, NULL);
        one(p, "select path from box where name = 'a@x'", NULL, LOOKUP_FOUND, "x/a/");
        one(p, "select path from nothing where name = ?", "a@x", LOOKUP_RETRY, NULL);
        one(p, "select length(note) from box where name = ?", "b@x", LOOKUP_FOUND, "100000");
        one(wrong, "select path from box where name = ?", "a@x", LOOKUP_RETRY, NULL);
    }
}

static void restart(void *arg)
{
    struct sql_pool *p = open_pool("secret");

    (void) arg;
    one(p, "select path from box where name = ?", "b@x", LOOKUP_FOUND, "x/b/");
    stop_server(SIGKILL);
    one(p, "select path from box where name = ?", "b@x", LOOKUP_RETRY, NULL);
    start_server();
    one(p, "select path from box where name = ?", "b@x", LOOKUP_FOUND, "x/b/");
    event_stop();
}

int main(void)
{
    set_up();
    event_run(questions, NULL);
    event_run(restart, NULL);
    stop_server(SIGTERM);
    run("rm -rf %s", dir);
    return 0;
}
