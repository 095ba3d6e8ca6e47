// LINK: smtp_core client queue table proto service ipc conf base
/* nexthop_fuzz - destinations of transport tables from any bytes */
#include "../../smtp/smtp_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

struct smtp_options opt;
bool smtp_is_lmtp;
enum tls_level smtp_tls_level;
struct tls_ctx *smtp_tls_ctx;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int lmtp = 0; lmtp < 2; lmtp++) {
        struct slice list = slice_make((const char *) data, size);
        struct nexthop n;
        bool bad;

        while (nexthop_next(&list, lmtp != 0, &n, &bad))
            if (!bad && (n.host[0] == '\0' || (n.port[0] != '\0' && nexthop_port(n.port) < 1)))
                abort();
    }
    return 0;
}
