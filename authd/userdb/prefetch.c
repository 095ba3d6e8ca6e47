/*
 * userdb/prefetch - the userdb driver prefetch: what the passdb has said with userdb_ fields
 *
 * Callers     authd/userdb.c
 * Invariants  answers a login only: without a passdb's answer the next userdb is asked
 * Source      Dovecot 2.3, userdb prefetch
 */
#include "../userdb.h"

static int open_prefetch(struct userdb *u, struct arena *a, struct err *err)
{
    (void) a;
    return u->entry.args[0] ? err_set(err, 0, NULL, "prefetch takes no arguments") : 0;
}

static enum lookup lookup(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    (void) u;
    (void) err;
    if (!r->prefetched)
        return LOOKUP_NONE;
    for (size_t n = 0; n < r->userdb.count; n++)
        authd_fields_add(row, r->arena, r->userdb.field[n].name, r->userdb.field[n].value);
    return LOOKUP_FOUND;
}

const struct userdb_driver userdb_prefetch = { .name = "prefetch", .open = open_prefetch, .lookup = lookup };
