/*
 * passdb/passwd - the passdb drivers passwd-file and table
 *
 * Callers     authd/passdb.c
 * Source      Dovecot 2.3, passdb passwd-file: extra fields may hold %variables; those with userdb_ are prefetched
 */
#include "../passdb.h"
#include "../passwd.h"

static int open_source(struct passdb *p, struct arena *a, struct err *err)
{
    struct passwd_source *source = passwd_source_open("auth_passdb", p->entry.args, a, err);

    if (source == NULL)
        return -1;
    p->state = source;
    p->scheme = passwd_source_scheme(source);
    return 0;
}

static bool stale(struct passdb *p) { return passwd_source_stale(p->state); }

static enum lookup lookup(struct passdb *p, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    struct passwd_entry entry;
    enum lookup found = passwd_source_find(p->state, r, &entry, err);

    if (found != LOOKUP_FOUND)
        return found;
    authd_fields_add(row, r->arena, "password", entry.password);
    for (size_t n = 0; n < entry.extra.count; n++) {
        const char *value = entry.extra.field[n].value;
        if (value && (value = authd_format(r, value, err)) == NULL)
            return LOOKUP_RETRY;
        authd_fields_add(row, r->arena, entry.extra.field[n].name, value);
    }
    return LOOKUP_FOUND;
}

const struct passdb_driver passdb_passwd_file = {
    .name = "passwd-file", .open = open_source, .stale = stale, .lookup = lookup
};
const struct passdb_driver passdb_table = { .name = "table", .open = open_source, .stale = stale, .lookup = lookup };
