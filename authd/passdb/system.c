/*
 * passdb/system - the passdb drivers passwd and shadow: passwords of the system's accounts, compared by auth-worker
 *
 * Callers     authd/passdb.c
 * Invariants  no hash comes here: a look-up tells only that the user exists
 * Source      Dovecot 2.3, passdb passwd and shadow: args = [blocking=...]; the user is called as the system does
 */
#include "../passdb.h"
#include "client/auth_worker.h"

static int open_system(struct passdb *p, struct arena *a, struct err *err)
{
    struct slice rest = slice_of(p->entry.args), word;

    (void) a;
    while (slice_word(&rest, " \t", &word))
        if (!slice_starts(word, "blocking=")) /* nothing ever waits for it here */
            return err_set(err, 0, NULL, "%s: unknown setting %.*s", p->driver->name, (int) word.len, word.p);
    p->cache_key = "%u";
    return 0;
}

static enum lookup lookup(struct passdb *p, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    struct auth_worker_account account;
    enum lookup found = auth_worker_account(r->user, r->arena, &account, err);

    (void) p;
    if (found == LOOKUP_FOUND && strcmp(account.user, r->user) != 0)
        authd_fields_add(row, r->arena, "user", account.user);
    return found;
}

static enum passdb_answer verify(struct passdb *p, struct authd_request *r, struct slice password,
                                 struct authd_fields *row, struct err *err)
{
    struct auth_worker_said said;
    enum auth_worker_verdict verdict;

    if (password.len > AUTH_WORKER_PASSWORD_BYTES)
        return PASSDB_MISMATCH;
    verdict = auth_worker_password(p->driver->name, r->user, password, r->arena, &said);
    if (verdict == AUTH_WORKER_OK && strcmp(said.user, r->user) != 0)
        authd_fields_add(row, r->arena, "user", said.user);
    err_set(err, 0, NULL, "%s", said.why);
    return passdb_worker_answer(verdict);
}

const struct passdb_driver passdb_passwd = {
    .name = "passwd", .open = open_system, .lookup = lookup, .verify = verify
};
const struct passdb_driver passdb_shadow = {
    .name = "shadow", .open = open_system, .lookup = lookup, .verify = verify
};
