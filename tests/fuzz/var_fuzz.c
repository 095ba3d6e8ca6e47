// LINK: conf
/*
 * %variables: a format and a user, separated by a NUL.
 */
#include "conf/var.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *user;

static const char *get(void *ctx, struct slice name)
{
    (void) ctx;
    return slice_caseends(name, "user") || slice_starts(name, "userdb:") ? user : NULL;
}

static void put(void *ctx, struct str *out, struct slice value)
{
    (void) ctx;
    str_addslice(out, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct var_scope scope = { .get = get, .put = put };
    char *text = malloc(size + 2);
    struct str out;
    struct err err;

    memcpy(text, data, size);
    text[size] = text[size + 1] = 0;
    user = text + strlen(text) + 1;
    if (user > text + size)
        user = "u@example.org";
    if (strstr(text, "rounds=") == NULL) { /* an administrator may ask for millions */
        str_init(&out, 1 << 16);
        (void) var_expand(text, &scope, &out, &err);
        str_free(&out);
    }
    free(text);
    return 0;
}
