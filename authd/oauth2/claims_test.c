#include "claims.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static int parse(struct slice json, struct arena *a, struct claims *c)
{
    struct err err = { .text = "" };
    int rc = claims_parse(json, a, c, &err);

    assert((rc == 0) == (err.text[0] == '\0'));
    return rc;
}

static const struct {
    const char *json, *name, *value; /* value NULL: absent */
} values[] = {
    { "{}", "a", NULL },
    { " {\"a\":\"x\"}\r\n", "a", "x" },
    { "{\"a\":12}", "a", "12" },
    { "{\"a\":-1.50}", "a", "-1.50" },
    { "{\"a\":true,\"b\":false}", "b", "false" },
    { "{\"a\":null}", "a", NULL },
    { "{\"a\":{\"b\":\"c\"}}", "a", NULL },
    { "{\"a\":{\"b\":\"c\"}}", "b", NULL },
    { "{\"a\":[\"p\",2,true,null,{\"q\":1},[\"r\"]]}", "a", "p\t2\ttrue" },
    { "{\"a\":[]}", "a", "" },
    { "{\"a\":\"1\",\"a\":\"2\"}", "a", "2" },
    { "{\"a\":\"\\u00e9\\\"\"}", "a", "\xc3\xa9\"" },
};
static const char *const bad[] = {
    "",
    " ",
    "1",
    "\"a\"",
    "[1]",
    "null",
    "<html>",
    "{\"a\":1",
    "{\"a\":1} x",
    "{\"a\":1}{}",
    "{\"a\":1,}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\\u0000b\":1}",
    "{\"a\":\"\xff\"}",
    "{\"a\":01}",
    "{\"a\"}",
};

static void test_values(void)
{
    for (size_t n = 0; n < sizeof values / sizeof *values; n++) {
        struct arena *a = arena_new();
        struct claims c = { 0 };
        assert(parse(slice_of(values[n].json), a, &c) == 0);
        const char *got = claims_get(&c, values[n].name);
        assert(got ? values[n].value && strcmp(got, values[n].value) == 0 : values[n].value == NULL);
        arena_free(&a);
    }
}

static void test_bad(void)
{
    struct arena *a = arena_new();
    struct claims c = { 0 };

    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++)
        if (parse(slice_of(bad[n]), a, &c) == 0) {
            fprintf(stderr, "%s was taken\n", bad[n]);
            abort();
        }
    assert(parse(slice_make("{\"a\":\"x\0y\"}", 11), a, &c) != 0);
    arena_free(&a);
}

static void test_limits(void)
{
    struct arena *a = arena_new();
    struct claims c = { 0 };
    struct str s;

    str_init(&s, STR_UNLIMITED);
    str_adds(&s, "{\"a\":");
    for (int n = 0; n < 100000; n++)
        str_addc(&s, '[');
    assert(parse(str_slice(&s), a, &c) != 0); /* too deep, before its end is missed */
    str_set(&s, "{");
    for (int n = 0; n <= CLAIMS_MAX; n++)
        str_printf(&s, "%s\"n%d\":1", n > 0 ? "," : "", n);
    str_addc(&s, '}');
    assert(parse(str_slice(&s), a, &c) != 0);
    str_set(&s, "{\"a\":\"");
    while (s.len <= CLAIMS_BYTES)
        str_adds(&s, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    str_adds(&s, "\"}");
    assert(parse(str_slice(&s), a, &c) != 0);
    str_free(&s);
    arena_free(&a);
}

static void test_merge(void)
{
    struct arena *a = arena_new();
    struct claims c = { 0 };

    assert(parse(SLICE("{\"a\":1,\"b\":2}"), a, &c) == 0 && parse(SLICE("{\"b\":3}"), a, &c) == 0);
    assert(c.count == 2 && strcmp(claims_get(&c, "b"), "3") == 0);
    arena_free(&a);
}

static void test_list(void)
{
    assert(claims_list("a mail b", " ", SLICE("mail")));
    assert(!claims_list("a mailbox", " ", SLICE("mail")));
    assert(!claims_list("a,mail", " ", SLICE("mail")) && claims_list("a,mail", " ,", SLICE("mail")));
    assert(!claims_list(NULL, " ", SLICE("mail")) && !claims_list("", " ", SLICE("mail")));
}

int main(void)
{
    test_values();
    test_bad();
    test_limits();
    test_merge();
    test_list();
}
