/*
 * address - the keys of an address, a domain and a host address, in Postfix's order
 */
#include "conf/param.h"
#include "proto/addr/addr.h"
#include "table/match.h"
#include "table/table.h"

struct query {
    struct maps *maps;
    struct str *out, key;
    enum lookup answer;
};

/* Asks for what is in q->key; true ends the search. */
static bool ask(struct query *q, bool partial)
{
    q->answer = maps_find(q->maps, q->key.p, partial, q->out);
    return q->answer != LOOKUP_NONE;
}

/* local@domain, first with the local part quoted as SMTP writes it, where that differs. */
static bool ask_address(struct query *q, struct slice local, struct slice domain, bool at, bool partial)
{
    str_reset(&q->key);
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

static void search(struct query *q, struct slice address, unsigned keys, struct slice *extension)
{
    struct slice local = address, domain = { "", 0 }, base, tail;
    bool has_domain = addr_split(address, &local, &domain), extended;
    struct slice ext = { "", 0 };

    *extension = ext;
    extended = addr_split_extension(local, conf_recipient_delimiter, true, &base, &tail);
    if (extended)
        ext = slice_sub(local, base.len, local.len);
    if (keys & MAPS_FULL && ask_address(q, local, domain, has_domain, false))
        return;
    *extension = ext;
    if (keys & MAPS_NOEXT && extended && ask_address(q, base, domain, has_domain, true))
        return;
    if (has_domain && keys & (MAPS_LOCALPART_IF_LOCAL | MAPS_LOCALPART_AT_LOCAL)) {
        enum lookup here = local_domain(domain);
        if (here == LOOKUP_RETRY) {
            q->answer = LOOKUP_RETRY;
            return;
        }
        if (here == LOOKUP_FOUND && keys & MAPS_LOCALPART_IF_LOCAL && ask_local_part(q, local, base, extended, false))
            return;
        if (here == LOOKUP_FOUND && keys & MAPS_LOCALPART_AT_LOCAL && ask_local_part(q, local, base, extended, true))
            return;
    }
    *extension = (struct slice){ "", 0 };
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

enum lookup maps_address(struct maps *m, const char *address, unsigned keys, struct str *out, struct slice *ext)
{
    struct query q = { .maps = m, .out = out, .answer = LOOKUP_NONE };
    struct slice extension = { "", 0 };

    if (ext)
        *ext = extension;
    if (maps_empty(m) || *address == 0)
        return LOOKUP_NONE;
    str_init(&q.key, STR_UNLIMITED);
    search(&q, slice_of(address), keys, &extension);
    if (ext && q.answer == LOOKUP_FOUND && extension.len && !whole_matched(&q, slice_of(address)))
        *ext = extension;
    str_free(&q.key);
    return q.answer;
}

enum lookup maps_domain(struct maps *m, const char *name, unsigned keys, struct str *out)
{
    struct query q = { .maps = m, .out = out, .answer = LOOKUP_NONE };

    if (maps_empty(m) || *name == 0)
        return LOOKUP_NONE;
    str_init(&q.key, STR_UNLIMITED);
    ask_domain(&q, slice_of(name), keys, false);
    str_free(&q.key);
    return q.answer;
}

enum lookup maps_host_address(struct maps *m, const char *address, struct str *out)
{
    struct query q = { .maps = m, .out = out, .answer = LOOKUP_NONE };
    char separator = strchr(address, ':') ? ':' : '.';
    ptrdiff_t at;

    if (maps_empty(m) || *address == 0)
        return LOOKUP_NONE;
    str_init(&q.key, STR_UNLIMITED);
    str_adds(&q.key, address);
    if (!ask(&q, false))
        while ((at = slice_rfind(str_slice(&q.key), separator)) > 0) {
            str_cut(&q.key, (size_t) at);
            if (ask(&q, true))
                break;
        }
    str_free(&q.key);
    return q.answer;
}
