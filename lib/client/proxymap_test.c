/* proxymap_test - the client against a service of a few lines: rows, NULL, no answer, refusals, rows as they arrive */
#include "client/proxymap.h"
#include "conf/param.h"
#include "table/proxy.h"
#include "table/table.h"

#include "event/event.h"
#include "ipc/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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
    const char *then = msg_has(in, "then") ? msg_get_str(in, "then", 100) : NULL;
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
        if (then && strcmp(then, "/none") != 0) {
            msg_put_str(m, "then_variables", "user");
            msg_put_str(m, "then_column", "home");
            msg_put_str(m, "then_cell", "=/home");
            msg_put_str(m, "then_column", "null");
            msg_put(m, "then_cell", strcmp(then, "/odd") == 0 ? SLICE("=a\0b") : SLICE(""));
        }
        str_free(&cell);
    }
    return m;
}

/* Of a table: the value counts the questions; "second" is found in the second table only. */
static unsigned lookups;
static int64_t keep_ms = 50;
static struct msg *look_up(struct msg *in)
{
    const char *key;
    bool second, none;
    char value[32];
    struct msg *m;

    while (msg_has(in, "table"))
        msg_get_str(in, "table", 100);
    msg_get_num(in, "flags", 0, PROXY_FLAGS_MAX);
    key = msg_get_str(in, "key", 100);
    assert(msg_done(in));
    second = strcmp(key, "second") == 0;
    none = strcmp(key, "none") == 0;
    m = msg_new(none ? "none" : "found");
    snprintf(value, sizeof value, "%u", ++lookups);
    if (none)
        return m;
    msg_put_num(m, "at", second);
    msg_put_num(m, "key", 0);
    msg_put_str(m, "value", value);
    msg_put_num(m, "keep_ms", keep_ms);
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
        else if (strcmp(msg_name(in), "lookup") == 0)
            assert(msg_send(s, out = look_up(in), msg_id(in)) == 0);
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
static struct proxymap_then then; /* asked for where it has a source */
static bool fresh;
static struct err err;

static enum lookup ask(const char *source, enum proxymap_query query, const char *user)
{
    const struct proxymap_var var = { "user", user };

    about = (struct proxymap_about){ NULL, NULL };
    return proxymap_sql(source, query, fresh, &var, 1, arena, &row, &about, then.source ? &then : NULL, &err);
}

static void collect(void *ctx, const struct proxymap_row *r)
{
    assert(r->columns == 1 && strcmp(r->name[0], "user") == 0);
    strcat(ctx, r->value[0]);
}

/* The value that comes for a key; "" where there is none. */
static const char *of_maps(struct maps *m, const char *key)
{
    enum lookup answer;
    const char *value;
    struct str out;

    str_init(&out, 100);
    answer = maps_find(m, key, false, &out);
    assert(answer == (out.len ? LOOKUP_FOUND : LOOKUP_NONE));
    value = arena_strdup(arena, out.p);
    str_free(&out);
    return value;
}

static void test_tables(void)
{
    struct maps *two = maps_new("two", "mysql:/a, proxy:mysql:/b", 0), *one = maps_new("one", "mysql:/b", 0);

    /* Kept for as long as the service says, and only what the first table says of the first key. */
    assert(strcmp(of_maps(two, "k"), "1") == 0 && strcmp(of_maps(two, "k"), "1") == 0);
    assert(strcmp(of_maps(two, "K"), "2") == 0); /* another question */
    assert(strcmp(of_maps(one, "k"), "3") == 0 && strcmp(of_maps(two, "k"), "1") == 0);
    event_sleep(keep_ms + 10);
    assert(strcmp(of_maps(two, "k"), "4") == 0);
    assert(strcmp(of_maps(two, "second"), "5") == 0 && strcmp(of_maps(two, "second"), "6") == 0);
    assert(strcmp(of_maps(two, "none"), "") == 0 && strcmp(of_maps(two, "none"), "") == 0 && lookups == 8);
    keep_ms = 0;
    assert(strcmp(of_maps(two, "l"), "9") == 0 && strcmp(of_maps(two, "l"), "10") == 0);
    /* More than there is room for. */
    keep_ms = PROXY_KEEP_MS;
    for (int i = 0; i < PROXY_KEPT + 10; i++) {
        char key[32];
        snprintf(key, sizeof key, "many%d", i);
        assert(atoi(of_maps(two, key)) == 11 + i && atoi(of_maps(two, key)) == 11 + i);
    }
    maps_free(&one);
    maps_free(&two);
}

/* The user's row comes with the password's, or not. */
static void test_then(void)
{
    then.source = "/u";
    assert(ask("/f", PROXYMAP_PASSWORD, "joe") == LOOKUP_FOUND && row.columns == 3 && then.found);
    assert(then.row.columns == 2 && strcmp(then.row.name[0], "home") == 0 && strcmp(then.row.value[0], "/home") == 0);
    assert(strcmp(then.row.name[1], "null") == 0 && then.row.value[1] == NULL && strcmp(then.variables, "user") == 0);
    then.source = "/none";
    assert(ask("/f", PROXYMAP_PASSWORD, "joe") == LOOKUP_FOUND && row.columns == 3 && !then.found);
    assert(ask("/f", PROXYMAP_PASSWORD, "nobody") == LOOKUP_NONE && !then.found);
    assert(ask("/f", PROXYMAP_PASSWORD, "later") == LOOKUP_RETRY && !then.found);
    then.source = "/odd";
    assert(ask("/f", PROXYMAP_PASSWORD, "joe") == LOOKUP_RETRY && !then.found && strstr(err.text, "column null"));
    then.source = NULL;
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
    test_then();
    assert(proxymap_sql_each("/f", collect, all, &err) == 0 && strcmp(all, "u0u1u2") == 0);
    assert(proxymap_sql_each("/broken", collect, all, &err) == -1 && strcmp(err.text, "lost") == 0);
    test_tables();
    arena_free(&arena);
    event_stop();
}

int main(void)
{
    conf_ipc_timeout = 10;
    ipc_set_connector(connector);
    event_run(test, NULL);
    return 0;
}
