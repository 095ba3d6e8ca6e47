/* proxymap_test - the client against a service of a few lines: rows, NULL, no answer, refusals, rows as they arrive */
#include "client/proxymap.h"
#include "table/proxy.h"

#include "event/event.h"
#include "ipc/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

static void put_cell(struct msg *m, const char *column, const char *cell, size_t len)
{
    msg_put_str(m, "column", column);
    msg_put(m, "cell", slice_make(cell, len));
}

/* Answers by the variable "user"; the reply tells what was asked. */
static struct msg *answer(struct msg *in)
{
    const char *source = msg_get_str(in, "source", 100), *query = msg_get_str(in, "query", 100);
    struct slice user, name;
    bool fresh = msg_get_num(in, "fresh", 0, 1);
    struct msg *m;

    assert(msg_next(in, "name", 100, &name) && slice_eq(name, "user") && msg_next(in, "value", 100, &user));
    if (slice_eq(user, "down"))
        return NULL;
    m = msg_new(slice_eq(user, "nobody")     ? "none"
                : strcmp(source, "/no") == 0 ? "denied"
                : slice_eq(user, "later")    ? "retry"
                                             : "found");
    if (slice_eq(user, "later"))
        msg_put_str(m, "why", "the database is away");
    else if (strcmp(source, "/no") != 0)
        msg_put_str(m, "scheme", "SSHA"), msg_put_str(m, "variables", fresh ? "fresh" : "user rip");
    if (strcmp(msg_name(m), "found") == 0) {
        struct str cell;
        str_init(&cell, STR_UNLIMITED);
        str_printf(&cell, "=%s", query);
        put_cell(m, "query", cell.p, cell.len);
        put_cell(m, "null", "", 0);
        put_cell(m, "empty", "=", 1);
        if (slice_eq(user, "nul"))
            put_cell(m, "odd", "=a\0b", 4);
        str_free(&cell);
    }
    return m;
}

static void stream_rows(struct stream *s, struct msg *in)
{
    bool broken = strcmp(msg_get_str(in, "source", 100), "/broken") == 0;
    struct msg *m;

    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "=u%d", i);
        m = msg_new("row");
        put_cell(m, "user", text, 3);
        assert(msg_send(s, m, 1) == 0);
        msg_free(&m);
    }
    m = msg_new(broken ? "retry" : "end");
    if (broken)
        msg_put_str(m, "why", "lost");
    assert(msg_send(s, m, 1) == 0);
    msg_free(&m);
}

static void serve(void *arg)
{
    struct stream *s = stream_new((int) (intptr_t) arg);
    struct msg *in, *out;

    assert(ipc_greet_server(s, PROXY_PROTOCOL, PROXY_VERSION) == 0);
    while (msg_recv(s, &in) == 0) {
        out = NULL;
        if (strcmp(msg_name(in), "sql_each") == 0)
            stream_rows(s, in);
        else if ((out = answer(in)) != NULL)
            assert(msg_send(s, out, msg_id(in)) == 0);
        if (out == NULL && strcmp(msg_name(in), "sql") == 0) {
            msg_free(&in);
            break;
        }
        msg_free(&in);
        msg_free(&out);
    }
    stream_free(&s);
}

static int connector(const char *service, int64_t deadline)
{
    int pair[2];

    (void) deadline;
    assert(strcmp(service, "private/proxymap") == 0);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    fiber_go("server", serve, (void *) (intptr_t) pair[1]);
    return pair[0];
}

static struct arena *arena;
static struct proxymap_row row;
static struct proxymap_about about;
static bool fresh;
static struct err err;

static enum lookup ask(const char *source, enum proxymap_query query, const char *user)
{
    const struct proxymap_var var = { "user", user };

    about = (struct proxymap_about){ NULL, NULL };
    return proxymap_sql(source, query, fresh, &var, 1, arena, &row, &about, &err);
}

static void collect(void *ctx, const struct proxymap_row *r)
{
    assert(r->columns == 1 && strcmp(r->name[0], "user") == 0);
    strcat(ctx, r->value[0]);
}

static void test(void *unused)
{
    char all[100] = "";

    (void) unused;
    arena = arena_new();
    assert(ask("/f", PROXYMAP_PASSWORD, "joe") == LOOKUP_FOUND && row.columns == 3);
    assert(strcmp(row.name[0], "query") == 0 && strcmp(row.value[0], "password") == 0 && row.value[1] == NULL);
    assert(strcmp(row.value[2], "") == 0 && strcmp(about.default_pass_scheme, "SSHA") == 0);
    assert(ask("/f", PROXYMAP_USER, "joe") == LOOKUP_FOUND && strcmp(row.value[0], "user") == 0);
    assert(ask("/f", PROXYMAP_USER, "nobody") == LOOKUP_NONE && strcmp(about.default_pass_scheme, "SSHA") == 0 &&
           row.columns == 0);
    assert(strcmp(about.variables, "user rip") == 0);
    fresh = true;
    assert(ask("/f", PROXYMAP_USER, "nobody") == LOOKUP_NONE && strcmp(about.variables, "fresh") == 0);
    assert(ask("/f", PROXYMAP_USER, "later") == LOOKUP_RETRY && strcmp(err.text, "the database is away") == 0);
    assert(ask("/no", PROXYMAP_USER, "joe") == LOOKUP_RETRY && strstr(err.text, "no passdb or userdb names it"));
    assert(ask("/f", PROXYMAP_USER, "nul") == LOOKUP_RETRY && strstr(err.text, "column odd"));
    assert(ask("/f", PROXYMAP_USER, "down") == LOOKUP_RETRY && strstr(err.text, "cannot be asked"));
    assert(ask("/f", PROXYMAP_USER, "joe") == LOOKUP_FOUND); /* over a new connection */
    assert(proxymap_sql_each("/f", collect, all, &err) == 0 && strcmp(all, "u0u1u2") == 0);
    assert(proxymap_sql_each("/broken", collect, all, &err) == -1 && strcmp(err.text, "lost") == 0);
    arena_free(&arena);
    event_stop();
}

int main(void)
{
    ipc_set_connector(connector);
    event_run(test, NULL);
    return 0;
}
