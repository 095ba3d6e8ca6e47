/*
 * userdb/system - the userdb driver passwd: the system's accounts, looked up by auth-worker
 *
 * Callers     authd/userdb.c
 * Source      Dovecot 2.3, userdb passwd: system_groups_user, uid, gid, home; args may hold more fields, as default
 *             of userdb static; lists who has a uid from first_valid_uid to last_valid_uid
 */
#include "../userdb.h"
#include "client/auth_worker.h"
#include "conf/param.h"

static int open_system(struct userdb *u, struct arena *a, struct err *err)
{
    struct authd_fields *more = arena_alloc(a, sizeof *more);

    authd_fields_parse(more, a, slice_of(u->entry.args));
    if (more->over)
        return err_set(err, 0, NULL, "passwd: more than %d fields", AUTHD_FIELDS_MAX);
    authd_fields_remove(more, "blocking"); /* nothing ever waits for it here */
    u->state = more;
    u->cache_key = "%u";
    return authd_format_check(u->entry.args, err);
}

static void add_number(struct authd_fields *row, struct arena *a, const char *name, uint32_t n)
{
    authd_fields_add(row, a, name, arena_printf(a, "%u", (unsigned) n));
}

static enum lookup lookup(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    const struct authd_fields *more = u->state;
    struct auth_worker_account account;
    enum lookup found = auth_worker_account(r->user, r->arena, &account, err);

    if (found != LOOKUP_FOUND)
        return found;
    authd_fields_add(row, r->arena, "system_groups_user", account.user);
    add_number(row, r->arena, "uid", account.uid);
    add_number(row, r->arena, "gid", account.gid);
    authd_fields_add(row, r->arena, "home", account.home);
    for (size_t n = 0; n < more->count; n++) {
        const char *value = more->field[n].value;
        if (value && (value = authd_format(r, value, err)) == NULL)
            return LOOKUP_RETRY;
        authd_fields_add(row, r->arena, more->field[n].name, value);
    }
    return LOOKUP_FOUND;
}

static int each(struct userdb *u, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    (void) u;
    return auth_worker_each((uint32_t) conf_first_valid_uid, (uint32_t) conf_last_valid_uid, fn, ctx, err);
}

const struct userdb_driver userdb_passwd = { .name = "passwd", .open = open_system, .lookup = lookup, .each = each };
