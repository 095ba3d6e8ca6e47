/* dns message - reads a packet record by record; contract in message.h */
#include "proto/dns/message.h"

enum { HEADER_BYTES = 12, POINTERS_MAX = 64, CNAMES_MAX = 16 };

struct cursor {
    const unsigned char *p;
    size_t len, at;
    bool bad;
};

static unsigned get16(struct cursor *c)
{
    if (c->len - c->at < 2) {
        c->bad = true;
        return 0;
    }
    c->at += 2;
    return (unsigned) c->p[c->at - 2] << 8 | c->p[c->at - 1];
}

static uint32_t get32(struct cursor *c)
{
    uint32_t high = get16(c);

    return high << 16 | get16(c);
}

/* 0: a usable name; 1: well-formed but not writable as text; -1: malformed. Lower case, no final dot. */
static int get_name(struct cursor *c, char out[DNS_NAME_BYTES])
{
    size_t at = c->at, len = 0;
    bool jumped = false, odd = false;

    for (int pointers = 0;;) {
        if (at >= c->len)
            return -1;
        unsigned n = c->p[at++];
        if ((n & 0xc0) == 0xc0) {
            if (at >= c->len || ++pointers > POINTERS_MAX)
                return -1;
            size_t to = (size_t) (n & 0x3f) << 8 | c->p[at++];
            if (!jumped)
                c->at = at;
            jumped = true;
            at = to;
            continue;
        }
        if (n & 0xc0 || n > c->len - at)
            return -1;
        if (n == 0)
            break;
        if (len + n + 2 > DNS_NAME_BYTES - 2)
            return -1;
        if (len)
            out[len++] = '.';
        for (unsigned i = 0; i < n; i++) {
            char b = ascii_lower((char) c->p[at + i]);
            if (b <= ' ' || b >= 127 || b == '.')
                odd = true;
            out[len++] = b;
        }
        at += n;
    }
    if (!jumped)
        c->at = at;
    out[len] = 0;
    return odd ? 1 : 0;
}

static void add_text(struct cursor c, size_t end, struct arena *arena, struct dns_record *r)
{
    char text[DNS_DATA_BYTES];
    size_t len = 0;

    while (c.at < end) {
        size_t n = c.p[c.at++];
        if (n > end - c.at)
            n = end - c.at;
        size_t keep = n < sizeof text - len ? n : sizeof text - len;
        memcpy(text + len, c.p + c.at, keep);
        len += keep;
        c.at += n;
    }
    r->data = slice_make(arena_strndup(arena, text, len), len);
}

/* Fills *r from the rdata at c: false when it is of no use to anybody. */
static bool read_rdata(struct cursor c, unsigned type, size_t rdlen, struct arena *arena, struct dns_record *r)
{
    char name[DNS_NAME_BYTES];
    size_t end = c.at + rdlen;

    *r = (struct dns_record){ .type = (uint16_t) type, .name = "" };
    switch (type) {
    case DNS_A:
    case DNS_AAAA:
    case DNS_TLSA:
        if (type == DNS_TLSA ? rdlen < 4 || rdlen > DNS_DATA_BYTES : rdlen != (type == DNS_A ? 4u : 16u))
            return false;
        r->data = slice_make(arena_strndup(arena, (const char *) c.p + c.at, rdlen), rdlen);
        return true;
    case DNS_TXT: add_text(c, end, arena, r); return true;
    case DNS_SRV:
        r->preference = (uint16_t) get16(&c);
        r->weight = (uint16_t) get16(&c);
        r->port = (uint16_t) get16(&c);
        break;
    case DNS_MX: r->preference = (uint16_t) get16(&c); break;
    default: break;
    }
    if (c.bad || get_name(&c, name) != 0 || c.at != end)
        return false;
    r->name = arena_strdup(arena, name);
    return true;
}

struct answer {
    char owner[DNS_NAME_BYTES];
    unsigned type;
    uint32_t ttl;
    struct cursor rdata;
    size_t rdlen;
};

static int next_answer(struct cursor *c, struct answer *a)
{
    int rc = get_name(c, a->owner);

    if (rc < 0)
        return -1;
    if (rc > 0)
        a->owner[0] = 0;
    a->type = get16(c);
    (void) get16(c);
    a->ttl = get32(c);
    a->rdlen = get16(c);
    if (c->bad || a->rdlen > c->len - c->at)
        return -1;
    a->rdata = *c;
    c->at += a->rdlen;
    return 0;
}

/* Where the chain of CNAMEs from `name` ends. Records may stand in any order, so every step looks at all. */
static int follow_cnames(struct cursor answers, unsigned count, char name[DNS_NAME_BYTES], uint32_t *ttl)
{
    for (int step = 0; step < CNAMES_MAX; step++) {
        struct cursor c = answers;
        bool moved = false;
        for (unsigned i = 0; i < count && !moved; i++) {
            struct answer a;
            if (next_answer(&c, &a) < 0)
                return -1;
            if (a.type == DNS_CNAME && strcmp(a.owner, name) == 0) {
                struct cursor target = a.rdata;
                if (get_name(&target, name) != 0)
                    return -1;
                if (a.ttl < *ttl)
                    *ttl = a.ttl;
                moved = true;
            }
        }
        if (!moved)
            return 0;
    }
    return -1;
}

int dns_message_parse(struct slice packet, struct arena *arena, struct dns_message *out)
{
    struct cursor c = { (const unsigned char *) packet.p, packet.len, 0, false };
    char name[DNS_NAME_BYTES];
    unsigned flags, questions, answers, type;
    uint32_t ttl = UINT32_MAX;
    struct dns_record *records;
    size_t count = 0;

    if (packet.len < HEADER_BYTES)
        return -1;
    (void) get16(&c);
    flags = get16(&c);
    questions = get16(&c);
    answers = get16(&c);
    c.at = HEADER_BYTES;
    if (!(flags & 0x8000) || questions != 1 || get_name(&c, name) != 0)
        return -1;
    type = get16(&c);
    (void) get16(&c);
    if (c.bad || (type != DNS_CNAME && follow_cnames(c, answers, name, &ttl) < 0))
        return -1;
    records = arena_alloc(arena, DNS_RECORDS * sizeof *records);
    for (unsigned i = 0; i < answers; i++) {
        struct answer a;
        if (next_answer(&c, &a) < 0)
            return -1;
        if (a.type != type || strcmp(a.owner, name) != 0 || count == DNS_RECORDS ||
            !read_rdata(a.rdata, a.type, a.rdlen, arena, &records[count]))
            continue;
        count++;
        if (a.ttl < ttl)
            ttl = a.ttl;
    }
    *out = (struct dns_message){ .rcode = (int) (flags & 15),
                                 .ttl = count ? ttl : 0,
                                 .canonical = arena_strdup(arena, name),
                                 .count = count,
                                 .records = records };
    return 0;
}

void dns_reverse_name(const unsigned char *addr, size_t len, struct str *out)
{
    if (len == 4) {
        str_printf(out, "%u.%u.%u.%u.in-addr.arpa", addr[3], addr[2], addr[1], addr[0]);
        return;
    }
    for (size_t i = len; i > 0; i--)
        str_printf(out, "%x.%x.", addr[i - 1] & 15, addr[i - 1] >> 4);
    str_adds(out, "ip6.arpa");
}
