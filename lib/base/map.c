/* map - open hashing of string keys; contract in map.h */
#include "base/map.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/random.h>

struct entry {
    char *key; /* NULL: never used; `gone`: deleted */
    size_t len;
    uint64_t hash;
    void *value;
};
struct map {
    struct entry *slots;
    size_t mask, used, filled, max; /* filled counts tombstones too */
    void (*free_value)(void *);
};

static char gone[1];

static uint64_t rotl(uint64_t x, int b) { return (x << b) | (x >> (64 - b)); }

static void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

uint64_t hash_bytes(const void *data, size_t len)
{
    static uint64_t key[2];
    static bool keyed;
    const unsigned char *p = data;
    uint64_t last = (uint64_t) len << 56;

    if (!keyed) {
        if (getrandom(key, sizeof key, 0) != (ssize_t) sizeof key)
            log_fatal("getrandom: no random bytes");
        keyed = true;
    }
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
                      key[1] ^ 0x7465646279746573 };
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t) p[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

enum { FIRST_MASK = 7, KEPT_MASK = 255 /* 8 KiB of slots */ };

struct map *map_new(size_t max, void (*free_value)(void *))
{
    struct map *m = mem_new(sizeof *m);

    m->max = max;
    m->free_value = free_value;
    m->mask = FIRST_MASK;
    m->slots = mem_array(m->mask + 1, sizeof *m->slots);
    return m;
}

/* The table of a map that once held many goes when nothing is left in it. */
static void give_back(struct map *m)
{
    if (m->used > 0 || m->mask <= KEPT_MASK)
        return;
    free(m->slots);
    m->mask = FIRST_MASK;
    m->slots = mem_array(m->mask + 1, sizeof *m->slots);
    m->filled = 0;
}

void map_clear(struct map *m)
{
    for (size_t i = 0; i <= m->mask; i++) {
        struct entry *e = &m->slots[i];
        if (e->key && e->key != gone) {
            if (m->free_value)
                m->free_value(e->value);
            free(e->key);
        }
        *e = (struct entry){ 0 };
    }
    m->used = m->filled = 0;
    give_back(m);
}

void map_free(struct map **mp)
{
    if (*mp == NULL)
        return;
    map_clear(*mp);
    free((*mp)->slots);
    free(*mp);
    *mp = NULL;
}

size_t map_count(const struct map *m) { return m->used; }

static struct entry *find(const struct map *m, struct slice key, uint64_t hash)
{
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct entry *e = &m->slots[i];
        if (e->key == NULL)
            return NULL;
        if (e->key != gone && e->hash == hash && e->len == key.len &&
            (key.len == 0 || memcmp(e->key, key.p, key.len) == 0))
            return e;
    }
}

static void place(struct map *m, struct entry e)
{
    size_t i = e.hash & m->mask;

    while (m->slots[i].key)
        i = (i + 1) & m->mask;
    m->slots[i] = e;
    m->filled++;
}

static void resize(struct map *m, size_t mask)
{
    struct entry *old = m->slots;
    size_t count = m->mask + 1;

    m->mask = mask;
    m->slots = mem_array(m->mask + 1, sizeof *m->slots);
    m->filled = 0;
    for (size_t i = 0; i < count; i++)
        if (old[i].key && old[i].key != gone)
            place(m, old[i]);
    free(old);
}

void map_reserve(struct map *m, size_t entries)
{
    size_t mask = m->mask;

    if (entries > m->max)
        entries = m->max;
    while (mask / 4 * 3 <= entries)
        mask = mask * 2 + 1;
    if (mask > m->mask)
        resize(m, mask);
}

void *map_get(const struct map *m, struct slice key)
{
    struct entry *e = find(m, key, hash_bytes(key.p, key.len));

    return e ? e->value : NULL;
}

bool map_set(struct map *m, struct slice key, void *value)
{
    uint64_t hash = hash_bytes(key.p, key.len);
    struct entry *e = find(m, key, hash);

    if (e) {
        if (m->free_value && e->value != value)
            m->free_value(e->value);
        e->value = value;
        return true;
    }
    if (m->used >= m->max)
        return false;
    if ((m->filled + 1) * 4 > (m->mask + 1) * 3)
        resize(m, m->used * 2 > m->mask ? m->mask * 2 + 1 : m->mask);
    place(m, (struct entry){ mem_strndup(key.p, key.len), key.len, hash, value });
    m->used++;
    return true;
}

void *map_take(struct map *m, struct slice key)
{
    struct entry *e = find(m, key, hash_bytes(key.p, key.len));
    void *value;

    if (e == NULL)
        return NULL;
    value = e->value;
    free(e->key);
    *e = (struct entry){ .key = gone };
    m->used--;
    give_back(m);
    return value;
}

bool map_del(struct map *m, struct slice key)
{
    struct entry *e = find(m, key, hash_bytes(key.p, key.len));

    if (e == NULL)
        return false;
    if (m->free_value)
        m->free_value(e->value);
    free(e->key);
    *e = (struct entry){ .key = gone };
    m->used--;
    give_back(m);
    return true;
}

bool map_next(const struct map *m, size_t *at, struct slice *key, void **value)
{
    for (; *at <= m->mask; ++*at) {
        struct entry *e = &m->slots[*at];
        if (e->key && e->key != gone) {
            *key = (struct slice){ e->key, e->len };
            *value = e->value;
            ++*at;
            return true;
        }
    }
    return false;
}
