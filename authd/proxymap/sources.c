/* sources - what the configuration names; contract in sources.h */
#include "sources.h"

#include "base/map.h"
#include "base/mem.h"
#include "table/named.h"

#include <stdlib.h>

enum { VARIANTS = 2 };
static const unsigned variant_flags[VARIANTS] = { TABLE_FOLD, TABLE_FOLD | TABLE_NO_SUBST };

struct served {
    struct table *variant[VARIANTS];
    bool blocks;
};
static struct map *tables; /* "type:name" -> struct served */
static struct map *files;  /* of SQL: path -> struct table */

static void serve(struct slice spec)
{
    struct served *s;
    char *z;

    if (map_get(tables, spec))
        return;
    s = mem_new(sizeof *s);
    z = mem_strndup(spec.p, spec.len);
    s->variant[0] = table_open(z, variant_flags[0]);
    /* A database knows no $1: one table does, so that its file is read and complained of once. */
    s->variant[1] = slice_starts(spec, "mysql:") ? s->variant[0] : table_open(z, variant_flags[1]);
    s->blocks = slice_starts(spec, "unix:");
    map_set(tables, spec, s);
    free(z);
}

static void serve_sql(struct slice file)
{
    char *spec;

    if (map_get(files, file))
        return;
    spec = mem_printf("sql:%.*s", (int) file.len, file.p);
    map_set(files, file, table_open(spec, 0));
    free(spec);
}

static void found(void *unused, enum table_named_kind kind, struct slice name)
{
    (void) unused;
    if (kind == TABLE_NAMED_SQL)
        serve_sql(name);
    else if (kind == TABLE_NAMED_TABLE)
        serve(name);
}

void sources_open(void)
{
    tables = map_new(SIZE_MAX, NULL);
    files = map_new(SIZE_MAX, NULL);
    table_named(found, NULL);
}

struct table *sources_table(const char *spec, unsigned flags, bool *blocks)
{
    const struct served *s = map_get(tables, slice_of(spec));

    for (int i = 0; s && i < VARIANTS; i++)
        if (variant_flags[i] == flags) {
            *blocks = s->blocks;
            return s->variant[i];
        }
    return NULL;
}

bool sources_known(const char *spec) { return map_get(tables, slice_of(spec)) != NULL; }
struct table *sources_sql(const char *file) { return map_get(files, slice_of(file)); }
