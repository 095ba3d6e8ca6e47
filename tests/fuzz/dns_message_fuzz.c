// LINK: proto base
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
