/*
 * test_server - a mariadbd of the test's own, and what the tests of this directory ask of it
 *
 * Callers     *_test.c of this directory
 * Invariants  data, socket and log are below a directory in /tmp that goes at the end; needs mariadbd, which
 *             conf/packages has for the tests
 */
#ifndef TABLE_SQL_TEST_SERVER_H
#define TABLE_SQL_TEST_SERVER_H
#include "base/log.h"
#include "base/time.h"
#include "event/event.h"
#include "table/sql/internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char server_dir[64], server_log[256],
    ask_error[ERR_TEXT_BYTES]; /* server_log: the last warning of this process */
static int server_port, log_lines;
static pid_t server_pid;
static const char *server_options = "";

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline void run(const char *fmt, ...)
{
    char command[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(1);
    }
}

/* As root of the database; answers the first line of its output. */
static inline char *server_sql(const char *text)
{
    static char line[4096];
    char command[4096];
    FILE *f;

    snprintf(command, sizeof command, "mariadb --no-defaults -N -B -S %s/sock -u root -e \"%s\"", server_dir, text);
    f = popen(command, "r");
    line[0] = '\0';
    if (f == NULL || (fgets(line, sizeof line, f) == NULL && ferror(f)) || pclose(f) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(1);
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static inline int free_port(void)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert(bind(fd, (struct sockaddr *) &sin, sizeof sin) == 0);
    assert(getsockname(fd, (struct sockaddr *) &sin, &len) == 0);
    close(fd);
    return ntohs(sin.sin_port);
}

static inline const char *server_account(void) { return getuid() == 0 ? "mysql" : getpwuid(getuid())->pw_name; }

static inline void server_launch(void)
{
    char command[2048];

    server_pid = fork();
    if (server_pid == 0) {
        close_range(3, ~0U, 0);
        snprintf(command, sizeof command,
                 "exec mariadbd --no-defaults --user=%s --datadir=%s/data --socket=%s/sock --port=%d "
                 "--bind-address=127.0.0.1 --pid-file=%s/pid --tmpdir=%s/tmp --innodb-buffer-pool-size=16M "
                 "--innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=0 --skip-name-resolve %s >>%s/log 2>&1",
                 server_account(), server_dir, server_dir, server_port, server_dir, server_dir, server_options,
                 server_dir);
        execl("/bin/sh", "sh", "-c", command, (char *) NULL);
        _exit(127);
    }
}

static inline bool server_answers(void)
{
    char command[256];

    snprintf(command, sizeof command, "mariadb --no-defaults -S %s/sock -u root -e 'select 1' >/dev/null 2>&1",
             server_dir);
    return system(command) == 0;
}

static inline void server_start(void)
{
    server_launch();
    for (int i = 0; i < 600; i++) {
        if (server_answers())
            return;
        usleep(50000);
    }
    run("tail -20 %s/log >&2", server_dir);
    fprintf(stderr, "mariadbd did not start\n");
    exit(1);
}

/* All its threads: on a busy machine one may answer for a while yet. */
static inline void server_halt(void)
{
    int status;

    assert(kill(server_pid, SIGSTOP) == 0);
    assert(waitpid(server_pid, &status, WUNTRACED) == server_pid && WIFSTOPPED(status));
}

static inline void server_stop(int signo)
{
    int status;

    kill(server_pid, signo);
    while (waitpid(server_pid, &status, 0) < 0 && errno == EINTR)
        ;
    server_pid = 0;
}

static inline void server_gone(void)
{
    if (server_pid > 0)
        server_stop(SIGKILL);
    if (server_dir[0])
        run("rm -rf %s", server_dir);
}

/* An assertion that failed must not leave the server behind. (PR_SET_PDEATHSIG ends with its setuid.) */
static inline void server_abort(int signo)
{
    signal(signo, SIG_DFL);
    server_gone();
    raise(signo);
}

static inline void count_lines(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx;
    (void) tag;
    if (level < LOG_LEVEL_WARN)
        return;
    log_lines++;
    snprintf(server_log, sizeof server_log, "%.*s", (int) len, text);
    fprintf(stderr, "  log: %s\n", text);
}

/* Database "mail", table box (name, path, quota, note), user reader with the password "secret". */
static inline void server_new(void)
{
    sql_connection_limit = 20;
    sql_question_timeout = 10;
    sql_cache_time = 2;
    sql_cache_size = 1 << 20;
    sql_stale_time = 3600;
    log_sink(count_lines, NULL);
    snprintf(server_dir, sizeof server_dir, "/tmp/posthorn-sql.XXXXXX");
    assert(mkdtemp(server_dir));
    atexit(server_gone);
    signal(SIGABRT, server_abort);
    signal(SIGTERM, server_abort);
    chmod(server_dir, 0755);
    if (getuid() == 0)
        run("chown mysql %s", server_dir);
    /* A directory for temporary tables of its own: a server that starts removes those of others. */
    run("{ mkdir %s/tmp && chown %s %s/tmp && "
        "mariadb-install-db --no-defaults --user=%s --datadir=%s/data --auth-root-authentication-method=normal "
        "--skip-test-db --tmpdir=%s/tmp; } >%s/log 2>&1 || { tail -20 %s/log >&2; false; }",
        server_dir, server_account(), server_dir, server_account(), server_dir, server_dir, server_dir, server_dir);
    server_port = free_port();
    server_start();
    server_sql(
        "create database mail; create user reader identified by 'secret'; grant select, execute on mail.* to reader; "
        "create table mail.box (name varchar(255) primary key, path varchar(255), quota bigint, note longtext) "
        "charset utf8mb4; "
        "insert into mail.box values ('a@x', 'x/a/', 5, NULL), ('b@x', 'x/b/', -1, repeat('n', 100000));");
}

static inline struct sql_connect server_connect(void)
{
    static char hosts[128];

    snprintf(hosts, sizeof hosts, "unix:%s/sock", server_dir);
    return (struct sql_connect){ .hosts = hosts, .user = "reader", .password = "secret", .dbname = "mail" };
}

static inline struct sql_pool *server_pool(void)
{
    struct sql_connect how = server_connect();

    return sql_pool_open(&how, "test.cf");
}

/* The first cell of the answer, "" for NONE; RETRY is told by *got. In a static buffer. */
static inline const char *ask_as(struct sql_pool *p, const char *text, const char *param, bool fresh,
                                 enum lookup *got)
{
    static char cell[256];
    struct slice given = slice_of(param);
    struct sql_question q = { .text = text, .params = param != NULL, .param = &given, .fresh = fresh };
    struct arena *arena = arena_new();
    struct sql_rows rows;
    struct err err = { 0 };

    *got = sql_pool_ask(p, &q, 10, arena, &rows, &err);
    snprintf(ask_error, sizeof ask_error, "%s", err.text);
    assert((*got == LOOKUP_FOUND) == (rows.rows > 0));
    assert((*got == LOOKUP_RETRY) == (err.text[0] != '\0'));
    snprintf(cell, sizeof cell, "%.*s", rows.rows ? (int) rows.cell[0].len : 0, rows.rows ? rows.cell[0].p : "");
    arena_free(&arena);
    return cell;
}

#define expect(p, text, param, want, cell)       expect_at(__LINE__, p, text, param, false, want, cell)
#define expect_fresh(p, text, param, want, cell) expect_at(__LINE__, p, text, param, true, want, cell)
static inline void expect_at(int line, struct sql_pool *p, const char *text, const char *param, bool fresh,
                             enum lookup want, const char *cell)
{
    enum lookup got;
    const char *was = ask_as(p, text, param, fresh, &got);

    if (got != want || (cell && strcmp(was, cell) != 0)) {
        fprintf(stderr, "line %d: %s [%s]: %d [%s], expected %d [%s] %s\n", line, text, param ? param : "", got, was,
                want, cell ? cell : "", ask_error);
        exit(1);
    }
}

static const char path_of[] = "select path from box where name = ?";

/* Questions of one asker that are sent together, each with one parameter, by which they are told apart. */
struct together {
    const char *text, *param;
    int want; /* enum lookup; -1: not begun with */
    const char *cell;
};
enum { TOGETHER_MAX = 20 };

static inline size_t begin_together(struct sql_pool *p, const struct together *q, size_t count,
                                    struct table_asked *asked)
{
    struct sql_question question[TOGETHER_MAX] = { 0 };
    struct sql_for what[TOGETHER_MAX] = { 0 };
    struct slice param[TOGETHER_MAX];

    for (size_t i = 0; i < count; i++) {
        param[i] = slice_of(q[i].param);
        question[i] = (struct sql_question){ .text = q[i].text, .params = 1, .param = &param[i] };
        what[i] = (struct sql_for){ q, q[i].param };
    }
    return sql_pool_ask_ahead(p, question, what, count, 10, asked);
}

static inline void end_together_at(int line, const struct together *q, size_t count, struct table_asked *asked)
{
    for (size_t i = 0; i < count; i++) {
        struct sql_for what = { q, q[i].param };
        struct arena *arena = arena_new();
        struct sql_rows rows;
        struct err err = { 0 };
        int got = sql_pool_ahead_answer(&what, asked, arena, &rows, &err);
        bool same = q[i].want != LOOKUP_FOUND || (rows.rows && q[i].cell && slice_eq(rows.cell[0], q[i].cell)) ||
                    (rows.rows && q[i].cell == NULL);
        if (got != q[i].want || !same || (got == LOOKUP_RETRY) != (err.text[0] != '\0')) {
            fprintf(stderr, "line %d, question %zu: %d, expected %d %s %s\n", line, i, got, q[i].want,
                    same ? "" : "and another row", err.text);
            exit(1);
        }
        arena_free(&arena);
    }
    sql_pool_ahead_end(asked);
}
#define end_together(q, count, asked) end_together_at(__LINE__, q, count, asked)
#endif
