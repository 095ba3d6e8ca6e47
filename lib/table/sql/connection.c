/* connection - libmariadb's calls, made in a fiber; contract in connection.h */
#include "table/sql/connection.h"

#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "table/sql/socket.h"

#include <stdio.h>
#include <stdlib.h>

#include <errmsg.h>

enum { AUTHENTICATION_PLUGIN = 2 }; /* of <mysql/client_plugin.h>: see socket.c */

/* A statement that the server has parsed and keeps. */
struct statement {
    struct list link; /* most recently used first */
    MYSQL_STMT *handle;
    char *text;
};
struct sql_connection {
    struct sql_socket socket;
    struct list statements;
    size_t statement_count;
};

enum {
    CLOSE_MS = 200,
    CELL_GUESS = 512,
    PACKET_BYTES = 64 << 20, /* what libmariadb takes for one row; more looks to it like a broken connection */
};

static bool can_send_together; /* libmariadb 3.3 can */

/* From now on executions are sent and their answers left unread. */
static bool answers_wait(MYSQL *mysql, bool wait)
{
    my_bool option = wait;

    return mysql_optionsv(mysql, MARIADB_OPT_SKIP_READ_RESPONSE, &option) == 0;
}

/* Client plug-ins are shared objects: the jail lets none be loaded. Those that hand the password over in clear text
 * (mysql_clear_password, dialog) stay out: a server in the middle would ask for them. */
int sql_connection_library(struct err *err)
{
    static const char *const plugins[] = { "caching_sha2_password", "client_ed25519", "sha256_password" };
    static bool done;
    MYSQL mysql;

    if (done)
        return 0;
    if (mysql_library_init(0, NULL, NULL) || mysql_init(&mysql) == NULL)
        return err_set(err, 0, NULL, "libmariadb cannot be used");
    for (size_t i = 0; i < sizeof plugins / sizeof *plugins; i++)
        if (mysql_client_find_plugin(&mysql, plugins[i], AUTHENTICATION_PLUGIN) == NULL)
            log_info("the database client has no plug-in %s: %s", plugins[i], mysql_error(&mysql));
    can_send_together = answers_wait(&mysql, false);
    done = sql_socket_install(&mysql, err) == 0;
    mysql_close(&mysql);
    return done ? 0 : -1;
}

/* In these a backslash can be the second byte of a character: escaped text could end its quotes. */
bool sql_connection_charset_safe(const char *charset)
{
    static const char *const unsafe[] = { "big5", "cp932", "gb18030", "gbk",  "sjis",
                                          "ucs2", "utf16", "utf16le", "utf32" };

    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        if (slice_caseeq(slice_of(charset), unsafe[i]))
            return false;
    return true;
}

void sql_connection_abort(struct sql_connection *c) { sql_socket_abort(&c->socket); }

static void fault_set(const struct sql_connection *c, unsigned code, const char *text, struct sql_fault *out)
{
    *out = (struct sql_fault){ .code = c->socket.late ? 0 : code, .late = c->socket.late };
    if (c->socket.late)
        snprintf(out->text, sizeof out->text, "no answer in time");
    else
        sql_fault_words(out, text);
}

/* Client errors (2000 and up) leave a connection nobody knows the state of. */
static enum sql_outcome failed(struct sql_connection *c, unsigned code, const char *text, struct sql_fault *out)
{
    fault_set(c, code, text, out);
    if (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR)
        c->socket.broken = true;
    return c->socket.broken ? SQL_LOST : SQL_FAULT;
}

static void set_options(struct sql_connection *c, const struct sql_connect *how)
{
    my_bool no = 0, yes = 1, verify = how->tls_verify;
    size_t bytes = PACKET_BYTES;
    unsigned forbid = 0;

    mysql_options(&c->socket.mysql, MYSQL_OPT_RECONNECT, &no);
    mysql_options(&c->socket.mysql, MYSQL_OPT_LOCAL_INFILE, &forbid);
    mysql_options(&c->socket.mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &bytes);
    mysql_options4(&c->socket.mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", log_tag_get());
    mysql_options(&c->socket.mysql, MYSQL_SET_CHARSET_NAME, how->charset ? how->charset : "utf8mb4");
    mysql_options(&c->socket.mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (how->tls_key_file || how->tls_cert_file || how->tls_ca_file || how->tls_ciphers || how->tls_verify) {
        mysql_ssl_set(&c->socket.mysql, how->tls_key_file, how->tls_cert_file, how->tls_ca_file, NULL,
                      how->tls_ciphers);
        mysql_options(&c->socket.mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    }
}

/* A server may start sessions in modes that would mislead us: without autocommit a connection sees the same old rows
 * for ever; without backslash escapes sql_pool_escape is none; with ANSI_QUOTES a string in double quotes is the name
 * of a column. The last two come with modes (ANSI, ORACLE, ...) that bring them back: then only "||" stays as it is. */
static bool session_ready(struct sql_connection *c)
{
    static const char ready[] = "SET SESSION autocommit = 1, SESSION sql_mode = "
                                "IF(FIND_IN_SET('ANSI_QUOTES', @@SESSION.sql_mode) "
                                "OR FIND_IN_SET('NO_BACKSLASH_ESCAPES', @@SESSION.sql_mode), "
                                "IF(FIND_IN_SET('PIPES_AS_CONCAT', @@SESSION.sql_mode), 'PIPES_AS_CONCAT', ''), "
                                "@@SESSION.sql_mode)";

    return mysql_real_query(&c->socket.mysql, ready, strlen(ready)) == 0;
}

struct sql_connection *sql_connection_open(const struct sql_connect *how, const struct sql_address *to,
                                           int64_t deadline, struct sql_fault *fault)
{
    struct sql_connection *c = mem_new(sizeof *c);
    MYSQL *mysql = &c->socket.mysql;
    const char *host = to->numeric == NULL ? NULL : to->name ? to->name : to->numeric;

    c->socket.fd = -1;
    c->socket.to = to;
    c->socket.deadline = deadline;
    list_init(&c->statements);
    if (mysql_init(mysql) == NULL)
        log_fatal("out of memory");
    set_options(c, how);
    if (mysql_real_connect(mysql, host, how->user, how->password, how->dbname, to->port, to->path,
                           CLIENT_MULTI_RESULTS) &&
        session_ready(c)) {
        c->socket.to = NULL;
        return c;
    }
    fault_set(c, mysql_errno(mysql), mysql_error(mysql), fault);
    sql_connection_close(&c);
    return NULL;
}

static void statement_close(struct sql_connection *c, struct statement *s)
{
    list_del(&s->link);
    c->statement_count--;
    mysql_stmt_close(s->handle);
    free(s->text);
    free(s);
}

void sql_connection_close(struct sql_connection **cp)
{
    struct sql_connection *c = *cp;
    bool broken;

    if (c == NULL)
        return;
    *cp = NULL;
    broken = c->socket.broken;
    c->socket.broken = true; /* the server forgets statements with their connection: nothing is sent for them */
    list_each(it, &c->statements) statement_close(c, list_entry(it, struct statement, link));
    c->socket.broken = broken;
    c->socket.deadline = time_mono_ms() + CLOSE_MS;
    mysql_close(&c->socket.mysql);
    sql_socket_free(&c->socket);
    free(c);
}

/* Rows as they arrive, bounded. */
struct taker {
    struct arena *arena, *names; /* of the cells, of the columns' names */
    struct sql_rows *out;
    struct slice *cell;
    size_t rows_max, cap, bytes;
    sql_row_fn fn; /* NULL: all are kept in the arena */
    void *ctx;
    bool had_rows, ended;
};

static void take_names(struct taker *t, const MYSQL_FIELD *field, size_t columns)
{
    const char **name = arena_alloc(t->names, columns * sizeof *name);

    for (size_t i = 0; i < columns; i++)
        name[i] = arena_strndup(t->names, field[i].name, field[i].name_length);
    t->out->name = name;
    t->out->columns = columns;
}

/* The next row's cells, or NULL: over a limit. len: of each; SQL NULL counts as empty. */
static struct slice *take_row(struct taker *t, const unsigned long *len)
{
    size_t columns = t->out->columns;

    for (size_t i = 0; i < columns; i++)
        t->bytes += len[i];
    if (t->out->rows == t->rows_max || t->bytes > SQL_RESULT_BYTES)
        return NULL;
    if (t->out->rows == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 4;
        struct slice *cell = arena_alloc(t->arena, cap * columns * sizeof *cell);
        if (t->out->rows)
            memcpy(cell, t->cell, t->out->rows * columns * sizeof *cell);
        t->cell = cell;
        t->cap = cap;
        t->out->cell = cell;
    }
    return t->cell + t->out->rows++ * columns;
}

static void take_cell(struct taker *t, struct slice *cell, const char *p, size_t len)
{
    *cell = p ? slice_make(arena_strndup(t->arena, p, len), len) : slice_make(NULL, 0);
}

/* Hands the one row over that is there, and makes room for the next. -1: no more are wanted. */
static int hand_over(struct sql_connection *c, struct taker *t)
{
    int rc;

    if (t->fn == NULL)
        return 0;
    t->had_rows = true;
    rc = t->fn(t->ctx, t->out);
    for (size_t i = 0; i < t->out->columns; i++)
        if (t->cell[i].len)
            mem_wipe((char *) (uintptr_t) t->cell[i].p, t->cell[i].len);
    t->bytes = t->out->rows = t->cap = 0;
    arena_reset(t->arena);
    if (rc < 0) {
        t->ended = true;
        c->socket.broken = true; /* the rest of the rows is still on its way */
    }
    return rc;
}

static enum sql_outcome too_much(struct sql_connection *c, struct sql_fault *fault)
{
    c->socket.broken = true; /* the rest of the rows is still on its way */
    snprintf(fault->text, sizeof fault->text, "the answer has too many rows or bytes");
    return SQL_FAULT;
}

/* What a procedure gives behind its first result, at least its status. */
static void drain(struct sql_connection *c)
{
    while (!c->socket.broken && mysql_more_results(&c->socket.mysql)) {
        MYSQL_RES *more = mysql_next_result(&c->socket.mysql) == 0 ? mysql_use_result(&c->socket.mysql) : NULL;
        if (more)
            mysql_free_result(more);
        else if (mysql_errno(&c->socket.mysql))
            c->socket.broken = true;
    }
}

static enum sql_outcome ask_text(struct sql_connection *c, const struct sql_question *q, struct taker *t,
                                 struct sql_fault *fault)
{
    enum sql_outcome outcome = SQL_DONE;
    MYSQL_RES *res;
    MYSQL_ROW row;

    if (mysql_real_query(&c->socket.mysql, q->text, strlen(q->text)))
        return failed(c, mysql_errno(&c->socket.mysql), mysql_error(&c->socket.mysql), fault);
    res = mysql_use_result(&c->socket.mysql);
    if (res == NULL)
        return mysql_errno(&c->socket.mysql)
                   ? failed(c, mysql_errno(&c->socket.mysql), mysql_error(&c->socket.mysql), fault)
                   : SQL_DONE;
    take_names(t, mysql_fetch_fields(res), mysql_num_fields(res));
    while ((row = mysql_fetch_row(res)) != NULL) {
        const unsigned long *len = mysql_fetch_lengths(res);
        struct slice *cell = take_row(t, len);
        if (cell == NULL) {
            outcome = too_much(c, fault);
            break;
        }
        for (size_t i = 0; i < t->out->columns; i++)
            take_cell(t, cell + i, row[i], len[i]);
        if (hand_over(c, t) < 0)
            break;
    }
    if (outcome == SQL_DONE && !t->ended && mysql_errno(&c->socket.mysql))
        outcome = failed(c, mysql_errno(&c->socket.mysql), mysql_error(&c->socket.mysql), fault);
    mysql_free_result(res);
    drain(c);
    return outcome;
}

static struct statement *statement_find(struct sql_connection *c, const char *text)
{
    list_each(it, &c->statements)
    {
        struct statement *s = list_entry(it, struct statement, link);
        if (strcmp(s->text, text) == 0) {
            list_del(&s->link);
            list_prepend(&c->statements, &s->link);
            return s;
        }
    }
    return NULL;
}

static enum sql_outcome statement_make(struct sql_connection *c, const char *text, struct statement **out,
                                       struct sql_fault *fault)
{
    struct statement *s = mem_new(sizeof *s);
    enum sql_outcome outcome;

    if (c->statement_count == SQL_STATEMENTS)
        statement_close(c, list_entry(c->statements.prev, struct statement, link));
    s->handle = mysql_stmt_init(&c->socket.mysql);
    s->text = mem_strdup(text);
    list_prepend(&c->statements, &s->link);
    c->statement_count++;
    *out = s;
    if (mysql_stmt_prepare(s->handle, text, strlen(text)) == 0)
        return SQL_DONE;
    outcome = failed(c, mysql_stmt_errno(s->handle), mysql_stmt_error(s->handle), fault);
    statement_close(c, s);
    *out = NULL;
    return outcome;
}

/* Cells come into buffers of a guessed size; a longer one is fetched again at its full length. */
static enum sql_outcome fetch_rows(struct sql_connection *c, MYSQL_STMT *stmt, struct taker *t,
                                   struct sql_fault *fault)
{
    size_t columns = t->out->columns;
    struct arena *own = arena_new();
    MYSQL_BIND *bind = arena_alloc(own, columns * sizeof *bind);
    unsigned long *len = arena_alloc(own, columns * sizeof *len);
    my_bool *null = arena_alloc(own, columns * sizeof *null);
    char *guess = arena_alloc(own, columns * CELL_GUESS);
    enum sql_outcome outcome = SQL_DONE;
    int rc;

    for (size_t i = 0; i < columns; i++)
        bind[i] = (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_STRING,
                                .buffer = guess + i * CELL_GUESS,
                                .buffer_length = CELL_GUESS,
                                .length = &len[i],
                                .is_null = &null[i] };
    mysql_stmt_bind_result(stmt, bind);
    while ((rc = mysql_stmt_fetch(stmt)) != MYSQL_NO_DATA) {
        if (rc == 1) {
            outcome = failed(c, mysql_stmt_errno(stmt), mysql_stmt_error(stmt), fault);
            break;
        }
        for (size_t i = 0; i < columns; i++)
            if (null[i])
                len[i] = 0;
        struct slice *cell = take_row(t, len);
        if (cell == NULL) {
            outcome = too_much(c, fault);
            break;
        }
        for (unsigned i = 0; i < columns; i++) {
            char *p = guess + i * CELL_GUESS;
            if (len[i] > CELL_GUESS) {
                MYSQL_BIND one = { .buffer_type = MYSQL_TYPE_STRING, .buffer_length = len[i] };
                one.buffer = p = arena_alloc(own, len[i]);
                mysql_stmt_fetch_column(stmt, &one, i, 0);
            }
            take_cell(t, cell + i, null[i] ? NULL : p, len[i]);
            mem_wipe(p, len[i]);
        }
        if (hand_over(c, t) < 0)
            break;
    }
    arena_free(&own);
    return outcome;
}

/* *out is NULL unless it is SQL_DONE. */
static enum sql_outcome statement_of(struct sql_connection *c, const struct sql_question *q, struct statement **out,
                                     struct sql_fault *fault)
{
    struct statement *s = statement_find(c, q->text);
    enum sql_outcome outcome = SQL_DONE;

    if (s == NULL)
        outcome = statement_make(c, q->text, &s, fault);
    *out = s;
    if (s == NULL)
        return outcome;
    if (mysql_stmt_param_count(s->handle) == q->params)
        return SQL_DONE;
    snprintf(fault->text, sizeof fault->text, "%lu parameters are given to a query that has %lu places",
             (unsigned long) q->params, mysql_stmt_param_count(s->handle));
    *out = NULL;
    return SQL_FAULT;
}

static enum sql_outcome execute(struct sql_connection *c, struct statement *s, const struct sql_question *q,
                                struct sql_fault *fault)
{
    MYSQL_BIND *bind;
    enum sql_outcome outcome = SQL_DONE;

    bind = mem_array(q->params, sizeof *bind);
    for (size_t i = 0; i < q->params; i++)
        bind[i] = (MYSQL_BIND){ .buffer_type = q->param[i].p ? MYSQL_TYPE_STRING : MYSQL_TYPE_NULL,
                                .buffer = (void *) (uintptr_t) q->param[i].p,
                                .buffer_length = q->param[i].len };
    mysql_stmt_bind_param(s->handle, bind);
    if (mysql_stmt_execute(s->handle))
        outcome = failed(c, mysql_stmt_errno(s->handle), mysql_stmt_error(s->handle), fault);
    free(bind);
    return outcome;
}

/* What an executed statement gives. */
static enum sql_outcome take_result(struct sql_connection *c, struct statement *s, struct taker *t,
                                    struct sql_fault *fault)
{
    enum sql_outcome outcome;
    MYSQL_RES *meta = mysql_stmt_result_metadata(s->handle);

    if (meta == NULL)
        return SQL_DONE;
    take_names(t, mysql_fetch_fields(meta), mysql_num_fields(meta));
    mysql_free_result(meta);
    outcome = fetch_rows(c, s->handle, t, fault);
    mysql_stmt_free_result(s->handle);
    while (!c->socket.broken && mysql_stmt_more_results(s->handle))
        if (mysql_stmt_next_result(s->handle) == 0)
            mysql_stmt_free_result(s->handle);
        else
            c->socket.broken = true;
    return outcome;
}

static enum sql_outcome ask_prepared(struct sql_connection *c, const struct sql_question *q, struct taker *t,
                                     struct sql_fault *fault)
{
    struct statement *s;
    enum sql_outcome outcome = statement_of(c, q, &s, fault);

    if (s == NULL)
        return outcome;
    outcome = execute(c, s, q, fault);
    return outcome == SQL_DONE ? take_result(c, s, t, fault) : outcome;
}

static void watch_begin(struct sql_connection *c, int64_t deadline, const struct sql_watch *watch)
{
    c->socket.deadline = deadline;
    c->socket.watch = watch;
    if (watch)
        c->socket.watch_at = time_mono_ms() + watch->first_ms;
}

static enum sql_outcome ask(struct sql_connection *c, const struct sql_question *q, int64_t deadline,
                            const struct sql_watch *watch, struct taker *t, struct sql_fault *fault)
{
    enum sql_outcome outcome;

    *t->out = (struct sql_rows){ 0 };
    *fault = (struct sql_fault){ 0 };
    watch_begin(c, deadline, watch);
    outcome = q->params ? ask_prepared(c, q, t, fault) : ask_text(c, q, t, fault);
    c->socket.watch = NULL;
    return outcome;
}

enum sql_outcome sql_connection_ask(struct sql_connection *c, const struct sql_question *q, size_t rows_max,
                                    int64_t deadline, const struct sql_watch *watch, struct arena *arena,
                                    struct sql_rows *out, struct sql_fault *fault)
{
    struct taker t = { .arena = arena, .names = arena, .out = out, .rows_max = rows_max };

    return ask(c, q, deadline, watch, &t, fault);
}

/* A question whose statement cannot be had is left out: *s is NULL. */
static enum sql_outcome send_together(struct sql_connection *c, const struct sql_question *const *q, size_t count,
                                      struct statement **s, struct sql_fault *fault)
{
    enum sql_outcome outcome = SQL_DONE;

    for (size_t i = 0; i < count; i++) {
        outcome = statement_of(c, q[i], &s[i], fault);
        if (outcome == SQL_LOST)
            return outcome;
    }
    outcome = SQL_DONE;
    sql_socket_gather(&c->socket);
    answers_wait(&c->socket.mysql, true);
    for (size_t i = 0; i < count && outcome == SQL_DONE; i++)
        if (s[i])
            outcome = execute(c, s[i], q[i], fault);
    answers_wait(&c->socket.mysql, false);
    sql_socket_send(&c->socket);
    if (outcome == SQL_DONE && !c->socket.broken)
        return SQL_DONE;
    c->socket.broken = true; /* answers may be on their way that nobody expects */
    return SQL_LOST;
}

enum sql_outcome sql_connection_ask_together(struct sql_connection *c, const struct sql_question *const *q,
                                             size_t count, size_t rows_max, int64_t deadline,
                                             const struct sql_watch *watch, sql_answered_fn fn, void *ctx,
                                             struct sql_fault *fault)
{
    struct statement *s[SQL_TOGETHER] = { NULL };
    enum sql_outcome outcome;
    struct arena *arena;

    *fault = (struct sql_fault){ 0 };
    if (!can_send_together)
        return SQL_DONE;
    watch_begin(c, deadline, watch);
    outcome = send_together(c, q, count, s, fault);
    arena = arena_new();
    for (size_t i = 0; i < count && outcome != SQL_LOST; i++) {
        struct sql_rows rows = { 0 };
        struct taker t = { .arena = arena, .names = arena, .out = &rows, .rows_max = rows_max };
        if (s[i] == NULL)
            continue;
        if (c->socket.mysql.methods->db_read_execute_response(s[i]->handle))
            outcome = failed(c, mysql_stmt_errno(s[i]->handle), mysql_stmt_error(s[i]->handle), fault);
        else
            outcome = take_result(c, s[i], &t, fault);
        if (outcome == SQL_DONE)
            fn(ctx, i, &rows);
        if (c->socket.broken)
            outcome = SQL_LOST;
        arena_reset(arena);
    }
    arena_free(&arena);
    c->socket.watch = NULL;
    return outcome == SQL_LOST ? SQL_LOST : SQL_DONE;
}

enum sql_outcome sql_connection_each(struct sql_connection *c, const struct sql_question *q, int64_t deadline,
                                     const struct sql_watch *watch, sql_row_fn fn, void *ctx, bool *had_rows,
                                     struct sql_fault *fault)
{
    struct sql_rows one = { 0 };
    struct taker t = { .arena = arena_new(), .names = arena_new(), .out = &one, .rows_max = 1, .fn = fn, .ctx = ctx };
    enum sql_outcome outcome = ask(c, q, deadline, watch, &t, fault);

    *had_rows = t.had_rows;
    arena_free(&t.arena);
    arena_free(&t.names);
    if (t.ended && outcome == SQL_DONE) {
        snprintf(fault->text, sizeof fault->text, "no more rows were wanted");
        return SQL_FAULT;
    }
    return outcome;
}

bool sql_connection_sound(const struct sql_connection *c) { return !c->socket.broken; }
