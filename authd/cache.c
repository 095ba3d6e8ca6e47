/*
 * cache - see cache.h
 */
#include "cache.h"
#include "authd.h"
#include "base/log.h"
#include "base/time.h"
#include "conf/var.h"
#include <stdlib.h>

enum { KEY_BYTES = 4096, ENTRIES_MAX = 1000000 };
struct entry {
    struct list node;
    int64_t made_ms, until_seconds; /* until: Unix time; 0: as long as the parameters say */
    size_t bytes;
    enum lookup found;
    bool matched;
    struct slice key;
    char *user;
    size_t count;
    struct authd_field *field; /* name and value NULL as in authd_fields; texts are owned */
};
int64_t cache_size, cache_ttl_seconds, cache_negative_ttl_seconds;
/* They live as long as the process. */
static struct map *entries;
static struct list by_use; /* what was not asked for longest is first */
static size_t bytes;
static uint64_t hits, misses;

static void wipe(char *text)
{
    if (text)
        mem_wipe(text, strlen(text));
    free(text);
}

static void entry_free(void *value)
{
    struct entry *e = value;

    list_del(&e->node);
    bytes -= e->bytes;
    for (size_t n = 0; n < e->count; n++) {
        wipe((char *) (uintptr_t) e->field[n].name);
        wipe((char *) (uintptr_t) e->field[n].value);
    }
    free(e->field);
    free(e->user);
    free((char *) (uintptr_t) e->key.p);
    free(e);
}

static void forget(struct entry *e) { map_del(entries, e->key); }

/* Values are told apart by their lengths, whatever they hold. */
static void put_counted(void *ctx, struct str *out, struct slice value)
{
    (void) ctx;
    str_printf(out, "%zu:", value.len);
    str_addslice(out, value);
}

int cache_key_make(struct cache_key *k, const char *database, const char *variables, struct authd_request *r)
{
    struct err err;

    str_init(&k->text, KEY_BYTES);
    if (cache_size == 0 || variables == NULL)
        return -1;
    str_printf(&k->text, "%s:", database);
    if (authd_format_with(r, variables, put_counted, &k->text, &err) == 0 && !str_over(&k->text))
        return 0;
    str_free(&k->text);
    return -1;
}

void cache_key_free(struct cache_key *k)
{
    mem_wipe(k->text.p, k->text.len);
    str_free(&k->text);
}

static struct entry *find(const struct cache_key *k)
{
    return entries && k->text.len > 0 ? map_get(entries, str_slice(&k->text)) : NULL;
}

enum cache_age cache_get(const struct cache_key *k, struct arena *a, struct cache_answer *out)
{
    struct entry *e = find(k);

    *out = (struct cache_answer){ .found = LOOKUP_RETRY };
    if (e && e->until_seconds != 0 && time_now() >= e->until_seconds) {
        forget(e);
        e = NULL;
    }
    if (e == NULL) {
        misses++;
        return CACHE_NONE;
    }
    list_del(&e->node);
    list_append(&by_use, &e->node);
    out->found = e->found;
    out->matched = e->matched;
    out->age_seconds = (time_mono_ms() - e->made_ms) / 1000;
    for (size_t n = 0; n < e->count; n++)
        authd_fields_add(&out->fields, a, arena_strdup(a, e->field[n].name),
                         e->field[n].value ? arena_strdup(a, e->field[n].value) : NULL);
    if (out->age_seconds >= (e->found == LOOKUP_FOUND ? cache_ttl_seconds : cache_negative_ttl_seconds)) {
        misses++;
        return CACHE_EXPIRED;
    }
    hits++;
    return CACHE_FRESH;
}

static void make_room(void)
{
    while (bytes > (size_t) cache_size && !list_empty(&by_use))
        forget(list_entry(by_use.next, struct entry, node));
}

void cache_put(const struct cache_key *k, const char *user, enum lookup found, const struct authd_fields *f)
{
    struct entry *e;

    if (k->text.len == 0 || f->over || (found == LOOKUP_NONE && cache_negative_ttl_seconds == 0))
        return;
    if (entries == NULL) {
        entries = map_new(ENTRIES_MAX, entry_free);
        list_init(&by_use);
    }
    e = mem_new(sizeof *e);
    e->key = slice_make(mem_strndup(k->text.p, k->text.len), k->text.len);
    e->user = mem_strdup(user);
    e->made_ms = time_mono_ms();
    e->found = found;
    e->count = f->count;
    e->field = mem_array(f->count ? f->count : 1, sizeof *e->field);
    e->bytes = sizeof *e + 2 * k->text.len + strlen(user) + f->count * sizeof *e->field;
    for (size_t n = 0; n < f->count; n++) {
        const struct authd_field *from = &f->field[n];
        e->field[n] = (struct authd_field){ mem_strdup(from->name), from->value ? mem_strdup(from->value) : NULL };
        e->bytes += strlen(from->name) + (from->value ? strlen(from->value) : 0);
    }
    bytes += e->bytes;
    list_init(&e->node);
    if (!map_set(entries, e->key, e)) {
        entry_free(e);
        return;
    }
    list_append(&by_use, &e->node);
    make_room();
}

void cache_matched(const struct cache_key *k, bool matched)
{
    struct entry *e = find(k);

    if (e)
        e->matched = matched;
}

void cache_until(const struct cache_key *k, int64_t unix_seconds)
{
    struct entry *e = find(k);

    if (e)
        e->until_seconds = unix_seconds;
}

size_t cache_flush(const char *user)
{
    size_t went = 0;

    if (entries == NULL)
        return 0;
    list_each(it, &by_use)
    {
        struct entry *e = list_entry(it, struct entry, node);
        if (user == NULL || strcmp(e->user, user) == 0) {
            forget(e);
            went++;
        }
    }
    return went;
}

void cache_report(void)
{
    log_info("auth cache: %llu hits, %llu misses, %zu answers in %zu bytes", (unsigned long long) hits,
             (unsigned long long) misses, entries ? map_count(entries) : 0, bytes);
}
