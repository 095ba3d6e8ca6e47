#include "hosts.h"

#include <assert.h>

#define TEXT                                                                                               \
    "127.0.0.1\tlocalhost\n# 192.0.2.9 id\n192.0.2.1 id.example id # id2\n::1 localhost ip6-localhost\r\n" \
    "2001:db8::1 ID\nfe80::1%eth0 id\nnonsense id\n192.0.2.3\n  192.0.2.4   spaced"
static const struct {
    const char *name, *addresses;
    size_t count;
} cases[] = {
    { "localhost", "127.0.0.1,[::1]", 2 },
    { "id", "192.0.2.1,[2001:db8::1]", 2 },
    { "ID.example", "192.0.2.1", 1 },
    { "id2", "", 0 },
    { "spaced", "192.0.2.4", 1 },
    { "192.0.2.3", "", 0 },
    { "", "", 0 },
};

int main(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct str out;
        str_init(&out, 1000);
        assert(hosts_find(SLICE(TEXT), cases[n].name, &out) == cases[n].count);
        assert(strcmp(out.p, cases[n].addresses) == 0);
        str_free(&out);
    }
}
