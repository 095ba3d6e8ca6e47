// LINK: table
/*
 * Table sources: the first byte chooses postmap, aliases, or a table of patterns written inline
 */
#include "base/log.h"
#include "base/mem.h"
#include "table/source.h"
#include "table/table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void silent(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) text, (void) len;
}

static void check(void *ctx, struct slice key, struct slice value, int line)
{
    (void) ctx;
    if (key.len == 0 || value.len == 0 || line < 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const kinds[] = { "regexp", "pcre", "cidr", "inline", "unionmap", "pipemap" };
    struct slice text;
    struct table *t;
    struct str out;
    char *spec;

    log_sink(silent, NULL);
    if (size < 1 || size > 4096)
        return 0;
    text = slice_make((const char *) data + 1, size - 1);
    if (data[0] % 8 == 0) {
        source_postmap("f", text, check, NULL);
        return 0;
    }
    if (data[0] % 8 == 1) {
        source_aliases("f", text, check, NULL);
        return 0;
    }
    spec = mem_printf("%s:{%.*s}", kinds[data[0] % 8 - 2], (int) text.len, text.p);
    if (strstr(spec, "proxy:") || strstr(spec, "hash:") || strstr(spec, "btree:")) { /* would ask, or write */
        free(spec);
        return 0;
    }
    t = table_open(spec, TABLE_FOLD);
    str_init(&out, TABLE_VALUE_BYTES);
    (void) table_lookup(t, "user+ext@sub.example.test", &out);
    str_reset(&out);
    (void) table_lookup(t, "2001:db8::1", &out);
    str_free(&out);
    table_close(&t);
    free(spec);
    return 0;
}
