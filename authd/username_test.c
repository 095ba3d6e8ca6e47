/*
 * username_test - names as people type them
 */
#include "username.h"
#include <assert.h>

static const struct {
    const char *format, *chars, *translation, *realm, *in, *out; /* out NULL: refused */
} cases[] = {
    { "%Lu", "", "", "", "Alice@Example.Test", "alice@example.test" },
    { "%Ln", "", "", "", "Alice@Example.Test", "alice" },
    { "%n@%Ud", "", "", "", "a@b.c", "a@B.C" },
    { "%u%%", "", "", "", "a", "a%" },
    { "", "", "", "", "Alice", "Alice" },
    { "%{if;%s;eq;smtp;x;y}%n", "", "", "", "bob@x", "xbob" },
    { "%Lu", "", "", "example.test", "Bob", "bob@example.test" },
    { "%Lu", "", "", "example.test", "bob@other.test", "bob@other.test" },
    { "%Lu", "abc@.", "", "", "a@b.c", "a@b.c" },
    { "%Lu", "abc@.", "", "", "ad@b.c", NULL },
    { "%Lu", "abc@.", "%@#@", "", "a%b.c", "a@b.c" },
    { "%Lu", "abc@.", "%@#@", "c", "a#b", "a@b@c" }, /* the realm comes first, to what has no @ yet */
    { "%Lu", "", "", "", "", NULL },
    { "%Ld", "", "", "", "nodomain", NULL },
    { "%Lu", "", "", "", "../etc", NULL },
    { "%Lu", "", "", "", "..", NULL },
    { "%Lu", "", "", "", "a\nb", NULL },
    { "%{nosuch}", "", "", "", "a", NULL },
};

static const char *service(void *ctx, struct slice name)
{
    (void) ctx;
    return slice_eq(name, "service") ? "smtp" : NULL;
}

int main(void)
{
    const struct var_scope others = { .get = service };
    struct err err;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct username_rules rules = { cases[i].format, cases[i].chars, cases[i].translation, cases[i].realm, "*" };
        struct str out;

        str_init(&out, USERNAME_BYTES);
        assert(username_rules_check(&rules, &err) == 0);
        int rc = username_canonical(&rules, slice_of(cases[i].in), &others, &out, &err);
        assert(rc == (cases[i].out ? 0 : -1));
        assert(rc != 0 || slice_eq(str_slice(&out), cases[i].out));
        str_free(&out);
    }
    assert(username_rules_check(&(struct username_rules){ "%u", "", "abc", "", "" }, &err) == -1);
    assert(username_rules_check(&(struct username_rules){ "%u", "", "", "", "**" }, &err) == -1);
    return 0;
}
