/*
 * mem, arena - memory that never fails, and memory that goes all at once
 *
 * Callers     everybody
 * Invariants  our own needs never fail: out of memory ends the process by log_fatal and master restarts it
 *             what a peer can size must be limited by the caller before it gets here
 * Ownership   an arena owns all that was allocated from it; arena_free frees it in one go
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stddef.h>
#include <stdint.h>

void *mem_new(size_t bytes);                           /* zeroed; never NULL */
void *mem_array(size_t count, size_t bytes);           /* zeroed; the product is checked for overflow */
void *mem_grow(void *old, size_t count, size_t bytes); /* realloc; the product is checked; new bytes are not zeroed */
char *mem_strdup(const char *s);                       /* never NULL; s may be NULL and counts as "" */
char *mem_strndup(const char *s, size_t len);          /* the first len bytes, NUL added */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mem_wipe(void *p, size_t bytes); /* overwrites a secret; not optimised away */

struct arena; /* a lifetime: process, session, transaction, command */
struct arena *arena_new(void);
void arena_free(struct arena **);
void arena_reset(struct arena *); /* frees all but the first block: a new command in the same session */
void *arena_alloc(struct arena *, size_t bytes); /* zeroed, aligned for any type */
char *arena_strdup(struct arena *, const char *s);
char *arena_strndup(struct arena *, const char *s, size_t len);
char *arena_printf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_bytes(const struct arena *); /* what it holds, for limits */
#endif
