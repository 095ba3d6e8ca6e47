/*
 * memory - texthash and inline: pairs read at open into a hash in memory
 */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "table/internal.h"
#include "table/source.h"

#include <stdlib.h>

struct pair {
    struct slice key, value;
};
struct memory {
    struct map *by_key; /* struct pair */
    struct pair **order;
    size_t count, room;
    struct arena *arena;
};
struct fill {
    struct table *t;
    struct memory *m;
};

static void add(struct table *t, struct memory *m, struct slice key, struct slice value, int line)
{
    struct str folded;
    struct pair *p;

    str_init(&folded, STR_UNLIMITED);
    if (t->flags & TABLE_FOLD) {
        char *z = arena_strndup(m->arena, key.p, key.len);
        table_fold(&folded, z);
        key = str_slice(&folded);
    }
    if (map_get(m->by_key, key)) {
        if (line)
            log_warn("%s, line %d: duplicate entry: \"%.*s\"", t->name, line, (int) key.len, key.p);
        else
            log_warn("%s: duplicate entry: \"%.*s\"", t->spec, (int) key.len, key.p);
    } else {
        p = arena_alloc(m->arena, sizeof *p);
        p->key = slice_make(arena_strndup(m->arena, key.p, key.len), key.len);
        p->value = slice_make(arena_strndup(m->arena, value.p, value.len), value.len);
        map_set(m->by_key, p->key, p);
        if (m->count == m->room) {
            m->room = m->room ? m->room * 2 : 64;
            m->order = mem_grow(m->order, m->room, sizeof(struct pair *));
        }
        m->order[m->count++] = p;
    }
    str_free(&folded);
}

static void add_line(void *ctx, struct slice key, struct slice value, int line)
{
    struct fill *f = ctx;

    add(f->t, f->m, key, value, line);
}

static struct memory *memory_new(void)
{
    struct memory *m = mem_new(sizeof *m);

    m->arena = arena_new();
    m->by_key = map_new(SIZE_MAX, NULL);
    return m;
}

static void memory_close(struct table *t)
{
    struct memory *m = t->state;

    map_free(&m->by_key);
    arena_free(&m->arena);
    free(m->order);
    free(m);
}

static int texthash_open(struct table *t, struct err *err)
{
    struct fill f = { t, memory_new() };
    struct str text;
    int rc;

    t->state = f.m;
    str_init(&text, TABLE_SOURCE_BYTES);
    rc = table_read_file(t, t->name, &text, err);
    if (rc == 0 && t->flags & TABLE_ALIASES)
        source_aliases(t->name, str_slice(&text), add_line, &f);
    else if (rc == 0)
        source_postmap(t->name, str_slice(&text), add_line, &f);
    str_free(&text);
    return rc;
}

/* inline:{ key=value, { key = text with blanks } } */
static int inline_open(struct table *t, struct err *err)
{
    struct memory *m = memory_new();
    struct slice rest = slice_trim(slice_of(t->name)), word, key, value;
    const char *why = NULL;

    t->state = m;
    if (lines_unbrace(&rest, &why) < 0)
        return err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why);
    while (why == NULL && lines_word(&rest, ", \t\r\n", &word)) {
        if (word.p[0] == '{' && lines_unbrace(&word, &why) < 0)
            break;
        if (lines_pair(word, &key, &value, &why) == 0)
            add(t, m, key, value, 0);
    }
    if (why == NULL && m->count == 0)
        why = "empty table";
    return why ? err_set(err, 0, NULL, "bad syntax in %s: %s", t->spec, why) : 0;
}

static enum lookup memory_lookup(struct table *t, const char *key, struct str *out)
{
    struct memory *m = t->state;
    const struct pair *p = map_get(m->by_key, slice_of(key));

    if (p == NULL)
        return LOOKUP_NONE;
    str_addslice(out, p->value);
    return LOOKUP_FOUND;
}

static int memory_each(struct table *t, void (*fn)(void *, struct slice, struct slice), void *ctx)
{
    struct memory *m = t->state;

    for (size_t i = 0; i < m->count; i++)
        fn(ctx, m->order[i]->key, m->order[i]->value);
    return 0;
}

const struct table_type table_texthash = {
    .name = "texthash", .open = texthash_open, .lookup = memory_lookup, .each = memory_each, .close = memory_close
};
const struct table_type table_inline = {
    .name = "inline", .open = inline_open, .lookup = memory_lookup, .each = memory_each, .close = memory_close
};
