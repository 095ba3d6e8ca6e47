/*
 * userdb - the chain of databases, and what their fields mean
 *
 * Callers     see userdb.h
 * Source      Dovecot 2.3: what result_* and skip make of one database's answer; userdb extra fields
 */
#include "userdb.h"
#include "accounts.h"
#include "authd.h"
#include "base/log.h"
#include "cache.h"

enum { DATABASE_BYTES = 32, USERS_MAX = 10000000 };
static const struct userdb_driver *const drivers[] = { &userdb_passwd, &userdb_passwd_file, &userdb_prefetch,
                                                       &userdb_sql,    &userdb_static,      &userdb_table,
                                                       &userdb_virtual };
/* They live as long as the process. */
static struct arena *lifetime;
static struct userdb list[DB_MAX];
static size_t count;

static int open_one(struct userdb *u, struct err *err)
{
    if (authd_format_check(u->entry.default_fields, err) != 0 ||
        authd_format_check(u->entry.override_fields, err) != 0)
        return -1;
    for (size_t n = 0; n < sizeof drivers / sizeof *drivers; n++)
        if (strcmp(u->entry.driver, drivers[n]->name) == 0)
            u->driver = drivers[n];
    if (u->driver == NULL)
        return err_set(err, 0, NULL, "%s: no such userdb driver", u->entry.driver);
    accounts_learn(u->entry.args);
    accounts_learn(u->entry.default_fields);
    accounts_learn(u->entry.override_fields);
    return u->driver->open(u, lifetime, err);
}

int authd_userdb_open(const char *parameter, const char *value)
{
    struct db_entry entries[DB_MAX];
    struct err err;
    int rc;

    lifetime = arena_new();
    accounts_learn(arena_printf(lifetime, "uid=%s gid=%s", conf_mail_uid, conf_mail_gid));
    rc = db_list_parse(DB_USERDB, value, lifetime, entries, &count, &err);
    for (size_t n = 0; rc == 0 && n < count; n++) {
        list[n] = (struct userdb){ .entry = entries[n], .number = (unsigned) n + 1 };
        rc = open_one(&list[n], &err);
    }
    if (rc != 0)
        authd_parameter_error(parameter, &err);
    return rc;
}

bool authd_userdb_stale(void)
{
    for (size_t n = 0; n < count; n++)
        if (list[n].driver->stale && list[n].driver->stale(&list[n]))
            return true;
    return false;
}

/* --- fields --- */

struct place {
    struct authd_request *request;
    struct err *err;
};

static int add(struct place *p, const char *name, const char *value)
{
    struct authd_request *r = p->request;

    authd_fields_add(&r->userdb, r->arena, name, value);
    return r->userdb.over ? err_set(p->err, 0, NULL, "more than %d fields", AUTHD_FIELDS_MAX) : 0;
}

static int on_uid(struct place *p, const char *value)
{
    const char *number = accounts_uid(value, p->request->arena, p->err);

    return number ? add(p, "uid", number) : -1;
}

static int on_gid(struct place *p, const char *value)
{
    const char *number = accounts_gid(value, p->request->arena, p->err);

    return number ? add(p, "gid", number) : -1;
}

static int on_tempfail(struct place *p, const char *value)
{
    (void) value;
    p->request->tempfail = true;
    return 0;
}

static int on_user(struct place *p, const char *value)
{
    return authd_request_rename(p->request, AUTHD_RENAME_USER, value, p->err);
}
static int on_username(struct place *p, const char *value)
{
    return authd_request_rename(p->request, AUTHD_RENAME_LOCAL, value, p->err);
}
static int on_domain(struct place *p, const char *value)
{
    return authd_request_rename(p->request, AUTHD_RENAME_DOMAIN, value, p->err);
}

/* userdb_import: more fields, between TABs. */
static int on_import(struct place *p, const char *value)
{
    struct slice rest = slice_of(value), word;

    while (slice_split(&rest, '\t', &word)) {
        struct authd_fields one = { 0 };
        ptrdiff_t eq = slice_find(word, '=');
        struct arena *a = p->request->arena;
        if (word.len == 0)
            continue;
        authd_fields_add(&one, a, arena_strndup(a, word.p, eq < 0 ? word.len : (size_t) eq),
                         eq < 0 ? NULL : arena_strndup(a, word.p + eq + 1, word.len - (size_t) eq - 1));
        if (strcmp(one.field->name, "userdb_import") == 0)
            return err_set(p->err, 0, NULL, "userdb_import within userdb_import");
        if (authd_userdb_set(p->request, one.field, p->err) != 0)
            return -1;
    }
    return 0;
}

int authd_userdb_set(struct authd_request *r, const struct authd_field *field, struct err *err)
{
    static const struct {
        const char *name;
        int (*apply)(struct place *, const char *value);
    } meanings[] = {
        { "uid", on_uid },           { "gid", on_gid },       { "tempfail", on_tempfail },   { "user", on_user },
        { "username", on_username }, { "domain", on_domain }, { "userdb_import", on_import }
    };
    struct place place = { r, err }, *p = &place;
    enum authd_field_mode mode;
    const char *name = authd_field_name(field->name, p->request->arena, &mode);

    if (mode == AUTHD_FIELD_REMOVE) {
        authd_fields_remove(&p->request->userdb, name);
        return 0;
    }
    if (mode == AUTHD_FIELD_PROTECTED && authd_fields_has(&p->request->userdb, name))
        return 0;
    for (size_t n = 0; n < sizeof meanings / sizeof *meanings; n++)
        if (strcmp(name, meanings[n].name) == 0)
            return meanings[n].apply(p, field->value ? field->value : "");
    return add(p, name, field->value);
}

static int apply_all(struct authd_request *r, const struct authd_fields *row, bool fills, struct err *err)
{
    if (row->over)
        return err_set(err, 0, NULL, "more than %d fields", AUTHD_FIELDS_MAX);
    for (size_t n = 0; n < row->count; n++)
        if ((!fills || !authd_fields_has(&r->userdb, row->field[n].name)) &&
            authd_userdb_set(r, &row->field[n], err) != 0)
            return -1;
    return 0;
}

static int apply_template(struct authd_request *r, const char *text, struct err *err)
{
    struct authd_fields row = { 0 };

    authd_fields_parse(&row, r->arena, slice_of(text));
    if (row.over)
        return err_set(err, 0, NULL, "more than %d fields", AUTHD_FIELDS_MAX);
    for (size_t n = 0; n < row.count; n++) { /* one by one: a value may use what stands before it */
        struct authd_field *f = &row.field[n];
        if ((f->value && (f->value = authd_format(r, f->value, err)) == NULL) || authd_userdb_set(r, f, err) != 0)
            return -1;
    }
    return 0;
}

/* --- the chain --- */

/* The driver's answer, or a remembered one. */
static enum lookup fetch(struct userdb *u, struct authd_request *r, struct authd_fields *row, struct err *err)
{
    enum cache_age age = CACHE_NONE;
    struct cache_answer old = { .found = LOOKUP_RETRY };
    struct cache_key key;
    char name[DATABASE_BYTES];
    enum lookup found;

    snprintf(name, sizeof name, "userdb %u", u->number);
    if (cache_key_make(&key, name, u->cache_key, r) == 0)
        age = cache_get(&key, r->arena, &old);
    if (age == CACHE_FRESH) {
        *row = old.fields;
        cache_key_free(&key);
        return old.found;
    }
    found = u->driver->lookup(u, r, row, err);
    if (found == LOOKUP_RETRY && age == CACHE_EXPIRED) {
        authd_request_warn(r, "%s: falling back to expired data from cache", err->text);
        *row = old.fields;
        found = old.found;
    } else if (found != LOOKUP_RETRY && !r->tempfail) {
        if (key.text.len == 0) /* what the answer depends on may have been told with it */
            cache_key_make(&key, name, u->cache_key, r);
        cache_put(&key, r->user, found, row);
    }
    cache_key_free(&key);
    return found;
}

static enum lookup ask(struct userdb *u, struct authd_request *r, struct err *err)
{
    struct authd_fields row = { 0 };
    enum lookup found;

    r->database = u->driver->name;
    authd_request_debug(r, "Performing userdb lookup");
    if (apply_template(r, u->entry.default_fields, err) != 0)
        return LOOKUP_RETRY;
    if ((found = fetch(u, r, &row, err)) != LOOKUP_FOUND)
        return found;
    if (apply_all(r, &row, u->driver->fills, err) != 0 || apply_template(r, u->entry.override_fields, err) != 0)
        return LOOKUP_RETRY;
    if (r->tempfail) {
        err_set(err, 0, NULL, "tempfail is set");
        return LOOKUP_RETRY;
    }
    return LOOKUP_FOUND;
}

/* What the list makes of one answer: true when the next database is asked. */
static bool follow(const struct userdb *u, struct authd_request *r, enum lookup answer)
{
    switch (answer == LOOKUP_FOUND  ? u->entry.on_success
            : answer == LOOKUP_NONE ? u->entry.on_failure
                                    : u->entry.on_internalfail) {
    case DB_RETURN: return false;
    case DB_RETURN_OK: r->found = true; return false;
    case DB_RETURN_FAIL: r->found = false; return false;
    case DB_CONTINUE: return true;
    case DB_CONTINUE_OK: r->found = true; return true;
    case DB_CONTINUE_FAIL: r->found = false; return true;
    }
    return false;
}

static struct userdb *next_of(const struct authd_request *r, size_t at)
{
    for (; at < count; at++)
        if ((list[at].entry.skip != DB_SKIP_DONE || !r->found) && (list[at].entry.skip != DB_SKIP_UNDONE || r->found))
            return &list[at];
    return NULL;
}

const char *authd_userdb_sql_source(const struct authd_request *r)
{
    const struct userdb *u = next_of(r, 0);

    return u && u->driver == &userdb_sql ? u->entry.args : NULL;
}

/* mail_uid and mail_gid, where no database has said more. */
static int settle(struct authd_request *r, struct err *err)
{
    const struct authd_field more[] = { { "uid", conf_mail_uid }, { "gid", conf_mail_gid } };

    for (size_t n = 0; n < sizeof more / sizeof *more; n++)
        if (more[n].value[0] && !authd_fields_has(&r->userdb, more[n].name) &&
            authd_userdb_set(r, &more[n], err) != 0)
            return -1;
    return 0;
}

enum lookup authd_userdb(struct authd_request *r, struct err *err)
{
    enum lookup answer = LOOKUP_NONE;
    bool seen_later = false;
    struct err why;

    r->found = false;
    for (struct userdb *u = next_of(r, 0), *next; u; u = next) {
        struct authd_fields before = authd_fields_copy(&r->userdb, r->arena);

        answer = ask(u, r, &why);
        if (answer == LOOKUP_RETRY) {
            *err = why;
            seen_later = true;
        }
        bool more = follow(u, r, answer);
        if (answer != LOOKUP_FOUND && !r->tempfail)
            r->userdb = before;
        next = more ? next_of(r, u->number) : NULL;
    }
    if (r->found)
        return settle(r, err) == 0 ? LOOKUP_FOUND : LOOKUP_RETRY;
    return seen_later ? LOOKUP_RETRY : LOOKUP_NONE;
}

struct once {
    struct userdb_lister out;
    struct map *seen; /* NULL: one database only, which lists nobody twice */
};

static void list_once(void *ctx, struct slice user)
{
    struct once *o = ctx;

    if (o->seen) {
        if (map_get(o->seen, user))
            return;
        map_set(o->seen, user, o);
    }
    o->out.fn(o->out.ctx, user);
}

int authd_userdb_each(void (*fn)(void *ctx, struct slice user), void *ctx)
{
    struct once once = { .out = { fn, ctx } };
    struct err err;
    size_t lists = 0;
    int rc = 0;

    for (size_t n = 0; n < count; n++)
        lists += list[n].driver->each != NULL;
    if (lists > 1)
        once.seen = map_new(USERS_MAX, NULL);

    for (size_t n = 0; n < count; n++)
        if (list[n].driver->each && list[n].driver->each(&list[n], list_once, &once, &err) != 0) {
            log_warn("userdb %s: %s", list[n].entry.driver, err.text);
            rc = -1;
        }
    map_free(&once.seen);
    return rc;
}
