/* rules - lines of patterns become a list; an IF that does not match jumps behind its ENDIF */
#include "table/rules.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/lines.h"

#include <stdlib.h>

enum rule_op { RULE_MATCH, RULE_IF, RULE_ENDIF };
struct rule {
    enum rule_op op;
    bool negated;
    void *pattern;
    char *result;
    int line;
    size_t after; /* of an IF: the rule behind its ENDIF */
};
struct rules {
    const struct rules_kind *kind;
    struct rule *rule;
    size_t count;
    int depth, skipped; /* while reading: open IFs; how many of them are in a bad IF */
};

static bool keyword(struct slice line, const char *word)
{
    size_t n = strlen(word);

    return slice_casestarts(line, word) && (line.len == n || !ascii_isalnum(line.p[n]));
}

/* Group number of the "$..." at the front, its length in *used; -1: not one. "$$" is group -2. */
static int reference(struct slice s, size_t *used)
{
    char close = s.len > 1 ? (s.p[1] == '{' ? '}' : s.p[1] == '(' ? ')' : 0) : 0;
    size_t n = close ? 2 : 1, digits = n;
    uint64_t group;

    if (s.len > 1 && s.p[1] == '$') {
        *used = 2;
        return -2;
    }
    while (digits < s.len && ascii_isdigit(s.p[digits]))
        digits++;
    if (slice_u64(slice_sub(s, n, digits - n), RULES_GROUPS - 1, &group) < 0)
        return -1;
    if (close && (digits >= s.len || s.p[digits] != close))
        return -1;
    *used = digits + (close ? 1 : 0);
    return (int) group;
}

static int check_result(const struct table *t, const struct rule *r, struct slice result, size_t groups,
                        struct err *err)
{
    for (size_t i = 0, used; i < result.len; i++) {
        int group;
        if (result.p[i] != '$')
            continue;
        group = reference(slice_sub(result, i, result.len), &used);
        if (group == -1)
            return err_set(err, 0, NULL, "bad $ reference in \"%.*s\"", (int) result.len, result.p);
        if (group >= 0 && r->negated)
            return err_set(err, 0, NULL, "$number found in negative match replacement text");
        if (group == 0 || (group > 0 && (size_t) group > groups))
            return err_set(err, 0, NULL, "out of range replacement index \"%d\"", group);
        if (group > 0 && t->flags & TABLE_NO_SUBST)
            return err_set(err, 0, NULL, "$number expansion is not allowed in this table");
        i += used - 1;
    }
    return 0;
}

static struct rule *append(struct rules *rules, struct rule r)
{
    rules->rule = mem_grow(rules->rule, rules->count + 1, sizeof *rules->rule);
    rules->rule[rules->count] = r;
    return &rules->rule[rules->count++];
}

static void end_if(const struct table *t, struct rules *rules, int line)
{
    if (rules->depth == 0) {
        log_warn("%s map %s, line %d: ignoring ENDIF without matching IF", t->type->name, t->name, line);
        return;
    }
    rules->depth--;
    if (rules->skipped) {
        rules->skipped--;
        return;
    }
    append(rules, (struct rule){ .op = RULE_ENDIF, .line = line });
    for (size_t i = rules->count - 1; i-- > 0;)
        if (rules->rule[i].op == RULE_IF && rules->rule[i].after == 0) {
            rules->rule[i].after = rules->count;
            return;
        }
}

static int read_rule(struct table *t, struct rules *rules, struct slice line, struct rule *r, struct err *err)
{
    const struct rules_kind *kind = rules->kind;
    size_t groups = 0;

    line = slice_trim(line);
    while (line.len && line.p[0] == '!') {
        r->negated = !r->negated;
        line = slice_trim(slice_sub(line, 1, line.len));
    }
    r->pattern = kind->compile(&line, &groups, err);
    if (r->pattern == NULL)
        return -1;
    line = slice_trim(line);
    if (r->op == RULE_IF) {
        if (line.len)
            log_warn("%s map %s, line %d: ignoring extra text after IF statement: \"%.*s\"", t->type->name, t->name,
                     r->line, (int) line.len, line.p);
        return 0;
    }
    if (line.len == 0)
        log_warn("%s map %s, line %d: no replacement text: using empty string", t->type->name, t->name, r->line);
    if (kind->substitutes && check_result(t, r, line, groups, err) < 0)
        return -1;
    r->result = mem_strndup(line.p, line.len);
    return 0;
}

static void read_line(struct table *t, struct rules *rules, struct slice line, int number)
{
    struct rule r = { .op = RULE_MATCH, .line = number };
    struct err err;

    if (keyword(line, "endif")) {
        end_if(t, rules, number);
        return;
    }
    if (keyword(line, "if")) {
        r.op = RULE_IF;
        line = slice_sub(line, 2, line.len);
        rules->depth++;
        if (rules->skipped) {
            rules->skipped++;
            return;
        }
    } else if (rules->skipped) {
        return;
    }
    if (read_rule(t, rules, line, &r, &err) == 0) {
        append(rules, r);
        return;
    }
    log_warn("%s map %s, line %d: %s: skipping this rule", t->type->name, t->name, number, err.text);
    if (r.op == RULE_IF)
        rules->skipped = 1;
    if (r.pattern)
        rules->kind->free_pattern(r.pattern);
}

static void read_text(struct table *t, struct rules *rules, struct slice text)
{
    struct lines lines;
    struct slice line;

    lines_init(&lines, text);
    while (lines_next(&lines, &line)) {
        if (memchr(line.p, 0, line.len))
            log_warn("%s map %s, line %d: the line holds a NUL byte: skipping this rule", t->type->name, t->name,
                     lines.first);
        else if (ascii_isspace(line.p[0]))
            log_warn("%s map %s, line %d: logical line must not start with whitespace", t->type->name, t->name,
                     lines.first);
        else
            read_line(t, rules, line, lines.first);
    }
    lines_fini(&lines);
}

static int read_inline(struct table *t, struct rules *rules, struct err *err)
{
    struct slice rest = slice_of(t->name), word;
    const char *why;
    int number = 0;

    if (lines_unbrace(&rest, &why) < 0)
        return err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why);
    while (lines_word(&rest, ", \t\r\n", &word)) {
        if (lines_unbrace(&word, &why) < 0)
            return err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why);
        read_line(t, rules, word, ++number);
    }
    return 0;
}

struct rules *rules_open(struct table *t, const struct rules_kind *kind, struct err *err)
{
    struct rules *rules = mem_new(sizeof *rules);
    struct str text;
    int rc;

    rules->kind = kind;
    if (t->name[0] == '{') {
        rc = read_inline(t, rules, err);
    } else {
        str_init(&text, TABLE_SOURCE_BYTES);
        rc = table_read_file(t, t->name, &text, err);
        if (rc == 0)
            read_text(t, rules, str_slice(&text));
        str_free(&text);
    }
    if (rules->depth)
        log_warn("%s map %s: IF has no matching ENDIF", t->type->name, t->name);
    for (size_t i = 0; i < rules->count; i++)
        if (rules->rule[i].op == RULE_IF && rules->rule[i].after == 0)
            rules->rule[i].after = rules->count;
    if (rc < 0) {
        rules_free(rules);
        return NULL;
    }
    return rules;
}

static void substitute(const struct rule *r, const char *key, const struct rule_span *spans, size_t spans_used,
                       struct str *out)
{
    struct slice text = slice_of(r->result);

    for (size_t i = 0, used; i < text.len; i++) {
        int group;
        if (text.p[i] != '$' || (group = reference(slice_sub(text, i, text.len), &used)) == -1) {
            str_addc(out, text.p[i]);
            continue;
        }
        if (group == -2)
            str_addc(out, '$');
        else if ((size_t) group < spans_used && spans[group].from <= spans[group].to)
            str_add(out, key + spans[group].from, spans[group].to - spans[group].from);
        i += used - 1;
    }
}

enum lookup rules_lookup(struct table *t, const struct rules *rules, const char *key, struct str *out)
{
    struct rule_span spans[RULES_GROUPS];
    struct err err;

    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *r = &rules->rule[i];
        size_t spans_used = 0;
        enum lookup answer;

        if (r->op == RULE_ENDIF)
            continue;
        answer = rules->kind->match(r->pattern, key, spans, &spans_used, &err);
        if (answer == LOOKUP_RETRY) {
            log_warn("%s, line %d: %s", t->spec, r->line, err.text);
            return LOOKUP_RETRY;
        }
        bool hit = spans_used != RULES_NOT_MEANT && (answer == LOOKUP_FOUND) != r->negated;
        if (r->op == RULE_IF) {
            if (!hit)
                i = r->after - 1;
        } else if (hit) {
            if (rules->kind->substitutes)
                substitute(r, key, spans, r->negated ? 0 : spans_used, out);
            else
                str_adds(out, r->result);
            return LOOKUP_FOUND;
        }
    }
    return LOOKUP_NONE;
}

void rules_free(struct rules *rules)
{
    if (rules == NULL)
        return;
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->rule[i].pattern)
            rules->kind->free_pattern(rules->rule[i].pattern);
        free(rules->rule[i].result);
    }
    free(rules->rule);
    free(rules);
}
