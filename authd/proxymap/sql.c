/* sql - variables in, columns out; contract in sql.h */
#include "sql.h"

#include "base/log.h"
#include "sources.h"
#include "table/proxy.h"
#include "table/sql/mysql.h"

enum { ANSWER_BYTES = 2 << 20, THEN_BYTES = 64 << 10 };

struct variables {
    size_t count;
    const char *name[PROXY_VARIABLES], *value[PROXY_VARIABLES];
};

static const char *get(void *ctx, struct slice name)
{
    const struct variables *v = ctx;

    for (size_t i = 0; i < v->count; i++)
        if (slice_eq(name, v->name[i]))
            return v->value[i];
    return NULL;
}

static const char *text(struct slice s, struct arena *a)
{
    return s.len && memchr(s.p, 0, s.len) ? NULL : arena_strndup(a, s.p, s.len);
}

static int take_variables(struct msg *in, struct arena *a, struct variables *out)
{
    struct slice name;

    while (msg_next(in, "name", PROXY_NAME_BYTES, &name)) {
        if (out->count == PROXY_VARIABLES)
            return -1;
        out->name[out->count] = text(name, a);
        out->value[out->count] = text(msg_get(in, "value", PROXY_VALUE_BYTES), a);
        if (out->name[out->count] == NULL || out->value[out->count] == NULL)
            return -1;
        out->count++;
    }
    return 0;
}

/* The first row as column* and cell*. -1: it does not fit into a frame. */
static int put_row(struct msg *m, const char *column, const char *as, const struct sql_rows *rows)
{
    size_t bytes = 0;

    if (rows->columns > PROXY_COLUMNS)
        return -1;
    for (size_t i = 0; i < rows->columns; i++) {
        struct slice cell = rows->cell[i], name = slice_of(rows->name[i]);
        struct str tagged;

        bytes += cell.len;
        if (cell.len > PROXY_CELL_BYTES || bytes > ANSWER_BYTES)
            return -1;
        str_init(&tagged, PROXY_CELL_BYTES + 1);
        if (cell.p) {
            str_addc(&tagged, '=');
            str_addslice(&tagged, cell);
        }
        msg_put(m, column, slice_sub(name, 0, PROXY_NAME_BYTES));
        msg_put(m, as, str_slice(&tagged));
        if (tagged.len)
            mem_wipe(tagged.p, tagged.len);
        str_free(&tagged);
    }
    return 0;
}

static bool fits(const struct sql_rows *rows, size_t limit)
{
    size_t bytes = 0;

    for (size_t i = 0; i < rows->columns; i++)
        bytes += strlen(rows->name[i]) + rows->cell[i].len;
    return rows->columns <= PROXY_COLUMNS && bytes <= limit;
}

static struct msg *retry(const char *why)
{
    struct msg *m = msg_new("retry");

    msg_put(m, "why", slice_sub(slice_of(why), 0, PROXY_WHY_BYTES));
    return m;
}

static struct msg *denied(const char *source)
{
    log_warn("request for unauthorized table: \"sql:%.200s\": no passdb or userdb names it", source);
    return service_status("denied");
}

static struct msg *ask(const char *source, enum sql_dovecot_query which, bool fresh, struct variables *v,
                       struct arena *a)
{
    const struct var_scope scope = { .get = get, .ctx = v };
    struct table *t = sources_sql(source);
    struct err err = { .text = "" };
    struct sql_rows rows;
    enum lookup answer;
    struct msg *m;

    if (t == NULL)
        return denied(source);
    answer = sql_source_ask(t, which, fresh, &scope, a, &rows, &err);
    if (answer == LOOKUP_RETRY)
        return retry(err.text);
    m = msg_new(answer == LOOKUP_FOUND ? "found" : "none");
    msg_put_str(m, "scheme", sql_source_config(t)->default_pass_scheme);
    msg_put_str(m, "variables", sql_source_config(t)->variables[which]);
    if (answer == LOOKUP_FOUND && put_row(m, "column", "cell", &rows) < 0) {
        msg_free(&m);
        return retry("the row is too long");
    }
    return m;
}

/* What the asker will need next, if the password is right: of use only where it is found. */
static void ask_then(const char *source, struct variables *v, struct arena *a, struct msg *m)
{
    const struct var_scope scope = { .get = get, .ctx = v };
    struct table *t = sources_sql(source);
    struct sql_rows rows;
    struct err err;

    if (t == NULL || sql_source_ask(t, SQL_DOVECOT_USER, false, &scope, a, &rows, &err) != LOOKUP_FOUND ||
        !fits(&rows, THEN_BYTES))
        return;
    msg_put_str(m, "then_variables", sql_source_config(t)->variables[SQL_DOVECOT_USER]);
    (void) put_row(m, "then_column", "then_cell", &rows);
}

void sql_on_ask(struct service_conn *c, struct msg *in)
{
    struct arena *a = arena_new();
    struct variables *v = arena_alloc(a, sizeof *v);
    const char *source = msg_get_str(in, "source", PROXY_SOURCE_BYTES);
    const char *query = msg_get_str(in, "query", PROXY_NAME_BYTES);
    bool password = strcmp(query, "password") == 0, fresh = msg_get_num(in, "fresh", 0, 1);
    const char *then = msg_has(in, "then") ? msg_get_str(in, "then", PROXY_SOURCE_BYTES) : NULL;
    bool whole = take_variables(in, a, v) == 0 && msg_done(in);
    struct msg *reply;

    if (whole && (password || strcmp(query, "user") == 0))
        reply = ask(source, password ? SQL_DOVECOT_PASSWORD : SQL_DOVECOT_USER, fresh, v, a);
    else
        reply = retry("the request is malformed");
    if (then && password && strcmp(msg_name(reply), "found") == 0)
        ask_then(then, v, a, reply);
    service_reply(c, &reply);
    arena_free(&a);
}

struct listing {
    struct service_conn *conn;
    bool lost;      /* the client is */
    bool too_large; /* a row, for a frame */
};

static void send_frame(struct listing *l, struct msg **m)
{
    l->lost = l->lost || msg_send(service_conn_stream(l->conn), *m, 1) < 0;
    msg_free(m);
}

static int send_row(void *ctx, const struct sql_rows *one)
{
    struct listing *l = ctx;
    struct msg *m = msg_new("row");

    l->too_large = put_row(m, "column", "cell", one) < 0;
    if (!l->too_large)
        send_frame(l, &m);
    msg_free(&m);
    return l->lost || l->too_large ? -1 : 0;
}

/* "row" frames, then what ends them. */
static void send_rows(struct listing *l, const char *source)
{
    struct table *t = sources_sql(source);
    struct err err = { .text = "" };
    struct msg *last;

    if (t == NULL)
        last = denied(source);
    else if (sql_source_each(t, send_row, l, &err) == 0)
        last = service_status("end");
    else
        last = retry(l->too_large ? "a row is too long" : err.text);
    send_frame(l, &last);
}

void sql_on_each(struct service_conn *c, struct msg *in)
{
    const char *source = msg_get_str(in, "source", PROXY_SOURCE_BYTES);
    struct listing l = { .conn = c };
    struct msg *bad;

    if (msg_done(in)) {
        send_rows(&l, source);
    } else {
        bad = retry("the request is malformed");
        send_frame(&l, &bad);
    }
}
