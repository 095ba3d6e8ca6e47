/*
 * address - the keys of an address, a domain and a host address, in Postfix's order
 */
#include "base/mem.h"
#include "conf/param.h"
#include "proto/addr/addr.h"
#include "table/match.h"
#include "table/internal.h"

#include <stdlib.h>

/* Keys of tables that authd/proxymap looks up are gathered and asked in one question; all others one by one. */
struct query {
    struct maps *maps;
    struct str *out, key; /* key: the one that is built, at last the one that was found */
    enum lookup answer;
    struct slice address, ext, found_ext; /* ext goes with the keys that are built now */
    bool together;
    char *gathered[MAPS_KEYS];
    struct slice gathered_ext[MAPS_KEYS];
    size_t count;
};

static bool ended(struct query *q) { return q->answer != LOOKUP_NONE; }

/* Asks for what was gathered; true ends the search. */
static bool ask_gathered(struct query *q)
{
    size_t at = 0;

    if (q->count == 0)
        return ended(q);
    q->answer = maps_find_first(q->maps, (const char *const *) q->gathered, q->count, q->out, &at);
    if (q->answer == LOOKUP_FOUND) {
        str_set(&q->key, q->gathered[at]);
        q->found_ext = q->gathered_ext[at];
    }
    for (size_t i = 0; i < q->count; i++)
        free(q->gathered[i]);
    q->count = 0;
    return ended(q);
}

/* Asks for what is in q->key, now or later; true ends the search. */
static bool ask(struct query *q, bool partial)
{
    if (q->key.len == 0)
        return false; /* nobody's key */
    if (q->together) {
        if (q->count == MAPS_KEYS && ask_gathered(q))
            return true;
        q->gathered_ext[q->count] = q->ext;
        q->gathered[q->count++] = mem_strdup(q->key.p);
        return false;
    }
    q->answer = maps_find(q->maps, q->key.p, partial, q->out);
    q->found_ext = q->ext;
    return ended(q);
}

/* local@domain, first with the local part quoted as SMTP writes it, where that differs. */
static bool ask_address(struct query *q, struct slice local, struct slice domain, bool at, bool partial)
{
    str_reset(&q->key);
    if (local.len) /* "@domain" has no local part; it is not the address ""@domain */
        addr_quote_local(&q->key, local);
    bool same = slice_same(str_slice(&q->key), local);
    if (at)
        str_addc(&q->key, '@');
    str_addslice(&q->key, domain);
    if (ask(q, partial))
        return true;
    if (same)
        return false;
    str_reset(&q->key);
    str_addslice(&q->key, local);
    if (at)
        str_addc(&q->key, '@');
    str_addslice(&q->key, domain);
    return ask(q, partial);
}

static bool ask_domain(struct query *q, struct slice name, unsigned keys, bool partial)
{
    ptrdiff_t dot;

    str_reset(&q->key);
    str_addslice(&q->key, name);
    if (ask(q, partial))
        return true;
    if (!(keys & (MAPS_PARENT | MAPS_DOT_PARENT)) || (name.len && name.p[0] == '['))
        return false;
    while ((dot = slice_find(slice_sub(name, 1, name.len), '.')) >= 0) {
        name = slice_sub(name, (size_t) dot + 1, name.len); /* begins with the dot */
        str_reset(&q->key);
        str_addslice(&q->key, keys & MAPS_PARENT ? slice_sub(name, 1, name.len) : name);
        if (ask(q, true))
            return true;
    }
    return false;
}

/* Is mail for this domain local, so that the local part alone is a key? */
static enum lookup local_domain(struct slice domain)
{
    char text[ADDR_BYTES + 1];

    if (slice_caseeq(domain, conf_myorigin))
        return LOOKUP_FOUND;
    if (domain.len > ADDR_BYTES)
        return LOOKUP_NONE;
    memcpy(text, domain.p, domain.len);
    text[domain.len] = 0;
    return match_local(text);
}

static bool ask_local_part(struct query *q, struct slice local, struct slice base, bool extended, bool at)
{
    return ask_address(q, local, SLICE(""), at, true) || (extended && ask_address(q, base, SLICE(""), at, true));
}

/* Tables among the local domains cost questions of their own: only where the keys before found nothing. */
static bool ask_local_parts(struct query *q, struct slice local, struct slice domain, struct slice base,
                            bool extended, unsigned keys)
{
    enum lookup here;

    if (!match_local_is_plain() && ask_gathered(q))
        return true;
    here = local_domain(domain);
    if (here == LOOKUP_RETRY && !ask_gathered(q))
        q->answer = LOOKUP_RETRY;
    if (here != LOOKUP_FOUND)
        return ended(q);
    return (keys & MAPS_LOCALPART_IF_LOCAL && ask_local_part(q, local, base, extended, false)) ||
           (keys & MAPS_LOCALPART_AT_LOCAL && ask_local_part(q, local, base, extended, true));
}

static void search(struct query *q, unsigned keys)
{
    struct slice local = q->address, domain = { "", 0 }, base, tail;
    bool has_domain = addr_split(q->address, &local, &domain), extended;
    struct slice none = { "", 0 }, ext = none;

    extended = addr_split_extension(local, conf_recipient_delimiter, true, &base, &tail);
    if (extended)
        ext = slice_sub(local, base.len, local.len);
    if (keys & MAPS_FULL && ask_address(q, local, domain, has_domain, false))
        return;
    q->ext = ext;
    if (keys & MAPS_NOEXT && extended && ask_address(q, base, domain, has_domain, true))
        return;
    if (has_domain && keys & (MAPS_LOCALPART_IF_LOCAL | MAPS_LOCALPART_AT_LOCAL) &&
        ask_local_parts(q, local, domain, base, extended, keys))
        return;
    q->ext = none;
    if (has_domain && keys & MAPS_AT_DOMAIN && ask_address(q, SLICE(""), domain, true, true))
        return;
    if (has_domain && keys & MAPS_DOMAIN && ask_domain(q, domain, keys, true))
        return;
    if (keys & MAPS_LOCALPART_AT)
        ask_local_part(q, local, base, extended, true);
}

/* The key that matched held the whole local part, extension included. */
static bool whole_matched(const struct query *q, struct slice address)
{
    struct slice local, domain;
    struct str quoted;
    bool whole;

    addr_split(address, &local, &domain);
    str_init(&quoted, STR_UNLIMITED);
    addr_quote_local(&quoted, local);
    whole = slice_starts(str_slice(&q->key), quoted.p) ||
            (q->key.len >= local.len && slice_same(slice_sub(str_slice(&q->key), 0, local.len), local));
    str_free(&quoted);
    return whole;
}

/* maps, out and address are borrowed; free with query_end. */
static void query_begin(struct query *q, struct maps *m, const char *address, struct str *out)
{
    *q = (struct query){ .maps = m,
                         .out = out,
                         .answer = LOOKUP_NONE,
                         .address = slice_of(address),
                         .ext = { "", 0 },
                         .found_ext = { "", 0 },
                         .together = maps_together(m) };
    str_init(&q->key, STR_UNLIMITED);
}

static enum lookup query_end(struct query *q)
{
    if (!ended(q))
        ask_gathered(q);
    str_free(&q->key);
    return q->answer;
}

enum lookup maps_address(struct maps *m, const char *address, unsigned keys, struct str *out, struct slice *ext)
{
    struct query q;

    if (ext)
        *ext = (struct slice){ "", 0 };
    if (maps_empty(m) || *address == 0)
        return LOOKUP_NONE;
    query_begin(&q, m, address, out);
    search(&q, keys);
    if (!ended(&q))
        ask_gathered(&q);
    if (ext && q.answer == LOOKUP_FOUND && q.found_ext.len && !whole_matched(&q, q.address))
        *ext = q.found_ext;
    return query_end(&q);
}

enum lookup maps_domain(struct maps *m, const char *name, unsigned keys, struct str *out)
{
    struct query q;

    if (maps_empty(m) || *name == 0)
        return LOOKUP_NONE;
    query_begin(&q, m, name, out);
    ask_domain(&q, q.address, keys, false);
    return query_end(&q);
}

enum lookup maps_host_address(struct maps *m, const char *address, struct str *out)
{
    char separator = strchr(address, ':') ? ':' : '.';
    struct query q;
    ptrdiff_t at;

    if (maps_empty(m) || *address == 0)
        return LOOKUP_NONE;
    query_begin(&q, m, address, out);
    str_adds(&q.key, address);
    if (!ask(&q, false))
        while ((at = slice_rfind(str_slice(&q.key), separator)) > 0) {
            str_cut(&q.key, (size_t) at);
            if (ask(&q, true))
                break;
        }
    return query_end(&q);
}
