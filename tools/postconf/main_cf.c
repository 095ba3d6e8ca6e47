/* main_cf - postconf on main.cf: showing and editing */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "conf/maincf.h"
#include "conf/param.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

static void read_master(struct mastercf *m)
{
    struct err err;
    char *path = mem_printf("%s/master.cf", conf_dir());

    if (mastercf_read(path, m, &err) < 0)
        log_warn("%s", err.text);
    free(path);
}

/* What is shown, and what it is known by. */
struct view {
    unsigned mode, classes;
    struct mastercf master;
    struct map *unused;  /* names of main.cf that nothing obeys */
    struct map *service; /* parameters of services: name to default */
};

static const char *text_of(const struct view *v, const char *name)
{
    const char *text = v->mode & MODE_DEFAULTS ? conf_default(name) : conf_raw(name);

    return text ? text : map_get(v->service, slice_of(name));
}

static void show(const struct view *v, const char *name)
{
    const char *text = text_of(v, name);
    char *expanded = NULL;

    if (text == NULL)
        return;
    if (v->mode & MODE_EXPAND && conf_expand(text, &expanded) < 0)
        exit(1);
    print_pair(v->mode, name, expanded ? expanded : text);
    free(expanded);
}

static void note_service(void *ctx, const char *name, const char *def)
{
    char *old = map_take(ctx, slice_of(name));

    free(old);
    map_set(ctx, slice_of(name), mem_strdup(def));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* A name of main.cf that nothing obeys: where. */
static void note_unused(void *ctx, const char *where, const char *name, const char *value)
{
    (void) where, (void) value;
    map_set(ctx, slice_of(name), ctx);
}

static void warn_unused(void *ctx, const char *where, const char *name, const char *value)
{
    (void) ctx;
    log_warn("%s: unused parameter: %s=%s", where, name, value);
}

/* Names to show when none were asked for: those of each class. */
static void show_all(const struct view *v)
{
    const struct maincf *main_cf = conf_main();
    const char **names = mem_array(conf_known_count() + main_cf->count + map_count(v->service) + 1, sizeof *names);
    size_t count = 0, at = 0;
    struct slice key;
    void *def;

    for (size_t i = 0; v->classes & CLASS_BUILTIN && i < conf_known_count(); i++) {
        const char *name = conf_known_at(i)->name;
        if (!(v->mode & MODE_SET) || conf_is_set(name))
            names[count++] = name;
    }
    while (v->classes & CLASS_SERVICE && map_next(v->service, &at, &key, &def))
        if (!(v->mode & MODE_SET) || conf_is_set(key.p))
            names[count++] = key.p;
    for (size_t i = 0; v->classes & CLASS_USER && i < main_cf->count && !(v->mode & MODE_DEFAULTS); i++) {
        const char *name = main_cf->setting[i]->name;
        if (strcmp(name, "config_directory") != 0 && conf_known_get(name) == NULL &&
            map_get(v->service, slice_of(name)) == NULL && map_get(v->unused, slice_of(name)) == NULL)
            names[count++] = name;
    }
    if (v->classes & CLASS_BUILTIN && !(v->mode & MODE_DEFAULTS) && conf_is_set("config_directory"))
        names[count++] = "config_directory"; /* set by -c or the environment */
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++)
        show(v, names[i]);
    free(names);
}

int main_show(unsigned mode, unsigned classes, char **names, int count, bool warn)
{
    struct view v = {
        .mode = mode, .classes = classes, .unused = map_new(SIZE_MAX, NULL), .service = map_new(SIZE_MAX, free)
    };

    if (!(mode & MODE_DEFAULTS)) {
        read_master(&v.master);
        conf_unused(&v.master, note_unused, v.unused);
        conf_service_params(&v.master, note_service, v.service);
    }
    if (count == 0)
        show_all(&v);
    for (int i = 0; i < count; i++) {
        if (text_of(&v, names[i]) == NULL)
            log_warn("%s: unknown parameter", names[i]);
        else if (!(mode & MODE_SET) || conf_is_set(names[i]))
            show(&v, names[i]);
    }
    fflush(stdout);
    if (warn && !(mode & MODE_DEFAULTS))
        conf_unused(&v.master, warn_unused, NULL);
    mastercf_free(&v.master);
    map_free(&v.unused);
    map_free(&v.service);
    return 0;
}

struct change {
    char *name, *value;
    int found;
};
struct changes {
    unsigned mode;
    struct change *change;
    int count;
};

static bool apply(void *ctx, struct slice logical, struct str *out)
{
    struct changes *c = ctx;
    struct slice rest = logical, line, name;

    if (!slice_word(&rest, "= \t\r\n", &name))
        return false;
    for (int i = 0; i < c->count; i++) {
        if (!slice_eq(name, c->change[i].name))
            continue;
        if (c->change[i].found++ == 1)
            log_warn("%s/main.cf: multiple entries for \"%s\"", conf_dir(), c->change[i].name);
        if (c->mode & MODE_EDIT)
            str_printf(out, "%s = %s\n", c->change[i].name, c->change[i].value);
        else if (c->mode & MODE_COMMENT)
            for (rest = slice_sub(logical, 0, logical.len - 1); slice_split(&rest, '\n', &line);)
                str_printf(out, "#%.*s\n", (int) line.len, line.p);
        return true;
    }
    return false;
}

static void append_new(void *ctx, struct str *out)
{
    struct changes *c = ctx;

    for (int i = 0; i < c->count && c->mode & MODE_EDIT; i++)
        if (c->change[i].found == 0)
            str_printf(out, "%s = %s\n", c->change[i].name, c->change[i].value);
}

static int parse_change(unsigned mode, const char *arg, struct change *change)
{
    struct slice name = slice_trim(slice_of(arg)), value = { "", 0 };
    const char *why;

    if (mode & MODE_EDIT && lines_pair(slice_of(arg), &name, &value, &why) < 0) {
        log_error("%s: \"%s\"", why, arg);
        return -1;
    }
    if (!(mode & MODE_EDIT) && slice_find(name, '=') >= 0) {
        log_error("-X or -# takes names without a value: \"%s\"", arg);
        return -1;
    }
    if (strchr(arg, '\n') || name.len == 0 || name.p[0] == '#' || slice_find(name, '$') >= 0) {
        log_error("-e, -X and -# accept no multi-line input, no comment and no $name as a name: \"%s\"", arg);
        return -1;
    }
    *change = (struct change){ mem_strndup(name.p, name.len), mem_strndup(value.p, value.len), 0 };
    return 0;
}

int main_edit(unsigned mode, char **args, int count)
{
    struct changes c = { .mode = mode, .change = mem_array((size_t) count, sizeof(struct change)) };
    char *path = mem_printf("%s/main.cf", conf_dir());
    int rc = count ? 0 : 1;

    if (count == 0)
        log_error("-e, -X and -# need the names of parameters");
    for (int i = 0; i < count && rc == 0; i++) {
        struct change change;
        int at = 0;
        if (parse_change(mode, args[i], &change) < 0) {
            rc = 1;
            break;
        }
        while (at < c.count && strcmp(c.change[at].name, change.name) != 0)
            at++;
        if (at < c.count) { /* named twice: the last counts */
            free(c.change[at].name);
            free(c.change[at].value);
        } else {
            c.count++;
        }
        c.change[at] = change;
    }
    if (rc == 0 && edit_file(path, apply, append_new, &c) < 0)
        rc = 1;
    for (int i = 0; i < c.count; i++) {
        free(c.change[i].name);
        free(c.change[i].value);
    }
    free(c.change);
    free(path);
    return rc;
}
