/*
 * passdb - the chain of databases
 *
 * Callers     see passdb.h
 * Source      Dovecot 2.3: what result_*, pass, deny, master and skip make of one database's answer
 */
#include "passdb.h"
#include "authd.h"
#include "base/log.h"
#include "passdb_row.h"
#include "password.h"
#include "passwd.h"

static const struct passdb_driver *const drivers[] = { &passdb_passwd_file, &passdb_sql, &passdb_static,
                                                       &passdb_table };
/* They live as long as the process. */
static struct arena *lifetime;
static struct passdb list[DB_MAX];
static size_t count;

enum purpose { FOR_PASSWORD, FOR_CREDENTIALS, FOR_FIELDS };
struct attempt {
    struct authd_request *request;
    enum purpose purpose;
    struct slice password;
    const char *const *schemes;
    const char *stored; /* for FOR_CREDENTIALS */
    bool verified;      /* an earlier database has taken the password */
    bool hashed;        /* a hash was computed */
    bool seen_later;
    struct err err;
};

/* --- the list --- */

static int open_one(struct passdb *p, struct err *err)
{
    for (size_t n = 0; n < sizeof drivers / sizeof *drivers; n++)
        if (strcmp(p->entry.driver, drivers[n]->name) == 0)
            p->driver = drivers[n];
    if (p->driver == NULL)
        return err_set(err, 0, NULL, "%s: no such passdb driver", p->entry.driver);
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

bool authd_passdb_serves(const char *mech, bool credentials)
{
    for (size_t n = 0; n < count; n++)
        if (db_mechanism_accepted(list[n].entry.mechanisms, mech) && (!credentials || list[n].driver->lookup))
            return true;
    return false;
}

/* The next database from `at` on that has something to say; NULL at the end. */
static struct passdb *next_of(const struct attempt *t, size_t at, bool master)
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

/* --- one database --- */

static bool verbose(const struct passdb *p)
{
    return p->entry.verbose == DB_VERBOSE_DEFAULT ? authd_verbose : p->entry.verbose == DB_VERBOSE_YES;
}

static void say(const struct passdb *p, const struct attempt *t, const char *what)
{
    if (verbose(p))
        authd_request_info(t->request, "%s", what);
}

static enum passdb_answer check_password(const struct passdb *p, struct attempt *t, const struct passdb_row *row)
{
    if (t->verified || row->no_password)
        return PASSDB_OK;
    if (row->password == NULL || row->password[0] == '\0') { /* a user without a password cannot log in with one */
        say(p, t, "Empty password returned without nopassword");
        return PASSDB_MISMATCH;
    }
    t->hashed = true;
    struct scheme_word word = { t->password, t->request->original_user };
    switch (password_check(row->password, row->scheme, &word, &t->err)) {
    case SCHEME_MATCH: return PASSDB_OK;
    case SCHEME_MISMATCH: say(p, t, "Password mismatch"); return PASSDB_MISMATCH;
    case SCHEME_BROKEN: break;
    }
    return PASSDB_LATER;
}

static enum passdb_answer check_scheme(struct attempt *t, const struct passdb_row *row)
{
    struct authd_request *r = t->request;
    struct slice text = { "", 0 }, name = { "", 0 };

    if (t->verified)
        return PASSDB_OK;
    if (row->password && scheme_of(slice_of(row->password), row->scheme, &name, &text) != 0)
        return PASSDB_NO_SCHEME;
    if (text.len == 0 || row->no_password) {
        authd_request_info(r, "Requested %s scheme, but there is no password", t->schemes[0]);
        return PASSDB_NO_SCHEME;
    }
    ptrdiff_t dot = slice_find(name, '.');
    for (const char *const *wanted = t->schemes; *wanted; wanted++)
        if (slice_caseeq(slice_sub(name, 0, dot < 0 ? name.len : (size_t) dot), *wanted)) {
            t->stored = arena_printf(r->arena, "{%.*s}%.*s", (int) name.len, name.p, (int) text.len, text.p);
            return PASSDB_OK;
        }
    authd_request_info(r, "Requested %s scheme, but we have only %.*s", t->schemes[0], (int) name.len, name.p);
    return PASSDB_NO_SCHEME;
}

static enum passdb_answer judge(const struct passdb *p, struct attempt *t, struct passdb_row *row)
{
    enum passdb_answer answer = PASSDB_OK;
    struct slice text = { "", 0 }, name;

    if (p->entry.deny) /* that the user is in it is enough */
        return PASSDB_OK;
    if (row->no_authenticate)
        return PASSDB_NEXT;
    if (row->no_password && row->password && scheme_of(slice_of(row->password), row->scheme, &name, &text) == 0 &&
        text.len > 0) {
        authd_request_warn(t->request, "nopassword set but password is non-empty");
        row->no_password = false;
    }
    if (t->purpose == FOR_PASSWORD)
        answer = check_password(p, t, row);
    else if (t->purpose == FOR_CREDENTIALS)
        answer = check_scheme(t, row);
    return answer == PASSDB_OK && row->failed ? PASSDB_UNKNOWN : answer;
}

static void wipe(const char *text)
{
    if (text)
        mem_wipe((char *) (uintptr_t) text, strlen(text));
}

static enum passdb_answer ask(struct passdb *p, struct attempt *t)
{
    struct authd_request *r = t->request;
    struct authd_fields fields = { 0 };
    struct passdb_row row = { 0 };
    enum passdb_answer answer;

    r->database = p->driver->name;
    if (passdb_row_template(r, p->entry.default_fields, p->scheme, &row, &t->err) != 0)
        return PASSDB_LATER;
    if (p->driver->lookup == NULL && t->purpose != FOR_PASSWORD) {
        err_set(&t->err, 0, NULL, "this passdb can only check passwords");
        return PASSDB_NO_SCHEME;
    }
    if (p->driver->lookup) {
        enum lookup found = p->driver->lookup(p, r, &fields, &t->err);
        if (found == LOOKUP_NONE && !p->entry.deny)
            say(p, t, "unknown user");
        if (found != LOOKUP_FOUND)
            return found == LOOKUP_NONE ? PASSDB_UNKNOWN : PASSDB_LATER;
        answer = PASSDB_OK;
    } else {
        answer = p->driver->verify(p, r, t->password, &fields, &t->err);
        row.no_password = true; /* it is checked already */
    }
    if (answer == PASSDB_OK) {
        if (passdb_row_apply(r, &fields, p->scheme, &row, &t->err) != 0)
            answer = PASSDB_LATER;
        else
            answer = judge(p, t, &row);
    }
    if (answer == PASSDB_OK && passdb_row_template(r, p->entry.override_fields, p->scheme, &row, &t->err) != 0)
        answer = PASSDB_LATER;
    if (answer == PASSDB_OK && row.failed)
        answer = PASSDB_UNKNOWN;
    wipe(authd_fields_get(&fields, "password"));
    wipe(row.password);
    return answer;
}

/* --- the chain --- */

/* What the list makes of one answer: true when the next database is asked. */
static bool follow(const struct passdb *p, struct attempt *t, enum passdb_answer answer)
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

static enum passdb_answer run(struct attempt *t)
{
    struct authd_request *r = t->request;
    struct passdb *p = next_of(t, 0, r->login_user != NULL), *next;
    struct authd_fields fields = r->fields, userdb = r->userdb;
    bool prefetched = r->prefetched, more = true;
    enum passdb_answer answer = PASSDB_UNKNOWN;

    if (p == NULL && r->login_user) {
        authd_request_info(r, "Attempted master login with no master passdbs (trying to log in as user: %s)",
                           r->login_user);
        return PASSDB_UNKNOWN;
    }
    if (p == NULL) {
        err_set(&t->err, 0, NULL, "All password databases were skipped");
        return PASSDB_LATER;
    }
    for (; p; p = next) {
        r->fields = authd_fields_copy(&fields, r->arena);
        r->userdb = authd_fields_copy(&userdb, r->arena);
        answer = ask(p, t);
        if (answer == PASSDB_LATER)
            authd_request_warn(r, "%s", t->err.text);
        more = follow(p, t, answer);
        if (answer == PASSDB_OK && r->login_user && !p->entry.deny) {
            become_login_user(r);
            next = next_of(t, 0, false);
        } else {
            next = next_of(t, (size_t) (p - list) + 1, p->entry.master);
        }
        if (answer == PASSDB_OK || answer == PASSDB_NEXT) { /* what it said counts */
            fields = r->fields;
            userdb = r->userdb;
            prefetched = r->prefetched;
        }
        if (!more)
            break;
        t->seen_later |= next && answer == PASSDB_LATER;
    }
    bool denied = !more && p->entry.deny;
    if (!denied) {
        r->fields = fields;
        r->userdb = userdb;
        r->prefetched = prefetched;
    }
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
    struct attempt t = { .request = r, .purpose = FOR_PASSWORD, .password = password };
    enum passdb_answer answer = PASSDB_UNKNOWN;

    r->attempt = guess(r, password);
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
    struct attempt t = { .request = r, .purpose = FOR_CREDENTIALS, .schemes = schemes };
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
    struct attempt t = { .request = r, .purpose = FOR_FIELDS };

    switch (run(&t)) {
    case PASSDB_OK: return LOOKUP_FOUND;
    case PASSDB_UNKNOWN:
    case PASSDB_MISMATCH:
    case PASSDB_DISABLED:
    case PASSDB_EXPIRED: return LOOKUP_NONE;
    default: *err = t.err; return LOOKUP_RETRY;
    }
}
