// LINK: proto base
/* dns_message_fuzz - any bytes as the answer of a name server */
#include "proto/dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct dns_message m;

    dns_message_parse(slice_make((const char *) data, size), arena, &m);
    arena_free(&arena);
    return 0;
}
