/* connection - libmariadb's start and cont calls, waiting in the loop; contract in connection.h */
#include "table/sql/connection.h"

#include "base/time.h"
#include "event/event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <mysql.h>
#include <errmsg.h>

/* Of <mysql/client_plugin.h>, which cannot be included: it wants a header that Debian does not ship. */
enum { AUTHENTICATION_PLUGIN = 2 };
extern struct st_mysql_client_plugin *mysql_client_find_plugin(struct st_mysql *, const char *name, int type);

/* A statement that the server has parsed and keeps. */
struct statement {
    struct list link; /* most recently used first */
    MYSQL_STMT *handle;
    char *text;
};
struct sql_connection {
    MYSQL *mysql;
    struct list statements;
    size_t statement_count;
    int fd;      /* what the loop watches */
    bool broken; /* a wait failed: all that follows fails at once */
    bool late;   /* because of the deadline */
    int64_t deadline;
};

enum { CLOSE_MS = 200, CELL_GUESS = 512 };

/* Client plug-ins are shared objects: the jail lets none be loaded. Those that hand the password over in clear text
 * (mysql_clear_password, dialog) stay out: a server in the middle would ask for them. */
void sql_connection_library(void)
{
    static const char *const plugins[] = { "caching_sha2_password", "client_ed25519", "sha256_password" };
    static bool done;
    MYSQL *mysql;

    if (done)
        return;
    done = true;
    mysql_library_init(0, NULL, NULL);
    mysql = mysql_init(NULL);
    for (size_t i = 0; mysql && i < sizeof plugins / sizeof *plugins; i++)
        (void) mysql_client_find_plugin(mysql, plugins[i], AUTHENTICATION_PLUGIN);
    mysql_close(mysql);
}

/* What libmariadb waits for, as it wants it told. A wait that failed is told as its time-out, until it gives up. */
static int await(struct sql_connection *c, int status)
{
    int what = (status & MYSQL_WAIT_READ ? EVENT_READ : 0) | (status & MYSQL_WAIT_WRITE ? EVENT_WRITE : 0);
    int fd = (int) mysql_get_socket(c->mysql), ready;

    if (c->broken)
        return MYSQL_WAIT_TIMEOUT;
    if (fd != c->fd)
        event_forget_fd(c->fd);
    c->fd = fd;
    ready = event_wait_fd(fd, what ? what : EVENT_READ, c->deadline);
    if (ready < 0) {
        c->broken = true;
        c->late = errno == ETIMEDOUT;
        return MYSQL_WAIT_TIMEOUT;
    }
    return (ready & EVENT_READ ? MYSQL_WAIT_READ : 0) | (ready & EVENT_WRITE ? MYSQL_WAIT_WRITE : 0);
}

static void fault_set(const struct sql_connection *c, unsigned code, const char *text, struct sql_fault *out)
{
    out->code = code;
    if (c->late)
        snprintf(out->text, sizeof out->text, "no answer in time");
    else
        snprintf(out->text, sizeof out->text, "%s", text);
}

/* Client errors (2000 and up) leave a connection nobody knows the state of. */
static enum sql_outcome failed(struct sql_connection *c, unsigned code, const char *text, struct sql_fault *out)
{
    fault_set(c, code, text, out);
    if (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR)
        c->broken = true;
    return c->broken ? SQL_LOST : SQL_FAULT;
}

static void set_options(struct sql_connection *c, const struct sql_connect *how)
{
    my_bool no = 0, verify = how->tls_verify;
    size_t bytes = SQL_RESULT_BYTES;
    unsigned forbid = 0;

    mysql_options(c->mysql, MYSQL_OPT_NONBLOCK, NULL);
    mysql_options(c->mysql, MYSQL_OPT_RECONNECT, &no);
    mysql_options(c->mysql, MYSQL_OPT_LOCAL_INFILE, &forbid);
    mysql_options(c->mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &bytes);
    mysql_options(c->mysql, MYSQL_SET_CHARSET_NAME, how->charset ? how->charset : "utf8mb4");
    mysql_options(c->mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (how->tls_key_file || how->tls_cert_file || how->tls_ca_file || how->tls_ca_path || how->tls_ciphers)
        mysql_ssl_set(c->mysql, how->tls_key_file, how->tls_cert_file, how->tls_ca_file, how->tls_ca_path,
                      how->tls_ciphers);
    if (how->option_file)
        mysql_options(c->mysql, MYSQL_READ_DEFAULT_FILE, how->option_file);
    if (how->option_group)
        mysql_options(c->mysql, MYSQL_READ_DEFAULT_GROUP, how->option_group);
}

struct sql_connection *sql_connection_open(const struct sql_connect *how, const struct sql_address *to,
                                           int64_t deadline, struct sql_fault *fault)
{
    struct sql_connection *c = mem_new(sizeof *c);
    MYSQL *done = NULL;
    int status;

    c->mysql = mysql_init(NULL);
    c->fd = -1;
    c->deadline = deadline;
    list_init(&c->statements);
    if (c->mysql == NULL) {
        free(c);
        snprintf(fault->text, sizeof fault->text, "libmariadb cannot be used");
        return NULL;
    }
    set_options(c, how);
    for (status = mysql_real_connect_start(&done, c->mysql, to->path ? NULL : to->numeric, how->user, how->password,
                                           how->dbname, to->port, to->path, 0);
         status;)
        status = mysql_real_connect_cont(&done, c->mysql, await(c, status));
    if (done)
        return c;
    fault_set(c, mysql_errno(c->mysql), mysql_error(c->mysql), fault);
    sql_connection_close(&c);
    return NULL;
}

static void statement_close(struct sql_connection *c, struct statement *s)
{
    my_bool rc;
    int status;

    list_del(&s->link);
    c->statement_count--;
    for (status = mysql_stmt_close_start(&rc, s->handle); status;)
        status = mysql_stmt_close_cont(&rc, s->handle, await(c, status));
    free(s->text);
    free(s);
}

void sql_connection_close(struct sql_connection **cp)
{
    struct sql_connection *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    c->deadline = time_mono_ms() + CLOSE_MS;
    while (!list_empty(&c->statements)) {
        c->broken = true; /* the server forgets them with the connection: nothing is sent for them */
        statement_close(c, list_first(&c->statements, struct statement, link));
    }
    event_forget_fd(c->fd);
    for (int status = mysql_close_start(c->mysql); status;)
        status = mysql_close_cont(c->mysql, await(c, status));
    event_forget_fd(c->fd);
    free(c);
}

/* Rows as they arrive, bounded. */
struct taker {
    struct arena *arena;
    struct sql_rows *out;
    struct slice *cell;
    size_t rows_max, cap, bytes;
};

static void take_names(struct taker *t, const MYSQL_FIELD *field, size_t columns)
{
    const char **name = arena_alloc(t->arena, columns * sizeof *name);

    for (size_t i = 0; i < columns; i++)
        name[i] = arena_strndup(t->arena, field[i].name, field[i].name_length);
    t->out->name = name;
    t->out->columns = columns;
}

/* The next row's cells, or NULL: over a limit. */
static struct slice *take_row(struct taker *t)
{
    size_t columns = t->out->columns;

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
    t->bytes += len;
}

static enum sql_outcome too_much(struct sql_connection *c, struct sql_fault *fault)
{
    c->broken = true; /* the rest of the rows is still on its way */
    fault->code = 0;
    snprintf(fault->text, sizeof fault->text, "the answer has too many rows or bytes");
    return SQL_FAULT;
}

static enum sql_outcome ask_text(struct sql_connection *c, const struct sql_question *q, struct taker *t,
                                 struct sql_fault *fault)
{
    enum sql_outcome outcome = SQL_DONE;
    MYSQL_RES *res;
    MYSQL_ROW row;
    int rc, status;

    for (status = mysql_real_query_start(&rc, c->mysql, q->text, strlen(q->text)); status;)
        status = mysql_real_query_cont(&rc, c->mysql, await(c, status));
    if (rc)
        return failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), fault);
    res = mysql_use_result(c->mysql);
    if (res == NULL)
        return mysql_errno(c->mysql) ? failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), fault) : SQL_DONE;
    take_names(t, mysql_fetch_fields(res), mysql_num_fields(res));
    for (;;) {
        for (status = mysql_fetch_row_start(&row, res); status;)
            status = mysql_fetch_row_cont(&row, res, await(c, status));
        if (row == NULL)
            break;
        struct slice *cell = take_row(t);
        const unsigned long *len = mysql_fetch_lengths(res);
        if (cell == NULL) {
            outcome = too_much(c, fault);
            break;
        }
        for (size_t i = 0; i < t->out->columns; i++)
            take_cell(t, cell + i, row[i], len[i]);
    }
    if (outcome == SQL_DONE && mysql_errno(c->mysql))
        outcome = failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), fault);
    for (status = mysql_free_result_start(res); status;)
        status = mysql_free_result_cont(res, await(c, status));
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
    int rc, status;

    if (c->statement_count == SQL_STATEMENTS)
        statement_close(c, list_entry(c->statements.prev, struct statement, link));
    s->handle = mysql_stmt_init(c->mysql);
    s->text = mem_strdup(text);
    list_prepend(&c->statements, &s->link);
    c->statement_count++;
    for (status = mysql_stmt_prepare_start(&rc, s->handle, text, strlen(text)); status;)
        status = mysql_stmt_prepare_cont(&rc, s->handle, await(c, status));
    *out = s;
    if (rc == 0)
        return SQL_DONE;
    outcome = failed(c, mysql_stmt_errno(s->handle), mysql_stmt_error(s->handle), fault);
    statement_close(c, s);
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
    int rc, status;

    for (size_t i = 0; i < columns; i++)
        bind[i] = (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_STRING,
                                .buffer = guess + i * CELL_GUESS,
                                .buffer_length = CELL_GUESS,
                                .length = &len[i],
                                .is_null = &null[i] };
    mysql_stmt_bind_result(stmt, bind);
    for (;;) {
        for (status = mysql_stmt_fetch_start(&rc, stmt); status;)
            status = mysql_stmt_fetch_cont(&rc, stmt, await(c, status));
        if (rc == MYSQL_NO_DATA)
            break;
        if (rc == 1) {
            outcome = failed(c, mysql_stmt_errno(stmt), mysql_stmt_error(stmt), fault);
            break;
        }
        struct slice *cell = take_row(t);
        if (cell == NULL) {
            outcome = too_much(c, fault);
            break;
        }
        for (unsigned i = 0; i < columns; i++) {
            char *p = guess + i * CELL_GUESS;
            if (!null[i] && len[i] > CELL_GUESS) {
                MYSQL_BIND one = { .buffer_type = MYSQL_TYPE_STRING, .buffer_length = len[i] };
                one.buffer = p = arena_alloc(own, len[i]);
                mysql_stmt_fetch_column(stmt, &one, i, 0);
            }
            take_cell(t, cell + i, null[i] ? NULL : p, null[i] ? 0 : len[i]);
        }
    }
    arena_free(&own);
    return outcome;
}

static enum sql_outcome ask_prepared(struct sql_connection *c, const struct sql_question *q, struct taker *t,
                                     struct sql_fault *fault)
{
    MYSQL_BIND *bind = arena_alloc(t->arena, q->params * sizeof *bind);
    struct statement *s = statement_find(c, q->text);
    enum sql_outcome outcome = SQL_DONE;
    my_bool freed;
    int rc, status;

    if (s == NULL && (outcome = statement_make(c, q->text, &s, fault)) != SQL_DONE)
        return outcome;
    if (mysql_stmt_param_count(s->handle) != q->params) {
        snprintf(fault->text, sizeof fault->text, "%lu parameters are given to a query that has %lu places",
                 (unsigned long) q->params, mysql_stmt_param_count(s->handle));
        return SQL_FAULT;
    }
    for (size_t i = 0; i < q->params; i++)
        bind[i] = (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_STRING,
                                .buffer = (void *) (uintptr_t) q->param[i].p,
                                .buffer_length = q->param[i].len };
    mysql_stmt_bind_param(s->handle, bind);
    for (status = mysql_stmt_execute_start(&rc, s->handle); status;)
        status = mysql_stmt_execute_cont(&rc, s->handle, await(c, status));
    if (rc)
        return failed(c, mysql_stmt_errno(s->handle), mysql_stmt_error(s->handle), fault);
    MYSQL_RES *meta = mysql_stmt_result_metadata(s->handle);
    if (meta == NULL)
        return SQL_DONE;
    take_names(t, mysql_fetch_fields(meta), mysql_num_fields(meta));
    mysql_free_result(meta);
    outcome = fetch_rows(c, s->handle, t, fault);
    for (status = mysql_stmt_free_result_start(&freed, s->handle); status;)
        status = mysql_stmt_free_result_cont(&freed, s->handle, await(c, status));
    return outcome;
}

enum sql_outcome sql_connection_ask(struct sql_connection *c, const struct sql_question *q, size_t rows_max,
                                    int64_t deadline, struct arena *arena, struct sql_rows *out,
                                    struct sql_fault *fault)
{
    struct taker t = { .arena = arena, .out = out, .rows_max = rows_max };
    enum sql_outcome outcome;

    *out = (struct sql_rows){ 0 };
    *fault = (struct sql_fault){ 0 };
    c->deadline = deadline;
    outcome = q->params ? ask_prepared(c, q, &t, fault) : ask_text(c, q, &t, fault);
    return outcome;
}

bool sql_connection_sound(const struct sql_connection *c) { return !c->broken; }
