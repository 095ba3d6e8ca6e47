/*
 * pcre - /pattern/flags result, Perl expressions by PCRE2
 *
 * Flags toggle: i (ignore case: on), s (dot matches all: on), m, x, A (anchored), E (dollar at the end only),
 * U (ungreedy); X is read and means nothing.
 *
 * Invariants  no JIT: its stack use does not fit a fiber; a match is bounded by PCRE2's match and heap limits
 * Errors      a match that hits a limit is RETRY, never "no match"
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/mem.h"
#include "conf/param.h"
#include "table/pattern.h"
#include "table/rules.h"

#include <pcre2.h>
#include <stdlib.h>

enum { MATCH_LIMIT = 1000000, HEAP_KIB = 20000 };

static const struct {
    char letter;
    uint32_t option;
} letters[] = {
    { 'i', PCRE2_CASELESS }, { 's', PCRE2_DOTALL },         { 'm', PCRE2_MULTILINE }, { 'x', PCRE2_EXTENDED },
    { 'A', PCRE2_ANCHORED }, { 'E', PCRE2_DOLLAR_ENDONLY }, { 'U', PCRE2_UNGREEDY },  { 'X', 0 },
};
struct perl {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

static void free_pattern(void *p)
{
    struct perl *perl = p;

    pcre2_match_data_free(perl->data);
    pcre2_match_context_free(perl->limits);
    pcre2_code_free(perl->code);
    free(perl);
}

static int read_flags(struct slice flags, uint32_t *options, struct err *err)
{
    for (size_t i = 0; i < flags.len; i++) {
        size_t k = 0;
        while (k < sizeof letters / sizeof *letters && letters[k].letter != flags.p[i])
            k++;
        if (k == sizeof letters / sizeof *letters)
            return err_set(err, 0, NULL, "unknown PCRE option \"%c\"", flags.p[i]);
        *options ^= letters[k].option;
    }
    return 0;
}

static void *compile(struct slice *rest, size_t *groups, struct err *err)
{
    struct slice pattern, flags;
    uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL, count = 0;
    struct perl *perl;
    pcre2_code *code;
    PCRE2_SIZE at;
    int error;

    if (pattern_split(rest, &pattern, &flags, err) < 0 || read_flags(flags, &options, err) < 0)
        return NULL;
    if (conf_smtputf8_enable)
        options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
    code = pcre2_compile((PCRE2_SPTR) pattern.p, pattern.len, options, &error, &at, NULL);
    if (code == NULL) {
        char why[200];
        pcre2_get_error_message(error, (PCRE2_UCHAR *) why, sizeof why);
        err_set(err, 0, NULL, "error in pattern at offset %zu: %s", (size_t) at, why);
        return NULL;
    }
    perl = mem_new(sizeof *perl);
    perl->code = code;
    perl->data = pcre2_match_data_create_from_pattern(code, NULL);
    perl->limits = pcre2_match_context_create(NULL);
    if (perl->data == NULL || perl->limits == NULL) {
        free_pattern(perl);
        err_set(err, 0, NULL, "out of memory");
        return NULL;
    }
    pcre2_set_match_limit(perl->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(perl->limits, HEAP_KIB);
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &count);
    *groups = count;
    return perl;
}

static enum lookup match(void *pattern, const char *key, struct rule_span *spans, size_t *spans_used, struct err *err)
{
    struct perl *perl = pattern;
    int n = pcre2_match(perl->code, (PCRE2_SPTR) key, strlen(key), 0, 0, perl->data, perl->limits);
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(perl->data);
    char why[200];

    if (n == PCRE2_ERROR_NOMATCH)
        return LOOKUP_NONE;
    if (n < 0) {
        pcre2_get_error_message(n, (PCRE2_UCHAR *) why, sizeof why);
        err_set(err, 0, NULL, "%s", why);
        return LOOKUP_RETRY;
    }
    *spans_used = n < RULES_GROUPS ? (size_t) n : RULES_GROUPS;
    for (size_t i = 0; i < *spans_used; i++)
        spans[i] = v[2 * i] == PCRE2_UNSET ? (struct rule_span){ 1, 0 }
                                           : (struct rule_span){ v[2 * i], v[2 * i + 1] };
    return LOOKUP_FOUND;
}

static const struct rules_kind kind = {
    .compile = compile, .match = match, .free_pattern = free_pattern, .substitutes = true
};

static int pcre_open(struct table *t, struct err *err)
{
    t->state = rules_open(t, &kind, err);
    return t->state ? 0 : -1;
}

static enum lookup pcre_lookup(struct table *t, const char *key, struct str *out)
{
    return rules_lookup(t, t->state, key, out);
}

static void pcre_close(struct table *t) { rules_free(t->state); }

const struct table_type table_pcre = { .name = "pcre",
                                       .traits = TABLE_FULL_KEY | TABLE_OWN_CASE,
                                       .open = pcre_open,
                                       .lookup = pcre_lookup,
                                       .close = pcre_close };
