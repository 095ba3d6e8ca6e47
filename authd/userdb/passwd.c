/*
 * userdb/passwd - the userdb drivers passwd-file and table
 *
 * Callers     authd/userdb.c
 * Source      Dovecot 2.3, userdb passwd-file: uid, gid, home, and the extra fields that begin with userdb_
 */
#include "../passwd.h"
#include "../userdb.h"

static int open_source(struct userdb *u, struct arena *a, struct err *err)
{
    u->state = passwd_source_open("auth_userdb", u->entry.args, a, err);
    return u->state ? 0 : -1;
}

static bool stale(struct userdb *u) { return passwd_source_stale(u->state); }

static void add(struct authd_fields *row, struct arena *a, const char *name, const char *value)
{
    if (value[0])
        authd_fields_add(row, a, name, value);
}

static enum lookup lookup(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    struct passwd_entry entry;
    enum lookup found = passwd_source_find(u->state, r, &entry, err);

    if (found != LOOKUP_FOUND)
        return found;
    mem_wipe((char *) (uintptr_t) entry.password, strlen(entry.password));
    add(row, r->arena, "uid", entry.uid);
    add(row, r->arena, "gid", entry.gid);
    add(row, r->arena, "home", entry.home);
    for (size_t n = 0; n < entry.extra.count; n++) {
        const char *name = entry.extra.field[n].name, *value = entry.extra.field[n].value;
        if (strncmp(name, "userdb_", strlen("userdb_")) != 0)
            continue;
        if (value && (value = authd_format(r, value, err)) == NULL)
            return LOOKUP_RETRY;
        authd_fields_add(row, r->arena, name + strlen("userdb_"), value ? value : "");
    }
    return LOOKUP_FOUND;
}

static int each(struct userdb *u, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    return passwd_source_each(u->state, fn, ctx, err);
}

const struct userdb_driver userdb_passwd_file = {
    .name = "passwd-file", .open = open_source, .stale = stale, .lookup = lookup, .each = each
};
const struct userdb_driver userdb_table = {
    .name = "table", .open = open_source, .stale = stale, .lookup = lookup, .each = each
};
