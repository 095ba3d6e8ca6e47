/*
 * sql - see sql.h
 */
#include "sql.h"
#include "base/time.h"
#include "userdb.h"
#include <stdlib.h>

int sql_source_check(const char *args, struct err *err)
{
    return args[0] == '/' ? 0
                          : err_set(err, 0, NULL, "sql:%s: the path of a dovecot-sql.conf.ext was expected", args);
}

enum { FORESEEN_MS = 1000 };

struct sql_foreseen {
    const char *source, *variables;
    int64_t until;
    struct authd_fields row;
    size_t count;
    struct authd_variable *used; /* what the answer depends on */
};

static void take(struct authd_fields *row, struct arena *a, const struct proxymap_row *answer)
{
    for (size_t n = 0; n < answer->columns; n++)
        if (answer->value[n] || strcmp(answer->name[n], "password") == 0)
            authd_fields_add(row, a, answer->name[n], answer->value[n]);
}

static const char *value_of(const struct authd_variable *known, size_t count, struct slice name)
{
    for (size_t n = 0; n < count; n++)
        if (slice_eq(name, known[n].name))
            return known[n].value;
    return NULL;
}

static struct sql_foreseen *foresee(const struct proxymap_then *then, int64_t asked,
                                    const struct authd_variable *known, size_t count, struct arena *a)
{
    struct sql_foreseen *f = arena_alloc(a, sizeof *f);
    struct slice rest = slice_of(then->variables), word;

    *f = (struct sql_foreseen){ .source = then->source, .variables = then->variables, .until = asked + FORESEEN_MS };
    f->used = arena_alloc(a, count * sizeof *f->used);
    while (slice_word(&rest, " ", &word)) {
        const char *value = value_of(known, count, word);
        if (value == NULL || slice_eq(word, "password") || f->count == count)
            return NULL;
        f->used[f->count++] = (struct authd_variable){ arena_strndup(a, word.p, word.len), value };
    }
    take(&f->row, a, &then->row);
    return f;
}

struct sql_foreseen *sql_foreseen_copy(const struct sql_foreseen *from, struct arena *a)
{
    struct sql_foreseen *f;

    if (from == NULL)
        return NULL;
    f = arena_alloc(a, sizeof *f);
    *f = (struct sql_foreseen){ .until = from->until, .count = from->count };
    f->source = arena_strdup(a, from->source);
    f->variables = arena_strdup(a, from->variables);
    f->used = arena_alloc(a, f->count * sizeof *f->used);
    for (size_t n = 0; n < f->count; n++)
        f->used[n] = (struct authd_variable){ arena_strdup(a, from->used[n].name),
                                              arena_strdup(a, from->used[n].value) };
    for (size_t n = 0; n < from->row.count; n++)
        authd_fields_add(&f->row, a, arena_strdup(a, from->row.field[n].name),
                         from->row.field[n].value ? arena_strdup(a, from->row.field[n].value) : NULL);
    f->row.over = from->row.over;
    return f;
}

/* Once: who asks a second time wants to know more. */
static bool foreseen(struct authd_request *r, const char *source, const struct authd_variable *known, size_t count,
                     struct authd_fields *row, struct proxymap_about *about)
{
    struct sql_foreseen *f = r->foreseen;

    r->foreseen = NULL;
    if (f == NULL || strcmp(f->source, source) != 0 || time_mono_ms() > f->until)
        return false;
    for (size_t n = 0; n < f->count; n++) {
        const char *now = value_of(known, count, slice_of(f->used[n].name));
        if (now == NULL || strcmp(now, f->used[n].value) != 0)
            return false;
    }
    *row = f->row;
    *about = (struct proxymap_about){ .variables = f->variables };
    return true;
}

enum lookup sql_ask(const char *source, enum proxymap_query query, struct authd_request *r, struct authd_fields *row,
                    struct proxymap_about *about, struct err *err)
{
    size_t count;
    const struct authd_variable *known = authd_request_all_variables(r, &count);
    struct proxymap_then then = { .source = NULL };
    struct proxymap_var *vars;
    struct proxymap_row answer;
    int64_t asked = time_mono_ms();
    enum lookup found;

    if (query == PROXYMAP_USER && foreseen(r, source, known, count, row, about))
        return LOOKUP_FOUND;
    if (query == PROXYMAP_PASSWORD && r->will_claim)
        then.source = authd_userdb_sql_source(r);
    vars = arena_alloc(r->arena, count * sizeof *vars);
    for (size_t n = 0; n < count; n++)
        vars[n] = (struct proxymap_var){ known[n].name, known[n].value };
    found = proxymap_sql(source, query, r->fresh, vars, count, r->arena, &answer, about, then.source ? &then : NULL,
                         err);
    if (found == LOOKUP_FOUND)
        take(row, r->arena, &answer);
    r->foreseen = found == LOOKUP_FOUND && then.found ? foresee(&then, asked, known, count, r->arena) : NULL;
    return found;
}

void sql_cache_key(const char **key, const char *variables)
{
    struct slice rest = slice_of(variables), word;
    struct str text;

    str_init(&text, STR_UNLIMITED);
    while (slice_word(&rest, " ", &word))
        str_printf(&text, "%%{%.*s}", (int) word.len, word.p);
    if (*key == NULL || strcmp(*key, text.p) != 0) {
        free((char *) (uintptr_t) *key);
        *key = mem_strdup(text.p);
    }
    str_free(&text);
}
