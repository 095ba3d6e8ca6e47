/*
 * addr fold - case folding of addresses and table keys
 *
 * Callers     lib/table, rewrite, cleanup's duplicate filter
 * Invariants  pure; what is not valid UTF-8 is folded as ASCII, byte by byte, so that any key has one folded form
 * Source      Unicode default case folding by ICU, as Postfix's casefold() does
 */
#include "proto/addr/addr.h"

#include <stdlib.h>
#include <unicode/ucasemap.h>

static bool fold_utf8(struct str *out, struct slice in)
{
    UErrorCode err = U_ZERO_ERROR;
    UCaseMap *map;
    int32_t len;
    bool done;

    if (in.len > INT32_MAX / 4)
        return false;
    map = ucasemap_open("", U_FOLD_CASE_DEFAULT, &err);
    if (U_FAILURE(err))
        return false;
    /* Folding grows UTF-8 at most threefold. */
    str_reserve(out, in.len * 3);
    if (out->cap < out->len + in.len * 3 + 1) {
        ucasemap_close(map);
        return false;
    }
    len = ucasemap_utf8FoldCase(map, out->p + out->len, (int32_t) (in.len * 3), in.p, (int32_t) in.len, &err);
    done = U_SUCCESS(err) && len >= 0;
    if (done)
        out->len += (size_t) len;
    out->p[out->len] = 0;
    ucasemap_close(map);
    return done;
}

void addr_fold(struct str *out, struct slice in)
{
    if (!slice_is_ascii(in) && utf8_valid(in) && fold_utf8(out, in))
        return;
    for (size_t i = 0; i < in.len; i++)
        str_addc(out, ascii_lower(in.p[i]));
}

bool addr_same(struct slice a, struct slice b)
{
    struct str x, y;
    bool same;

    if (slice_is_ascii(a) && slice_is_ascii(b)) {
        if (a.len != b.len)
            return false;
        for (size_t i = 0; i < a.len; i++)
            if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
                return false;
        return true;
    }
    str_init(&x, STR_UNLIMITED);
    str_init(&y, STR_UNLIMITED);
    addr_fold(&x, a);
    addr_fold(&y, b);
    same = slice_same(str_slice(&x), str_slice(&y));
    str_free(&x);
    str_free(&y);
    return same;
}
