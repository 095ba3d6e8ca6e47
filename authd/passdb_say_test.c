/* passdb_say_test - the values of auth_verbose_passwords */
#include "passdb_say.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *value;
    bool good;
} cases[] = {
    { "no", true },      { "plain", true },    { "yes", true },      { "sha1", true },    { "SHA1", true },
    { "plain:3", true }, { "sha1:6", true },   { "sha1:256", true }, { "sha1:0", false }, { "sha1:257", false },
    { "sha1:", false },  { "plain:x", false }, { "no:3", false },    { "md5", false },    { "", false },
};

int main(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct err err = { 0 };
        if ((passdb_say_open(cases[n].value, &err) == 0) != cases[n].good) {
            fprintf(stderr, "\"%s\": %s\n", cases[n].value, err.text);
            abort();
        }
        assert(cases[n].good || err.text[0]);
    }
    return 0;
}
