#include "oauth_parse.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    bool bearer;
    const char *in, *user, *token; /* token NULL: refused */
} cases[] = {
    { true, "n,a=u@x,\1host=h\1port=143\1auth=Bearer tok\1\1", "u@x", "tok" },
    { true, "y,a=u@x,\1auth=bearer tok\1\1", "u@x", "tok" },
    { true, "n,a=u@x,\1auth=BEARER  tok \1", "u@x", "tok" },
    { true, "n,a=u@x\1auth=Bearer tok\1\1", "u@x", "tok" },
    { true, "n,a=a=2Cb=3Dc,\1auth=Bearer tok\1\1", "a,b=c", "tok" },
    { true, "n,a=\xc3\xbc@x,\1auth=Bearer tok\1\1", "\xc3\xbc@x", "tok" },
    { true, "n,,\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "n,,\1user=u@x\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "p=tls-unique,a=u@x,\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "f,a=u@x,\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "n,a=u=40x,\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "n,a=u@x,b,\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "n,a=u@x,\1auth=Basic tok\1\1", NULL, NULL },
    { true, "n,a=u@x,\1auth=Bearer \1\1", NULL, NULL },
    { true, "n,a=u@x,\1auth=Bearer a\1auth=Bearer b\1\1", NULL, NULL },
    { true, "n,a=u@x,\1\1", NULL, NULL },
    { true, "n,a=u@x,auth=Bearer tok", NULL, NULL },
    { true, "\1auth=Bearer tok\1\1", NULL, NULL },
    { true, "\1", NULL, NULL },
    { true, "", NULL, NULL },
    { false, "user=u@x\1auth=Bearer tok\1\1", "u@x", "tok" },
    { false, "auth=bearer tok\1user=u@x\1", "u@x", "tok" },
    { false, "user=u@x\1auth=Bearer tok", "u@x", "tok" },
    { false, "user=\1auth=Bearer tok\1\1", NULL, NULL },
    { false, "user=a\1user=b\1auth=Bearer tok\1\1", NULL, NULL },
    { false, "auth=Bearer tok\1\1", NULL, NULL },
    { false, "user=u@x\1\1", NULL, NULL },
    { false, "n,a=u@x,\1auth=Bearer tok\1\1", NULL, NULL },
    { false, "", NULL, NULL },
};

int main(void)
{
    struct oauth_message m;

    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct slice in = slice_of(cases[n].in);
        const char *why = cases[n].bearer ? oauth_parse_bearer(in, &m) : oauth_parse_xoauth2(in, &m);

        if ((why == NULL) != (cases[n].token != NULL) ||
            (why == NULL && (!slice_eq(m.user, cases[n].user) || !slice_eq(m.token, cases[n].token)))) {
            fprintf(stderr, "case %zu: %s\n", n, why ? why : "taken");
            abort();
        }
    }
    char long_one[8192];
    memset(long_one, 'x', sizeof long_one);
    memcpy(long_one, "n,a=", 4);
    assert(oauth_parse_bearer(slice_make(long_one, sizeof long_one), &m) != NULL);
    long_one[6000] = '\1';
    assert(oauth_parse_bearer(slice_make(long_one, sizeof long_one), &m) != NULL);
}
