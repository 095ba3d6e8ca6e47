/* dns_test - three answers: "none" only where the resolver said it; the wire; names of clients */
#include "client/dns.h"
#include "client/dns_wire.h"
#include "client/test_peer.h"
#include <arpa/inet.h>
#include <netinet/in.h>

/* What the resolver knows: the answer for a name and type; anything else does not exist. */
static struct row {
    const char *name;
    enum dns_type type;
    enum lookup status;
    const char *data; /* of A and AAAA the bytes, of PTR and MX a name */
    size_t len;
} zone[] = {
    { "two.test", DNS_A, LOOKUP_FOUND, "\x7f\0\0\2", 4 },
    { "two.test", DNS_AAAA, LOOKUP_FOUND, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16 },
    { "four.test", DNS_A, LOOKUP_FOUND, "\x7f\0\0\4", 4 },
    { "odd.test", DNS_A, LOOKUP_FOUND, "\x7f\0\0\5", 4 },
    { "half.test", DNS_A, LOOKUP_RETRY, NULL, 0 },
    { "half.test", DNS_AAAA, LOOKUP_FOUND, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2", 16 },
    { "later4.test", DNS_A, LOOKUP_RETRY, NULL, 0 },
    { "later6.test", DNS_AAAA, LOOKUP_RETRY, NULL, 0 },
    { "mx.test", DNS_MX, LOOKUP_FOUND, "mail.mx.test", 0 },
    { "1.2.0.192.in-addr.arpa", DNS_PTR, LOOKUP_FOUND, "client.test", 0 },
    { "client.test", DNS_A, LOOKUP_FOUND, "\xc0\0\2\1", 4 },
    { "2.2.0.192.in-addr.arpa", DNS_PTR, LOOKUP_FOUND, "client.test", 0 }, /* the name leads elsewhere */
    { "3.2.0.192.in-addr.arpa", DNS_PTR, LOOKUP_RETRY, NULL, 0 },
    { "4.2.0.192.in-addr.arpa", DNS_PTR, LOOKUP_FOUND, "a b[x]: y.test", 0 }, /* no host name */
    { "5.2.0.192.in-addr.arpa", DNS_PTR, LOOKUP_FOUND, "half.test", 0 },
    { "6.2.0.192.in-addr.arpa", DNS_PTR, LOOKUP_FOUND, "nowhere.test", 0 },
    { "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", DNS_PTR, LOOKUP_FOUND, "six.test",
      0 },
    { "six.test", DNS_AAAA, LOOKUP_FOUND, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16 },
};

static struct msg *right(struct msg *in)
{
    const char *name = msg_get_str(in, DNS_V_NAME, DNS_NAME_BYTES);
    int64_t type = msg_get_num(in, DNS_V_TYPE, 0, 65535);
    struct dns_reply r = { .status = LOOKUP_NONE, .nxdomain = true, .ttl = 60, .canonical = name, .why = "" };
    struct dns_record record = { .name = "" };

    assert(strcmp(msg_name(in), DNS_REQUEST) == 0 && msg_done(in));
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++) {
        if (strcmp(zone[i].name, name) != 0)
            continue;
        r.nxdomain = strcmp(name, "odd.test") == 0 && type != DNS_A; /* a server that knows half of its own name */
        if (zone[i].type != type)
            continue;
        r.status = zone[i].status;
        r.why = r.status == LOOKUP_RETRY ? "SERVFAIL" : "";
        r.secure = true;
        record.type = (uint16_t) type;
        record.preference = 10;
        if (zone[i].data && zone[i].len)
            record.data = slice_make(zone[i].data, zone[i].len);
        else if (zone[i].data)
            record.name = zone[i].data;
        r.records = &record;
        r.count = zone[i].data ? 1 : 0;
    }
    return dns_wire_reply(&r);
}

static bool ask(void)
{
    struct dns_reply r;
    enum lookup found = dns_lookup("mx.test", DNS_MX, &r);
    bool good = found == LOOKUP_FOUND && r.count == 1 && strcmp(r.records[0].name, "mail.mx.test") == 0 &&
                r.records[0].preference == 10 && r.secure && r.ttl == 60 && strcmp(r.canonical, "mx.test") == 0;

    assert(found == r.status && (good || (found == LOOKUP_RETRY && r.count == 0 && r.why[0])));
    dns_reply_free(&r);
    return good;
}

static void test_addresses(void)
{
    static const struct {
        const char *host;
        int families;
        enum lookup found;
        size_t count;
        bool nxdomain;
    } rows[] = {
        { "two.test", DNS_IPV4 | DNS_IPV6, LOOKUP_FOUND, 2, false },
        { "two.test", DNS_IPV4, LOOKUP_FOUND, 1, false },
        { "two.test", DNS_IPV6, LOOKUP_FOUND, 1, false },
        { "four.test", DNS_IPV4 | DNS_IPV6, LOOKUP_FOUND, 1, false },
        { "odd.test", DNS_IPV4 | DNS_IPV6, LOOKUP_FOUND, 1, false },
        { "four.test", DNS_IPV6, LOOKUP_NONE, 0, false },
        { "half.test", DNS_IPV4 | DNS_IPV6, LOOKUP_FOUND, 1, false }, /* one family is enough to go on */
        { "half.test", DNS_IPV4, LOOKUP_RETRY, 0, false },
        { "later4.test", DNS_IPV4 | DNS_IPV6, LOOKUP_RETRY, 0, false }, /* none of one, later of the other: later */
        { "later6.test", DNS_IPV4 | DNS_IPV6, LOOKUP_RETRY, 0, false },
        { "nowhere.test", DNS_IPV4 | DNS_IPV6, LOOKUP_NONE, 0, true },
        { "mx.test", DNS_IPV4 | DNS_IPV6, LOOKUP_NONE, 0, false },
        { "192.0.2.9", DNS_IPV4 | DNS_IPV6, LOOKUP_FOUND, 1, false }, /* not asked for */
        { "192.0.2.9", DNS_IPV6, LOOKUP_NONE, 0, false },
        { "::1", DNS_IPV6, LOOKUP_FOUND, 1, false },
        { "::1", DNS_IPV4, LOOKUP_NONE, 0, false },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dns_reply r;
        unsigned before = peer.requests;
        enum lookup found = dns_addresses(rows[i].host, rows[i].families, &r);

        if (found != rows[i].found || r.count != rows[i].count || r.nxdomain != rows[i].nxdomain ||
            r.status != found) {
            fprintf(stderr, "%s %d: %d, %zu records\n", rows[i].host, rows[i].families, (int) found, r.count);
            abort();
        }
        assert(strchr(rows[i].host, 't') != NULL || peer.requests == before);
        for (size_t n = 0; n < r.count; n++)
            assert(r.records[n].data.len == (r.records[n].type == DNS_A ? 4 : 16));
        dns_reply_free(&r);
    }
}

static void test_peer_names(void)
{
    static const struct {
        const char *address;
        enum lookup reverse, forward;
        const char *name;
    } rows[] = {
        { "192.0.2.1", LOOKUP_FOUND, LOOKUP_FOUND, "client.test" },
        { "192.0.2.2", LOOKUP_FOUND, LOOKUP_NONE, "client.test" },
        { "192.0.2.3", LOOKUP_RETRY, LOOKUP_RETRY, "unknown" },
        { "192.0.2.4", LOOKUP_NONE, LOOKUP_NONE, "unknown" },
        { "192.0.2.5", LOOKUP_FOUND, LOOKUP_RETRY, "half.test" },
        { "192.0.2.6", LOOKUP_FOUND, LOOKUP_NONE, "nowhere.test" },
        { "192.0.2.7", LOOKUP_NONE, LOOKUP_NONE, "unknown" },
        { "2001:db8::1", LOOKUP_FOUND, LOOKUP_FOUND, "six.test" },
        { "::ffff:192.0.2.1", LOOKUP_FOUND, LOOKUP_FOUND, "client.test" },
    };
    struct dns_peer p;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sockaddr_in a4 = { .sin_family = AF_INET };
        struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
        bool six = inet_pton(AF_INET, rows[i].address, &a4.sin_addr) != 1;

        assert(!six || inet_pton(AF_INET6, rows[i].address, &a6.sin6_addr) == 1);
        dns_peer_name(six ? (struct sockaddr *) &a6 : (struct sockaddr *) &a4, six ? sizeof a6 : sizeof a4, &p);
        if (p.reverse != rows[i].reverse || p.forward != rows[i].forward ||
            strcmp(p.reverse_name, rows[i].name) != 0) {
            fprintf(stderr, "%s: %d %d %s\n", rows[i].address, (int) p.reverse, (int) p.forward, p.reverse_name);
            abort();
        }
    }
    dns_peer_name(NULL, 0, &p);
    assert(p.reverse == LOOKUP_NONE && strcmp(p.reverse_name, "unknown") == 0);
    struct sockaddr_in cut = { .sin_family = AF_INET };
    assert(inet_pton(AF_INET, "192.0.2.1", &cut.sin_addr) == 1);
    dns_peer_name((struct sockaddr *) &cut, sizeof cut - 1, &p);
    assert(p.reverse == LOOKUP_NONE);
}

/* Records as they stand on the wire; the reader takes nothing that is not whole. */
static void test_wire(void)
{
    static const struct {
        const char *status;
        const char *record;
        size_t len;
        int rc;
    } rows[] = {
        { "found", "\0\x0f\0\1\0\0\0\0\1a", 10, 0 },
        { "found", "\0\x0f\0\1\0\0\0\0\0", 9, 0 }, /* null MX */
        { "found", "\0\x0f\0\1\0\0\0\0", 8, -1 },
        { "found", "\0\x0f\0\1\0\0\0\0\2a", 10, -1 }, /* a name past the end */
        { "found", "\0\1\0\0\0\0\0\0\0\x7f\0\0\1", 13, 0 },
        { "found", "\0\1\0\0\0\0\0\0\0\x7f\0\0", 12, -1 }, /* an address of three bytes */
        { "found", "\0\x1c\0\0\0\0\0\0\0\x7f\0\0\1", 13, -1 },
        { "maybe", NULL, 0, -1 },
        { "none", NULL, 0, 0 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct msg *m = msg_new(rows[i].status);
        struct dns_reply r = { .arena = arena_new() };

        msg_put_num(m, "nxdomain", 0);
        msg_put_num(m, "secure", 0);
        msg_put_num(m, "ttl", 1);
        msg_put_str(m, "canonical", "x");
        msg_put_str(m, "why", "");
        if (rows[i].record)
            msg_put(m, "record", slice_make(rows[i].record, rows[i].len));
        if (dns_wire_read(m, &r) != rows[i].rc) {
            fprintf(stderr, "wire row %zu\n", i);
            abort();
        }
        msg_free(&m);
        dns_reply_free(&r);
    }
    /* More records than a reply may hold. */
    struct msg *m = msg_new("found");
    struct dns_reply r = { .arena = arena_new() };
    msg_put_num(m, "nxdomain", 0);
    msg_put_num(m, "secure", 0);
    msg_put_num(m, "ttl", 1);
    msg_put_str(m, "canonical", "x");
    msg_put_str(m, "why", "");
    for (int i = 0; i <= DNS_RECORDS; i++)
        msg_put(m, "record", slice_make(rows[0].record, rows[0].len));
    assert(dns_wire_read(m, &r) == -1);
    msg_free(&m);
    dns_reply_free(&r);
}

static void test(void *unused)
{
    (void) unused;
    peer_init("private/resolver", DNS_PROTOCOL, DNS_PROTOCOL_VERSION, right);
    peer_faults(ask, true);
    test_addresses();
    test_peer_names();
    test_wire();
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
