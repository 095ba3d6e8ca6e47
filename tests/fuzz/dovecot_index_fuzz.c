// LINK: store
/* dovecot_index_fuzz - any bytes as dovecot.index and as records of its log: what is handed over stays within them */
#include "store/dovecot_index.h"

#include <assert.h>
#include <stdlib.h>

static struct slice all;

static void on_event(void *ctx, enum dovecot_event event, struct slice name, uint32_t first, uint32_t last)
{
    (void) ctx;
    if (name.p && name.len && event != DOVECOT_START && event != DOVECOT_RESET)
        assert(name.p >= all.p && name.p + name.len <= all.p + all.len);
    if (event == DOVECOT_REMOVE || event == DOVECOT_RESET)
        assert(first && first <= last && last < UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dovecot_index x = { 0 };
    char *copy = malloc(size + 1); /* of its own, so that reading past the end is seen */
    size_t used;

    if (copy == NULL || size == 0) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, size);
    all = slice_make(copy, size);
    if (data[0] == 7) { /* as dovecot.index begins */
        if (size > 12)
            copy[12] = 1;
        (void) dovecot_index_parse(&x, all, on_event, NULL);
    } else {
        used = dovecot_index_parse_log(&x, all, UINT32_MAX, on_event, NULL);
        assert(used <= size && used % 4 == 0);
        assert(dovecot_index_parse_log(&x, slice_sub(all, 0, used), UINT32_MAX, on_event, NULL) == used);
    }
    free(copy);
    return 0;
}
