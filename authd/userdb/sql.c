/*
 * userdb/sql - the userdb driver sql: user_query and iterate_query of a dovecot-sql.conf.ext
 *
 * Callers     authd/userdb.c
 * Source      Dovecot 2.3, userdb sql; iterate_query returns "user", or "username" and "domain"
 */
#include "../sql.h"
#include "../userdb.h"
#include <stdlib.h>

static int open_sql(struct userdb *u, struct arena *a, struct err *err)
{
    (void) a;
    return sql_source_check(u->entry.args, err);
}

static enum lookup lookup(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    struct proxymap_about about;
    enum lookup found = sql_ask(u->entry.args, PROXYMAP_USER, r, row, &about, err);

    if (found != LOOKUP_RETRY)
        sql_cache_key(&u->cache_key, about.variables);
    return found;
}

struct listing {
    struct userdb_lister out;
    bool nameless; /* a row without a user */
};

static void list_row(void *ctx, const struct proxymap_row *row)
{
    struct listing *l = ctx;
    const char *user = NULL, *local = NULL, *domain = NULL;

    for (size_t n = 0; n < row->columns; n++)
        if (strcmp(row->name[n], "user") == 0)
            user = row->value[n];
        else if (strcmp(row->name[n], "username") == 0)
            local = row->value[n];
        else if (strcmp(row->name[n], "domain") == 0)
            domain = row->value[n];
    if (user) {
        l->out.fn(l->out.ctx, slice_of(user));
    } else if (local && domain) {
        char *full = mem_printf("%s@%s", local, domain);
        l->out.fn(l->out.ctx, slice_of(full));
        free(full);
    } else if (local) {
        l->out.fn(l->out.ctx, slice_of(local));
    } else {
        l->nameless = true;
    }
}

static int each(struct userdb *u, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    struct listing l = { { fn, ctx }, false };

    if (proxymap_sql_each(u->entry.args, list_row, &l, err) != 0)
        return -1;
    return l.nameless ? err_set(err, 0, NULL, "iterate_query must return \"user\", or \"username\" and \"domain\"")
                      : 0;
}

const struct userdb_driver userdb_sql = { .name = "sql", .open = open_sql, .lookup = lookup, .each = each };
