/* Pattern lists, the keys of addresses and hosts, local domains. */
#include "table/match.h"
#include "base/log.h"
#include "conf/param.h"
#include "table/table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int bad;
static char dir[] = "/tmp/match_test.XXXXXX";

static void silent(void *ctx, enum log_level level, const char *tag, const char *line, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) line, (void) len;
}

static const struct {
    const char *parameter, *list, *name;
    enum lookup answer;
} domains[] = {
    { "x", "a.test, b.test", "B.test", LOOKUP_FOUND },
    { "x", "a.test", "sub.a.test", LOOKUP_NONE },
    { "x", ".a.test", "sub.a.test", LOOKUP_FOUND },
    { "x", ".a.test", "a.test", LOOKUP_NONE },
    { "relay_domains", "a.test", "sub.a.test", LOOKUP_FOUND },
    { "relay_domains", "a.test", "suba.test", LOOKUP_NONE },
    { "relay_domains", "!no.a.test a.test", "x.no.a.test", LOOKUP_NONE },
    { "relay_domains", "!no.a.test a.test", "yes.a.test", LOOKUP_FOUND },
    { "relay_domains", "inline:{a.test=x}", "sub.a.test", LOOKUP_FOUND },
    { "x", "inline:{a.test=x}", "sub.a.test", LOOKUP_NONE },
    { "x", "inline:{.a.test=x}", "sub.a.test", LOOKUP_FOUND },
    { "x", "a.test fail:x", "a.test", LOOKUP_FOUND },
    { "x", "fail:x a.test", "a.test", LOOKUP_RETRY },
    { "x", "/no/such/file", "a.test", LOOKUP_RETRY },
    { "x", "", "a.test", LOOKUP_NONE },
};
static const struct {
    const char *list, *name, *address;
    enum lookup answer;
} hosts[] = {
    { "127.0.0.0/8 [::1]/128", "n", "127.0.0.1", LOOKUP_FOUND },
    { "127.0.0.0/8 [::1]/128", "n", "::1", LOOKUP_FOUND },
    { "127.0.0.0/8 [::1]/128", "n", "::ffff:127.0.0.1", LOOKUP_FOUND },
    { "127.0.0.0/8", "n", "128.0.0.1", LOOKUP_NONE },
    { "[::ffff:127.0.0.0]/104", "n", "127.9.0.1", LOOKUP_FOUND }, /* in Debian's default of mynetworks */
    { "[::ffff:127.0.0.0]/104", "n", "128.0.0.1", LOOKUP_NONE },
    { "[::ffff:127.0.0.0]/104", "n", "::ffff:127.0.0.1", LOOKUP_FOUND },
    { "[::ffff:127.0.0.0]/8", "n", "127.0.0.1", LOOKUP_RETRY },
    { "[::ffff:127.0.0.0]/129", "n", "127.0.0.1", LOOKUP_RETRY },
    { "!192.0.2.7, 192.0.2.0/24", "n", "192.0.2.7", LOOKUP_NONE },
    { "!192.0.2.7, 192.0.2.0/24", "n", "192.0.2.8", LOOKUP_FOUND },
    { "host.test", "HOST.test", "192.0.2.8", LOOKUP_FOUND },
    { "cidr:{{192.0.2.0/24 x}}", "n", "192.0.2.8", LOOKUP_FOUND },
    { "192.0.2.1/24", "n", "192.0.2.8", LOOKUP_RETRY }, /* host bits: a list nobody can trust */
    { "static:x", "n", "192.0.2.8", LOOKUP_FOUND },
};
static const struct {
    const char *list, *address;
    unsigned keys;
    enum lookup answer;
    const char *value, *ext;
} addresses[] = {
    { "inline:{u+e@d.test=1,u@d.test=2}", "u+e@D.test", MAPS_ADDRESS, LOOKUP_FOUND, "1", "" },
    { "inline:{u@d.test=2,@d.test=3}", "u+e@d.test", MAPS_ADDRESS, LOOKUP_FOUND, "2", "+e" },
    { "inline:{u=2,@d.test=3}", "u+e@d.test", MAPS_ADDRESS, LOOKUP_FOUND, "3", "" },
    { "inline:{u=2,@here.test=3}", "u+e@here.test", MAPS_ADDRESS, LOOKUP_FOUND, "2", "+e" },
    { "inline:{u+e=1,u=2}", "u+e@here.test", MAPS_ADDRESS, LOOKUP_FOUND, "1", "" },
    { "inline:{u=2}", "u@origin.test", MAPS_ADDRESS, LOOKUP_FOUND, "2", "" },
    { "inline:{d.test=2}", "u@d.test", MAPS_ADDRESS, LOOKUP_NONE, "", "" },
    { "inline:{d.test=2,u@=3}", "u@d.test", MAPS_ACCESS, LOOKUP_FOUND, "2", "" },
    { "inline:{u@=3}", "u+x@d.test", MAPS_ACCESS, LOOKUP_FOUND, "3", "" },
    { "inline:{test=2}", "u@d.test", MAPS_ACCESS | MAPS_PARENT, LOOKUP_FOUND, "2", "" },
    { "inline:{.test=2}", "u@d.test", MAPS_ACCESS | MAPS_DOT_PARENT, LOOKUP_FOUND, "2", "" },
    { "inline:{.test=2}", "u@d.test", MAPS_ACCESS | MAPS_PARENT, LOOKUP_NONE, "", "" },
    { "regexp:{{/^u@d/ part}, {/^u\\+e@d/ full}}", "u+e@d.test", MAPS_ADDRESS, LOOKUP_FOUND, "full", "" },
    { "regexp:{{/^@d/ part}}", "u@d.test", MAPS_ADDRESS, LOOKUP_NONE, "", "" },
    { "inline:{\"u..v\"@d.test=1}", "u..v@d.test", MAPS_ADDRESS, LOOKUP_FOUND, "1", "" },
    { "inline:{x=1}, fail:y", "u@d.test", MAPS_ADDRESS, LOOKUP_RETRY, "", "" },
    { "inline:{{u@d.test =}}", "u@d.test", MAPS_ADDRESS, LOOKUP_RETRY, "", "" },
};

static void check(const char *what, const char *key, enum lookup want, enum lookup got)
{
    if (want == got)
        return;
    printf("%s, %s: wanted %d, got %d\n", what, key, want, got);
    bad++;
}

static void keys(void)
{
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct maps *m = maps_new("test_maps", addresses[i].list, TABLE_FOLD);
        struct str out;
        struct slice ext;
        enum lookup answer;

        str_init(&out, TABLE_VALUE_BYTES);
        answer = maps_address(m, addresses[i].address, addresses[i].keys, &out, &ext);
        check(addresses[i].list, addresses[i].address, addresses[i].answer, answer);
        if (answer == LOOKUP_FOUND && (strcmp(out.p, addresses[i].value) != 0 || !slice_eq(ext, addresses[i].ext))) {
            printf("%s, %s: got %s, extension %.*s\n", addresses[i].list, addresses[i].address, out.p, (int) ext.len,
                   ext.p);
            bad++;
        }
        str_free(&out);
        maps_free(&m);
    }
    struct maps *m = maps_new("access", "inline:{192.0=a,2001:db8=b,192.0.2.1=c}", TABLE_FOLD);
    struct str out;
    str_init(&out, TABLE_VALUE_BYTES);
    check("octets", "192.0.3.4", LOOKUP_FOUND, maps_host_address(m, "192.0.3.4", &out));
    check("groups", "2001:db8::9", LOOKUP_FOUND, maps_host_address(m, "2001:db8::9", &out));
    check("whole", "192.0.2.1", LOOKUP_FOUND, maps_host_address(m, "192.0.2.1", &out));
    check("none", "193.0.2.1", LOOKUP_NONE, maps_host_address(m, "193.0.2.1", &out));
    assert(strcmp(out.p, "abc") == 0);
    str_free(&out);
    maps_free(&m);
}

int main(void)
{
    char path[100];

    assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/main.cf", dir);
    FILE *f = fopen(path, "w");
    assert(f &&
           fputs("compatibility_level=3.6\nmyhostname=here.test\nmyorigin=origin.test\nrecipient_delimiter=+\n"
                 "mydestination=$myhostname\ninet_interfaces=127.0.0.1\nproxy_interfaces=[192.0.2.99]\n",
                 f) >= 0 &&
           fclose(f) == 0);
    log_sink(silent, NULL);
    assert(conf_open(dir) == 0 && conf_load(NULL) == 0);
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
        struct match *m = match_new(domains[i].parameter, domains[i].list);
        check(domains[i].list, domains[i].name, domains[i].answer, match_domain(m, domains[i].name));
        match_free(&m);
    }
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct match *m = match_new("mynetworks", hosts[i].list);
        check(hosts[i].list, hosts[i].address, hosts[i].answer, match_host(m, hosts[i].name, hosts[i].address));
        match_free(&m);
    }
    keys();
    check("mydestination", "Here.test.", LOOKUP_FOUND, match_local("Here.test."));
    check("mydestination", "else.test", LOOKUP_NONE, match_local("else.test"));
    check("own address", "[127.0.0.1]", LOOKUP_FOUND, match_local("[127.0.0.1]"));
    check("proxy address", "[192.0.2.99]", LOOKUP_FOUND, match_local("[192.0.2.99]"));
    check("other address", "[192.0.2.98]", LOOKUP_NONE, match_local("[192.0.2.98]"));
    unlink(path);
    rmdir(dir);
    return bad ? 1 : 0;
}
