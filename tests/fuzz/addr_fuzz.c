// LINK: proto base
/* addr_fuzz - paths, address lists and domains from any bytes; quoting must be undone by unquoting */
#include "proto/addr/addr.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void round_trip(struct slice internal)
{
    struct str out, back;

    str_init(&out, STR_UNLIMITED);
    str_init(&back, STR_UNLIMITED);
    addr_quote(&out, internal);
    if (addr_unquote(&back, str_slice(&out)) || !slice_same(str_slice(&back), internal))
        abort();
    str_free(&out);
    str_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice in = slice_make((const char *) data, len);
    struct addr_list list = { .in = in };
    struct addr_item item;
    struct str s;
    size_t used;

    str_init(&s, STR_UNLIMITED);
    for (unsigned flags = 0; flags < 4; flags++) {
        str_reset(&s);
        if (addr_path_parse(in, flags, &s, &used) == 0) {
            if (used > len)
                abort();
            round_trip(str_slice(&s));
        }
    }
    while (addr_list_next(&list, &item, &s)) {
        struct str name;

        if (item.at + item.len > len)
            abort();
        str_init(&name, STR_UNLIMITED);
        addr_name_text(&name, item.name);
        str_free(&name);
    }
    str_reset(&s);
    addr_domain_to_ascii(&s, in);
    addr_domain_to_utf8(&s, in);
    addr_fold(&s, in);
    str_free(&s);
    return 0;
}
