/*
 * passdb/pam - the passdb driver pam: the modules of a service of /etc/pam.d, run by auth-worker
 *
 * Callers     authd/passdb.c
 * Invariants  a name that the modules have changed (PAM_USER) is the user's
 *             nothing is remembered of an answer without cache_key=
 * Source      Dovecot 2.3, passdb pam: args = [session=yes] [setcred=yes] [failure_show_msg=yes] [max_requests=N]
 *             [cache_key=...] [service, * or %s]
 */
#include "../authd.h"
#include "../passdb.h"
#include "client/auth_worker.h"

#define DEFAULT_SERVICE "dovecot"
enum { DEFAULT_REQUESTS = 100 };
struct settings {
    const char *service; /* with %variables */
    bool session, setcred, show;
    int64_t uses;
};

static int take(struct passdb *p, struct settings *s, struct slice word, struct arena *a, struct err *err)
{
    uint64_t n;

    if (slice_eq(word, "-session") || slice_eq(word, "session=yes"))
        s->session = true;
    else if (slice_eq(word, "setcred=yes"))
        s->setcred = true;
    else if (slice_eq(word, "failure_show_msg=yes"))
        s->show = true;
    else if (slice_starts(word, "cache_key="))
        p->cache_key = arena_printf(a, "%.*s", (int) word.len - 10, word.p + 10);
    else if (slice_starts(word, "max_requests=")) {
        if (slice_u64(slice_sub(word, 13, word.len), AUTH_WORKER_USES_MAX, &n) != 0)
            return err_set(err, 0, NULL, "pam: %.*s: no number", (int) word.len, word.p);
        s->uses = n ? (int64_t) n : AUTH_WORKER_USES_MAX;
    } else if (!slice_eq(word, "session=no") && !slice_eq(word, "setcred=no") &&
               !slice_eq(word, "failure_show_msg=no")) {
        return err_set(err, 0, NULL, "pam: unknown setting %.*s", (int) word.len, word.p);
    }
    return 0;
}

static int open_pam(struct passdb *p, struct arena *a, struct err *err)
{
    struct settings *s = arena_alloc(a, sizeof *s);
    struct slice rest = slice_of(p->entry.args), word;

    *s = (struct settings){ .service = DEFAULT_SERVICE, .uses = DEFAULT_REQUESTS };
    p->state = s;
    p->cache_key = NULL;
    while (slice_word(&rest, " \t", &word)) {
        bool last = slice_trim(rest).len == 0;
        if (last && slice_find(word, '=') < 0 && word.p[0] != '-')
            s->service = slice_eq(word, "*") ? "%s" : arena_strndup(a, word.p, word.len);
        else if (take(p, s, word, a, err) != 0)
            return -1;
    }
    if (p->cache_key) /* one user's answer is never another's */
        p->cache_key = arena_printf(a, "%%u %s %s", s->service, p->cache_key);
    if (p->cache_key && authd_format_check(p->cache_key, err) != 0)
        return -1;
    return authd_format_check(s->service, err);
}

static enum passdb_answer verify(struct passdb *p, struct authd_request *r, struct slice password,
                                 struct authd_fields *row, struct err *err)
{
    const struct settings *s = p->state;
    struct auth_worker_pam q = { .service = authd_format(r, s->service, err),
                                 .user = r->user,
                                 .rhost = r->peer.rip,
                                 .password = password,
                                 .setcred = s->setcred,
                                 .session = s->session,
                                 .uses = s->uses };
    struct auth_worker_said said;
    enum auth_worker_verdict verdict;

    if (q.service == NULL)
        return PASSDB_LATER;
    if (password.len > AUTH_WORKER_PASSWORD_BYTES || strlen(r->user) > AUTH_WORKER_NAME_BYTES)
        return PASSDB_MISMATCH;
    verdict = auth_worker_pam(&q, r->arena, &said);
    if (verdict == AUTH_WORKER_OK && strcmp(said.user, r->user) != 0)
        authd_fields_add(row, r->arena, "user", said.user);
    else if (verdict != AUTH_WORKER_OK && s->show && said.said[0])
        r->reason = said.said;
    if (said.fault && verdict != AUTH_WORKER_LATER && !authd_verbose) /* else it is said anyway */
        authd_request_warn(r, "%s", said.why);
    err_set(err, 0, NULL, "%s", said.why);
    return passdb_worker_answer(verdict);
}

const struct passdb_driver passdb_pam = { .name = "pam", .open = open_pam, .verify = verify };
