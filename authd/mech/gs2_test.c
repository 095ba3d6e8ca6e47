/* gs2_test - headers of SCRAM and OAUTHBEARER */
#include "gs2.h"
#include <assert.h>
#include <stdio.h>

static const struct {
    const char *in;
    int rc;
    char flag;
    const char *binding, *authzid, *rest;
} cases[] = {
    { "n,,n=user,r=abc", 0, 'n', "", "", "n=user,r=abc" },
    { "y,,x", 0, 'y', "", "", "x" },
    { "n,,", 0, 'n', "", "", "" },
    { "n,a=joe,x", 0, 'n', "", "joe", "x" },
    { "n,a=a=2Cb=3Dc,x", 0, 'n', "", "a,b=c", "x" },
    { "n,a=,x", 0, 'n', "", "", "x" },
    { "p=tls-unique,,x", 0, 'p', "tls-unique", "", "x" },
    { "p=tls-server-end-point,a=joe,x,y", 0, 'p', "tls-server-end-point", "joe", "x,y" },
    { "", -1, 0, "", "", "" },
    { "n", -1, 0, "", "", "" },
    { "n,", -1, 0, "", "", "" },
    { ",,x", -1, 0, "", "", "" },
    { "nn,,x", -1, 0, "", "", "" },
    { "x,,x", -1, 0, "", "", "" },
    { "F,n,,x", -1, 0, "", "", "" },
    { "p,,x", -1, 0, "", "", "" },
    { "p=,,x", -1, 0, "", "", "" },
    { "p=a b,,x", -1, 0, "", "", "" },
    { "n,b=joe,x", -1, 0, "", "", "" },
    { "n,a=joe=,x", -1, 0, "", "", "" },
    { "n,a=joe=2,x", -1, 0, "", "", "" },
    { "n,a=joe=2c,x", -1, 0, "", "", "" },
    { "n,a=joe=41,x", -1, 0, "", "", "" },
};

int main(void)
{
    char text[GS2_NAME_BYTES + 8];
    struct gs2 out;

    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        int rc = gs2_parse(slice_of(cases[n].in), &out);

        if (rc != cases[n].rc ||
            (rc == 0 && (out.flag != cases[n].flag || !slice_eq(out.binding, cases[n].binding) ||
                         strcmp(out.authzid, cases[n].authzid) != 0 || !slice_eq(out.rest, cases[n].rest)))) {
            fprintf(stderr, "%s\n", cases[n].in);
            assert(false);
        }
    }
    assert(gs2_parse(SLICE("n,a=j\0e,x"), &out) == -1);
    /* The longest name, and one byte more. */
    for (int more = 0; more < 2; more++) {
        size_t len = (size_t) snprintf(text, sizeof text, "n,a=");
        memset(text + len, 'x', GS2_NAME_BYTES - 1 + (size_t) more);
        len += GS2_NAME_BYTES - 1 + (size_t) more;
        text[len++] = ',';
        assert(gs2_parse(slice_make(text, len), &out) == -more);
    }
    return 0;
}
