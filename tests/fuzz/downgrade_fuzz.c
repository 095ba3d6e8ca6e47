// LINK: proto base
/* downgrade_fuzz - any bytes as a message for a 7-bit host: how lines were cut into pieces must not matter */
#include "proto/mime/downgrade.h"

#include <assert.h>
#include <stdint.h>

static void put(void *ctx, struct slice piece, bool ends)
{
    str_addslice(ctx, piece);
    if (ends)
        str_addc(ctx, '\n');
}

static void run(struct slice in, size_t size, struct str *out)
{
    struct arena *a = arena_new();
    struct mime_downgrade *d = mime_downgrade_new(a, mime_parse(in, a), put, out);

    while (in.len > 0) {
        ptrdiff_t end = slice_find(in, '\n');
        size_t line = end < 0 ? in.len : (size_t) end, n = line < size ? line : size;
        bool ends = end >= 0 && n == line;

        mime_downgrade_feed(d, slice_sub(in, 0, n), ends);
        in = slice_sub(in, n + ends, in.len);
    }
    mime_downgrade_end(d);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make((const char *) data, size);
    struct str one, two;

    str_init(&one, 0);
    str_init(&two, 0);
    run(all, SIZE_MAX, &one);
    run(all, size ? data[0] % 90 + 1u : 1, &two);
    assert(slice_same(str_slice(&one), str_slice(&two)));
    str_free(&one);
    str_free(&two);
    return 0;
}
