/*
 * resolve - transport, next hop and recipient of an address
 *
 * The local domain comes off the address first; what is left may hold another destination (user%elsewhere@here),
 * which is resolved in turn and marked as routed. Then the class of the domain gives transport and next hop,
 * transport_maps may override them, and relocated_maps may say that the user has moved.
 */
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "proto/addr/addr.h"
#include "rewrite_internal.h"
#include "table/match.h"
#include "table/table.h"

#include <stdlib.h>

enum {
    ROUTES_MAX = 100, /* destinations inside one address */
    DOMAINS_MAX = 1000,
};

/* What a domain is, asked of the lists once for all recipients of a message and those of the next moment. */
struct known {
    int64_t until_ms;
    enum rewrite_class class;
};
static struct map *known_domains; /* folded name -> struct known */

static struct match *alias_domains, *mailbox_domains, *relay_domains;
static struct maps *relayhost_maps, *default_transport_maps, *relocated_maps;

struct resolving {
    const char *sender;
    struct str address;   /* the recipient, as far as it is known */
    struct str local_end; /* the local domain that came off last */
    bool remote, routed, malformed;
    struct str transport, nexthop;
    enum rewrite_class class;
};

void rewrite_open(void)
{
    match_local_open();
    alias_domains = match_new("virtual_alias_domains", conf_virtual_alias_domains);
    mailbox_domains = match_new("virtual_mailbox_domains", conf_virtual_mailbox_domains);
    relay_domains = match_new("relay_domains", conf_relay_domains);
    relayhost_maps = maps_new("sender_dependent_relayhost_maps", rewrite_relayhost_maps, TABLE_FOLD);
    default_transport_maps = maps_new("sender_dependent_default_transport_maps", rewrite_default_transport_maps,
                                      TABLE_FOLD);
    relocated_maps = maps_new("relocated_maps", rewrite_relocated_maps, TABLE_FOLD);
    rewrite_transport_open();
}

static void strip_dot(struct str *a)
{
    if (a->len >= 2 && a->p[a->len - 1] == '.' && a->p[a->len - 2] != '.' && a->p[a->len - 2] != '@')
        str_cut(a, a->len - 1);
}

static bool has_route(const struct str *a)
{
    struct slice s = str_slice(a);

    return slice_find(s, '@') >= 0 || (rewrite_swap_bangpath && slice_find(s, '!') >= 0) ||
           (rewrite_percent_hack && slice_find(s, '%') >= 0);
}

/* Takes local domains off until a remote domain or a bare local part is left. */
static enum lookup strip_local(struct resolving *r)
{
    struct str *a = &r->address;

    for (int i = 0; a->len; i++) {
        ptrdiff_t at;
        if (i == ROUTES_MAX) {
            r->malformed = true;
            break;
        }
        strip_dot(a);
        at = slice_rfind(str_slice(a), '@');
        if (at >= 0 && (size_t) at + 1 == a->len && !rewrite_resolve_null_domain) {
            r->malformed = true;
            break;
        }
        if (at >= 0) {
            if ((size_t) at + 1 < a->len) {
                enum lookup here = match_local(a->p + at + 1);
                if (here == LOOKUP_RETRY)
                    return LOOKUP_RETRY;
                r->remote = here == LOOKUP_NONE;
                if (r->remote)
                    break;
            }
            str_set(&r->local_end, a->p + at + 1);
            str_cut(a, (size_t) at);
        }
        if (!has_route(a))
            break;
        rewrite_form(REWRITE_LOCAL, a);
        r->routed = true;
    }
    return LOOKUP_FOUND;
}

/* Is there another destination in the local part of a remote address? The next host might follow it. */
static bool route_for_others(const struct str *a)
{
    struct slice local, domain;

    return addr_split(str_slice(a), &local, &domain) &&
           (slice_find(local, '@') >= 0 || slice_find(local, '!') >= 0 || slice_find(local, '%') >= 0);
}

static void complete(struct resolving *r)
{
    if (r->remote) {
        r->routed = r->routed || route_for_others(&r->address);
        return;
    }
    if (r->address.len == 0)
        str_adds(&r->address, conf_empty_address_recipient);
    if (slice_find(str_slice(&r->address), '@') < 0)
        str_printf(&r->address, "@%s", r->local_end.len ? r->local_end.p : conf_myhostname);
}

static struct slice domain_of(const struct str *a)
{
    ptrdiff_t at = slice_rfind(str_slice(a), '@');

    return slice_sub(str_slice(a), (size_t) (at + 1), a->len);
}

static bool valid_domain(struct slice d)
{
    return d.len && (d.p[0] == '[' ? addr_literal_valid(d) : addr_domain_utf8_valid(d));
}

/* A value "transport:nexthop": the next hop counts where it is given. */
static void set_transport(struct resolving *r, const char *value)
{
    struct slice transport, nexthop;

    rewrite_split(slice_of(value), &transport, &nexthop);
    str_reset(&r->transport);
    str_addslice(&r->transport, transport);
    if (nexthop.len) {
        str_reset(&r->nexthop);
        str_addslice(&r->nexthop, nexthop);
    }
}

static void set_error(struct resolving *r, const char *text)
{
    str_set(&r->transport, conf_error_service_name);
    str_set(&r->nexthop, text);
}

static const char *sender_key(const struct resolving *r, const char *null_key)
{
    return *r->sender ? r->sender : null_key;
}

/* *out is the table's answer for the sender; empty where there is none, or DUNNO. */
static enum lookup of_sender(struct resolving *r, struct maps *maps, const char *null_key, struct str *out)
{
    enum lookup answer = maps_address(maps, sender_key(r, null_key), MAPS_ADDRESS, out, NULL);

    if (answer == LOOKUP_FOUND && slice_caseeq(str_slice(out), "DUNNO"))
        str_reset(out);
    return answer;
}

/* Mail for elsewhere: the class default, then the relay host of the sender or of all. */
static enum lookup off_host(struct resolving *r, const char *transport, bool by_sender)
{
    struct str host, own;
    enum lookup answer;

    str_init(&host, TABLE_VALUE_BYTES);
    str_init(&own, TABLE_VALUE_BYTES);
    answer = of_sender(r, relayhost_maps, rewrite_relayhost_null_key, &host);
    if (answer != LOOKUP_RETRY && by_sender)
        answer = of_sender(r, default_transport_maps, rewrite_default_transport_null_key, &own);
    if (answer != LOOKUP_RETRY) {
        if (host.len == 0)
            str_adds(&host, conf_relayhost);
        if (host.len)
            str_set(&r->nexthop, host.p);
        set_transport(r, own.len ? own.p : transport);
    }
    str_free(&host);
    str_free(&own);
    return answer == LOOKUP_RETRY ? LOOKUP_RETRY : LOOKUP_FOUND;
}

static enum lookup look_up_class(const char *domain, enum rewrite_class *out)
{
    enum lookup answer = match_string(alias_domains, domain);

    *out = REWRITE_CLASS_VIRTUAL_ALIAS;
    if (answer == LOOKUP_FOUND && match_string(mailbox_domains, domain) == LOOKUP_FOUND)
        log_warn("do not list domain %s in BOTH virtual_alias_domains and virtual_mailbox_domains", domain);
    if (answer != LOOKUP_NONE)
        return answer;
    *out = REWRITE_CLASS_VIRTUAL_MAILBOX;
    if ((answer = match_string(mailbox_domains, domain)) != LOOKUP_NONE)
        return answer;
    *out = REWRITE_CLASS_RELAY;
    if ((answer = match_domain(relay_domains, domain)) != LOOKUP_NONE)
        return answer;
    *out = REWRITE_CLASS_DEFAULT;
    return LOOKUP_FOUND;
}

/* The class of a domain that is not local. Remembered is only what a list said: a domain that stands in none may be
 * added the next moment, and its mail must not be refused then. */
static enum lookup class_of(const char *domain, enum rewrite_class *out)
{
    struct known *k = known_domains ? map_get(known_domains, slice_of(domain)) : NULL;
    enum lookup answer;

    if (k && k->until_ms > time_mono_ms()) {
        *out = k->class;
        return LOOKUP_FOUND;
    }
    answer = look_up_class(domain, out);
    if (answer != LOOKUP_FOUND || *out == REWRITE_CLASS_DEFAULT)
        return answer;
    if (known_domains == NULL)
        known_domains = map_new(DOMAINS_MAX, free);
    if (map_count(known_domains) == DOMAINS_MAX)
        map_clear(known_domains);
    k = mem_new(sizeof *k);
    *k = (struct known){ time_mono_ms() + REWRITE_CACHE_MS, *out };
    map_set(known_domains, slice_of(domain), k);
    return LOOKUP_FOUND;
}

static enum lookup classify(struct resolving *r, const char *domain)
{
    str_set(&r->nexthop, domain);
    if (!r->remote)
        r->class = REWRITE_CLASS_LOCAL;
    else if (class_of(domain, &r->class) != LOOKUP_FOUND)
        return LOOKUP_RETRY;
    switch (r->class) {
    case REWRITE_CLASS_LOCAL: set_transport(r, conf_local_transport); break;
    case REWRITE_CLASS_VIRTUAL_ALIAS:
        set_error(r, conf_show_user_unknown_table_name ? "5.1.1 User unknown in virtual alias table"
                                                       : "5.1.1 User unknown");
        break;
    case REWRITE_CLASS_VIRTUAL_MAILBOX: set_transport(r, conf_virtual_transport); break;
    case REWRITE_CLASS_RELAY: return off_host(r, conf_relay_transport, false);
    case REWRITE_CLASS_DEFAULT: return off_host(r, conf_default_transport, true);
    }
    return LOOKUP_FOUND;
}

static enum lookup moved(struct resolving *r)
{
    struct str where;
    enum lookup answer;

    str_init(&where, TABLE_VALUE_BYTES);
    answer = maps_address(relocated_maps, r->address.p, MAPS_ADDRESS, &where, NULL);
    if (answer == LOOKUP_FOUND) {
        set_error(r, "5.1.6 User has moved to ");
        str_adds(&r->nexthop, where.p);
    }
    str_free(&where);
    return answer;
}

static enum lookup route(struct resolving *r)
{
    struct slice domain;
    struct str text;
    enum lookup answer;

    if (strip_local(r) == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    complete(r);
    domain = domain_of(&r->address);
    r->class = r->remote ? REWRITE_CLASS_DEFAULT : REWRITE_CLASS_LOCAL;
    if (r->malformed || !valid_domain(domain) || domain.len + 1 >= r->address.len) {
        set_error(r, "5.1.3 bad address syntax");
        return LOOKUP_FOUND;
    }
    str_init(&text, STR_UNLIMITED);
    addr_fold(&text, domain);
    answer = classify(r, text.p);
    str_free(&text);
    if (answer != LOOKUP_RETRY)
        answer = rewrite_transport(r->address.p, domain, &r->transport, &r->nexthop);
    if (answer != LOOKUP_RETRY)
        answer = moved(r);
    if (answer == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    if (r->transport.len == 0 || r->nexthop.len == 0) {
        log_warn("no transport or next hop for %s: look at transport_maps and the *_transport parameters",
                 r->address.p);
        return LOOKUP_RETRY;
    }
    return LOOKUP_FOUND;
}

enum lookup rewrite_route_of(const char *sender, const char *address, struct arena *arena, struct rewrite_route *out)
{
    struct resolving r = { .sender = sender };
    enum lookup answer;

    str_init(&r.address, STR_UNLIMITED);
    str_init(&r.local_end, STR_UNLIMITED);
    str_init(&r.transport, STR_UNLIMITED);
    str_init(&r.nexthop, STR_UNLIMITED);
    str_set(&r.address, address);
    answer = route(&r);
    if (answer == LOOKUP_FOUND)
        *out = (struct rewrite_route){
            .transport = arena_strdup(arena, r.transport.p),
            .nexthop = arena_strdup(arena, r.nexthop.p),
            .recipient = arena_strdup(arena, r.address.p),
            .class = r.class,
            .routed = r.routed,
            .error = strcmp(r.transport.p, conf_error_service_name) == 0,
        };
    str_free(&r.address);
    str_free(&r.local_end);
    str_free(&r.transport);
    str_free(&r.nexthop);
    return answer;
}
