// LINK: sql
/*
 * Queries with values in them: a template and a key, separated by a NUL, by the escapes of mysql_table(5). Whatever the
 * key, the text that is sent has the tokens that it has for a harmless key: values are inside of strings and quoted names,
 * or whole numbers and words where the template put one.
 */
#include "table/sql/expand.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A reader of SQL of its own: one letter a token. s string, n quoted name, w word or number, ? parameter, others as they
 * are; comments and blanks are nothing. False: something does not end. */
static bool tokens(const char *p, struct str *out)
{
    while (*p) {
        if (*p == '\'' || *p == '"' || *p == '`') {
            char quote = *p++;
            for (;; p++) {
                if (*p == 0)
                    return false;
                if (*p == '\\' && quote != '`' && p[1])
                    p++;
                else if (*p == quote && p[1] == quote)
                    p++;
                else if (*p == quote)
                    break;
            }
            p++;
            str_addc(out, quote == '`' ? 'n' : 's');
        } else if (p[0] == '/' && p[1] == '*' && p[2] != '!' && !(p[2] == 'M' && p[3] == '!')) {
            p = strstr(p + 2, "*/");
            if (p == NULL)
                return true;
            p += 2;
        } else if (*p == '#' || (p[0] == '-' && p[1] == '-' && ((unsigned char) p[2] <= ' ' || p[2] == 127))) {
            while (*p && *p != '\n')
                p++;
        } else if (ascii_isalnum(*p) || *p == '_' || *p == '$' || (unsigned char) *p >= 128) {
            while (ascii_isalnum(*p) || *p == '_' || *p == '$' || (unsigned char) *p >= 128)
                p++;
            str_addc(out, 'w');
        } else {
            if (!ascii_isspace(*p))
                str_addc(out, *p);
            p++;
        }
    }
    return true;
}

/* A value alone may be a parameter or digits: both are one token. */
static void same_shape(const char *a, const char *b)
{
    struct str x, y;

    str_init(&x, STR_UNLIMITED);
    str_init(&y, STR_UNLIMITED);
    if (tokens(a, &x)) {
        assert(tokens(b, &y));
        for (size_t i = 0; i < x.len; i++)
            x.p[i] = x.p[i] == '?' ? 'w' : x.p[i];
        for (size_t i = 0; i < y.len; i++)
            y.p[i] = y.p[i] == '?' ? 'w' : y.p[i];
        assert(strcmp(x.p, y.p) == 0);
    }
    str_free(&x);
    str_free(&y);
}

static void ask(const struct sql_template *t, const char *key)
{
    struct arena *a = arena_new();
    struct sql_question question, harmless;
    struct str out;
    struct err err;

    if (sql_template_query(t, key, a, &question, &err) == LOOKUP_FOUND &&
        sql_template_query(t, "7@7.7.7.7.7.7.7.7.7", a, &harmless, &err) == LOOKUP_FOUND)
        same_shape(harmless.text, question.text);
    str_init(&out, 1 << 16);
    (void) sql_template_result(t, key, slice_of(key), &out);
    (void) sql_template_result(t, "u@d.e", slice_of(key), &out);
    str_free(&out);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 2);
    const char *key;
    struct sql_template t = { .query = text, .result_format = text };

    memcpy(text, data, size);
    text[size] = text[size + 1] = 0;
    key = text + strlen(text) + 1;
    if (key <= text + size && sql_template_check(&t) == NULL) {
        t.result_format = "%s";
        if (sql_template_check(&t) == NULL)
            ask(&t, key);
    }
    free(text);
    return 0;
}
