// LINK: client queue table proto service ipc conf base
/* deliver_fuzz - delivery requests from any frame */
#include "client/deliver.h"

#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct deliver_request *rq;
    struct msg *m;

    if (msg_decode(slice_make((const char *) data, size), &m) < 0)
        return 0;
    rq = deliver_decode(m);
    if (rq != NULL) { /* a frame without a descriptor is malformed: none should get here */
        struct arena *arena = rq->arena;
        close(rq->fd);
        arena_free(&arena);
        __builtin_trap();
    }
    msg_free(&m);
    return 0;
}
