/* master_cf - postconf on master.cf: services (-M), their columns (-F) and their -o parameters (-P) */
#include "base/log.h"
#include "base/mem.h"
#include "conf/builtin.h"
#include "conf/lines.h"
#include "conf/param.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const field_name[MASTERCF_FIELDS] = { "service", "type",   "private",       "unprivileged",
                                                         "chroot",  "wakeup", "process_limit", "command" };
struct pattern { /* service/type/rest; NULL or "*": any */
    char *text, *part[3], *value;
    int parts;
};

static void parse_pattern(struct pattern *p, const char *arg, bool with_value, int parts_max)
{
    char *equals, *at;

    *p = (struct pattern){ .text = mem_strdup(arg) };
    at = p->text;
    equals = with_value ? strchr(at, '=') : NULL;
    if (equals) {
        *equals = 0;
        p->value = equals + 1;
        while (equals > at && ascii_isspace(equals[-1]))
            *--equals = 0;
        while (ascii_isspace(*p->value))
            p->value++;
    }
    while (at && p->parts < parts_max) {
        char *slash = p->parts + 1 < parts_max ? strchr(at, '/') : NULL;
        if (slash)
            *slash++ = 0;
        p->part[p->parts++] = at;
        at = slash;
    }
}

static bool fits(const char *pattern, const char *text)
{
    return pattern == NULL || *pattern == 0 || strcmp(pattern, "*") == 0 || strcmp(pattern, text) == 0;
}

static bool service_fits(const struct pattern *p, const struct mastercf_service *s)
{
    return fits(p->part[0], s->field[0]) && fits(p->part[1], s->field[1]);
}

static int read_master(struct mastercf *m)
{
    struct err err;
    char *path = mem_printf("%s/master.cf", conf_dir());
    int rc = mastercf_read(path, m, &err);

    if (rc < 0)
        log_error("%s", err.text);
    free(path);
    return rc;
}

static void command_text(const struct mastercf_service *s, struct str *out)
{
    str_adds(out, s->program);
    for (size_t i = 0; i < s->argc; i++)
        str_printf(out, " %s", s->raw_argv[i]);
}

static void show_field(unsigned mode, const struct mastercf_service *s, int field)
{
    char *name = mem_printf("%s/%s/%s", s->field[0], s->field[1], field_name[field]);
    struct str value;

    str_init(&value, STR_UNLIMITED);
    if (field == MASTERCF_FIELDS - 1)
        command_text(s, &value);
    else
        str_adds(&value, s->field[field]);
    print_pair(mode, name, value.p);
    str_free(&value);
    free(name);
}

static void show_parameter(unsigned mode, const struct mastercf_service *s, const struct mastercf_option *o)
{
    char *name = mem_printf("%s/%s/%s", s->field[0], s->field[1], o->name), *expanded = NULL;

    if (mode & MODE_EXPAND && conf_expand(o->value, &expanded) < 0)
        exit(1);
    print_pair(mode, name, expanded ? expanded : o->value);
    free(expanded);
    free(name);
}

/* The number of things shown. */
static int show_service(enum master_view view, unsigned mode, const struct mastercf_service *s,
                        const struct pattern *p)
{
    struct str line;
    int shown = 0;

    if (view == VIEW_SERVICES) {
        str_init(&line, STR_UNLIMITED);
        print_service(mode, s, &line);
        puts(line.p);
        str_free(&line);
        return 1;
    }
    for (int f = 0; view == VIEW_FIELDS && f < MASTERCF_FIELDS; f++)
        if (fits(p->part[2], field_name[f])) {
            show_field(mode, s, f);
            shown++;
        }
    for (size_t o = 0; view == VIEW_PARAMETERS && o < s->option_count; o++)
        if (fits(p->part[2], s->options[o].name)) {
            show_parameter(mode, s, &s->options[o]);
            shown++;
        }
    return shown;
}

/* Built-in services that master.cf does not replace follow its own, so that all that runs is shown. */
static void add_builtin(struct mastercf *m)
{
    struct mastercf all = { 0 };
    struct err err;

    if (mastercf_parse(&all, CONF_BUILTIN_FILE, slice_of(conf_builtin_services), &err) < 0)
        log_panic("%s", err.text);
    for (size_t i = 0; i < all.count; i++) {
        const struct mastercf_service *b = &all.service[i];
        size_t first = strcspn(b->name, ",");
        bool replaced = false;
        for (size_t s = 0; s < m->count; s++)
            replaced = replaced ||
                       (m->service[s].type == b->type &&
                        (strcmp(m->service[s].name, b->name) == 0 ||
                         (strlen(m->service[s].name) == first && memcmp(m->service[s].name, b->name, first) == 0)));
        if (!replaced) {
            struct str line;
            str_init(&line, STR_UNLIMITED);
            print_service(0, b, &line);
            if (mastercf_parse(m, CONF_BUILTIN_FILE, str_slice(&line), &err) < 0)
                log_panic("%s", err.text);
            str_free(&line);
        }
    }
    mastercf_free(&all);
}

int master_show(enum master_view view, unsigned mode, char **patterns, int count)
{
    struct mastercf m = { 0 };
    int asked = count ? count : 1;
    struct pattern *p = mem_array((size_t) asked, sizeof *p);
    int *shown = mem_array((size_t) asked, sizeof *shown);

    if (read_master(&m) < 0)
        return 1;
    add_builtin(&m);
    for (int i = 0; i < asked; i++)
        parse_pattern(&p[i], count ? patterns[i] : "*", false, view == VIEW_SERVICES ? 2 : 3);
    for (size_t s = 0; s < m.count; s++) /* in the order of the file, each once */
        for (int i = 0, done = 0; i < asked && !done; i++)
            if (service_fits(&p[i], &m.service[s]))
                shown[i] += done = show_service(view, mode, &m.service[s], &p[i]);
    for (int i = 0; i < asked; i++) {
        if (shown[i] == 0 && count)
            log_warn("unmatched request: \"%s\"", patterns[i]);
        free(p[i].text);
    }
    free(p);
    free(shown);
    mastercf_free(&m);
    return 0;
}

struct changes {
    enum master_view view;
    unsigned mode;
    struct pattern *pattern;
    int *found, count;
};

/* "-o name=value" as it must be written: in braces when the value holds blanks. */
static void add_option(struct str *out, const char *name, const char *value)
{
    if (strpbrk(value, " \t{}"))
        str_printf(out, " -o { %s = %s }", name, value);
    else
        str_printf(out, " -o %s=%s", name, value);
}

/* The line of a service with one of its -o parameters set, or removed (value NULL). */
static void change_parameter(const struct mastercf_service *s, const char *name, const char *value, struct str *out)
{
    bool done = false;

    for (int i = 0; i < MASTERCF_FIELDS; i++)
        str_printf(out, i ? " %s" : "%s", s->field[i]);
    for (size_t i = 0, option = 0; i < s->argc; i++) {
        bool is_option = s->argv[i][0] == '-' && s->argv[i][1] == 'o' && option < s->option_count;
        bool this_one = is_option && strcmp(s->options[option].name, name) == 0;
        size_t words = is_option && s->argv[i][2] == 0 ? 2 : 1;
        if (is_option)
            option++;
        if (this_one && value && !done)
            add_option(out, name, value);
        done = done || this_one;
        for (size_t w = 0; w < words && !this_one; w++)
            str_printf(out, " %s", s->raw_argv[i + w]);
        i += words - 1;
        if (i + 1 < s->argc && s->argv[i + 1][0] != '-' && value && !done) {
            add_option(out, name, value); /* before the first argument that is no option */
            done = true;
        }
    }
    if (!done && value)
        add_option(out, name, value);
}

static void change_field(const struct mastercf_service *s, const char *name, const char *value, struct str *out)
{
    for (int i = 0; i < MASTERCF_FIELDS; i++)
        str_printf(out, i ? " %s" : "%s", strcmp(field_name[i], name) == 0 ? value : s->field[i]);
    if (strcmp(name, "command") == 0)
        return;
    for (size_t i = 0; i < s->argc; i++)
        str_printf(out, " %s", s->raw_argv[i]);
}

static void commented(struct slice logical, struct str *out)
{
    struct slice rest = slice_sub(logical, 0, logical.len - 1), line;

    while (slice_split(&rest, '\n', &line))
        str_printf(out, "#%.*s\n", (int) line.len, line.p);
}

/* Writes a changed line as postconf -Mf shows it; a line that is none any more keeps the old one. */
static bool write_line(const struct str *text, struct str *out)
{
    struct mastercf m = { 0 };
    struct err err;
    bool good = mastercf_parse(&m, "new line", str_slice(text), &err) == 0 && m.count == 1;

    if (good) {
        print_service(MODE_FOLD, &m.service[0], out);
        str_addc(out, '\n');
    } else {
        log_error("%s", m.count == 1 ? err.text : "one service is expected");
    }
    mastercf_free(&m);
    return good;
}

static bool apply_one(const struct changes *c, const struct pattern *p, const struct mastercf_service *s,
                      struct slice logical, struct str *out)
{
    struct str text;
    bool good;

    if (c->view != VIEW_PARAMETERS && c->mode & MODE_REMOVE)
        return true;
    if (c->mode & MODE_COMMENT) {
        commented(logical, out);
        return true;
    }
    str_init(&text, STR_UNLIMITED);
    if (c->view == VIEW_SERVICES)
        str_adds(&text, p->value);
    else if (c->view == VIEW_FIELDS)
        change_field(s, p->part[2], p->value, &text);
    else
        change_parameter(s, p->part[2], c->mode & MODE_REMOVE ? NULL : p->value, &text);
    good = write_line(&text, out);
    str_free(&text);
    return good;
}

static bool apply(void *ctx, struct slice logical, struct str *out)
{
    struct changes *c = ctx;
    struct mastercf m = { 0 };
    struct err err;
    bool changed = false;

    if (mastercf_parse(&m, "master.cf", logical, &err) < 0 || m.count != 1) {
        mastercf_free(&m);
        return false;
    }
    for (int i = 0; i < c->count && !changed; i++)
        if (service_fits(&c->pattern[i], &m.service[0])) {
            c->found[i]++;
            changed = apply_one(c, &c->pattern[i], &m.service[0], logical, out);
        }
    mastercf_free(&m);
    return changed;
}

static void append_new(void *ctx, struct str *out)
{
    struct changes *c = ctx;
    struct str text;

    for (int i = 0; i < c->count; i++) {
        if (c->found[i])
            continue;
        if (c->view == VIEW_SERVICES && c->mode & MODE_EDIT) {
            str_init(&text, STR_UNLIMITED);
            str_adds(&text, c->pattern[i].value);
            write_line(&text, out);
            str_free(&text);
        } else {
            log_warn("unmatched request: \"%s\"", c->pattern[i].part[0]);
        }
    }
}

static int check(const struct changes *c, const struct pattern *p, const char *arg)
{
    int wanted = c->view == VIEW_SERVICES ? 2 : 3;
    bool known = c->view != VIEW_FIELDS;

    for (int f = 0; p->parts == 3 && f < MASTERCF_FIELDS; f++)
        known = known || strcmp(field_name[f], p->part[2]) == 0;
    if (p->parts != wanted || !known || ((c->mode & MODE_EDIT) != 0) != (p->value != NULL)) {
        log_error("bad request: \"%s\"; expected service/type%s%s", arg,
                  c->view == VIEW_SERVICES ? ""
                  : c->view == VIEW_FIELDS ? "/field"
                                           : "/parameter",
                  c->mode & MODE_EDIT ? "=value" : "");
        return -1;
    }
    return 0;
}

int master_edit(enum master_view view, unsigned mode, char **args, int count)
{
    struct changes c = { .view = view, .mode = mode };
    char *path = mem_printf("%s/master.cf", conf_dir());
    int rc = count ? 0 : 1;

    c.pattern = mem_array((size_t) count, sizeof *c.pattern);
    c.found = mem_array((size_t) count, sizeof *c.found);
    if (count == 0)
        log_error("what shall be changed? expected service/type");
    for (int i = 0; i < count; i++) {
        parse_pattern(&c.pattern[i], args[i], mode & MODE_EDIT, view == VIEW_SERVICES ? 2 : 3);
        c.count++;
        if (check(&c, &c.pattern[i], args[i]) < 0)
            rc = 1;
    }
    if (rc == 0 && edit_file(path, apply, append_new, &c) < 0)
        rc = 1;
    for (int i = 0; i < c.count; i++)
        free(c.pattern[i].text);
    free(c.pattern);
    free(c.found);
    free(path);
    return rc;
}
