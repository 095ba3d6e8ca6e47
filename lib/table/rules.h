/*
 * rules - tables of patterns: regexp, pcre and cidr share their lines
 *
 * Lines: pattern result; !pattern result; if pattern; if !pattern; endif. The first rule that matches wins.
 *
 * Callers     lib/table/regexp.c, pcre.c, cidr.c
 * Invariants  a bad rule is warned of with its line and left out, as in Postfix; a bad "if" leaves out its block
 * Errors      a matcher that cannot decide answers RETRY, which ends the lookup
 */
#ifndef TABLE_RULES_H
#define TABLE_RULES_H
#include "table/internal.h"

enum { RULES_GROUPS = 100 }; /* $1 to $99 */
#define RULES_NOT_MEANT SIZE_MAX
struct rule_span {
    size_t from, to; /* from > to: the group took no part */
};
struct rules_kind {
    /* Reads the pattern at the front of *rest (behind a "!") and moves *rest behind it. NULL with *err. Sets the
     * number of its groups. */
    void *(*compile)(struct slice *rest, size_t *groups, struct err *);
    /* FOUND (spans filled, count of them in *spans_used), NONE or RETRY. *spans_used RULES_NOT_MEANT: the pattern is
     * not about such keys at all, so that its negation does not match either. */
    enum lookup (*match)(void *pattern, const char *key, struct rule_span *spans, size_t *spans_used, struct err *);
    void (*free_pattern)(void *);
    bool substitutes; /* results may hold $1 */
};
struct rules;
struct rules *rules_open(struct table *, const struct rules_kind *, struct err *); /* a file, or { {rule}, {rule} } */
enum lookup rules_lookup(struct table *, const struct rules *, const char *key, struct str *out);
void rules_free(struct rules *);
#endif
