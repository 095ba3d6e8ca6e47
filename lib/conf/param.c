/*
 * param - the configuration of this process: overrides before main.cf before defaults, expanded on demand and kept
 */
#include "conf/param.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/computed.h"
#include "conf/expand.h"
#include "conf/maincf.h"

#include <errno.h>
#include <stdlib.h>

static const char *const type_name[] = { [PARAM_INT] = "int",    [PARAM_BOOL] = "bool",     [PARAM_SECONDS] = "time",
                                         [PARAM_BYTES] = "size", [PARAM_STRING] = "string", [PARAM_RAW] = "raw" };
static const char default_dir[] = "/etc/postfix";

/* The configuration of this process. */
static char *dir;
static struct maincf main_cf;
static struct arena *strings;
static struct map *overrides; /* name -> text */
static struct map *known;     /* name -> struct conf_known */
static struct map *entries;   /* name -> struct param */
static struct map *expanded;  /* name -> text: answers of conf_value */
static struct conf_known **sorted;
static size_t sorted_count;

static void set_up(void)
{
    if (strings)
        return;
    strings = arena_new();
    overrides = map_new(SIZE_MAX, NULL);
    known = map_new(SIZE_MAX, NULL);
    entries = map_new(SIZE_MAX, NULL);
    expanded = map_new(SIZE_MAX, NULL);
}

static void warn_duplicate(const char *file, int line, const struct maincf_setting *earlier)
{
    log_warn("%s, line %d: overriding earlier entry: %s=%s", file, line, earlier->name, earlier->value);
}

int conf_open(const char *config_dir)
{
    struct err err;
    char *path;
    int rc;

    map_free(&overrides);
    map_free(&known);
    map_free(&entries);
    map_free(&expanded);
    arena_free(&strings);
    maincf_free(&main_cf);
    free(sorted);
    sorted = NULL;
    set_up();
    if (config_dir == NULL)
        config_dir = getenv("MAIL_CONFIG");
    if (config_dir == NULL || *config_dir == 0)
        config_dir = default_dir;
    char *fresh = mem_strdup(config_dir); /* config_dir may be what conf_dir() gave */
    free(dir);
    dir = fresh;
    path = mem_printf("%s/main.cf", dir);
    rc = maincf_read(&main_cf, path, warn_duplicate, &err);
    if (rc < 0)
        log_error("%s", err.text);
    free(path);
    return rc;
}

const char *conf_dir(void) { return dir ? dir : default_dir; }
const struct maincf *conf_main(void) { return &main_cf; }

void conf_override(const char *name, const char *value)
{
    set_up();
    map_set(overrides, slice_of(name), arena_strdup(strings, value));
    map_clear(expanded);
}

static void learn(struct conf_known k)
{
    struct conf_known *copy;

    if (map_get(known, slice_of(k.name)))
        return;
    copy = arena_alloc(strings, sizeof *copy);
    *copy = k;
    map_set(known, slice_of(k.name), copy);
    free(sorted);
    sorted = NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct conf_known *const *) a)->name, (*(struct conf_known *const *) b)->name);
}

static void sort_known(void)
{
    struct slice key;
    void *value;

    if (sorted)
        return;
    set_up();
    sorted_count = 0;
    sorted = mem_array(map_count(known) + 1, sizeof(struct conf_known *));
    for (size_t at = 0; map_next(known, &at, &key, &value);)
        sorted[sorted_count++] = value;
    qsort(sorted, sorted_count, sizeof(struct conf_known *), by_name);
}

size_t conf_known_count(void)
{
    sort_known();
    return sorted_count;
}

const struct conf_known *conf_known_at(size_t i)
{
    sort_known();
    return sorted[i];
}

const struct conf_known *conf_known_get(const char *name)
{
    set_up();
    return map_get(known, slice_of(name));
}

const struct param *conf_param(const char *name)
{
    set_up();
    return map_get(entries, slice_of(name));
}

const char *conf_default(const char *name)
{
    const struct conf_known *k = conf_known_get(name);

    return k && k->def ? k->def : computed_default(name, strings);
}

bool conf_is_set(const char *name)
{
    set_up();
    return map_get(overrides, slice_of(name)) || maincf_get(&main_cf, name);
}

bool conf_where(const char *name, const char **file, int *line)
{
    const struct maincf_setting *s = maincf_get(&main_cf, name);

    set_up();
    if (s == NULL || map_get(overrides, slice_of(name)))
        return false;
    *file = main_cf.file;
    *line = s->line;
    return true;
}

const char *conf_raw(const char *name)
{
    const struct maincf_setting *s;
    const char *text;

    set_up();
    text = map_get(overrides, slice_of(name));
    if (text == NULL && (s = maincf_get(&main_cf, name)) != NULL)
        text = s->value;
    return text ? text : conf_default(name);
}

static const char *raw_for_expansion(void *ctx, const char *name)
{
    const char *text = conf_raw(name), *first;

    (void) ctx;
    if (text && text[0] == '/' && strcmp(name, "myorigin") == 0 && (first = computed_mailname(text, strings)))
        return first;
    return text;
}

static const struct expand macros = { .lookup = raw_for_expansion, .recursive = true };

/* Where a value comes from, for messages. */
static void describe(const char *name, char *out, size_t size)
{
    const char *file;
    int line;

    if (conf_where(name, &file, &line))
        snprintf(out, size, "%s, line %d", file, line);
    else
        snprintf(out, size, map_get(overrides, slice_of(name)) ? "-o %s" : "default of %s", name);
}

static const char *expand_named(const char *name, const char *text)
{
    struct str out;
    struct err err;
    char where[512];
    const char *value = NULL;

    str_init(&out, EXPAND_BYTES);
    if (expand_text(&macros, slice_of(text), &out, &err) == 0) {
        value = arena_strndup(strings, out.p, out.len);
    } else {
        describe(name, where, sizeof where);
        log_error("%s: parameter %s: macro processing error: %s", where, name, err.text);
    }
    str_free(&out);
    return value;
}

const char *conf_value(const char *name)
{
    const char *text, *value;

    set_up();
    value = map_get(expanded, slice_of(name));
    if (value || (text = raw_for_expansion(NULL, name)) == NULL)
        return value;
    value = expand_named(name, text);
    if (value)
        map_set(expanded, slice_of(name), (void *) (uintptr_t) value);
    return value;
}

int conf_expand(const char *text, char **out)
{
    struct str s;
    struct err err;
    int rc;

    set_up();
    str_init(&s, EXPAND_BYTES);
    rc = expand_text(&macros, slice_of(text), &s, &err);
    if (rc < 0)
        log_warn("macro processing error: %s", err.text);
    else
        *out = str_take(&s);
    str_free(&s);
    return rc;
}

int64_t conf_seconds(const char *text, char default_unit, bool *ok)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 } };
    struct slice s = slice_trim(slice_of(text));
    char unit = default_unit;
    int64_t n;

    if (s.len && !ascii_isdigit(s.p[s.len - 1]))
        unit = ascii_lower(s.p[--s.len]);
    *ok = false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (units[i].unit == unit && slice_i64(s, 0, INT64_MAX / units[i].seconds, &n) == 0) {
            *ok = true;
            return n * units[i].seconds;
        }
    return 0;
}

/* "5d" and "${stress?{10}:{300}}s" make days and seconds the unit of a bare number. */
static char time_unit(const char *def)
{
    size_t n = def ? strlen(def) : 0;

    if (n > 1 && ascii_isalpha(def[n - 1]) && (ascii_isdigit(def[n - 2]) || def[n - 2] == '}'))
        return def[n - 1];
    return 's';
}

static const char *refuse_number(const struct param *p, const char *value, int64_t *n)
{
    bool ok;

    if (p->type == PARAM_SECONDS) {
        *n = conf_seconds(value, time_unit(p->def), &ok);
        if (!ok)
            return "bad time value";
    } else if (slice_i64(slice_trim(slice_of(value)), INT64_MIN, INT64_MAX, n) < 0) {
        return "bad numerical configuration";
    }
    if (*n < p->min)
        return "the value is too small";
    if (p->max && *n > p->max)
        return "the value is too large";
    return NULL;
}

static const char *refuse_bool(const char *value, bool *yes)
{
    struct slice s = slice_trim(slice_of(value));

    *yes = slice_caseeq(s, "yes");
    return *yes || slice_caseeq(s, "no") ? NULL : "bad boolean configuration";
}

static int load_one(const struct param *p)
{
    const char *value = p->type == PARAM_RAW ? conf_raw(p->name) : conf_value(p->name), *wrong = NULL;
    char where[512];
    int64_t n = 0;
    bool yes = false;

    if (value == NULL)
        return -1; /* conf_value said why */
    if (p->type == PARAM_BOOL)
        wrong = refuse_bool(value, &yes);
    else if (p->type != PARAM_STRING && p->type != PARAM_RAW)
        wrong = refuse_number(p, value, &n);
    else if (p->min > 0 && *value == 0)
        wrong = "the value may not be empty";
    if (wrong) {
        describe(p->name, where, sizeof where);
        log_error("%s: %s: %s = %s", where, wrong, p->name, value);
        return -1;
    }
    if (p->type == PARAM_BOOL && p->yes)
        *p->yes = yes;
    else if ((p->type == PARAM_STRING || p->type == PARAM_RAW) && p->str)
        *p->str = value;
    else if (p->type != PARAM_BOOL && p->num)
        *p->num = n;
    return 0;
}

static void learn_table(const struct param *table)
{
    for (const struct param *p = table; p->type != PARAM_END; p++) {
        map_set(entries, slice_of(p->name), (void *) (uintptr_t) p);
        learn((struct conf_known){ p->name, type_name[p->type], p->def, p->doc, "", p->min, p->max });
    }
}

int conf_load(const struct param *const *tables)
{
    int rc = 0;

    set_up();
    map_clear(expanded);
    learn_table(conf_global_params);
    for (size_t i = 0; tables && tables[i]; i++)
        learn_table(tables[i]);
    for (const struct param *p = conf_global_params; p->type != PARAM_END; p++)
        if (load_one(p) < 0)
            rc = -1;
    for (size_t i = 0; tables && tables[i]; i++)
        for (const struct param *p = tables[i]; tables[i] != conf_global_params && p->type != PARAM_END; p++)
            if (load_one(p) < 0)
                rc = -1;
    return rc;
}

static void print_table(FILE *out, const struct param *table)
{
    for (const struct param *p = table; p->type != PARAM_END; p++)
        fprintf(out, "%s\t%s\t%s\t%lld\t%lld\t%s\n", p->name, type_name[p->type], p->def ? p->def : "(computed)",
                (long long) p->min, (long long) p->max, p->doc ? p->doc : "");
}

void conf_print(FILE *out, const struct param *const *tables)
{
    print_table(out, conf_global_params);
    for (size_t i = 0; tables && tables[i]; i++)
        if (tables[i] != conf_global_params)
            print_table(out, tables[i]);
}

int conf_registry_read(const char *path)
{
    struct str text;
    struct slice rest, line, field[7];
    int rc = 0;

    set_up();
    learn_table(conf_global_params);
    str_init(&text, CONF_PARAMS_FILE_BYTES);
    if (file_read(path, &text) < 0) {
        log_warn("open %s: %s", path, strerror(errno));
        str_free(&text);
        return -1;
    }
    rest = slice_of(arena_strndup(strings, text.p, text.len));
    str_free(&text);
    while (slice_split(&rest, '\n', &line)) {
        struct slice fields = line;
        size_t n = 0;
        int64_t min, max;

        if (line.len == 0)
            continue;
        while (n < 7 && slice_split(&fields, '\t', &field[n]))
            n++;
        if (n != 7 || slice_i64(field[4], INT64_MIN, INT64_MAX, &min) < 0 ||
            slice_i64(field[5], INT64_MIN, INT64_MAX, &max) < 0) {
            log_warn("%s: malformed line: %.*s", path, (int) line.len, line.p);
            rc = -1;
            continue;
        }
        learn((struct conf_known){
            arena_strndup(strings, field[1].p, field[1].len), arena_strndup(strings, field[2].p, field[2].len),
            slice_eq(field[3], "(computed)") ? NULL : arena_strndup(strings, field[3].p, field[3].len),
            arena_strndup(strings, field[6].p, field[6].len), arena_strndup(strings, field[0].p, field[0].len), min,
            max });
    }
    map_clear(expanded);
    return rc;
}
