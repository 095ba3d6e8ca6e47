/*
 * passdb/static - the passdb driver static: the same fields for everybody
 *
 * Callers     authd/passdb.c
 * Source      Dovecot 2.3, passdb static: args are fields with %variables, password= or nopassword among them
 */
#include "../passdb.h"

static int open_static(struct passdb *p, struct arena *a, struct err *err)
{
    struct authd_fields *fields = arena_alloc(a, sizeof *fields);

    authd_fields_parse(fields, a, slice_of(p->entry.args));
    if (fields->over)
        return err_set(err, 0, NULL, "static: more than %d fields", AUTHD_FIELDS_MAX);
    p->state = fields;
    p->cache_key = NULL; /* nothing is asked */
    return authd_format_check(p->entry.args, err);
}

static enum lookup lookup(struct passdb *p, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    const struct authd_fields *fields = p->state;

    for (size_t n = 0; n < fields->count; n++) {
        const char *value = fields->field[n].value;
        if (value && (value = authd_format(r, value, err)) == NULL)
            return LOOKUP_RETRY;
        authd_fields_add(row, r->arena, fields->field[n].name, value);
    }
    return LOOKUP_FOUND;
}

const struct passdb_driver passdb_static = {
    .name = "static", .scheme = "PLAIN", .open = open_static, .lookup = lookup
};
