/*
 * userdb/static - the userdb driver static: the same fields for everybody whom a passdb knows
 *
 * Callers     authd/userdb.c
 * Invariants  a look-up without a login (LMTP) asks the passdbs whether the user exists, unless allow_all_users is set;
 *             what they say in userdb_ fields is there before ours
 * Source      Dovecot 2.3, userdb static
 */
#include "../passdb.h"
#include "../userdb.h"

struct fixed {
    struct authd_fields fields;
    bool allow_all_users;
};

static int open_static(struct userdb *u, struct arena *a, struct err *err)
{
    struct fixed *s = arena_alloc(a, sizeof *s);
    const char *all;

    authd_fields_parse(&s->fields, a, slice_of(u->entry.args));
    if (s->fields.over)
        return err_set(err, 0, NULL, "static: more than %d fields", AUTHD_FIELDS_MAX);
    if (authd_fields_has(&s->fields, "allow_all_users")) {
        all = authd_fields_get(&s->fields, "allow_all_users");
        s->allow_all_users = all == NULL || strcmp(all, "yes") == 0;
        authd_fields_remove(&s->fields, "allow_all_users");
    }
    u->state = s;
    return authd_format_check(u->entry.args, err);
}

static enum lookup lookup(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    const struct fixed *s = u->state;
    enum lookup found = LOOKUP_FOUND;

    if (!s->allow_all_users && !r->successful)
        found = authd_passdb_lookup(r, err);
    if (found != LOOKUP_FOUND && !r->restricted) /* mail does not ask from where its reader may log in */
        return found;
    for (size_t n = 0; n < s->fields.count; n++) {
        const char *value = s->fields.field[n].value;
        if (value && (value = authd_format(r, value, err)) == NULL)
            return LOOKUP_RETRY;
        authd_fields_add(row, r->arena, s->fields.field[n].name, value);
    }
    return LOOKUP_FOUND;
}

const struct userdb_driver userdb_static = { .name = "static", .open = open_static, .lookup = lookup };
