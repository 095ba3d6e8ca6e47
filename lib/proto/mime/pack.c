/*
 * pack - a tree of parts without its strings, as bytes for the store's index
 *
 * Callers     lib/store
 * Invariants  unpacking trusts nothing: every number is bounded, depth and count as when parsing
 * Units       little endian base 128; a part is kind, children, start, six sizes
 */
#include "proto/mime/part.h"

static void put(struct str *out, uint64_t n)
{
    for (; n > 127; n >>= 7)
        str_addc(out, (char) (n | 0x80));
    str_addc(out, (char) n);
}

void mime_part_pack(const struct mime_part *part, struct str *out)
{
    uint64_t children = 0;

    for (const struct mime_part *c = part->child; c; c = c->next)
        children++;
    put(out, (uint64_t) part->kind);
    put(out, children);
    put(out, part->start);
    put(out, part->header.physical);
    put(out, part->header.virtual);
    put(out, part->header.lines);
    put(out, part->body.physical);
    put(out, part->body.virtual);
    put(out, part->body.lines);
    for (const struct mime_part *c = part->child; c; c = c->next)
        mime_part_pack(c, out);
}

struct unpacker {
    const unsigned char *p, *end;
    struct arena *arena;
    size_t parts;
    bool bad;
};

static uint64_t get(struct unpacker *u, uint64_t max)
{
    uint64_t n = 0;

    for (unsigned shift = 0; shift < 63; shift += 7) {
        if (u->p >= u->end)
            break;
        n |= (uint64_t) (*u->p & 0x7f) << shift;
        if ((*u->p++ & 0x80) == 0) {
            if (n <= max)
                return n;
            break;
        }
    }
    u->bad = true;
    return 0;
}

static struct mime_part *unpack(struct unpacker *u, struct mime_part *parent, size_t depth)
{
    struct mime_part *part = arena_alloc(u->arena, sizeof *part), **tail = &part->child;
    const uint64_t big = INT64_MAX;

    part->parent = parent;
    part->kind = (enum mime_kind) get(u, MIME_MESSAGE);
    uint64_t children = get(u, MIME_PARTS_MAX);
    part->start = get(u, big);
    part->header.physical = get(u, big);
    part->header.virtual = get(u, big);
    part->header.lines = (uint32_t) get(u, UINT32_MAX);
    part->body.physical = get(u, big);
    part->body.virtual = get(u, big);
    part->body.lines = (uint32_t) get(u, UINT32_MAX);
    u->bad |= ++u->parts > MIME_PARTS_MAX || depth > MIME_DEPTH_MAX;
    for (; children && !u->bad; children--) {
        *tail = unpack(u, part, depth + 1);
        tail = &(*tail)->next;
    }
    return part;
}

struct mime_part *mime_part_unpack(struct slice packed, struct arena *a)
{
    struct unpacker u = { (const unsigned char *) packed.p, (const unsigned char *) packed.p + packed.len, a, 0,
                          false };
    struct mime_part *root = unpack(&u, NULL, 0);

    return u.bad || u.p != u.end ? NULL : root;
}
