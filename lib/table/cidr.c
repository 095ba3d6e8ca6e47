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
    struct net address;

    (void) spans, (void) spans_used, (void) err;
    return net_address(slice_of(key), &address) == 0 && net_holds(pattern, &address) ? LOOKUP_FOUND : LOOKUP_NONE;
}

static const struct rules_kind kind = { .compile = compile, .match = match, .free_pattern = free };

static int cidr_open(struct table *t, struct err *err)
{
    t->state = rules_open(t, &kind, err);
    return t->state ? 0 : -1;
}

static enum lookup cidr_lookup(struct table *t, const char *key, struct str *out)
{
    struct net address;

    /* without this a "!network" rule would match what is no address at all */
    return net_address(slice_of(key), &address) < 0 ? LOOKUP_NONE : rules_lookup(t, t->state, key, out);
}

static void cidr_close(struct table *t) { rules_free(t->state); }

const struct table_type table_cidr = { .name = "cidr",
                                       .traits = TABLE_FULL_KEY | TABLE_OWN_CASE,
                                       .open = cidr_open,
                                       .lookup = cidr_lookup,
                                       .close = cidr_close };
