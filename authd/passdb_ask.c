/*
 * passdb_ask - see passdb_ask.h
 */
#include "passdb_ask.h"
#include "authd.h"
#include "cache.h"
#include "event/event.h"
#include "passdb_row.h"
#include "passdb_say.h"
#include "password.h"

/* A remembered password that did not match, and had not matched before, is believed for so long. */
enum { MISMATCH_SECONDS = 10, DATABASE_BYTES = 32 };
#define CACHED_SCHEME "SSHA256" /* of what is remembered where a database has no stored password to tell */

/* What was remembered, and what came of it. */
struct memory {
    struct cache_key key;
    enum cache_age age;
    struct cache_answer answer;
    char *rejected; /* the stored password that did not match: the same need not be hashed again */
};

static void wipe(const char *text)
{
    if (text)
        mem_wipe((char *) (uintptr_t) text, strlen(text));
}

static enum passdb_answer check_password(struct passdb_attempt *t, const struct passdb_row *row, struct memory *m)
{
    const struct scheme_word word = { t->password, t->request->original_user };

    if (t->verified || row->no_password)
        return PASSDB_OK;
    if (row->password == NULL || row->password[0] == '\0') /* a user without a password cannot log in with one */
        return PASSDB_MISMATCH;
    if (m->rejected && strcmp(m->rejected, row->password) == 0)
        return PASSDB_MISMATCH;
    t->hashed = true;
    switch (password_check(row->password, row->scheme, &word, &t->err)) {
    case SCHEME_MATCH: return PASSDB_OK;
    case SCHEME_MISMATCH: break;
    case SCHEME_BROKEN:
        if (fiber_cancelled())
            return PASSDB_LATER;
        authd_request_warn(t->request, "%s", t->err.text); /* nobody can have that password */
        break;
    }
    passdb_say_differ(t, row->scheme, row->password);
    if (m->rejected == NULL)
        m->rejected = arena_strdup(t->request->arena, row->password);
    return PASSDB_MISMATCH;
}

static enum passdb_answer check_scheme(struct passdb_attempt *t, const struct passdb_row *row)
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

static enum passdb_answer judge(const struct passdb *p, struct passdb_attempt *t, struct passdb_row *row,
                                struct memory *m)
{
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
    switch (t->purpose) {
    case PASSDB_FOR_PASSWORD: return check_password(t, row, m);
    case PASSDB_FOR_CREDENTIALS: return check_scheme(t, row);
    case PASSDB_FOR_FIELDS: break;
    }
    return PASSDB_OK;
}

/* The database's fields, between those of its templates, and what they make of the password. */
static enum passdb_answer weigh(struct passdb *p, struct passdb_attempt *t, const struct authd_fields *fields,
                                bool checked, struct memory *m)
{
    struct authd_request *r = t->request;
    struct passdb_row row = { 0 };
    enum passdb_answer answer = PASSDB_LATER;

    r->fields = authd_fields_copy(&t->fields, r->arena);
    r->userdb = authd_fields_copy(&t->userdb, r->arena);
    r->prefetched = t->prefetched;
    if (passdb_row_template(r, p->entry.default_fields, p->scheme, &row, &t->err) == 0 &&
        passdb_row_apply(r, fields, p->scheme, &row, &t->err) == 0) {
        row.no_password |= checked;
        answer = judge(p, t, &row, m);
    }
    if (answer == PASSDB_OK && passdb_row_template(r, p->entry.override_fields, p->scheme, &row, &t->err) != 0)
        answer = PASSDB_LATER;
    if (answer == PASSDB_OK && row.failed) {
        r->restricted = true;
        answer = PASSDB_UNKNOWN;
    }
    wipe(authd_fields_get(fields, "password"));
    wipe(row.password);
    return answer;
}

static enum passdb_answer remembered(struct passdb *p, struct passdb_attempt *t, struct memory *m)
{
    if (m->answer.found == LOOKUP_NONE)
        return PASSDB_UNKNOWN;
    return weigh(p, t, &m->answer.fields, false, m);
}

static void remember(struct passdb *p, struct passdb_attempt *t, struct memory *m, enum lookup found,
                     const struct authd_fields *fields)
{
    char name[DATABASE_BYTES];

    snprintf(name, sizeof name, "passdb %u", p->number);
    if (m->key.text.len == 0) /* what the answer depends on may have been told with it */
        cache_key_make(&m->key, name, p->cache_key, t->request);
    cache_put(&m->key, t->request->user, found, fields);
}

/* A database that tells what it has stored. */
static enum passdb_answer look_up(struct passdb *p, struct passdb_attempt *t, bool fresh, struct memory *m)
{
    struct authd_request *r = t->request;
    struct authd_fields fields = { 0 };
    enum lookup found;

    r->fresh = fresh || t->purpose == PASSDB_FOR_CREDENTIALS;
    found = p->driver->lookup(p, r, &fields, &t->err);
    if (found == LOOKUP_RETRY && t->purpose == PASSDB_FOR_CREDENTIALS && p->driver->remembers) {
        r->fresh = false;
        fields = (struct authd_fields){ 0 };
        found = p->driver->lookup(p, r, &fields, &t->err);
    }
    r->fresh = false;
    if (found == LOOKUP_RETRY) {
        if (m->age != CACHE_EXPIRED || fresh)
            return PASSDB_LATER;
        authd_request_warn(r, "%s: falling back to expired data from cache", t->err.text);
        return remembered(p, t, m);
    }
    remember(p, t, m, found, &fields);
    return found == LOOKUP_NONE ? PASSDB_UNKNOWN : weigh(p, t, &fields, false, m);
}

/* A database that checks the password itself: what is remembered of it is a hash of ours. */
static enum passdb_answer check(struct passdb *p, struct passdb_attempt *t, struct memory *m)
{
    struct authd_request *r = t->request;
    struct authd_fields fields = { 0 };
    enum passdb_answer answer;
    struct str hash;
    struct err err;

    r->valid_until = 0;
    answer = p->driver->verify(p, r, t->password, &fields, &t->err);
    if (answer == PASSDB_LATER && m->age == CACHE_EXPIRED && remembered(p, t, m) == PASSDB_OK) {
        authd_request_warn(r, "%s: falling back to expired data from cache", t->err.text);
        return PASSDB_OK;
    }
    if (answer == PASSDB_OK && p->cache_key && cache_size > 0) {
        struct authd_fields with = authd_fields_copy(&fields, r->arena);
        str_init(&hash, SCHEME_STORED_BYTES);
        if (scheme_generate(CACHED_SCHEME, &(struct scheme_word){ t->password, NULL }, 0, &hash, &err) == 0) {
            authd_fields_add(&with, r->arena, "password", hash.p);
            remember(p, t, m, LOOKUP_FOUND, &with);
            cache_until(&m->key, r->valid_until);
        }
        str_free(&hash);
    }
    return answer == PASSDB_OK ? weigh(p, t, &fields, true, m) : answer;
}

/* A database that does both looks up where there is nothing to check. */
static bool checks_itself(const struct passdb *p, const struct passdb_attempt *t)
{
    if (p->driver->lookup == NULL)
        return true;
    return p->driver->verify && t->purpose == PASSDB_FOR_PASSWORD && !t->verified && !p->entry.deny;
}

static enum passdb_answer ask(struct passdb *p, struct passdb_attempt *t, struct memory *m)
{
    bool by_cache = m->age == CACHE_FRESH && t->purpose != PASSDB_FOR_CREDENTIALS;
    enum passdb_answer answer;

    if (by_cache) {
        answer = remembered(p, t, m);
        if (answer != PASSDB_MISMATCH && answer != PASSDB_LATER)
            return answer;
        if (answer == PASSDB_MISMATCH && !checks_itself(p, t) && !m->answer.matched &&
            m->answer.age_seconds < MISMATCH_SECONDS)
            return answer;
    }
    if (checks_itself(p, t))
        return check(p, t, m);
    answer = look_up(p, t, by_cache, m);
    if (answer == PASSDB_MISMATCH && p->driver->remembers && !by_cache)
        answer = look_up(p, t, true, m);
    return answer;
}

enum passdb_answer passdb_ask(struct passdb *p, struct passdb_attempt *t)
{
    struct memory m = { .age = CACHE_NONE };
    char name[DATABASE_BYTES];
    enum passdb_answer answer;

    t->request->database = p->driver->name;
    if (p->driver->lookup == NULL && t->purpose != PASSDB_FOR_PASSWORD) {
        err_set(&t->err, 0, NULL, "this passdb can only check passwords");
        return PASSDB_NO_SCHEME;
    }
    authd_request_debug(t->request, "Performing passdb lookup");
    snprintf(name, sizeof name, "passdb %u", p->number);
    if (cache_key_make(&m.key, name, p->cache_key, t->request) == 0)
        m.age = cache_get(&m.key, t->request->arena, &m.answer);
    answer = ask(p, t, &m);
    if (answer == PASSDB_OK || answer == PASSDB_MISMATCH)
        cache_matched(&m.key, answer == PASSDB_OK);
    authd_request_debug(t->request, "Finished passdb lookup");
    if (answer == PASSDB_MISMATCH || (answer == PASSDB_UNKNOWN && !p->entry.deny) ||
        (checks_itself(p, t) && (answer == PASSDB_DISABLED || answer == PASSDB_EXPIRED)))
        passdb_say(p, t, answer, checks_itself(p, t) ? t->err.text : NULL);
    wipe(m.rejected);
    cache_key_free(&m.key);
    return answer;
}
