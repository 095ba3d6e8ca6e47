/* match - a list becomes patterns once; a pattern that could not be read answers RETRY when it is reached */
#include "table/match.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "proto/addr/addr.h"
#include "table/internal.h"
#include "table/net.h"
#include "table/proxy.h"

#include <errno.h>
#include <stdlib.h>

enum { NESTING = 10 }; /* files that name files */
enum pattern_kind { PATTERN_TEXT, PATTERN_TABLE, PATTERN_NET, PATTERN_BROKEN };
struct pattern {
    enum pattern_kind kind;
    bool negated;
    char *text; /* folded; for PATTERN_BROKEN why */
    struct table *table;
    struct net net;
};
struct match {
    char *parameter;
    bool parents; /* a domain stands for its subdomains */
    struct pattern *pattern;
    size_t count;
};
enum what { WHAT_DOMAIN, WHAT_STRING };

static void add_list(struct match *, struct slice list, bool negated, int depth);

static struct pattern *append(struct match *m, enum pattern_kind kind, bool negated)
{
    m->pattern = mem_grow(m->pattern, m->count + 1, sizeof *m->pattern);
    m->pattern[m->count] = (struct pattern){ .kind = kind, .negated = negated };
    return &m->pattern[m->count++];
}

static void add_file(struct match *m, const char *path, bool negated, int depth)
{
    struct str text;
    struct lines lines;
    struct slice line;

    str_init(&text, TABLE_SOURCE_BYTES);
    if (depth > NESTING || file_read(path, &text) < 0) {
        struct pattern *p = append(m, PATTERN_BROKEN, negated);
        p->text = mem_printf("open file %s: %s", path,
                             depth > NESTING ? "files are nested too deep" : strerror(errno));
        log_warn("%s: %s", m->parameter, p->text);
    }
    lines_init(&lines, str_slice(&text));
    while (lines_next(&lines, &line))
        add_list(m, line, negated, depth + 1);
    lines_fini(&lines);
    str_free(&text);
}

/* Something that looks like an address or a network but is none is told about, and compared as text. */
static void add_text(struct match *m, struct slice word, bool negated)
{
    struct net net;
    struct err err;
    struct pattern *p;
    struct str folded;

    if ((ascii_isdigit(word.p[0]) || word.p[0] == '[') && slice_find(word, '/') >= 0) {
        if (net_parse(word, &net, &err) == 0) {
            append(m, PATTERN_NET, negated)->net = net;
        } else {
            p = append(m, PATTERN_BROKEN, negated);
            p->text = mem_strdup(err.text);
            log_warn("%s: %s", m->parameter, err.text);
        }
        return;
    }
    if (net_address(word, &net) == 0) {
        p = append(m, PATTERN_NET, negated);
        p->net = net;
    } else {
        p = append(m, PATTERN_TEXT, negated);
    }
    str_init(&folded, STR_UNLIMITED);
    addr_fold(&folded, word);
    p->text = str_take(&folded); /* of an address too: a domain list may hold "[192.0.2.1]" */
}

static bool is_table(struct slice word)
{
    ptrdiff_t colon = slice_find(word, ':');

    if (colon <= 0 || word.p[0] == '[')
        return false;
    for (ptrdiff_t i = 0; i < colon; i++)
        if (!ascii_isalnum(word.p[i]) && word.p[i] != '_' && word.p[i] != '-')
            return false;
    return net_address(word, &(struct net){ 0 }) < 0;
}

static void add_list(struct match *m, struct slice list, bool negated, int depth)
{
    struct slice word;

    while (lines_word(&list, ", \t\r\n", &word)) {
        bool no = negated;
        char *z;
        while (word.len && word.p[0] == '!') {
            no = !no;
            word = slice_sub(word, 1, word.len);
        }
        if (word.len == 0) {
            log_warn("%s: no pattern after '!'", m->parameter);
            continue;
        }
        z = mem_strndup(word.p, word.len);
        if (z[0] == '/')
            add_file(m, z, no, depth);
        else if (is_table(word))
            append(m, PATTERN_TABLE, no)->table = table_open(z, TABLE_FOLD);
        else
            add_text(m, word, no);
        free(z);
    }
}

struct match *match_new(const char *parameter, const char *patterns)
{
    struct match *m = mem_new(sizeof *m);

    m->parameter = mem_strdup(parameter);
    m->parents = maps_parent_style(parameter) == MAPS_PARENT;
    add_list(m, slice_of(patterns), false, 0);
    return m;
}

void match_free(struct match **mp)
{
    struct match *m = *mp;

    *mp = NULL;
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++) {
        table_close(&m->pattern[i].table);
        free(m->pattern[i].text);
    }
    free(m->pattern);
    free(m->parameter);
    free(m);
}

bool match_empty(const struct match *m) { return m->count == 0; }

bool match_is_plain(const struct match *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->pattern[i].kind == PATTERN_TABLE)
            return false;
    return true;
}

static enum lookup is_in(struct table *t, const char *key)
{
    struct str ignored;
    enum lookup answer;

    str_init(&ignored, TABLE_VALUE_BYTES);
    answer = table_lookup(t, key, &ignored);
    str_free(&ignored);
    return answer;
}

/* Tables that proxymap looks up, neighbours in the list, cost one question; *run: how many patterns are answered. A list
 * of them is one table whose first answer counts. */
static enum lookup are_in(const struct match *m, size_t from, const char *key, size_t *run)
{
    struct table *table[PROXY_TABLES];
    struct proxy_place at;
    struct str ignored;
    enum lookup answer;
    size_t n = 0;

    while (n < PROXY_TABLES && from + n < m->count && m->pattern[from + n].kind == PATTERN_TABLE &&
           m->pattern[from + n].negated == m->pattern[from].negated) {
        table[n] = m->pattern[from + n].table;
        n++;
    }
    n = proxy_run(table, n, false);
    *run = n > 1 ? n : 1;
    if (n < 2)
        return is_in(m->pattern[from].table, key);
    str_init(&ignored, TABLE_VALUE_BYTES);
    answer = proxy_find(table, n, &key, 1, &ignored, &at);
    str_free(&ignored);
    return answer;
}

/* The name, then its parents as the list's style has them. */
static enum lookup table_has_domain(const struct match *m, struct table *t, const char *name)
{
    enum lookup answer = is_in(t, name);
    const char *dot = name;

    while (answer == LOOKUP_NONE && !table_full_key_only(t) && (dot = strchr(dot + 1, '.')) != NULL) {
        const char *parent = m->parents ? dot + 1 : dot;
        if (*parent)
            answer = is_in(t, parent);
        else
            break;
    }
    return answer;
}

static bool text_has_domain(const struct match *m, const char *pattern, struct slice name)
{
    size_t n = strlen(pattern);

    if (slice_eq(name, pattern))
        return true;
    if (name.len <= n || !slice_caseends(name, pattern))
        return false;
    return m->parents ? name.p[name.len - n - 1] == '.' : pattern[0] == '.';
}

static enum lookup broken(const struct match *m, const struct pattern *p)
{
    log_warn("%s: %s", m->parameter, p->text);
    return LOOKUP_RETRY;
}

static enum lookup one_name(const struct match *m, const struct pattern *p, const char *name, enum what what)
{
    switch (p->kind) {
    case PATTERN_BROKEN: return broken(m, p);
    case PATTERN_TABLE: return what == WHAT_DOMAIN ? table_has_domain(m, p->table, name) : is_in(p->table, name);
    case PATTERN_TEXT:
        if (what == WHAT_DOMAIN)
            return text_has_domain(m, p->text, slice_of(name)) ? LOOKUP_FOUND : LOOKUP_NONE;
        break;
    case PATTERN_NET: break;
    }
    return p->text && strcmp(p->text, name) == 0 ? LOOKUP_FOUND : LOOKUP_NONE;
}

static enum lookup one_address(const struct match *m, const struct pattern *p, const char *text,
                               const struct net *address)
{
    if (p->kind == PATTERN_BROKEN)
        return broken(m, p);
    if (p->kind == PATTERN_TABLE)
        return is_in(p->table, text);
    return p->kind == PATTERN_NET && address && net_holds(&p->net, address) ? LOOKUP_FOUND : LOOKUP_NONE;
}

/* name or numeric may be NULL; in each pattern the name is tried first, as Postfix does. */
static enum lookup walk(struct match *m, const char *name, const char *numeric, enum what what)
{
    struct net address;
    bool known = numeric && net_address(slice_of(numeric), &address) == 0;
    struct str folded;
    enum lookup answer = LOOKUP_NONE;

    str_init(&folded, STR_UNLIMITED);
    if (name)
        addr_fold(&folded, slice_of(name));
    for (size_t i = 0, run; i < m->count && answer == LOOKUP_NONE; i += run) {
        const struct pattern *p = &m->pattern[i];
        run = 1;
        if (name && what == WHAT_STRING && numeric == NULL && p->kind == PATTERN_TABLE)
            answer = are_in(m, i, folded.p, &run);
        else if (name)
            answer = one_name(m, p, folded.p, what);
        if (answer == LOOKUP_NONE && numeric)
            answer = one_address(m, p, numeric, known ? &address : NULL);
        if (answer == LOOKUP_FOUND && p->negated) {
            answer = LOOKUP_NONE;
            break;
        }
    }
    str_free(&folded);
    return answer;
}

enum lookup match_domain(struct match *m, const char *name) { return walk(m, name, NULL, WHAT_DOMAIN); }
enum lookup match_string(struct match *m, const char *text) { return walk(m, text, NULL, WHAT_STRING); }
enum lookup match_address(struct match *m, const char *numeric) { return walk(m, NULL, numeric, WHAT_STRING); }

enum lookup match_host(struct match *m, const char *name, const char *numeric)
{
    return walk(m, name, numeric, WHAT_DOMAIN);
}
