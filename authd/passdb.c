/*
 * passdb - the chain of databases
 *
 * Callers     see passdb.h
 * Source      Dovecot 2.3: what result_*, pass, deny, master and skip make of one database's answer
 */
#include "passdb.h"
#include "accounts.h"
#include "authd.h"
#include "base/log.h"
#include "passdb_ask.h"
#include "passwd.h"
#include "password.h"

static const struct passdb_driver *const drivers[] = { &passdb_oauth2,      &passdb_pam,    &passdb_passwd,
                                                       &passdb_passwd_file, &passdb_shadow, &passdb_sql,
                                                       &passdb_static,      &passdb_table };
/* They live as long as the process. */
static struct arena *lifetime;
static struct passdb list[DB_MAX];
static size_t count;

/* --- the list --- */

static int open_one(struct passdb *p, struct err *err)
{
    for (size_t n = 0; n < sizeof drivers / sizeof *drivers; n++)
        if (strcmp(p->entry.driver, drivers[n]->name) == 0)
            p->driver = drivers[n];
    if (p->driver == NULL)
        return err_set(err, 0, NULL, "%s: no such passdb driver", p->entry.driver);
    accounts_learn(p->entry.args);
    accounts_learn(p->entry.default_fields);
    accounts_learn(p->entry.override_fields);
    p->scheme = p->driver->scheme ? p->driver->scheme : PASSWD_DEFAULT_SCHEME;
    return p->driver->open(p, lifetime, err);
}

static int templates_check(const struct db_entry *e, struct err *err)
{
    return authd_format_check(e->default_fields, err) || authd_format_check(e->override_fields, err) ? -1 : 0;
}

static int consistent(struct err *err)
{
    const struct passdb *last = NULL;

    for (size_t n = 0; n < count; n++)
        if (!list[n].entry.master)
            last = &list[n];
    if (last && last->entry.pass)
        return err_set(err, 0, NULL, "%s: the last passdb cannot have pass=yes", last->entry.driver);
    for (size_t n = 0; n < count; n++)
        if (list[n].entry.master && list[n].entry.pass && last == NULL)
            return err_set(err, 0, NULL, "%s: a master passdb cannot have pass=yes where there is no other",
                           list[n].entry.driver);
    return 0;
}

int authd_passdb_open(const char *parameter, const char *value)
{
    struct db_entry entries[DB_MAX];
    struct err err;
    int rc;

    lifetime = arena_new();
    rc = db_list_parse(DB_PASSDB, value, lifetime, entries, &count, &err);
    for (size_t n = 0; rc == 0 && n < count; n++) {
        list[n] = (struct passdb){ .entry = entries[n], .number = (unsigned) n + 1 };
        rc = templates_check(&entries[n], &err) != 0 ? -1 : open_one(&list[n], &err);
    }
    if (rc == 0)
        rc = consistent(&err);
    if (rc != 0)
        authd_parameter_error(parameter, &err);
    return rc;
}

int authd_passdb_start(void)
{
    struct err err;

    for (size_t n = 0; n < count; n++)
        if (list[n].driver->start && list[n].driver->start(&list[n], &err) != 0) {
            log_error("passdb %s: %s", list[n].entry.driver, err.text);
            return -1;
        }
    return 0;
}

bool authd_passdb_stale(void)
{
    for (size_t n = 0; n < count; n++)
        if (list[n].driver->stale && list[n].driver->stale(&list[n]))
            return true;
    return false;
}

bool authd_passdb_serves(const char *mech, enum passdb_need need)
{
    for (size_t n = 0; n < count; n++) {
        const struct passdb_driver *d = list[n].driver;
        if (db_mechanism_accepted(list[n].entry.mechanisms, mech) && (need != PASSDB_NEEDS_STORED || d->lookup) &&
            (need != PASSDB_NEEDS_TOKENS || d->tokens))
            return true;
    }
    return false;
}

/* The next database from `at` on that has something to say; NULL at the end. */
static struct passdb *next_of(const struct passdb_attempt *t, size_t at, bool master)
{
    const struct authd_request *r = t->request;

    for (; at < count; at++) {
        const struct db_entry *e = &list[at].entry;
        if (e->master != master || (e->skip == DB_SKIP_DONE && r->successful) ||
            (e->skip == DB_SKIP_UNDONE && !r->successful))
            continue;
        if (db_mechanism_accepted(e->mechanisms, r->mech) && db_username_accepted(e->username_filter, r->user))
            return &list[at];
    }
    return NULL;
}

/* --- the chain --- */

/* What the list makes of one answer: true when the next database is asked. */
static bool follow(const struct passdb *p, struct passdb_attempt *t, enum passdb_answer answer)
{
    struct authd_request *r = t->request;
    enum db_rule rule;

    if (p->entry.deny)
        return answer == PASSDB_UNKNOWN;
    switch (answer) {
    case PASSDB_DISABLED:
    case PASSDB_EXPIRED: return false; /* no rule makes these a success */
    case PASSDB_OK: rule = p->entry.on_success; break;
    case PASSDB_LATER: rule = p->entry.on_internalfail; break;
    case PASSDB_NEXT: rule = DB_CONTINUE; break;
    default: rule = p->entry.on_failure; break;
    }
    switch (rule) {
    case DB_RETURN: return false;
    case DB_RETURN_OK: r->successful = true; return false;
    case DB_RETURN_FAIL: r->successful = false; return false;
    case DB_CONTINUE:
        if (answer == PASSDB_OK)
            t->verified = true;
        return true;
    case DB_CONTINUE_OK:
        r->successful = true;
        t->verified = true;
        return true;
    case DB_CONTINUE_FAIL: r->successful = false; return true;
    }
    return false;
}

static void become_login_user(struct authd_request *r)
{
    authd_request_info(r, "Master user logging in as %s", r->login_user);
    r->master_user = r->user;
    r->user = r->login_user;
    r->login_user = NULL;
}

static void start(struct passdb_attempt *t)
{
    const struct authd_request *r = t->request;

    t->fields = r->fields;
    t->userdb = r->userdb;
    t->prefetched = r->prefetched;
}

static void roll_back(const struct passdb_attempt *t)
{
    struct authd_request *r = t->request;

    r->fields = t->fields;
    r->userdb = t->userdb;
    r->prefetched = t->prefetched;
}

/* What the last answer means when no other database is asked. */
static enum passdb_answer conclude(struct passdb_attempt *t, enum passdb_answer answer, bool denied)
{
    struct authd_request *r = t->request;

    if (denied && answer != PASSDB_LATER) {
        authd_request_info(r, "User found from deny passdb");
        r->successful = false;
        return PASSDB_DISABLED;
    }
    if (answer == PASSDB_NEXT) {
        authd_request_warn(r, "Last passdb had noauthenticate field, cannot authenticate user");
        return PASSDB_LATER;
    }
    if (answer == PASSDB_DISABLED || answer == PASSDB_EXPIRED || denied)
        return answer;
    if (r->successful)
        return PASSDB_OK;
    if (t->seen_later)
        return PASSDB_LATER;
    if (answer != PASSDB_OK)
        return answer;
    err_set(&t->err, 0, NULL, "the user was found, but a rule of auth_passdb makes a failure of it");
    return PASSDB_NO_SCHEME;
}

static enum passdb_answer run(struct passdb_attempt *t)
{
    struct authd_request *r = t->request;
    struct passdb *p = next_of(t, 0, r->login_user != NULL), *next;
    enum passdb_answer answer = PASSDB_UNKNOWN;
    bool more = true, denied = false;

    if (p == NULL && r->login_user) {
        authd_request_info(r, "Attempted master login with no master passdbs (trying to log in as user: %s)",
                           r->login_user);
        return PASSDB_UNKNOWN;
    }
    if (p == NULL) {
        err_set(&t->err, 0, NULL, "All password databases were skipped");
        return PASSDB_LATER;
    }
    for (; p && more; p = next) {
        start(t);
        answer = passdb_ask(p, t);
        if (answer == PASSDB_LATER)
            authd_request_warn(r, "%s", t->err.text);
        more = follow(p, t, answer);
        denied = !more && p->entry.deny;
        if (answer == PASSDB_OK && r->login_user && !p->entry.deny) {
            become_login_user(r);
            next = next_of(t, 0, false);
        } else {
            next = next_of(t, (size_t) (p - list) + 1, p->entry.master);
        }
        if (answer != PASSDB_OK && answer != PASSDB_NEXT)
            roll_back(t); /* what it said counts for nothing */
        t->seen_later |= more && next && answer == PASSDB_LATER;
    }
    return conclude(t, answer, denied);
}

enum passdb_answer passdb_worker_answer(enum auth_worker_verdict verdict)
{
    static const enum passdb_answer answers[AUTH_WORKER_VERDICTS] = {
        [AUTH_WORKER_OK] = PASSDB_OK,
        [AUTH_WORKER_MISMATCH] = PASSDB_MISMATCH,
        [AUTH_WORKER_UNKNOWN] = PASSDB_UNKNOWN,
        [AUTH_WORKER_EXPIRED] = PASSDB_EXPIRED,
        [AUTH_WORKER_DISABLED] = PASSDB_DISABLED,
        [AUTH_WORKER_LATER] = PASSDB_LATER,
    };

    return answers[verdict];
}

static enum verify_answer verdict(enum passdb_answer answer)
{
    switch (answer) {
    case PASSDB_OK: return VERIFY_OK;
    case PASSDB_DISABLED: return VERIFY_DISABLED;
    case PASSDB_EXPIRED: return VERIFY_EXPIRED;
    case PASSDB_NEXT:
    case PASSDB_LATER: return VERIFY_LATER;
    default: return VERIFY_FAIL;
    }
}

/* The same guess is known again, by this process only. */
static uint64_t guess(const struct authd_request *r, struct slice password)
{
    struct str text;
    uint64_t hash;

    str_init(&text, STR_UNLIMITED);
    str_adds(&text, r->user);
    str_addc(&text, '\0');
    str_addslice(&text, password);
    hash = hash_bytes(text.p, text.len);
    mem_wipe(text.p, text.len);
    str_free(&text);
    return hash ? hash : 1;
}

enum verify_answer authd_verify(struct authd_request *r, struct slice password)
{
    struct passdb_attempt t = { .request = r, .purpose = PASSDB_FOR_PASSWORD, .password = password };
    enum passdb_answer answer = PASSDB_UNKNOWN;

    r->attempt = guess(r, password);
    if (r->hold && !r->hold(r))
        return VERIFY_FAIL;
    if (r->user[0] && memchr(password.p ? password.p : "", '\0', password.len) == NULL) {
        char *copy = arena_strndup(r->arena, password.p, password.len);
        r->password = copy;
        answer = run(&t);
        r->password = "";
        mem_wipe(copy, password.len);
    }
    if (!t.hashed && (answer == PASSDB_UNKNOWN || answer == PASSDB_MISMATCH))
        password_waste(&(struct scheme_word){ password, r->original_user });
    return verdict(answer);
}

enum verify_answer authd_credentials(struct authd_request *r, const char *const *schemes, const char **stored)
{
    struct passdb_attempt t = { .request = r, .purpose = PASSDB_FOR_CREDENTIALS, .schemes = schemes };
    enum verify_answer answer = r->user[0] ? verdict(run(&t)) : VERIFY_FAIL;

    *stored = t.stored;
    if (answer == VERIFY_OK && t.stored == NULL) { /* a rule made a success of what gave no secret */
        authd_request_info(r, "no database has a secret for %s", schemes[0]);
        return VERIFY_FAIL;
    }
    return answer;
}

enum lookup authd_passdb_lookup(struct authd_request *r, struct err *err)
{
    struct passdb_attempt t = { .request = r, .purpose = PASSDB_FOR_FIELDS };

    switch (run(&t)) {
    case PASSDB_OK: return LOOKUP_FOUND;
    case PASSDB_UNKNOWN:
        if (!r->restricted)
            return LOOKUP_NONE;
        err_set(err, 0, NULL, "the user exists, but may not log in from here or now");
        return LOOKUP_RETRY;
    case PASSDB_MISMATCH:
    case PASSDB_DISABLED:
    case PASSDB_EXPIRED: return LOOKUP_NONE;
    default: *err = t.err; return LOOKUP_RETRY;
    }
}
