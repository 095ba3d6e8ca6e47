/* proxymap - the calls to authd/proxymap about SQL; contract in proxymap.h, words in table/proxy.h */
#include "client/proxymap.h"

#include "base/str.h"
#include "base/time.h"
#include "ipc/client.h"
#include "table/proxy.h"

#include <errno.h>

enum { ASK_MS = 60000, ROW_MS = 300000 };

static struct ipc_client *proxymap; /* lives as long as the process */

/* column* and cell* of an answer, or of what it says beside. */
static int take_row(struct msg *m, const char *column, const char *cell, struct arena *a, struct proxymap_row *out,
                    struct err *err)
{
    struct slice text;

    *out = (struct proxymap_row){ 0 };
    out->name = arena_alloc(a, PROXY_COLUMNS * sizeof *out->name);
    out->value = arena_alloc(a, PROXY_COLUMNS * sizeof *out->value);
    while (out->columns < PROXY_COLUMNS && msg_next(m, column, PROXY_NAME_BYTES, &text)) {
        size_t i = out->columns++;
        out->name[i] = arena_strndup(a, text.p, text.len);
        text = msg_get(m, cell, PROXY_CELL_BYTES + 1);
        if (text.len && memchr(text.p, 0, text.len))
            return err_set(err, 0, NULL, "column %s of the answer holds a NUL byte", out->name[i]);
        if (text.len)
            out->value[i] = arena_strndup(a, text.p + 1, text.len - 1);
    }
    return 0;
}

static int finish(struct msg *m, struct err *err)
{
    return msg_done(m) ? 0 : err_set(err, 0, NULL, "the proxymap service gave a malformed answer");
}

static int take_only_row(struct msg *m, struct arena *a, struct proxymap_row *out, struct err *err)
{
    return take_row(m, "column", "cell", a, out, err) < 0 ? -1 : finish(m, err);
}

static int take_rows(struct msg *m, struct arena *a, struct proxymap_row *out, struct proxymap_then *then,
                     struct err *err)
{
    const char *variables;

    if (then == NULL || !msg_has(m, "then_variables"))
        return take_only_row(m, a, out, err);
    variables = msg_get_str(m, "then_variables", PROXY_VARIABLES_BYTES);
    if (take_row(m, "column", "cell", a, out, err) < 0 ||
        take_row(m, "then_column", "then_cell", a, &then->row, err) < 0 || finish(m, err) < 0)
        return -1;
    then->variables = arena_strdup(a, variables);
    then->found = true;
    return 0;
}

static enum lookup refused(struct msg *m, const char *source, struct err *err)
{
    if (strcmp(msg_name(m), "denied") == 0)
        (void) err_set(err, 0, NULL, "%s: the proxymap service does not serve it: no passdb or userdb names it",
                       source);
    else if (strcmp(msg_name(m), "retry") == 0)
        (void) err_set(err, 0, NULL, "%s", msg_get_str(m, "why", PROXY_WHY_BYTES));
    else
        (void) err_set(err, 0, NULL, "the proxymap service gave a malformed answer");
    return LOOKUP_RETRY;
}

static enum lookup read_answer(struct msg *m, const char *source, struct arena *a, struct proxymap_row *out,
                               struct proxymap_about *about, struct proxymap_then *then, struct err *err)
{
    bool found = strcmp(msg_name(m), "found") == 0;
    const char *scheme, *variables;

    if (!found && strcmp(msg_name(m), "none") != 0)
        return refused(m, source, err);
    scheme = msg_get_str(m, "scheme", PROXY_NAME_BYTES);
    variables = msg_get_str(m, "variables", PROXY_VARIABLES_BYTES);
    if (take_rows(m, a, out, found ? then : NULL, err) < 0)
        return LOOKUP_RETRY;
    if (about)
        *about = (struct proxymap_about){ arena_strdup(a, scheme), arena_strdup(a, variables) };
    return found ? LOOKUP_FOUND : LOOKUP_NONE;
}

enum lookup proxymap_sql(const char *source, enum proxymap_query query, bool fresh, const struct proxymap_var *var,
                         size_t vars, struct arena *a, struct proxymap_row *out, struct proxymap_about *about,
                         struct proxymap_then *then, struct err *err)
{
    struct msg *m = msg_new("sql"), *reply;
    enum lookup answer;

    *out = (struct proxymap_row){ 0 };
    if (proxymap == NULL)
        proxymap = ipc_client_new(PROXY_SERVICE, PROXY_PROTOCOL, PROXY_VERSION);
    msg_put_str(m, "source", source);
    msg_put_str(m, "query", query == PROXYMAP_PASSWORD ? "password" : "user");
    msg_put_num(m, "fresh", fresh);
    if (then) {
        then->found = false;
        msg_put_str(m, "then", then->source);
    }
    for (size_t i = 0; i < vars; i++) {
        msg_put_str(m, "name", var[i].name);
        msg_put_str(m, "value", var[i].value);
    }
    reply = ipc_call(proxymap, &m, true, time_mono_ms() + ASK_MS);
    if (reply == NULL) {
        (void) err_set(err, 0, NULL, "the proxymap service cannot be asked: %s", strerror(errno));
        return LOOKUP_RETRY;
    }
    answer = read_answer(reply, source, a, out, about, then, err);
    msg_free(&reply);
    return answer;
}

/* 1: another row; 0: the end; -1. */
static int next_row(struct stream *s, const char *source, struct arena *a, struct proxymap_row *row, struct err *err)
{
    struct msg *m;
    int rc = -1;

    if (msg_recv(s, &m) < 0)
        return err_set(err, 0, NULL, "%s: the proxymap service sent no more rows: %s", source,
                       errno ? strerror(errno) : "it ended");
    if (strcmp(msg_name(m), "row") == 0)
        rc = take_only_row(m, a, row, err) < 0 ? -1 : 1;
    else if (strcmp(msg_name(m), "end") == 0 && msg_done(m))
        rc = 0;
    else
        (void) refused(m, source, err);
    msg_free(&m);
    return rc;
}

int proxymap_sql_each(const char *source, void (*fn)(void *, const struct proxymap_row *), void *ctx, struct err *err)
{
    struct stream *s = ipc_open(PROXY_SERVICE, PROXY_PROTOCOL, PROXY_VERSION, time_mono_ms() + ASK_MS);
    struct arena *a;
    struct msg *m;
    struct proxymap_row row;
    int rc;

    if (s == NULL)
        return err_set(err, 0, NULL, "the proxymap service cannot be asked: %s", strerror(errno));
    stream_timeout(s, ROW_MS);
    a = arena_new();
    m = msg_new("sql_each");
    msg_put_str(m, "source", source);
    rc = msg_send(s, m, 1);
    if (rc < 0)
        (void) err_set(err, 0, NULL, "the proxymap service cannot be asked: %s", strerror(errno));
    msg_free(&m);
    while (rc >= 0 && (rc = next_row(s, source, a, &row, err)) > 0) {
        fn(ctx, &row);
        arena_reset(a);
    }
    arena_free(&a);
    stream_free(&s);
    return rc;
}
