/*
 * map - string keys to pointers, bounded
 *
 * Callers     everybody
 * Invariants  hashed with a key drawn at random for each process, so a peer cannot choose collisions; order of
 *             walking is undefined
 * Ownership   keys are copied; values belong to the caller unless a free function was given
 * Errors      map_set answers false when the map holds max entries and the key is new
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/str.h"

struct map;
struct map *map_new(size_t max_entries, void (*free_value)(void *)); /* free_value may be NULL */
/* Room for that many, made at once. Due where keys come in the order that another map was walked in: the table that
 * grows under them would be probed in ever longer runs. */
void map_reserve(struct map *, size_t entries);
void map_free(struct map **);
void map_clear(struct map *);
size_t map_count(const struct map *);
void *map_get(const struct map *, struct slice key);       /* borrowed, NULL when absent */
bool map_set(struct map *, struct slice key, void *value); /* replaces (and frees) an older value */
void *map_take(struct map *, struct slice key);            /* removes and hands over; NULL when absent */
bool map_del(struct map *, struct slice key);
/* Walking: for (size_t at = 0; map_next(m, &at, &key, &value); ) - the current key may be deleted, none added. */
bool map_next(const struct map *, size_t *at, struct slice *key, void **value);
uint64_t hash_bytes(const void *p, size_t len); /* SipHash-1-3 under this process's key */
#endif
