/*
 * userdb/virtual - the userdb driver virtual: virtual_mailbox_maps, virtual_uid_maps, virtual_gid_maps
 *
 * Callers     authd/userdb.c
 * Invariants  a user exists who has a result in virtual_mailbox_maps; for one whom an earlier database has found only
 *             what is missing is added
 *             a path from a table stays below virtual_mailbox_base: one with ".." is a fault of the table
 * Errors      three answers; any table that answers "later" makes the whole answer that
 */
#include "../userdb.h"
#include "conf/param.h"
#include "table/table.h"

static struct {
    struct maps *mailbox, *uid, *gid;
} maps; /* opened before the jail, for as long as the process lives */

static int open_maps(struct userdb *u, struct arena *a, struct err *err)
{
    unsigned flags = TABLE_FOLD | TABLE_NO_SUBST;

    (void) a;
    if (u->entry.args[0])
        return err_set(err, 0, NULL, "virtual takes no arguments");
    if (maps.mailbox)
        return 0;
    maps.mailbox = maps_new("virtual_mailbox_maps", conf_virtual_mailbox_maps, flags);
    maps.uid = maps_new("virtual_uid_maps", conf_virtual_uid_maps, flags);
    maps.gid = maps_new("virtual_gid_maps", conf_virtual_gid_maps, flags);
    return 0;
}

static enum lookup ask(struct maps *m, const char *user, struct arena *a, const char **out, struct err *err)
{
    struct str value;
    enum lookup found;

    *out = "";
    if (maps_empty(m))
        return LOOKUP_NONE;
    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_address(m, user, MAPS_FULL | MAPS_NOEXT | MAPS_AT_DOMAIN, &value, NULL);
    if (found == LOOKUP_FOUND)
        *out = arena_strndup(a, value.p, value.len);
    else if (found == LOOKUP_RETRY)
        err_set(err, 0, NULL, "%s: lookup error", maps_list(m));
    str_free(&value);
    return found;
}

static bool leaves(const char *path)
{
    struct slice rest = slice_of(path), part;

    while (slice_split(&rest, '/', &part))
        if (slice_eq(part, ".."))
            return true;
    return false;
}

/* home and mail from virtual_mailbox_maps. */
static enum lookup mailbox(const char *user, struct arena *a, struct authd_fields *row, struct err *err)
{
    const char *result, *path;
    enum lookup found = ask(maps.mailbox, user, a, &result, err);

    if (found != LOOKUP_FOUND)
        return found;
    if (leaves(result)) {
        err_set(err, 0, NULL, "virtual_mailbox_maps: %s: the path %s leaves virtual_mailbox_base", user, result);
        return LOOKUP_RETRY;
    }
    if (conf_virtual_mailbox_base[0] == '\0')
        path = result;
    else
        path = arena_printf(a, "%s/%s", conf_virtual_mailbox_base, result[0] == '/' ? result + 1 : result);
    size_t len = strlen(path);
    bool directory = len > 0 && path[len - 1] == '/';
    while (len > 1 && path[len - 1] == '/')
        len--;
    path = arena_strndup(a, path, len);
    authd_fields_add(row, a, "home", path);
    authd_fields_add(row, a, "mail", arena_printf(a, "%s:%s", directory ? "maildir" : "mbox", path));
    return LOOKUP_FOUND;
}

static enum lookup number(struct maps *m, const char *name, const char *user, struct arena *a,
                          struct authd_fields *row, struct err *err)
{
    const char *value;
    uint64_t n;

    if (ask(m, user, a, &value, err) == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    if (value[0] == '\0')
        return LOOKUP_NONE;
    if (slice_u64(slice_of(value), UINT32_MAX - 1, &n) != 0) {
        err_set(err, 0, NULL, "%s: uid or gid \"%s\" is not a number", user, value);
        return LOOKUP_RETRY;
    }
    authd_fields_add(row, a, name, value);
    return LOOKUP_FOUND;
}

static enum lookup lookup(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    enum lookup boxed = mailbox(r->user, r->arena, row, err);

    (void) u;
    if (boxed == LOOKUP_RETRY || (boxed == LOOKUP_NONE && !r->found))
        return boxed;
    if (number(maps.uid, "uid", r->user, r->arena, row, err) == LOOKUP_RETRY ||
        number(maps.gid, "gid", r->user, r->arena, row, err) == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    return LOOKUP_FOUND;
}

static void list_one(void *ctx, struct slice key, struct slice value)
{
    struct userdb_lister *l = ctx;

    (void) value;
    if (key.len > 0 && key.p[0] != '@') /* "@domain" is a catch-all, no user */
        l->fn(l->ctx, key);
}

static int each(struct userdb *u, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    struct userdb_lister l = { fn, ctx };

    (void) u;
    if (maps_each(maps.mailbox, list_one, &l) == 0)
        return 0;
    return err_set(err, 0, NULL, "virtual_mailbox_maps cannot be listed");
}

const struct userdb_driver userdb_virtual = {
    .name = "virtual", .fills = true, .open = open_maps, .lookup = lookup, .each = each
};
