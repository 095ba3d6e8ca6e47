/*
 * passdb/oauth2 - the passdb driver oauth2: tokens, checked by the oauth2 service as a dovecot-oauth2.conf.ext says
 *
 * Callers     authd/passdb.c
 * Invariants  the file is never read here; the token goes to the oauth2 service and nowhere else
 *             what is remembered of a token (auth_cache) is forgotten when it expires, and is of those variables alone
 *             that its fields were made from
 * Source      Dovecot 2.3, passdb oauth2
 */
#include "../passdb.h"
#include "../sql.h"
#include "client/oauth2.h"

static int open_oauth2(struct passdb *p, struct arena *a, struct err *err)
{
    (void) a;
    return p->entry.args[0] == '/'
               ? 0
               : err_set(err, 0, NULL, "oauth2:%s: the path of a dovecot-oauth2.conf.ext was expected",
                         p->entry.args);
}

static enum oauth2_verdict ask(const struct passdb *p, struct authd_request *r, struct slice token,
                               struct oauth2_reply *reply)
{
    size_t count, vars = 0;
    const struct authd_variable *known = authd_request_all_variables(r, &count);
    struct oauth2_var *var = arena_alloc(r->arena, count * sizeof *var);

    for (size_t n = 0; n < count; n++)
        if (strcmp(known[n].name, "password") != 0) /* it goes as the token */
            var[vars++] = (struct oauth2_var){ known[n].name, known[n].value };
    return oauth2_check(p->entry.args, token, var, vars, r->arena, reply);
}

static enum passdb_answer verify(struct passdb *p, struct authd_request *r, struct slice token,
                                 struct authd_fields *row, struct err *err)
{
    struct oauth2_reply reply;
    enum oauth2_verdict verdict = ask(p, r, token, &reply);

    r->openid = reply.openid;
    r->valid_until = reply.valid_until;
    if (verdict == OAUTH2_VALID)
        sql_cache_key(&p->cache_key, reply.variables);
    err_set(err, 0, NULL, "oauth2 failed: %s", reply.why);
    for (size_t n = 0; n < reply.fields; n++)
        authd_fields_add(row, r->arena, reply.name[n], reply.value[n]);
    switch (verdict) {
    case OAUTH2_VALID: return PASSDB_OK;
    case OAUTH2_MISMATCH: return PASSDB_MISMATCH;
    case OAUTH2_UNKNOWN: return PASSDB_UNKNOWN;
    case OAUTH2_DISABLED: return PASSDB_DISABLED;
    case OAUTH2_LATER: break;
    }
    return PASSDB_LATER;
}

const struct passdb_driver passdb_oauth2 = {
    .name = "oauth2", .tokens = true, .scheme = "PLAIN", .open = open_oauth2, .verify = verify
};
