// LINK: ipc
/*
 * msg_fuzz - frames of named values: what decodes can be walked, and encodes to the same bytes
 */
#include "ipc/msg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msg *m;
    struct slice s;
    struct str again;

    if (msg_decode(slice_make((const char *) data, size), &m) < 0)
        return 0;
    str_init(&again, STR_UNLIMITED);
    msg_encode(m, msg_id(m), &again);
    /* the number of promised descriptors is not kept by a pure decode: it stands behind the name and the id */
    size_t fds_at = 1 + (size_t) data[0] + 4;
    for (size_t i = 0; i < size; i++)
        if (i != fds_at && again.p[4 + i] != (char) data[i])
            abort();
    while (msg_next(m, "a", 100, &s))
        continue;
    msg_get_num(m, "n", -5, 5);
    msg_get_str(m, "s", 10);
    msg_done(m);
    msg_free(&m);
    str_free(&again);
    return 0;
}
