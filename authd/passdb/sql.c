/*
 * passdb/sql - the passdb driver sql: password_query of a dovecot-sql.conf.ext
 *
 * Callers     authd/passdb.c
 * Source      Dovecot 2.3, passdb sql: the column "password" must be there; its scheme, where it says none, is
 *             default_pass_scheme
 */
#include "../passdb.h"
#include "../sql.h"
#include "../scheme/scheme.h"

static int open_sql(struct passdb *p, struct arena *a, struct err *err)
{
    (void) a;
    return sql_source_check(p->entry.args, err);
}

/* The file's default_pass_scheme is known only now. */
static void name_scheme(struct authd_fields *row, struct arena *a, const char *scheme)
{
    const char *bare = authd_fields_get(row, "password_noscheme"),
               *password = bare ? bare : authd_fields_get(row, "password");

    if (password == NULL || password[0] == '\0' || (!bare && password[0] == '{'))
        return;
    authd_fields_remove(row, "password_noscheme");
    authd_fields_add(row, a, "password", arena_printf(a, "{%s}%s", scheme, password));
    mem_wipe((char *) (uintptr_t) password, strlen(password));
}

static enum lookup lookup(struct passdb *p, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    struct proxymap_about about;
    enum lookup found = sql_ask(p->entry.args, PROXYMAP_PASSWORD, r, row, &about, err);

    if (found != LOOKUP_RETRY)
        sql_cache_key(&p->cache_key, about.variables);
    if (found != LOOKUP_FOUND)
        return found;
    if (!authd_fields_has(row, "password") && !authd_fields_has(row, "password_noscheme")) {
        err_set(err, 0, NULL, "Password query must return a field named 'password'");
        return LOOKUP_RETRY;
    }
    name_scheme(row, r->arena, about.default_pass_scheme);
    return LOOKUP_FOUND;
}

const struct passdb_driver passdb_sql = {
    .name = "sql", .remembers = true, .scheme = "MD5", .open = open_sql, .lookup = lookup
};
