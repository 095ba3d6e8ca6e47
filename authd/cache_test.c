/*
 * cache_test - what is remembered, for whom, how long, in how much memory
 */
#include "cache.h"
#include "base/time.h"
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

static struct arena *a;

static struct authd_request *who(const char *user, const char *rip)
{
    struct authd_peer peer = { .rip = rip };
    struct authd_request *r = authd_request_new(a, &peer, "PLAIN");

    r->user = user;
    return r;
}

static void put(const char *database, const char *variables, struct authd_request *r, const char *password)
{
    struct authd_fields f = { 0 };
    struct cache_key k;

    authd_fields_add(&f, a, "password", password);
    authd_fields_add(&f, a, "nodelay", NULL);
    assert(cache_key_make(&k, database, variables, r) == 0);
    cache_put(&k, r->user, password ? LOOKUP_FOUND : LOOKUP_NONE, &f);
    cache_key_free(&k);
}

static enum cache_age get(const char *database, const char *variables, struct authd_request *r, const char *password)
{
    struct cache_answer answer;
    struct cache_key k;

    assert(cache_key_make(&k, database, variables, r) == 0);
    enum cache_age age = cache_get(&k, a, &answer);
    cache_key_free(&k);
    if (age != CACHE_NONE && answer.found == LOOKUP_FOUND) {
        assert(strcmp(authd_fields_get(&answer.fields, "password"), password) == 0);
        assert(authd_fields_has(&answer.fields, "nodelay") && answer.fields.count == 2);
    }
    return age;
}

static void test_keys(void)
{
    put("passdb 1", "%{user}%{rip}", who("a", "bc"), "one");
    assert(get("passdb 1", "%{user}%{rip}", who("a", "bc"), "one") == CACHE_FRESH);
    assert(get("passdb 1", "%{user}%{rip}", who("ab", "c"), "") == CACHE_NONE); /* the same letters, another user */
    assert(get("passdb 2", "%{user}%{rip}", who("a", "bc"), "") == CACHE_NONE);
    assert(get("passdb 1", "%{user}", who("a", "bc"), "") == CACHE_NONE);
    put("passdb 1", "%{user}%{rip}", who("a", "bc"), "two");
    assert(get("passdb 1", "%{user}%{rip}", who("a", "bc"), "two") == CACHE_FRESH);
    struct cache_key k;
    assert(cache_key_make(&k, "passdb 1", NULL, who("a", "")) == -1);
    assert(cache_key_make(&k, "passdb 1", "%{nosuch}", who("a", "")) == -1);
    cache_put(&k, "a", LOOKUP_FOUND, &(struct authd_fields){ 0 }); /* without a key nothing happens */
}

static void test_matched(void)
{
    struct cache_answer answer;
    struct cache_key k;

    put("p", "%u", who("m", ""), "x");
    cache_key_make(&k, "p", "%u", who("m", ""));
    assert(cache_get(&k, a, &answer) == CACHE_FRESH && !answer.matched);
    cache_matched(&k, true);
    assert(cache_get(&k, a, &answer) == CACHE_FRESH && answer.matched);
    cache_key_free(&k);
}

static void test_time(void)
{
    put("p", "%u", who("t", ""), "x");
    put("p", "%u", who("none", ""), NULL);
    cache_negative_ttl_seconds = 1;
    usleep(1100000);
    assert(get("p", "%u", who("t", ""), "x") == CACHE_FRESH && get("p", "%u", who("none", ""), "") == CACHE_EXPIRED);
    cache_ttl_seconds = 1;
    assert(get("p", "%u", who("t", ""), "x") == CACHE_EXPIRED); /* it is there still, for when the database is away */
    cache_negative_ttl_seconds = 0;
    put("p", "%u", who("never", ""), NULL);
    assert(get("p", "%u", who("never", ""), "") == CACHE_NONE);
    cache_ttl_seconds = cache_negative_ttl_seconds = 3600;
}

static void until(int64_t seconds)
{
    struct cache_key k;

    assert(cache_key_make(&k, "p", "%u", who("until", "")) == 0);
    cache_until(&k, seconds);
    cache_key_free(&k);
}

static void test_until(void)
{
    until(1); /* nobody is there */
    put("p", "%u", who("until", ""), "x");
    until(time_now() + 100);
    assert(get("p", "%u", who("until", ""), "x") == CACHE_FRESH);
    until(time_now() - 1);
    assert(get("p", "%u", who("until", ""), "") == CACHE_NONE);
    until(0);
    assert(get("p", "%u", who("until", ""), "") == CACHE_NONE); /* it is gone for good */
    put("p", "%u", who("until", ""), "y");
    until(0);
    assert(get("p", "%u", who("until", ""), "y") == CACHE_FRESH);
}

static void test_flush(void)
{
    put("p", "%u", who("f1", ""), "x");
    put("u", "%u", who("f1", ""), "x");
    put("p", "%u", who("f2", ""), "x");
    assert(cache_flush("f1") == 2 && cache_flush("f1") == 0);
    assert(get("p", "%u", who("f2", ""), "x") == CACHE_FRESH);
    assert(cache_flush(NULL) > 0 && cache_flush(NULL) == 0);
    assert(get("p", "%u", who("f2", ""), "x") == CACHE_NONE);
}

static void test_size(void)
{
    size_t kept = 0;
    char user[32];

    cache_size = 100000;
    put("p", "%u", who("kept", ""), "x");
    for (int n = 0; n < 10000; n++) {
        snprintf(user, sizeof user, "user%d", n);
        put("p", "%u", who(arena_strdup(a, user), ""), "password");
        assert(get("p", "%u", who("kept", ""), "x") == CACHE_FRESH); /* what is asked for stays */
    }
    for (int n = 0; n < 10000; n++) {
        snprintf(user, sizeof user, "user%d", n);
        kept += get("p", "%u", who(arena_strdup(a, user), ""), "password") == CACHE_FRESH;
    }
    assert(kept > 100 && kept < 1000);
    cache_size = 0;
    struct cache_key k;
    assert(cache_key_make(&k, "p", "%u", who("kept", "")) == -1);
}

int main(void)
{
    a = arena_new();
    cache_size = 1 << 20;
    cache_ttl_seconds = cache_negative_ttl_seconds = 3600;
    test_keys();
    test_matched();
    test_time();
    test_until();
    test_flush();
    test_size();
    cache_flush(NULL);
    arena_free(&a);
    return 0;
}
