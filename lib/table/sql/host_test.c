/*
 * host_test - what `hosts` may say, and which host is tried
 */
#include "table/sql/host.h"

#include "base/time.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *hosts, *name; /* of the last one; name NULL: libmariadb's own socket */
    int count;                /* -1: an error */
    unsigned port;
    bool local, literal;
} cases[] = {
    { "", NULL, 1, 0, true, false },
    { "localhost", NULL, 1, 0, true, false },
    { "LOCALHOST:3307", NULL, 1, 3307, true, false },
    { "unix:/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock", 1, 0, true, false },
    { "db.example.com", "db.example.com", 1, 0, false, false },
    { "inet:db.example.com:3307", "db.example.com", 1, 3307, false, false },
    { "a, b\tc\n inet:127.0.0.1", "127.0.0.1", 4, 0, false, true },
    { "192.0.2.1:3306", "192.0.2.1", 1, 3306, false, true },
    { "2001:db8::1", "2001:db8::1", 1, 0, false, true },
    { "[2001:db8::1]", "2001:db8::1", 1, 0, false, true },
    { "inet:[2001:db8::1]:3306", "2001:db8::1", 1, 3306, false, true },
    { "unix:", NULL, -1, 0, false, false },
    { "db:0", NULL, -1, 0, false, false },
    { "db:65536", NULL, -1, 0, false, false },
    { "db:mysql", NULL, -1, 0, false, false },
    { ":3306", NULL, -1, 0, false, false },
    { "mysql://db", NULL, -1, 0, false, false },
};

static void free_hosts(struct sql_host *host)
{
    for (size_t i = 0; i < SQL_HOSTS; i++) {
        free(host[i].spec);
        free(host[i].name);
    }
    free(host);
}

static void test_parse(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sql_host *host;
        struct err err;
        size_t count;
        int rc = sql_hosts_parse(cases[i].hosts, &host, &count, &err);
        const struct sql_host *h = rc == 0 ? &host[count - 1] : NULL;
        if (rc < 0 ? cases[i].count >= 0
                   : (int) count != cases[i].count || h->port != cases[i].port || h->local != cases[i].local ||
                         h->literal != cases[i].literal ||
                         !slice_eq(slice_of(h->name), cases[i].name ? cases[i].name : "")) {
            fprintf(stderr, "hosts = %s\n", cases[i].hosts);
            exit(1);
        }
        free_hosts(host);
    }
}

static void test_choice(void)
{
    const struct sql_fault refused = { .code = 2003 }, full = { .code = 1040 };
    struct sql_host *host;
    struct err err;
    size_t count, chosen[4] = { 0 };
    int64_t now = time_mono_ms();

    assert(sql_hosts_parse("a b unix:/s c", &host, &count, &err) == 0 && count == 4);
    assert(sql_host_choose(host, count, now) == &host[2]); /* the socket first */
    sql_host_down(&host[2], &refused, 60000);
    for (int i = 0; i < 300; i++)
        chosen[sql_host_choose(host, count, now) - host]++;
    assert(chosen[0] > 50 && chosen[1] > 50 && chosen[3] > 50 && chosen[2] == 0); /* then any */
    host[0].opening = 1; /* one that is being tried already */
    sql_host_down(&host[1], &refused, 60000);
    assert(sql_host_choose(host, count, now) == &host[3]);
    host[3].members = 1;
    sql_host_down(&host[3], &full, 60000); /* nothing is wrong with it, but it takes no more */
    assert(sql_host_sound(&host[3]) && sql_host_choose(host, count, now) == NULL);
    now = host[2].aside_until;
    assert(sql_host_due(&host[2], now) && sql_host_choose(host, count, now) == &host[2]);

    for (int64_t longest = 1000, last = 0; longest <= 60000;
         longest += 1000) { /* longer each time, up to the limit */
        sql_host_down(&host[2], &refused, longest);
        int64_t aside = host[2].aside_until - time_mono_ms();
        assert(aside <= longest && aside >= last - 50);
        last = aside;
    }
    sql_host_up(&host[2]);
    assert(sql_host_choose(host, count, time_mono_ms()) == &host[2]);
    free_hosts(host);
}

int main(void)
{
    test_parse();
    test_choice();
    return 0;
}
