/* nexthop_test - destinations as a table, and the order of hosts */
#include "smtp_internal.h"
#include <assert.h>
#include <stdio.h>

struct smtp_options opt;
bool smtp_is_lmtp;
enum tls_level smtp_tls_level;
struct tls_ctx *smtp_tls_ctx;

static const struct {
    const char *in;
    bool lmtp;
    const char *out; /* "host|port|flags" of each element, blank separated; "bad" for one that cannot be read */
} cases[] = {
    { "example.com", false, "example.com||" },
    { "[example.com]", false, "example.com||L" },
    { "[192.0.2.1]:587", false, "192.0.2.1|587|L" },
    { "[2001:db8::1]:25", false, "2001:db8::1|25|L" },
    { "[IPv6:2001:db8::1]", false, "2001:db8::1||L" },
    { "example.com:submission", false, "example.com|submission|" },
    { "[a]:25, [b]", false, "a|25|L b||L" },
    { "a b,c", false, "a|| b|| c||" },
    { "", false, "" },
    { "[]", false, "bad" },
    { "[a", false, "bad" },
    { "[a]:", false, "bad" },
    { "[a]x", false, "bad" },
    { "a:", false, "bad" },
    { "a:b:c", false, "bad" },
    { "a:70000", false, "bad" },
    { "a:0", false, "bad" },
    { "unix:private/dovecot-lmtp", true, "private/dovecot-lmtp||U" },
    { "unix:", true, "bad" },
    { "inet:[127.0.0.1]:24", true, "127.0.0.1|24|L" },
    { "inet:host:lmtp", true, "host|lmtp|" },
    { "unix:x", false, "bad" }, /* a port named x */
};

static void run(const char *in, bool lmtp, struct str *out)
{
    struct slice list = slice_of(in);
    struct nexthop n;
    bool bad;

    while (nexthop_next(&list, lmtp, &n, &bad)) {
        if (out->len > 0)
            str_addc(out, ' ');
        if (bad)
            str_adds(out, "bad");
        else
            str_printf(out, "%s|%s|%s%s", n.host, n.port, n.unix_path ? "U" : "", n.literal ? "L" : "");
    }
}

static void test_order(void)
{
    struct host list[] = {
        { .name = "d", .preference = 20, .shuffle = 1, .addr.ss_family = AF_INET },
        { .name = "b", .preference = 10, .shuffle = 5, .addr.ss_family = AF_INET },
        { .name = "a", .preference = 10, .shuffle = 9, .addr.ss_family = AF_INET6 },
        { .name = "c", .preference = 10, .shuffle = 7, .addr.ss_family = AF_INET },
    };
    char order[8];

    hosts_sort(list, 4, "ipv6");
    snprintf(order, sizeof order, "%s%s%s%s", list[0].name, list[1].name, list[2].name, list[3].name);
    assert(strcmp(order, "abcd") == 0);
    hosts_sort(list, 4, "any");
    snprintf(order, sizeof order, "%s%s%s%s", list[0].name, list[1].name, list[2].name, list[3].name);
    assert(strcmp(order, "bcad") == 0);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out;

        str_init(&out, 0);
        run(cases[i].in, cases[i].lmtp, &out);
        if (strcmp(out.p, cases[i].out) != 0) {
            fprintf(stderr, "\"%s\": got \"%s\", want \"%s\"\n", cases[i].in, out.p, cases[i].out);
            return 1;
        }
        str_free(&out);
    }
    assert(nexthop_port("smtp") == 25 && nexthop_port("24") == 24 && nexthop_port("x") == -1 &&
           nexthop_port("") == -1);
    test_order();
    return 0;
}
