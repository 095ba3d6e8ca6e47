/*
 * recipient - addresses in canonical form; recipients through their stages into the queue file
 *
 * Order       rewrite, recipient_canonical_maps, canonical_maps, masquerade, recipient_bcc_maps, virtual_alias_maps,
 *             duplicate filter
 * Callers     envelope.c, header.c
 */
#include "base/log.h"
#include "conf/param.h"
#include "message.h"
#include "proto/addr/addr.h"

#include <stdio.h>

/* The first address of a canonical table's answer; NULL after message_fail. */
static const char *map_one(struct message *m, struct maps *maps, const char *parameter, const char *address)
{
    struct addresses found = { .arena = m->arena };

    switch (alias_lookup(maps, address, cleanup_propagate_canonical, &found)) {
    case LOOKUP_FOUND: return found.item[0];
    case LOOKUP_NONE: return address;
    case LOOKUP_RETRY: break;
    }
    log_warn("%s: %s map lookup problem for %s -- message not accepted, try again later", message_id(m), parameter,
             address);
    message_fail(m, 451, "4.3.0", "Error: queue file write error");
    return NULL;
}

static const char *masquerade(struct message *m, const char *address)
{
    struct slice local, domain;
    const char *shorter;

    if (!addr_split(slice_of(address), &local, &domain))
        return address;
    shorter = cleanup_masquerade(arena_strndup(m->arena, local.p, local.len),
                                 arena_strndup(m->arena, domain.p, domain.len));
    return shorter ? arena_printf(m->arena, "%.*s@%s", (int) local.len, local.p, shorter) : address;
}

const char *address_canonical(struct message *m, const char *address, enum address_class class,
                              enum rewriting rewriting)
{
    struct str out;
    const char *a = address;

    if (*address == 0)
        return address; /* the null sender is nobody's alias */
    str_init(&out, REWRITE_ADDRESS_BYTES);
    if (rewriting != REWRITING_NONE) {
        if (rewrite_canonical(rewriting == REWRITING_LOCAL ? REWRITE_LOCAL : REWRITE_REMOTE, address, &out) !=
            LOOKUP_FOUND) {
            message_fail(m, 451, "4.3.0", "Error: queue file write error");
            a = NULL;
        } else {
            a = arena_strndup(m->arena, out.p, out.len);
        }
    }
    str_free(&out);
    if (a == NULL || (m->flags & CLEANUP_MAP_OK) == 0)
        return a;
    if (a && (class & cleanup_sender_classes))
        a = map_one(m, cleanup_maps.sender_canonical, "sender_canonical_maps", a);
    if (a && (class & cleanup_recipient_classes))
        a = map_one(m, cleanup_maps.recipient_canonical, "recipient_canonical_maps", a);
    if (a && (class & cleanup_canonical_classes))
        a = map_one(m, cleanup_maps.canonical, "canonical_maps", a);
    if (a && (class & cleanup_masquerade_classes))
        a = masquerade(m, a);
    return a;
}

/* True the first time; a full filter lets everything through. */
static bool is_new(struct message *m, const char *orcpt, int notify, const char *orig, const char *address)
{
    struct str key;
    bool fresh;

    str_init(&key, STR_UNLIMITED);
    if (cleanup_original_recipient) {
        str_printf(&key, "%d\n%s\n", notify, orcpt);
        addr_fold(&key, slice_of(orig));
        str_addc(&key, '\n');
    }
    addr_fold(&key, slice_of(address));
    if (m->seen == NULL)
        m->seen = map_new((size_t) cleanup_duplicate_limit, NULL);
    fresh = map_get(m->seen, str_slice(&key)) == NULL;
    if (fresh)
        map_set(m->seen, str_slice(&key), m);
    str_free(&key);
    return fresh;
}

static void write_one(struct message *m, const char *orcpt, int notify, const char *orig, const char *address)
{
    char number[16];

    if (strlen(address) > RECORD_BYTES / 2 || !is_new(m, orcpt, notify, orig, address))
        return;
    if (m->recipients_ended)
        m->size.qmgr_flags |= QUEUE_MIXED;
    m->recipients_begun = true;
    if (notify) {
        snprintf(number, sizeof number, "%d", notify);
        message_put_attr(m, "notify_flags", number);
        m->size.qmgr_flags |= (int64_t) notify << 1;
    }
    if (*orcpt)
        message_put_attr(m, "dsn_orig_rcpt", orcpt);
    message_put(m, REC_ORCP, orig);
    message_put(m, REC_RCPT, address);
    m->size.recipients++;
}

static void write_expanded(struct message *m, const char *orcpt, int notify, const char *orig, const char *address)
{
    struct addresses list = { .arena = m->arena };

    if ((m->flags & CLEANUP_MAP_OK) == 0 || maps_empty(cleanup_maps.alias)) {
        write_one(m, orcpt, notify, orig, address);
        return;
    }
    if (alias_expand(m, address, &list) < 0)
        return;
    if (list.count > 1 && (notify & DSN_SUCCESS)) /* RFC 3461 5.2.7.3: a list is the end of what success can say */
        notify = notify == DSN_SUCCESS ? DSN_NEVER : notify & ~DSN_SUCCESS;
    for (size_t i = 0; i < list.count; i++)
        write_one(m, orcpt, notify, orig, list.item[i]);
}

void recipient_bcc(struct message *m, const char *address)
{
    const char *canonical;

    if (*address == 0 || message_failed(m))
        return;
    canonical = address_canonical(m, address, ENVELOPE_RECIPIENT, REWRITING_LOCAL);
    if (canonical) /* nobody asked for this copy, so nobody wants to hear of it */
        write_expanded(m, "", DSN_NEVER, canonical, canonical);
}

static void add_bcc_maps(struct message *m, const char *address)
{
    struct addresses found = { .arena = m->arena };

    switch (alias_lookup(cleanup_maps.recipient_bcc, address, false, &found)) {
    case LOOKUP_FOUND:
        for (size_t i = 0; i < found.count; i++)
            recipient_bcc(m, found.item[i]);
        break;
    case LOOKUP_RETRY: message_fail(m, 451, "4.3.0", "Error: queue file write error"); break;
    case LOOKUP_NONE: break;
    }
}

void recipient_add(struct message *m, const char *address)
{
    const char *orig = m->orig ? m->orig : address, *orcpt = m->orcpt, *canonical;
    struct str quoted;

    canonical = address_canonical(m, *address ? address : conf_empty_address_recipient, ENVELOPE_RECIPIENT,
                                  REWRITING_LOCAL);
    if (canonical == NULL)
        return;
    m->non_ascii = m->non_ascii || !slice_is_ascii(slice_of(canonical));
    if (orcpt == NULL && *orig) {
        str_init(&quoted, REWRITE_ADDRESS_BYTES * 2);
        str_adds(&quoted, slice_is_ascii(slice_of(orig)) ? "rfc822;" : "utf-8;");
        addr_quote(&quoted, slice_of(orig));
        orcpt = arena_strdup(m->arena, quoted.p);
        str_free(&quoted);
    }
    write_expanded(m, orcpt ? orcpt : "", m->notify, orig, canonical);
    if (!message_failed(m) && (m->flags & CLEANUP_BCC_OK) && !maps_empty(cleanup_maps.recipient_bcc))
        add_bcc_maps(m, canonical);
}
