/* maincf - settings in the order of their first line, found by name */
#include "conf/maincf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/lines.h"

#include <errno.h>
#include <stdlib.h>

static void put(struct maincf *m, struct slice name, struct slice value, int line,
                void (*duplicate)(const char *, int, const struct maincf_setting *))
{
    struct maincf_setting *s = map_get(m->by_name, name);

    if (s == NULL) {
        s = arena_alloc(m->arena, sizeof *s);
        s->name = arena_strndup(m->arena, name.p, name.len);
        map_set(m->by_name, name, s);
        if (m->count == m->room) {
            m->room = m->room ? m->room * 2 : 64;
            m->setting = mem_grow(m->setting, m->room, sizeof *m->setting);
        }
        m->setting[m->count++] = s;
    } else if (duplicate) {
        duplicate(m->file, line, s);
    }
    s->value = arena_strndup(m->arena, value.p, value.len);
    s->line = line;
}

int maincf_parse(struct maincf *m, const char *file, struct slice text,
                 void (*duplicate)(const char *, int, const struct maincf_setting *), struct err *err)
{
    struct lines lines;
    struct slice line, name, value;
    const char *why;
    int rc = 0;

    *m = (struct maincf){ .arena = arena_new(), .by_name = map_new(SIZE_MAX, NULL) };
    m->file = arena_strdup(m->arena, file);
    lines_init(&lines, text);
    while (rc == 0 && lines_next(&lines, &line)) {
        size_t shown = line.len > 100 ? 100 : line.len;
        if (ascii_isspace(line.p[0]))
            log_warn("%s, line %d: logical line must not start with whitespace: \"%.*s\"", file, lines.first,
                     (int) shown, line.p);
        else if (memchr(line.p, 0, line.len))
            rc = err_set(err, 0, NULL, "%s, line %d: the line holds a NUL byte", file, lines.first);
        else if (lines_pair(line, &name, &value, &why) < 0)
            rc = err_set(err, 0, NULL, "%s, line %d: %s: \"%.*s\"", file, lines.first, why, (int) shown, line.p);
        else
            put(m, name, value, lines.first, duplicate);
    }
    lines_fini(&lines);
    if (rc < 0)
        maincf_free(m);
    return rc;
}

int maincf_read(struct maincf *m, const char *file,
                void (*duplicate)(const char *, int, const struct maincf_setting *), struct err *err)
{
    struct str text;
    int rc;

    str_init(&text, MAINCF_BYTES);
    if (file_read(file, &text) < 0)
        rc = err_set(err, 0, NULL, "open %s: %s", file, strerror(errno));
    else
        rc = maincf_parse(m, file, str_slice(&text), duplicate, err);
    str_free(&text);
    return rc;
}

const struct maincf_setting *maincf_get(const struct maincf *m, const char *name)
{
    return m->by_name ? map_get(m->by_name, slice_of(name)) : NULL;
}

void maincf_free(struct maincf *m)
{
    map_free(&m->by_name);
    arena_free(&m->arena);
    free(m->setting);
    *m = (struct maincf){ 0 };
}
