/*
 * alias - tables that turn one address into others
 *
 * Callers     envelope.c, recipient.c, header.c
 * Invariants  an address that expands into itself stays; the limits of virtual_alias_* bound what one recipient costs
 * Errors      a table that cannot be asked fails the message for now (451): never an unexpanded delivery
 */
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "message.h"
#include "proto/addr/addr.h"

void addresses_add(struct addresses *a, const char *address)
{
    if (a->count == a->room) {
        a->room = a->room ? 2 * a->room : 8;
        const char **grown = arena_alloc(a->arena, a->room * sizeof *grown);
        if (a->count)
            memcpy(grown, a->item, a->count * sizeof *grown);
        a->item = grown;
    }
    a->item[a->count++] = arena_strdup(a->arena, address);
}

/* "@dom" as a whole item of the result means: the same local part there. */
static void fill_in_local(struct str *out, struct slice result, const char *key)
{
    struct slice local, domain;
    bool quoted = false, start = true;

    addr_split(slice_of(key), &local, &domain);
    for (size_t i = 0; i < result.len; i++) {
        char c = result.p[i];
        if (start && c == '@')
            addr_quote_local(out, local);
        if (c == '"')
            quoted = !quoted;
        if (c == '\\' && i + 1 < result.len)
            str_addc(out, result.p[i++]);
        str_addc(out, result.p[i]);
        start = !quoted && (c == ',' || ascii_isspace(c));
    }
}

/* An extension that the key had not is put in again. */
static void add_extension(struct str *address, struct slice ext)
{
    struct slice local, domain;
    struct str out;

    str_init(&out, REWRITE_ADDRESS_BYTES);
    bool qualified = addr_split(str_slice(address), &local, &domain);
    str_addslice(&out, local);
    str_addslice(&out, ext);
    if (qualified) {
        str_addc(&out, '@');
        str_addslice(&out, domain);
    }
    str_reset(address);
    str_addslice(address, str_slice(&out));
    str_free(&out);
}

static enum lookup read_result(const char *key, struct slice result, struct slice ext, struct addresses *out)
{
    struct addr_item item;
    struct str text, internal, canonical;
    enum lookup answer = LOOKUP_NONE;

    str_init(&text, TABLE_VALUE_BYTES * 2);
    fill_in_local(&text, result, key);
    struct addr_list list = { .in = str_slice(&text) };
    str_init(&internal, REWRITE_ADDRESS_BYTES);
    str_init(&canonical, REWRITE_ADDRESS_BYTES);
    while (answer != LOOKUP_RETRY && addr_list_next(&list, &item, &internal)) {
        if (item.kind != ADDR_MAILBOX || internal.len == 0)
            continue;
        if (ext.len)
            add_extension(&internal, ext);
        str_reset(&canonical);
        answer = rewrite_canonical(REWRITE_LOCAL, internal.p, &canonical);
        if (answer == LOOKUP_FOUND)
            addresses_add(out, canonical.p);
    }
    str_free(&internal);
    str_free(&canonical);
    str_free(&text);
    return answer;
}

enum lookup alias_lookup(struct maps *maps, const char *address, bool propagate, struct addresses *out)
{
    struct str result;
    struct slice ext = { NULL, 0 };
    enum lookup answer;

    if (maps_empty(maps))
        return LOOKUP_NONE;
    str_init(&result, TABLE_VALUE_BYTES);
    answer = maps_address(maps, address, MAPS_ADDRESS, &result, &ext);
    if (answer == LOOKUP_FOUND) {
        if (!propagate)
            ext.len = 0;
        answer = read_result(address, str_slice(&result), ext, out);
        if (answer == LOOKUP_NONE) { /* a result without an address: a table in disorder must not lose the mail */
            log_warn("table entry for \"%s\" holds no address: \"%s\"", address, result.p);
            answer = LOOKUP_RETRY;
        }
    }
    str_free(&result);
    return answer;
}

static int refuse(struct message *m, const char *what, const char *address)
{
    log_warn("%s: %s for %s -- message not accepted, try again later", message_id(m), what, address);
    message_fail(m, 451, "4.6.0", "Alias expansion error");
    return -1;
}

/* One address of the list, until it expands no more; what it becomes besides is added behind. */
static int expand_one(struct message *m, struct addresses *list, size_t at, struct map *final, const char *address)
{
    for (int64_t count = 0; map_get(final, slice_of(list->item[at])) == NULL; count++) {
        struct addresses found = { .arena = m->arena };
        const char *from = list->item[at];

        if (count >= cleanup_alias_recursion_limit)
            return refuse(m, "unreasonable virtual_alias_maps map nesting", address);
        switch (alias_lookup(cleanup_maps.alias, from, cleanup_propagate_virtual, &found)) {
        case LOOKUP_NONE: return 0;
        case LOOKUP_RETRY: return refuse(m, "virtual_alias_maps map lookup problem", address);
        case LOOKUP_FOUND: break;
        }
        for (size_t i = 0; i < found.count; i++) {
            if (strlen(found.item[i]) > (size_t) cleanup_alias_length_limit)
                return refuse(m, "unreasonable virtual_alias_maps result length", address);
            if (addr_same(slice_of(from), slice_of(found.item[i])))
                map_set(final, slice_of(found.item[i]), list); /* it may become itself once */
            if (i == 0)
                list->item[at] = found.item[i];
            else
                addresses_add(list, found.item[i]);
            if (list->count > (size_t) cleanup_alias_expansion_limit)
                return refuse(m, "unreasonable virtual_alias_maps map expansion size", address);
        }
    }
    return 0;
}

int alias_expand(struct message *m, const char *address, struct addresses *out)
{
    struct map *final = map_new((size_t) cleanup_alias_expansion_limit + 1, NULL);
    int rc = 0;

    addresses_add(out, address);
    for (size_t i = 0; rc == 0 && i < out->count; i++)
        rc = expand_one(m, out, i, final, address);
    map_free(&final);
    return rc;
}
