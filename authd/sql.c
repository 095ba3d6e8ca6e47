/*
 * sql - see sql.h
 */
#include "sql.h"
#include <stdlib.h>

int sql_source_check(const char *args, struct err *err)
{
    return args[0] == '/' ? 0
                          : err_set(err, 0, NULL, "sql:%s: the path of a dovecot-sql.conf.ext was expected", args);
}

enum lookup sql_ask(const char *source, enum proxymap_query query, struct authd_request *r, struct authd_fields *row,
                    struct proxymap_about *about, struct err *err)
{
    size_t count;
    const struct authd_variable *known = authd_request_all_variables(r, &count);
    struct proxymap_var *vars = arena_alloc(r->arena, count * sizeof *vars);
    struct proxymap_row answer;
    enum lookup found;

    for (size_t n = 0; n < count; n++)
        vars[n] = (struct proxymap_var){ known[n].name, known[n].value };
    found = proxymap_sql(source, query, r->fresh, vars, count, r->arena, &answer, about, err);
    for (size_t n = 0; found == LOOKUP_FOUND && n < answer.columns; n++)
        if (answer.value[n] || strcmp(answer.name[n], "password") == 0)
            authd_fields_add(row, r->arena, answer.name[n], answer.value[n]);
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
