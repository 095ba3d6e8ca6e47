/*
 * cidr - "network/mask result"; a key that is no address is not there
 */
#include "base/mem.h"
#include "table/net.h"
#include "table/rules.h"

#include <stdlib.h>

static void *compile(struct slice *rest, size_t *groups, struct err *err)
{
    struct slice word;
    struct net n, *copy;

    (void) groups;
    if (!slice_word(rest, " \t\r\n", &word)) {
        err_set(err, 0, NULL, "no address pattern");
        return NULL;
    }
    if (net_parse(word, &n, err) < 0)
        return NULL;
    copy = mem_new(sizeof *copy);
    *copy = n;
    return copy;
}

static enum lookup match(void *pattern, const char *key, struct rule_span *spans, size_t *spans_used, struct err *err)
{
    const struct net *network = pattern;
    struct net address;

    (void) spans, (void) err;
    if (net_address(slice_of(key), &address) < 0 || address.bytes != network->bytes) {
        *spans_used = RULES_NOT_MEANT; /* "!192.0.2.0/24" says nothing about IPv6 */
        return LOOKUP_NONE;
    }
    return net_holds(network, &address) ? LOOKUP_FOUND : LOOKUP_NONE;
}

static const struct rules_kind kind = { .compile = compile, .match = match, .free_pattern = free };

static int cidr_open(struct table *t, struct err *err)
{
    t->state = rules_open(t, &kind, err);
    return t->state ? 0 : -1;
}

static enum lookup cidr_lookup(struct table *t, const char *key, struct str *out)
{
    return rules_lookup(t, t->state, key, out);
}

static void cidr_close(struct table *t) { rules_free(t->state); }

const struct table_type table_cidr = { .name = "cidr",
                                       .traits = TABLE_FULL_KEY | TABLE_OWN_CASE,
                                       .open = cidr_open,
                                       .lookup = cidr_lookup,
                                       .close = cidr_close };
