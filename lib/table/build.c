/*
 * build - pairs are collected in memory, so that duplicates are seen and an index can be changed, then written at
 * once
 */
#include "table/build.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/param.h"
#include "proto/addr/addr.h"
#include "table/internal.h"
#include "table/source.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILES_BYTES = 16 << 20 /* of one value */ };
struct pair {
    struct slice key, value; /* value.p NULL: removed */
};
struct build {
    char *file, *index;
    struct build_options options;
    struct arena *arena;
    struct map *by_key;
    struct pair **order;
    size_t count, room;
    bool refused;       /* a duplicate that the options forbid */
    const char *source; /* while build_read goes through it */
};

struct build *build_new(const char *file, const struct build_options *options, struct err *err)
{
    struct build *b = mem_new(sizeof *b);

    if (strlen(file) == 0) {
        free(b);
        err_set(err, 0, NULL, "a table needs a file name");
        return NULL;
    }
    b->file = mem_strdup(file);
    b->index = mem_printf("%s.cdb", file);
    b->options = *options;
    b->arena = arena_new();
    b->by_key = map_new(SIZE_MAX, NULL);
    return b;
}

void build_cancel(struct build **bp)
{
    struct build *b = *bp;

    *bp = NULL;
    if (b == NULL)
        return;
    map_free(&b->by_key);
    arena_free(&b->arena);
    free(b->order);
    free(b->file);
    free(b->index);
    free(b);
}

static void say_duplicate(struct build *b, struct slice key)
{
    if (b->options.duplicate == BUILD_DUP_ERROR)
        log_error("%s: duplicate entry: \"%.*s\"", b->index, (int) key.len, key.p);
    else if (b->options.duplicate == BUILD_DUP_WARN)
        log_warn("%s: duplicate entry: \"%.*s\"", b->index, (int) key.len, key.p);
    b->refused = b->refused || b->options.duplicate == BUILD_DUP_ERROR;
}

static void put(struct build *b, struct slice key, struct slice value, bool fold, bool replace)
{
    struct str folded;
    struct pair *p;

    str_init(&folded, STR_UNLIMITED);
    if (fold) {
        addr_fold(&folded, key);
        key = str_slice(&folded);
    }
    p = map_get(b->by_key, key);
    if (p && p->value.p && !replace) {
        say_duplicate(b, key);
    } else {
        if (p == NULL) {
            p = arena_alloc(b->arena, sizeof *p);
            p->key = slice_make(arena_strndup(b->arena, key.p, key.len), key.len);
            map_set(b->by_key, key, p);
            if (b->count == b->room) {
                b->room = b->room ? b->room * 2 : 256;
                b->order = mem_grow(b->order, b->room, sizeof(struct pair *));
            }
            b->order[b->count++] = p;
        }
        p->value = slice_make(arena_strndup(b->arena, value.p, value.len), value.len);
    }
    str_free(&folded);
}

void build_add(struct build *b, struct slice key, struct slice value, int line)
{
    (void) line;
    put(b, key, value, !b->options.keep_case, b->options.duplicate == BUILD_DUP_REPLACE);
}

void build_put(struct build *b, struct slice key, struct slice value) { put(b, key, value, false, true); }

bool build_remove(struct build *b, struct slice key)
{
    struct pair *p;
    struct str folded;

    str_init(&folded, STR_UNLIMITED);
    if (b->options.keep_case)
        str_addslice(&folded, key);
    else
        addr_fold(&folded, key);
    p = map_get(b->by_key, str_slice(&folded));
    str_free(&folded);
    if (p == NULL || p->value.p == NULL)
        return false;
    p->value = (struct slice){ NULL, 0 };
    return true;
}

int build_read_files(struct slice names, struct str *out, struct err *err)
{
    struct slice word;
    bool first = true;

    while (slice_word(&names, ", \t\r\n", &word)) {
        char *path = mem_strndup(word.p, word.len);
        if (!first)
            str_addc(out, '\n');
        first = false;
        int rc = file_read(path, out);
        if (rc != 0)
            err_set(err, 0, NULL, "open %s: %s", path, strerror(errno));
        free(path);
        if (rc != 0)
            return -1;
    }
    return first ? err_set(err, 0, NULL, "no file is named") : 0;
}

static void from_source(void *ctx, struct slice key, struct slice value, int line)
{
    struct build *b = ctx;
    struct str contents, coded;
    struct err err;

    if (!b->options.files) {
        build_add(b, key, value, line);
        return;
    }
    str_init(&contents, FILES_BYTES);
    str_init(&coded, STR_UNLIMITED);
    if (build_read_files(value, &contents, &err) != 0) {
        log_warn("%s, line %d: %s: skipping this entry", b->source, line, err.text);
    } else {
        base64_encode(&coded, str_slice(&contents));
        build_add(b, key, str_slice(&coded), line);
    }
    str_free(&contents);
    str_free(&coded);
}

size_t build_read(struct build *b, enum build_syntax syntax, const char *name, struct slice text)
{
    b->source = name;
    return syntax == BUILD_ALIASES ? source_aliases(name, text, from_source, b)
                                   : source_postmap(name, text, from_source, b);
}

static void from_index(void *ctx, struct slice key, struct slice value) { build_put(ctx, key, value); }

int build_load(struct build *b, const char *index, struct err *err)
{
    char *spec;
    struct table *t;
    int rc = 0;

    if (access(index, F_OK) < 0)
        return errno == ENOENT ? 0 : err_set(err, 0, NULL, "open %s: %s", index, strerror(errno));
    spec = mem_printf("cdb:%.*s", (int) (strlen(index) - strlen(".cdb")), index);
    t = table_open(spec, 0);
    if (table_each(t, from_index, b) < 0)
        rc = err_set(err, 0, NULL, "read %s: %s", index, table_error(t) ? table_error(t) : "the index is damaged");
    table_close(&t);
    free(spec);
    return rc;
}

static int write_pairs(const struct build *b, int fd)
{
    struct cdb_make make;
    int failed = cdb_make_start(&make, fd);

    for (size_t i = 0; !failed && i < b->count; i++) {
        const struct pair *p = b->order[i];
        if (p->key.len > UINT32_MAX / 4 || p->value.len > UINT32_MAX / 4)
            errno = EFBIG, failed = -1;
        else if (p->value.p)
            failed = cdb_make_add(&make, p->key.p, (unsigned) p->key.len, p->value.p, (unsigned) p->value.len);
    }
    if (cdb_make_finish(&make) < 0)
        failed = -1;
    return failed ? -1 : 0;
}

/* Mode and owner of the source, as far as we may give them. */
static int dress(const struct build *b, int fd, const struct stat *source)
{
    if (source == NULL || b->options.own_mode)
        return 0;
    if (geteuid() == 0 && fchown(fd, source->st_uid, source->st_gid) < 0)
        return -1;
    return fchmod(fd, source->st_mode & 0666);
}

int build_finish_in_memory(struct build **bp, struct err *err)
{
    int fd = memfd_create("table", MFD_CLOEXEC);

    if (fd < 0 || write_pairs(*bp, fd) < 0) {
        err_set(err, 0, NULL, "%s in memory: %s", (*bp)->index, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    build_cancel(bp);
    return fd;
}

bool build_refused(const struct build *b) { return b->refused; }

int build_each(const struct build *b, int (*fn)(void *, struct slice, struct slice), void *ctx)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->order[i]->value.p && fn(ctx, b->order[i]->key, b->order[i]->value) < 0)
            return -1;
    return 0;
}

int build_finish(struct build **bp, const struct stat *source, struct err *err)
{
    struct build *b = *bp;
    char *tmp = mem_printf("%s.tmp.%ld", b->index, (long) getpid());
    int fd = -1, rc = 0;

    if (b->refused) {
        rc = err_set(err, 0, NULL, "%s is left as it is: the source has duplicate entries", b->index);
    } else {
        (void) unlink(tmp);
        fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || write_pairs(b, fd) < 0 || dress(b, fd, source) < 0 || fsync(fd) < 0 ||
            rename(tmp, b->index) < 0) {
            rc = err_set(err, 0, NULL, "create %s: %s", b->index, strerror(errno));
            if (fd >= 0)
                (void) unlink(tmp);
        }
        if (fd >= 0)
            close(fd);
    }
    free(tmp);
    build_cancel(bp);
    return rc;
}

int build_file(const char *file, enum build_syntax syntax, const struct build_options *options, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct build *b;
    struct stat st;
    struct str text;
    int rc = -1;

    if (fd < 0)
        return err_set(err, 0, NULL, "open %s: %s", file, strerror(errno));
    str_init(&text, TABLE_SOURCE_BYTES);
    if (fstat(fd, &st) < 0 || file_read(file, &text) < 0) {
        err_set(err, 0, NULL, "read %s: %s", file, strerror(errno));
    } else if ((b = build_new(file, options, err)) != NULL) {
        build_read(b, syntax, file, str_slice(&text));
        rc = build_finish(&b, &st, err);
    }
    close(fd);
    str_free(&text);
    return rc;
}

static bool names(const char *parameter, const char *spec)
{
    const char *list = conf_value(parameter);
    struct slice rest = slice_of(list), word;

    while (list && slice_word(&rest, ", \t\r\n", &word)) {
        if (slice_starts(word, "proxy:"))
            word = slice_sub(word, 6, word.len);
        if (slice_eq(word, spec))
            return true;
    }
    return false;
}

enum build_syntax build_syntax_of(const char *spec)
{
    return names("alias_maps", spec) || names("alias_database", spec) ? BUILD_ALIASES : BUILD_POSTMAP;
}
