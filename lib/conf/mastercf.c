/* mastercf - columns, then arguments with braces taken off, then the -o among them */
#include "conf/mastercf.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf/lines.h"

#include <errno.h>
#include <stdlib.h>

enum { MASTERCF_BYTES = 16 << 20, WORDS_MAX = 1000 };
const char *const mastercf_type_name[MASTERCF_TYPES] = { "inet", "unix", "fifo", "pass", "unix-dgram" };
static const char separators[] = " \t\r\n";

static int bad(struct err *err, const struct mastercf_service *s, const char *what, const char *text)
{
    return err_set(err, 0, NULL, "%s, line %d: %s \"%.100s\"", s->file, s->line, what, text);
}

/* y, n, or - for the default */
static int yes_no(struct mastercf_service *s, int field, const char *what, bool def, bool *out, struct err *err)
{
    const char *text = s->field[field];

    *out = def;
    if (strcmp(text, "-") == 0)
        return 0;
    *out = strcmp(text, "y") == 0;
    return *out || strcmp(text, "n") == 0 ? 0 : bad(err, s, what, text);
}

static int number(struct mastercf_service *s, int field, const char *what, const char *suffix, int def, int *out,
                  struct err *err)
{
    struct slice text = slice_of(s->field[field]);
    uint64_t n;

    *out = def;
    if (slice_eq(text, "-"))
        return 0;
    if (*suffix && slice_caseends(text, suffix))
        text.len -= strlen(suffix);
    if (slice_u64(text, 1000000000, &n) < 0)
        return bad(err, s, what, s->field[field]);
    *out = (int) n;
    return 0;
}

static int columns(struct mastercf_service *s, struct err *err)
{
    size_t type = 0;

    while (type < MASTERCF_TYPES && strcmp(mastercf_type_name[type], s->field[1]) != 0)
        type++;
    if (type == MASTERCF_TYPES)
        return bad(err, s, "bad transport type:", s->field[1]);
    s->type = (enum mastercf_type) type;
    s->name = s->field[0];
    s->program = s->field[7];
    if (yes_no(s, 2, "bad private field:", true, &s->private, err) < 0 ||
        yes_no(s, 3, "bad unprivileged field:", true, &s->unpriv, err) < 0 ||
        yes_no(s, 4, "bad chroot field:", false, &s->chroot, err) < 0 ||
        number(s, 5, "bad wakeup time:", "?", 0, &s->wakeup, err) < 0 ||
        number(s, 6, "bad process limit:", "", MASTERCF_PROC_DEFAULT, &s->max_proc, err) < 0)
        return -1;
    s->wakeup_if_used = slice_caseends(slice_of(s->field[5]), "?");
    if (s->type == MASTERCF_INET && s->private && strcmp(s->field[2], "-") != 0)
        return bad(err, s, "inet service cannot be private:", s->name);
    if (s->type == MASTERCF_INET)
        s->private = false;
    if (strchr(s->program, '/'))
        return bad(err, s, "the command must be a file name without a directory:", s->program);
    return 0;
}

static int add_option(struct mastercf *m, struct mastercf_service *s, struct mastercf_option *options,
                      const char *text, struct err *err)
{
    struct slice name, value;
    const char *why;

    if (lines_pair(slice_of(text), &name, &value, &why) < 0)
        return bad(err, s, "bad -o option:", text);
    options[s->option_count].name = arena_strndup(m->arena, name.p, name.len);
    options[s->option_count++].value = arena_strndup(m->arena, value.p, value.len);
    return 0;
}

/* Words behind the program: braces off, -o pairs sorted out. */
static int arguments(struct mastercf *m, struct mastercf_service *s, struct slice rest, struct err *err)
{
    const char **raw = mem_array(WORDS_MAX, sizeof *raw), **argv = mem_array(WORDS_MAX, sizeof *argv);
    struct mastercf_option *options = mem_array(WORDS_MAX, sizeof *options);
    struct slice word;
    const char *why;
    int rc = 0;

    while (rc == 0 && lines_word(&rest, separators, &word)) {
        if (s->argc == WORDS_MAX - 1)
            rc = bad(err, s, "too many arguments:", s->name);
        raw[s->argc] = arena_strndup(m->arena, word.p, word.len);
        if (word.p[0] == '{' && lines_unbrace(&word, &why) < 0)
            rc = bad(err, s, why, raw[s->argc]);
        else
            argv[s->argc++] = arena_strndup(m->arena, word.p, word.len);
    }
    for (size_t i = 0; rc == 0 && i < s->argc && argv[i][0] == '-'; i++) {
        const char *a = argv[i];
        if (a[1] == 'o' && a[2])
            rc = add_option(m, s, options, a + 2, err);
        else if (strcmp(a, "-o") == 0 && i + 1 < s->argc)
            rc = add_option(m, s, options, argv[++i], err);
        else if (strcmp(a, "-o") == 0)
            rc = bad(err, s, "an option needs a value:", "-o");
        else if (strcmp(a, "-D") == 0)
            s->debug = true;
        else if (strspn(a + 1, "v") == strlen(a + 1))
            s->verbose += (int) strlen(a + 1);
    }
    if (rc == 0) {
        s->raw_argv = memcpy(arena_alloc(m->arena, (s->argc + 1) * sizeof *raw), raw, s->argc * sizeof *raw);
        s->argv = memcpy(arena_alloc(m->arena, (s->argc + 1) * sizeof *argv), argv, s->argc * sizeof *argv);
        s->options = memcpy(arena_alloc(m->arena, (s->option_count + 1) * sizeof *options), options,
                            s->option_count * sizeof *options);
    }
    free(raw);
    free(argv);
    free(options);
    return rc;
}

static int entry(struct mastercf *m, struct mastercf_service *s, struct slice line, struct err *err)
{
    struct slice rest = line, word;

    for (int i = 0; i < MASTERCF_FIELDS; i++) {
        if (!lines_word(&rest, separators, &word)) {
            (void) bad(err, s, "bad field count in", arena_strndup(m->arena, line.p, line.len));
            return -1;
        }
        s->field[i] = arena_strndup(m->arena, word.p, word.len);
    }
    return columns(s, err) < 0 ? -1 : arguments(m, s, rest, err);
}

struct mastercf_service *mastercf_find(const struct mastercf *m, const char *name, const char *type)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->service[i].name, name) == 0 && strcmp(m->service[i].field[1], type) == 0)
            return &m->service[i];
    return NULL;
}

static void put(struct mastercf *m, const struct mastercf_service *s)
{
    struct mastercf_service *old = mastercf_find(m, s->name, s->field[1]);

    if (old) {
        *old = *s;
        return;
    }
    m->service = mem_grow(m->service, m->count + 1, sizeof *m->service);
    m->service[m->count++] = *s;
}

int mastercf_parse(struct mastercf *m, const char *name, struct slice text, struct err *err)
{
    struct lines lines;
    struct slice line;
    const char *file;
    int rc = 0;

    if (m->arena == NULL)
        m->arena = arena_new();
    file = arena_strdup(m->arena, name);
    lines_init(&lines, text);
    while (rc == 0 && lines_next(&lines, &line)) {
        struct mastercf_service s = { .file = file, .line = lines.first };
        if (memchr(line.p, 0, line.len))
            rc = bad(err, &s, "the line holds a NUL byte:", line.p);
        else if (ascii_isspace(line.p[0]))
            rc = bad(err, &s, "logical line must not start with whitespace:", line.p);
        else if ((rc = entry(m, &s, line, err)) == 0)
            put(m, &s);
    }
    lines_fini(&lines);
    return rc;
}

int mastercf_read(const char *path, struct mastercf *m, struct err *err)
{
    struct str text;
    int rc;

    str_init(&text, MASTERCF_BYTES);
    if (file_read(path, &text) < 0)
        rc = err_set(err, 0, NULL, "open %s: %s", path, strerror(errno));
    else
        rc = mastercf_parse(m, path, str_slice(&text), err);
    str_free(&text);
    return rc;
}

void mastercf_free(struct mastercf *m)
{
    arena_free(&m->arena);
    free(m->service);
    *m = (struct mastercf){ 0 };
}
