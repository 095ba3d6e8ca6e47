/*
 * transport - transport_maps: what overrides the transport and next hop of an address class
 *
 * Keys: user+ext@domain, user@domain, domain, its parents, "*". A result "transport:nexthop" replaces both,
 * "transport:" resets the next hop to the domain, ":nexthop" replaces the next hop, ":" changes nothing.
 */
#include "proto/addr/addr.h"
#include "rewrite_internal.h"
#include "table/table.h"

static struct maps *maps;
static unsigned parents;

void rewrite_transport_open(void)
{
    maps = maps_new("transport_maps", conf_transport_maps, TABLE_FOLD);
    parents = maps_parent_style("transport_maps");
}

void rewrite_split(struct slice value, struct slice *transport, struct slice *nexthop)
{
    ptrdiff_t colon = slice_find(value, ':');

    *transport = slice_sub(value, 0, colon < 0 ? value.len : (size_t) colon);
    *nexthop = slice_sub(value, transport->len + 1, value.len);
}

static void apply(struct slice value, struct slice domain, struct str *transport, struct str *nexthop)
{
    struct slice new_transport, new_nexthop;

    rewrite_split(slice_trim(value), &new_transport, &new_nexthop);
    new_nexthop = slice_trim(new_nexthop);
    if (new_transport.len) {
        str_reset(transport);
        str_addslice(transport, new_transport);
        if (new_nexthop.len == 0)
            new_nexthop = slice_eq(new_transport, conf_error_service_name) || slice_eq(new_transport, "retry")
                              ? SLICE("Address is undeliverable")
                              : domain;
    }
    if (new_nexthop.len) {
        str_reset(nexthop);
        str_addslice(nexthop, new_nexthop);
    }
}

/* The domain and its parents are parts of the address: tables of patterns saw the whole already. */
static enum lookup find_domain(struct slice name, struct str *value)
{
    enum lookup answer = LOOKUP_NONE;
    char key[ADDR_BYTES + 1];

    while (answer == LOOKUP_NONE && name.len && name.len < sizeof key) {
        ptrdiff_t dot;
        memcpy(key, name.p, name.len);
        key[name.len] = 0;
        answer = maps_find(maps, key, true, value);
        dot = slice_find(slice_sub(name, 1, name.len), '.');
        if (dot < 0)
            break;
        name = slice_sub(name, (size_t) dot + (parents == MAPS_PARENT ? 2 : 1), name.len);
    }
    return answer;
}

enum lookup rewrite_transport(const char *recipient, struct slice domain, struct str *transport, struct str *nexthop)
{
    struct str value;
    enum lookup answer;

    if (maps_empty(maps))
        return LOOKUP_NONE;
    str_init(&value, TABLE_VALUE_BYTES);
    answer = maps_address(maps, recipient, MAPS_FULL | MAPS_NOEXT, &value, NULL);
    if (answer == LOOKUP_NONE)
        answer = find_domain(domain, &value);
    if (answer == LOOKUP_NONE)
        answer = maps_find(maps, "*", true, &value);
    if (answer == LOOKUP_FOUND)
        apply(str_slice(&value), domain, transport, nexthop);
    str_free(&value);
    return answer;
}
