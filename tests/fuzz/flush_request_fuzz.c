// LINK: flush_core client queue table proto service ipc conf base
/* flush_request_fuzz - what a local user may send to public/flush */
#include "../../qmgr/flush/request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flush_request r;
    int rc = flush_request_parse(slice_make((const char *) data, size), &r);

    if (rc == 1 &&
        (size > FLUSH_REQUEST_BYTES || strlen(r.queue_id) >= sizeof r.queue_id || strlen(r.site) >= sizeof r.site))
        abort();
    if (rc == 0 && size > FLUSH_REQUEST_BYTES)
        abort();
    return 0;
}
