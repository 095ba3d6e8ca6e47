/* net - addresses in network byte order; the host bits of a network must be null, as Postfix wants it */
#include "table/net.h"

#include <arpa/inet.h>

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
enum { MAPPED_BITS = sizeof mapped * 8 };

/* An IPv4 address written as an IPv6 one is an IPv4 address; *was_mapped tells that it was. */
static int read_address(struct slice s, struct net *out, bool *was_mapped)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct net n = { .bytes = 4 };

    *was_mapped = false;
    if (s.len > 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
        s = slice_sub(s, 1, s.len - 2);
    if (s.len >= sizeof text || s.len == 0 || memchr(s.p, 0, s.len))
        return -1;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    if (inet_pton(AF_INET, text, n.addr) != 1) {
        n.bytes = 16;
        if (inet_pton(AF_INET6, text, n.addr) != 1)
            return -1;
        if (memcmp(n.addr, mapped, sizeof mapped) == 0) {
            memmove(n.addr, n.addr + 12, 4);
            memset(n.addr + 4, 0, 12);
            n.bytes = 4;
            *was_mapped = true;
        }
    }
    n.bits = (int) n.bytes * 8;
    *out = n;
    return 0;
}

int net_address(struct slice s, struct net *out)
{
    bool was_mapped;

    return read_address(s, out, &was_mapped);
}

static void clear_host(struct net *n)
{
    for (size_t i = 0; i < n->bytes; i++) {
        int keep = n->bits - (int) i * 8;
        n->addr[i] = (unsigned char) (n->addr[i] & (keep >= 8 ? 0xff : keep <= 0 ? 0 : 0xff << (8 - keep)));
    }
}

int net_parse(struct slice s, struct net *out, struct err *err)
{
    ptrdiff_t slash = slice_rfind(s, '/');
    struct slice host = slash < 0 ? s : slice_sub(s, 0, (size_t) slash);
    struct net n, clean;
    uint64_t bits, before;
    bool was_mapped;

    if (read_address(host, &n, &was_mapped) < 0)
        return err_set(err, 0, NULL, "bad address pattern: \"%.*s\"", (int) (s.len > 100 ? 100 : s.len), s.p);
    if (slash >= 0) {
        before = was_mapped ? MAPPED_BITS : 0; /* [::ffff:127.0.0.0]/104 is 127.0.0.0/8 */
        if (slice_u64(slice_sub(s, (size_t) slash + 1, s.len), before + n.bytes * 8, &bits) < 0 || bits < before)
            return err_set(err, 0, NULL, "bad net/mask pattern: \"%.*s\"", (int) (s.len > 100 ? 100 : s.len), s.p);
        n.bits = (int) (bits - before);
    }
    clean = n;
    clear_host(&clean);
    if (memcmp(clean.addr, n.addr, n.bytes) != 0) {
        char text[INET6_ADDRSTRLEN];
        inet_ntop(n.bytes == 4 ? AF_INET : AF_INET6, clean.addr, text, sizeof text);
        return err_set(err, 0, NULL,
                       "non-null host address bits in \"%.*s\", perhaps you should use \"%s/%d\" instead",
                       (int) s.len, s.p, text, n.bits);
    }
    *out = n;
    return 0;
}

bool net_holds(const struct net *network, const struct net *address)
{
    struct net a = *address;

    if (a.bytes != network->bytes)
        return false;
    a.bits = network->bits;
    clear_host(&a);
    return memcmp(a.addr, network->addr, a.bytes) == 0;
}
