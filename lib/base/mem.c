/* mem, arena - memory that never fails; contract in mem.h */
#include "base/mem.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 4000 }; /* bytes: a block and malloc's header fit in a page */

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(max_align_t) char data[];
};
struct arena {
    struct arena_block *blocks; /* newest first */
    size_t bytes;
};

void *mem_new(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    if (p == NULL)
        log_fatal("out of memory for %zu bytes", bytes);
    return p;
}

void *mem_array(size_t count, size_t bytes)
{
    void *p = calloc(count ? count : 1, bytes ? bytes : 1);

    if (p == NULL)
        log_fatal("out of memory for %zu times %zu bytes", count, bytes);
    return p;
}

void *mem_grow(void *old, size_t count, size_t bytes)
{
    void *p = reallocarray(old, count ? count : 1, bytes ? bytes : 1);

    if (p == NULL)
        log_fatal("out of memory for %zu times %zu bytes", count, bytes);
    return p;
}

char *mem_strndup(const char *s, size_t len)
{
    char *p = mem_new(len + 1);

    if (len)
        memcpy(p, s, len);
    return p;
}

char *mem_strdup(const char *s) { return s ? mem_strndup(s, strlen(s)) : mem_strndup("", 0); }

char *mem_printf(const char *fmt, ...)
{
    char *p = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&p, fmt, ap) < 0)
        log_fatal("out of memory for a formatted string");
    va_end(ap);
    return p;
}

void mem_wipe(void *p, size_t bytes) { explicit_bzero(p, bytes); }

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b = mem_new(sizeof *b + size);

    b->size = size;
    return b;
}

struct arena *arena_new(void) { return mem_new(sizeof(struct arena)); }

void arena_free(struct arena **ap)
{
    struct arena *a = *ap;

    if (a == NULL)
        return;
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
    *ap = NULL;
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;

    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (next == NULL && b->size == ARENA_BLOCK)
            keep = b;
        else
            free(b);
    }
    if (keep) {
        memset(keep->data, 0, keep->used);
        keep->used = 0;
    }
    a->blocks = keep;
    a->bytes = 0;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t align = _Alignof(max_align_t);
    struct arena_block *b = a->blocks;

    if (bytes > SIZE_MAX / 2)
        log_fatal("out of memory for %zu bytes", bytes);
    bytes = (bytes + align - 1) / align * align;
    if (bytes == 0)
        bytes = align;
    if (b == NULL || b->size - b->used < bytes) {
        if (bytes > ARENA_BLOCK / 4 && b) { /* a large piece gets a block of its own; the current one stays in use */
            struct arena_block *own = block_new(bytes);
            own->used = bytes;
            own->next = b->next;
            b->next = own;
            a->bytes += bytes;
            return own->data;
        }
        struct arena_block *fresh = block_new(bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK);
        fresh->next = b;
        a->blocks = b = fresh;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    a->bytes += bytes;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *p = arena_alloc(a, len + 1);

    if (len)
        memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s ? arena_strndup(a, s, strlen(s)) : arena_strndup(a, "", 0);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0)
        log_fatal("cannot format \"%s\"", fmt);
    char *p = arena_alloc(a, (size_t) len + 1);
    vsnprintf(p, (size_t) len + 1, fmt, again);
    va_end(again);
    return p;
}

size_t arena_bytes(const struct arena *a) { return a->bytes; }
