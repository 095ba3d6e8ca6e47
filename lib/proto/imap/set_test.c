/* set_test - sequence sets: parsing, '*', merging, membership, printing */
#include "proto/imap/set.h"

#include <assert.h>
#include <stdio.h>

int main(void)
{
    static const struct {
        const char *in;
        uint32_t star;
        const char *out; /* NULL: refused */
    } rows[] = {
        { "1", 10, "1" },
        { "1:3,2:5,7", 10, "1:5,7" },
        { "5:1", 10, "1:5" },
        { "*", 10, "10" },
        { "8:*", 10, "8:10" },
        { "*:8", 10, "8:10" },
        { "15:*", 10, "10:15" },
        { "*", 0, "" },
        { "1:*,3", 0, "3" },
        { "4,3,2,1", 10, "1:4" },
        { "4294967295,4294967294", 10, "4294967294:4294967295" },
        { "0", 10, NULL },
        { "1,", 10, NULL },
        { ",1", 10, NULL },
        { "1:", 10, NULL },
        { "4294967296", 10, NULL },
        { "a", 10, NULL },
        { "", 10, NULL },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_new();
        struct imap_arg a;
        struct imap_set set;

        imap_arg_init(&a, slice_of(rows[i].in), arena);
        int rc = imap_set_parse(&a, &set);
        assert((rc == 0) == (rows[i].out != NULL));
        if (rc == 0) {
            uint32_t numbers[64];
            size_t n = 0;
            struct str out;

            imap_set_resolve(&set, rows[i].star);
            for (size_t r = 0; r < set.count; r++) {
                for (uint64_t k = set.ranges[r].first; k <= set.ranges[r].last; k++) {
                    assert(n < 64 && imap_set_has(&set, (uint32_t) k));
                    numbers[n++] = (uint32_t) k;
                }
                assert(set.ranges[r].last == UINT32_MAX || !imap_set_has(&set, set.ranges[r].last + 1));
            }
            str_init(&out, 1000);
            imap_set_print(&out, numbers, n);
            if (strcmp(out.p, rows[i].out) != 0)
                fprintf(stderr, "row %zu: %s\n", i, out.p), assert(0);
            assert(imap_set_last(&set) == (n ? numbers[n - 1] : 0));
            str_free(&out);
        }
        arena_free(&arena);
    }
    return 0;
}
