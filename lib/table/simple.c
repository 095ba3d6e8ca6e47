/*
 * simple - static, environ, fail
 */
#include "base/log.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "table/internal.h"

#include <stdlib.h>

static int static_open(struct table *t, struct err *err)
{
    struct slice text = slice_of(t->name);
    const char *why;

    if (text.len && text.p[0] == '{' && lines_unbrace(&text, &why) < 0)
        return err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why);
    t->state = mem_strndup(text.p, text.len);
    return 0;
}

static enum lookup static_lookup(struct table *t, const char *key, struct str *out)
{
    (void) key;
    str_adds(out, t->state);
    return LOOKUP_FOUND;
}

static void static_close(struct table *t) { free(t->state); }

static int no_open(struct table *t, struct err *err)
{
    (void) t, (void) err;
    return 0;
}

static enum lookup environ_lookup(struct table *t, const char *key, struct str *out)
{
    const char *value = getenv(key);

    (void) t;
    if (value == NULL)
        return LOOKUP_NONE;
    str_adds(out, value);
    return LOOKUP_FOUND;
}

static enum lookup fail_lookup(struct table *t, const char *key, struct str *out)
{
    (void) out;
    log_warn("%s: lookup of \"%.100s\" fails, as this table always does", t->spec, key);
    return LOOKUP_RETRY;
}

const struct table_type table_static = {
    .name = "static", .traits = TABLE_OWN_CASE, .open = static_open, .lookup = static_lookup, .close = static_close
};
const struct table_type table_environ = {
    .name = "environ", .traits = TABLE_OWN_CASE, .open = no_open, .lookup = environ_lookup
};
const struct table_type table_fail = { .name = "fail", .open = no_open, .lookup = fail_lookup };
