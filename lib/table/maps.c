/* maps - the tables of one parameter, asked in order */
#include "base/log.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "conf/param.h"
#include "table/internal.h"
#include "table/proxy.h"

#include <stdlib.h>

struct maps {
    char *parameter, *list;
    unsigned flags;
    struct table **table;
    size_t count;
};

struct maps *maps_new(const char *parameter, const char *list, unsigned flags)
{
    struct maps *m = mem_new(sizeof *m);
    struct slice rest, word;

    m->parameter = mem_strdup(parameter);
    m->list = mem_strdup(list);
    m->flags = flags;
    rest = slice_of(m->list);
    while (lines_word(&rest, ", \t\r\n", &word)) {
        char *spec = mem_strndup(word.p, word.len);
        m->table = mem_grow(m->table, m->count + 1, sizeof(struct table *));
        m->table[m->count++] = table_open(spec, flags & ~(unsigned) TABLE_EMPTY_OK);
        free(spec);
    }
    return m;
}

void maps_free(struct maps **mp)
{
    struct maps *m = *mp;

    *mp = NULL;
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        table_close(&m->table[i]);
    free(m->table);
    free(m->parameter);
    free(m->list);
    free(m);
}

bool maps_empty(const struct maps *m) { return m->count == 0; }
const char *maps_list(const struct maps *m) { return m->list; }

/* An empty result is none that anybody can use, but for those who only ask whether there is one. */
static enum lookup checked(const struct maps *m, const struct table *t, const char *key, enum lookup answer,
                           bool empty)
{
    if (answer != LOOKUP_FOUND || !empty || m->flags & TABLE_EMPTY_OK)
        return answer;
    log_warn("%s lookup of %s returns an empty string result", m->parameter, key);
    log_warn("%s should return NO RESULT in case of NOT FOUND", table_spec(t));
    return LOOKUP_RETRY;
}

bool maps_together(const struct maps *m) { return m->count && proxy_run(m->table, m->count, true) == m->count; }

enum lookup maps_find_first(struct maps *m, const char *const *key, size_t keys, struct str *out, size_t *at)
{
    size_t start = out->len;
    struct proxy_place place;
    enum lookup answer = proxy_find(m->table, m->count, key, keys, out, &place);

    *at = place.key;
    return checked(m, m->table[place.table], key[place.key], answer, out->len == start);
}

enum lookup maps_find(struct maps *m, const char *key, bool partial, struct str *out)
{
    size_t start = out->len;

    if (*key == 0)
        return LOOKUP_NONE;
    for (size_t i = 0, n; i < m->count; i += n) {
        struct table *t = m->table[i];
        enum lookup answer;
        struct proxy_place at = { 0 };

        n = proxy_run(&m->table[i], m->count - i, partial);
        if (n > 1) { /* neighbours that proxymap serves cost one question */
            answer = proxy_find(&m->table[i], n, &key, 1, out, &at);
            t = m->table[i + at.table];
        } else {
            n = 1;
            if (partial && table_full_key_only(t))
                continue;
            answer = table_lookup(t, key, out);
        }
        answer = checked(m, t, key, answer, out->len == start);
        if (answer != LOOKUP_NONE)
            return answer;
        str_cut(out, start);
    }
    return LOOKUP_NONE;
}

int maps_each(struct maps *m, void (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
    int rc = 0;

    for (size_t i = 0; i < m->count; i++)
        if (table_each(m->table[i], fn, ctx) != 0)
            rc = -1;
    return rc;
}

unsigned maps_parent_style(const char *parameter)
{
    struct slice rest = slice_of(conf_parent_domain_matches_subdomains), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_eq(word, parameter))
            return MAPS_PARENT;
    return MAPS_DOT_PARENT;
}
