/* map: against a plain array, with deletions and a limit */
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEYS = 3000, ROUNDS = 60000 };
static int freed;

static void count_free(void *p)
{
    freed++;
    free(p);
}

static struct slice key_of(size_t i, char buf[32])
{
    return slice_make(buf, (size_t) snprintf(buf, 32, "key-%zu", i));
}

static void like_an_array(void)
{
    static int present[KEYS]; /* value, 0: absent */
    struct map *m = map_new(KEYS, NULL);
    size_t count = 0, seen = 0;
    struct slice k;
    void *value;
    char buf[32];

    srandom(1);
    for (int r = 1; r <= ROUNDS; r++) {
        size_t i = (size_t) random() % KEYS;
        if (random() % 3) {
            count += present[i] == 0;
            assert(map_set(m, key_of(i, buf), (void *) (intptr_t) r));
            present[i] = r;
        } else if (random() % 2) {
            assert(map_del(m, key_of(i, buf)) == (present[i] != 0));
            count -= present[i] != 0;
            present[i] = 0;
        } else {
            assert((intptr_t) map_take(m, key_of(i, buf)) == present[i]);
            count -= present[i] != 0;
            present[i] = 0;
        }
        assert(map_count(m) == count);
    }
    for (size_t i = 0; i < KEYS; i++)
        assert((intptr_t) map_get(m, key_of(i, buf)) == present[i]);
    for (size_t at = 0; map_next(m, &at, &k, &value); seen++)
        assert(map_get(m, k) == value && map_del(m, k)); /* the current one may go */
    assert(seen == count && map_count(m) == 0);
    map_free(&m);
    assert(m == NULL);
    map_free(&m);
}

/* What one map is walked in, another takes: with room made for it, not a probe more than in any order. */
static void in_walking_order(void)
{
    enum { MANY = 400000 };
    struct map *from = map_new(MANY, NULL), *to = map_new(MANY, NULL);
    struct slice k;
    void *value;
    char buf[32];
    clock_t began;

    for (size_t i = 0; i < MANY; i++)
        assert(map_set(from, key_of(i, buf), buf));
    began = clock();
    map_reserve(to, MANY);
    for (size_t at = 0; map_next(from, &at, &k, &value);)
        assert(map_set(to, k, value));
    assert(map_count(to) == MANY && (clock() - began) / CLOCKS_PER_SEC < 2);
    map_free(&from);
    map_free(&to);
}

/* Emptied while it is walked, the walk ends there; it takes entries as before. */
static void empties(void)
{
    enum { MANY = 5000 };
    struct map *m = map_new(MANY, NULL);
    struct slice k;
    void *value;
    char buf[32];

    for (int round = 0; round < 3; round++) {
        size_t seen = 0, before = mallinfo2().uordblks;
        for (size_t i = 0; i < MANY; i++)
            assert(map_set(m, key_of(i, buf), buf));
        for (size_t at = 0; map_next(m, &at, &k, &value); seen++)
            assert(round == 1 ? map_take(m, k) == value : map_del(m, k));
        assert(seen == MANY && map_count(m) == 0 && map_get(m, key_of(1, buf)) == NULL);
        assert(mallinfo2().uordblks < before + MANY); /* the slots alone were 256 KiB */
    }
    map_free(&m);
}

int main(void)
{
    struct map *m;

    like_an_array();
    in_walking_order();
    empties();
    m = map_new(2, count_free);
    assert(map_set(m, SLICE("a"), mem_new(1)) && map_set(m, SLICE("b"), mem_new(1)));
    void *third = mem_new(1);
    assert(!map_set(m, SLICE("c"), third)); /* full: the value stays the caller's */
    assert(map_set(m, SLICE("a"), third) && freed == 1);
    assert(map_set(m, SLICE("a"), third) && freed == 1); /* the same value again is not freed */
    assert(map_set(m, (struct slice){ NULL, 0 }, NULL) == false);
    free(map_take(m, SLICE("b")));
    assert(map_set(m, SLICE(""), NULL) && map_count(m) == 2 && freed == 1);
    map_clear(m);
    assert(freed == 3 && map_get(m, SLICE("a")) == NULL);
    map_free(&m);
    assert(hash_bytes("abc", 3) == hash_bytes("abc", 3) && hash_bytes("abc", 3) != hash_bytes("abd", 3));
    return 0;
}
