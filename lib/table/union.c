/*
 * union - unionmap (all answers, joined by commas) and pipemap (each table gets the answer of the one before)
 */
#include "base/mem.h"
#include "conf/lines.h"
#include "table/internal.h"

#include <stdlib.h>

struct members {
    struct table **table;
    size_t count;
};

static int members_open(struct table *t, struct err *err)
{
    struct members *m = mem_new(sizeof *m);
    struct slice rest = slice_trim(slice_of(t->name)), word;
    const char *why = NULL;

    t->state = m;
    if (lines_unbrace(&rest, &why) < 0)
        return err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why);
    while (lines_word(&rest, ", \t\r\n", &word)) {
        char *spec;
        if (word.p[0] == '{' && lines_unbrace(&word, &why) < 0)
            return err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why);
        spec = mem_strndup(word.p, word.len);
        m->table = mem_grow(m->table, m->count + 1, sizeof(struct table *));
        m->table[m->count++] = table_open(spec, t->flags);
        free(spec);
    }
    return m->count ? 0 : err_set(err, 0, NULL, "bad syntax in %s: it names no table", t->spec);
}

static enum lookup union_lookup(struct table *t, const char *key, struct str *out)
{
    struct members *m = t->state;
    size_t start = out->len;

    for (size_t i = 0; i < m->count; i++) {
        struct str one;
        enum lookup answer;

        str_init(&one, TABLE_VALUE_BYTES);
        answer = table_lookup(m->table[i], key, &one);
        if (answer == LOOKUP_FOUND) {
            if (out->len > start)
                str_addc(out, ',');
            str_addslice(out, str_slice(&one));
        }
        str_free(&one);
        if (answer == LOOKUP_RETRY)
            return LOOKUP_RETRY;
    }
    return out->len > start ? LOOKUP_FOUND : LOOKUP_NONE;
}

static enum lookup pipe_lookup(struct table *t, const char *key, struct str *out)
{
    struct members *m = t->state;
    enum lookup answer = LOOKUP_NONE;
    char *input = mem_strdup(key);

    for (size_t i = 0; i < m->count; i++) {
        struct str one;

        str_init(&one, TABLE_VALUE_BYTES);
        answer = table_lookup(m->table[i], input, &one);
        free(input);
        input = str_take(&one);
        if (answer != LOOKUP_FOUND)
            break;
    }
    if (answer == LOOKUP_FOUND)
        str_adds(out, input);
    free(input);
    return answer;
}

static void members_close(struct table *t)
{
    struct members *m = t->state;

    for (size_t i = 0; i < m->count; i++)
        table_close(&m->table[i]);
    free(m->table);
    free(m);
}

const struct table_type table_union = {
    .name = "unionmap", .traits = TABLE_OWN_CASE, .open = members_open, .lookup = union_lookup, .close = members_close
};
const struct table_type table_pipe = {
    .name = "pipemap", .traits = TABLE_OWN_CASE, .open = members_open, .lookup = pipe_lookup, .close = members_close
};
