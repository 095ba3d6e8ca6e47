/*
 * regexp - /pattern/flags result, POSIX extended expressions of the C library
 *
 * Flags toggle: i (ignore case: on), m (lines: off), x (extended: on).
 */
#include "base/mem.h"
#include "table/pattern.h"
#include "table/rules.h"

#include <regex.h>
#include <stdlib.h>

static int flag(char c, int *options)
{
    if (c == 'i')
        *options ^= REG_ICASE;
    else if (c == 'm')
        *options ^= REG_NEWLINE;
    else if (c == 'x')
        *options ^= REG_EXTENDED;
    else
        return -1;
    return 0;
}

static void *compile(struct slice *rest, size_t *groups, struct err *err)
{
    struct slice pattern, flags;
    regex_t *re;
    int options = REG_EXTENDED | REG_ICASE, error;
    char why[200], *z;

    if (pattern_split(rest, &pattern, &flags, err) < 0)
        return NULL;
    for (size_t i = 0; i < flags.len; i++)
        if (flag(flags.p[i], &options) < 0) {
            err_set(err, 0, NULL, "unknown regexp option \"%c\"", flags.p[i]);
            return NULL;
        }
    re = mem_new(sizeof *re);
    z = mem_strndup(pattern.p, pattern.len);
    error = regcomp(re, z, options);
    free(z);
    if (error) {
        regerror(error, re, why, sizeof why);
        free(re);
        err_set(err, 0, NULL, "%s", why);
        return NULL;
    }
    *groups = re->re_nsub;
    return re;
}

static enum lookup match(void *pattern, const char *key, struct rule_span *spans, size_t *spans_used, struct err *err)
{
    regex_t *re = pattern;
    regmatch_t m[RULES_GROUPS];
    int error = regexec(re, key, RULES_GROUPS, m, 0);
    char why[200];

    if (error == REG_NOMATCH)
        return LOOKUP_NONE;
    if (error) {
        regerror(error, re, why, sizeof why);
        err_set(err, 0, NULL, "%s", why);
        return LOOKUP_RETRY;
    }
    *spans_used = re->re_nsub + 1 < RULES_GROUPS ? re->re_nsub + 1 : RULES_GROUPS;
    for (size_t i = 0; i < *spans_used; i++)
        spans[i] = m[i].rm_so < 0 ? (struct rule_span){ 1, 0 }
                                  : (struct rule_span){ (size_t) m[i].rm_so, (size_t) m[i].rm_eo };
    return LOOKUP_FOUND;
}

static void free_pattern(void *p)
{
    regfree(p);
    free(p);
}

static const struct rules_kind kind = {
    .compile = compile, .match = match, .free_pattern = free_pattern, .substitutes = true
};

static int regexp_open(struct table *t, struct err *err)
{
    t->state = rules_open(t, &kind, err);
    return t->state ? 0 : -1;
}

static enum lookup regexp_lookup(struct table *t, const char *key, struct str *out)
{
    return rules_lookup(t, t->state, key, out);
}

static void regexp_close(struct table *t) { rules_free(t->state); }

const struct table_type table_regexp = { .name = "regexp",
                                         .traits = TABLE_FULL_KEY | TABLE_OWN_CASE,
                                         .open = regexp_open,
                                         .lookup = regexp_lookup,
                                         .close = regexp_close };
