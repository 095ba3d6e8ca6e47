/* mem, arena */
#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool zeroed(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

int main(void)
{
    static const size_t sizes[] = { 1, 0, 7, 100, 999, 1001, 3990, 4000, 4001, 100000, 3 };
    struct arena *a = arena_new();
    char *p, *q;

    for (int round = 0; round < 3; round++) { /* a reset arena gives zeroed memory again */
        char *piece[sizeof sizes / sizeof *sizes];
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            piece[i] = arena_alloc(a, sizes[i]);
            assert((uintptr_t) piece[i] % _Alignof(max_align_t) == 0 && zeroed(piece[i], sizes[i]));
            memset(piece[i], (int) i + 1, sizes[i]);
        }
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) /* none overlaps another */
            for (size_t b = 0; b < sizes[i]; b++)
                assert(piece[i][b] == (char) (i + 1));
        assert(arena_bytes(a) >= 114000);
        arena_reset(a);
        assert(arena_bytes(a) == 0);
    }
    assert(strcmp(arena_printf(a, "%s=%d", "x", 5), "x=5") == 0);
    assert(strcmp(arena_strndup(a, "hello", 2), "he") == 0 && strcmp(arena_strdup(a, NULL), "") == 0);
    p = arena_printf(a, "%6000s", "x");
    assert(strlen(p) == 6000);
    arena_free(&a);
    assert(a == NULL);
    arena_free(&a);

    p = mem_new(0);
    q = mem_grow(NULL, 3, 10);
    assert(p && q);
    memset(q, 1, 30);
    q = mem_grow(q, 3000, 10);
    assert(q[29] == 1);
    mem_wipe(q, 30);
    assert(zeroed(q, 30));
    free(p);
    free(q);
    p = mem_printf("%d", 42);
    q = mem_strndup("abc", 2);
    assert(strcmp(p, "42") == 0 && strcmp(q, "ab") == 0);
    free(p);
    free(q);
    p = mem_strdup(NULL);
    assert(*p == 0);
    free(p);
    return 0;
}
