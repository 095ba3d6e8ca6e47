/* sources - what the configuration names; contract in sources.h */
#include "sources.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "conf/maincf.h"
#include "conf/mastercf.h"
#include "conf/param.h"

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

    if (spec.len == 0 || map_get(tables, spec))
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

    if (file.len == 0 || map_get(files, file))
        return;
    spec = mem_printf("sql:%.*s", (int) file.len, file.p);
    map_set(files, file, table_open(spec, 0));
    free(spec);
}

/* The word at `at`, which may stand inside braces of a list. */
static struct slice word_at(const char *at)
{
    struct slice rest = slice_of(at), word = { "", 0 };
    size_t depth = 0;

    (void) lines_word(&rest, ", \t\r\n", &word);
    for (size_t i = 0; i < word.len; i++)
        if (word.p[i] == '{')
            depth++;
        else if (word.p[i] == '}' && depth-- == 0)
            return slice_sub(word, 0, i);
    return word;
}

/* Each "PREFIXname" of a value, wherever it stands: lists, restrictions, members of a union. */
static void find(const char *value, const char *prefix, bool keep_prefix, void (*found)(struct slice))
{
    for (const char *at = value; at && (at = strstr(at, prefix)) != NULL; at += strlen(prefix)) {
        if (at > value && at[-1] != '!' && at[-1] != ':' && strchr(", \t\r\n{", at[-1]) == NULL)
            continue;
        found(word_at(keep_prefix ? at : at + strlen(prefix)));
    }
}

static void find_sources(const char *name, const char *value)
{
    find(value, "proxy:", false, serve);
    find(value, "mysql:", true, serve);
    if (strcmp(name, "auth_passdb") == 0 || strcmp(name, "auth_userdb") == 0)
        find(value, "sql:", false, serve_sql);
}

static void find_in_main(void)
{
    const struct maincf *main_cf = conf_main();

    for (size_t i = 0; i < main_cf->count; i++)
        find_sources(main_cf->setting[i]->name, conf_value(main_cf->setting[i]->name));
    for (size_t i = 0; i < conf_known_count(); i++)
        find_sources(conf_known_at(i)->name, conf_value(conf_known_at(i)->name));
}

static void find_in_master(void)
{
    struct mastercf m = { 0 };
    struct err err;
    char *path = mem_printf("%s/master.cf", conf_dir()), *value;

    if (mastercf_read(path, &m, &err) < 0)
        log_warn("%s", err.text);
    for (size_t i = 0; i < m.count; i++)
        for (size_t o = 0; o < m.service[i].option_count; o++)
            if (conf_expand(m.service[i].options[o].value, &value) == 0) {
                find_sources(m.service[i].options[o].name, value);
                free(value);
            }
    mastercf_free(&m);
    free(path);
}

void sources_open(void)
{
    tables = map_new(SIZE_MAX, NULL);
    files = map_new(SIZE_MAX, NULL);
    find_in_main();
    find_in_master();
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
