// LINK: conf
/*
 * master.cf: columns, options, braces
 */
#include "base/log.h"
#include "conf/mastercf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mastercf m = { 0 };
    struct err err;

    if (mastercf_parse(&m, "master.cf", slice_make((const char *) data, size), &err) == 0)
        for (size_t i = 0; i < m.count; i++)
            if (mastercf_find(&m, m.service[i].name, m.service[i].field[1]) != &m.service[i])
                abort();
    mastercf_free(&m);
    return 0;
}
