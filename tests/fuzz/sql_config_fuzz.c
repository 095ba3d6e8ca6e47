// LINK: sql
/*
 * The files behind mysql: and sql:, and a question of the latter. No error or warning tells a value of a line.
 */
#include "base/log.h"
#include "table/sql/config.h"
#include "table/sql/dovecot.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "xyzzySECRET"

static void listen(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) len;
    assert(strstr(text, SECRET) == NULL);
}

static const char *get(void *ctx, struct slice name)
{
    (void) ctx;
    return slice_eq(name, "user") ? "o'x@d\"\\" : NULL;
}

static void question(struct sql_dovecot *d)
{
    const struct var_scope scope = { .get = get };
    struct arena *a = arena_new();
    struct sql_question q;
    struct err err;

    for (int i = 0; i < SQL_DOVECOT_QUERIES; i++)
        if (strstr(d->query[i], "rounds=") == NULL) /* an administrator may ask for millions */
            (void) sql_dovecot_question(d, (enum sql_dovecot_query) i, &scope, a, &q, &err);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char secret_line[] = "password = " SECRET "\n", secret_connect[] = "connect = password=" SECRET "\n";
    struct sql_config c;
    struct sql_dovecot d;
    struct str text;
    struct err err = { .text = "" };

    log_sink(listen, NULL);
    if (memmem(data, size, "rounds=", 7) || memmem(data, size, SECRET, sizeof SECRET - 1))
        return 0;
    str_init(&text, STR_UNLIMITED);
    str_adds(&text, secret_line);
    str_add(&text, data, size);
    if (sql_config_parse("t.cf", str_slice(&text), &c, &err) == 0)
        sql_config_free(&c);
    assert(strstr(err.text, SECRET) == NULL);
    str_reset(&text);
    str_adds(&text, secret_connect);
    str_add(&text, data, size);
    err.text[0] = 0;
    if (sql_dovecot_parse("s.ext", str_slice(&text), &d, &err) == 0) {
        question(&d);
        sql_dovecot_free(&d);
    }
    assert(strstr(err.text, SECRET) == NULL);
    str_free(&text);
    return 0;
}
