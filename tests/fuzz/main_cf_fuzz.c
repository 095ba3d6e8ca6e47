// LINK: conf
/*
 * main.cf: the grammar, and the expansion of every value in it
 */
#include "base/log.h"
#include "conf/expand.h"
#include "conf/maincf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void silent(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) text, (void) len;
}

static const char *lookup(void *ctx, const char *name)
{
    const struct maincf_setting *s = maincf_get(ctx, name);

    return s ? s->value : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct maincf m;
    struct err err;
    struct str out;

    log_sink(silent, NULL);
    if (maincf_parse(&m, "main.cf", slice_make((const char *) data, size), NULL, &err) < 0)
        return 0;
    str_init(&out, 65536);
    for (size_t i = 0; i < m.count; i++) {
        struct expand e = { .lookup = lookup, .ctx = &m, .recursive = i < 3 };
        str_reset(&out);
        (void) expand_text(&e, slice_of(m.setting[i]->value), &out, &err);
    }
    str_free(&out);
    maincf_free(&m);
    return 0;
}
