/*
 * cdb - cdb:FILE reads FILE.cdb; hash:FILE and btree:FILE name a source whose index we keep as FILE.cdb beside it
 *
 * Invariants  the index is served, not the source; a source that is newer is warned of. Where Postfix's own FILE.db is
 *             newer, or alone, FILE.cdb gets its pairs when the table is opened; with neither it is built from the source
 *             an index that cannot be written (no right, full disk) is served from memory, with a warning
 * Errors      RETRY: a damaged index; a FILE.db that the postmap command cannot read and that no older source explains
 */
#include "base/log.h"
#include "base/mem.h"
#include "table/build.h"
#include "table/internal.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct index {
    struct cdb cdb;
    struct table *text; /* instead: the source in memory */
};

static int open_index(struct table *t, const char *path, struct err *err)
{
    struct index *x = t->state;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return err_set(err, 0, NULL, "open database %s: %s", path, strerror(errno));
    table_watch(t, fd);
    if (cdb_init(&x->cdb, fd) < 0)
        return err_set(err, 0, NULL, "open database %s: it is damaged (%s); build it again with postmap", path,
                       strerror(errno ? errno : EPROTO));
    return 0;
}

static void warn_old(const char *index, const char *source)
{
    struct stat i, s;

    if (stat(index, &i) == 0 && stat(source, &s) == 0 && s.st_mtime > i.st_mtime && s.st_mtime < time(NULL) - 100)
        log_warn("database %s is older than source file %s", index, source);
}

static int cdb_open(struct table *t, struct err *err)
{
    char *index = mem_printf("%s.cdb", t->name);
    int rc;

    t->state = mem_new(sizeof(struct index));
    rc = open_index(t, index, err);
    if (rc == 0)
        warn_old(index, t->name);
    else if (errno == ENOENT && access(t->name, F_OK) == 0)
        err_set(err, 0, NULL, "open database %s: No such file or directory; build it with \"postmap %s\"", index,
                t->spec);
    free(index);
    return rc;
}

static int serve_text(struct table *t, enum build_syntax syntax, struct err *err)
{
    struct index *x = t->state;
    char *spec = mem_printf("texthash:%s", t->name);
    int rc = 0;

    x->text = table_open(spec, t->flags | (syntax == BUILD_ALIASES ? TABLE_ALIASES : 0));
    if (table_error(x->text))
        rc = err_set(err, 0, NULL, "%s", table_error(x->text));
    free(spec);
    return rc;
}

static int from_text(struct table *t, const char *index, struct err *err)
{
    struct build_options options = { .keep_case = !(t->flags & TABLE_FOLD) };
    enum build_syntax syntax = build_syntax_of(t->spec);

    if (build_file(t->name, syntax, &options, err) == 0) {
        log_info("built %s from %s", index, t->name);
        return open_index(t, index, err);
    }
    log_warn("%s; %s is served from its text until \"%s %s\" is run", err->text, t->name,
             syntax == BUILD_ALIASES ? "postalias" : "postmap", t->spec);
    return serve_text(t, syntax, err);
}

static int serve_memory(struct table *t, struct build **b, struct err *err)
{
    struct index *x = t->state;
    int fd = build_finish_in_memory(b, err);

    if (fd < 0)
        return -1;
    table_watch(t, fd);
    return cdb_init(&x->cdb, fd) < 0 ? err_set(err, 0, NULL, "%s in memory: %s", t->spec, strerror(errno)) : 0;
}

/* A change of FILE.db is noticed though nobody has it open. */
static struct build *read_db(struct table *t, const char *db, struct stat *st, struct err *err)
{
    struct build_options options = { 0 };
    int fd = open(db, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct build *b;

    if (fd < 0 || fstat(fd, st) < 0) {
        err_set(err, 0, NULL, "open database %s: %s", db, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    table_watch(t, fd);
    b = build_new(t->name, &options, err);
    if (b && build_import(b, t->name, err) < 0)
        build_cancel(&b);
    return b;
}

static int from_db(struct table *t, const char *index, const char *db, struct err *err)
{
    struct stat st, source;
    struct build *b = read_db(t, db, &st, err);

    if (b) {
        if (build_finish(&b, &st, err) == 0) {
            log_info("built %s from %s", index, db);
            return open_index(t, index, err);
        }
        log_warn("%s; %s is served from memory", err->text, db);
        b = read_db(t, db, &st, err);
        return b ? serve_memory(t, &b, err) : -1;
    }
    /* Unread, but a source that nobody has changed since says the same. */
    if (stat(t->name, &source) == 0 && stat(db, &st) == 0 && source.st_mtime <= st.st_mtime) {
        log_warn("%s; built from %s", err->text, t->name);
        return from_text(t, index, err);
    }
    return -1;
}

static int hash_open(struct table *t, struct err *err)
{
    char *index = mem_printf("%s.cdb", t->name), *db = mem_printf("%s.db", t->name);
    int rc = -1;

    t->state = mem_new(sizeof(struct index));
    switch (build_state(t->name)) {
    case BUILD_CURRENT:
        rc = open_index(t, index, err);
        warn_old(index, t->name);
        break;
    case BUILD_OVERTAKEN: rc = from_db(t, index, db, err); break;
    case BUILD_MISSING: rc = from_text(t, index, err); break;
    case BUILD_NOTHING:
        err_set(err, 0, NULL, "open database %s: No such file or directory, and there is no source %s", index,
                t->name);
        break;
    }
    free(index);
    free(db);
    return rc;
}

static enum lookup damaged(const struct table *t)
{
    log_warn("%s: the index %s.cdb is damaged; build it again with \"postmap %s\"", t->spec, t->name, t->spec);
    return LOOKUP_RETRY;
}

/* Keys with and without the trailing NUL that other programs write. */
static enum lookup index_lookup(struct table *t, const char *key, struct str *out)
{
    struct index *x = t->state;
    unsigned len = (unsigned) strlen(key), value_len;
    const void *value;
    int found;

    if (x->text)
        return table_lookup(x->text, key, out);
    found = cdb_find(&x->cdb, key, len);
    if (found == 0)
        found = cdb_find(&x->cdb, key, len + 1);
    if (found == 0)
        return LOOKUP_NONE;
    value = found < 0 ? NULL : cdb_getdata(&x->cdb);
    if (value == NULL)
        return damaged(t);
    value_len = cdb_datalen(&x->cdb);
    if (value_len && ((const char *) value)[value_len - 1] == 0)
        value_len--;
    if (memchr(value, 0, value_len))
        return damaged(t);
    str_add(out, value, value_len);
    return LOOKUP_FOUND;
}

static struct slice without_nul(const void *p, unsigned len)
{
    const char *s = p;

    return slice_make(s, len && s[len - 1] == 0 ? len - 1 : len);
}

static int index_each(struct table *t, void (*fn)(void *, struct slice, struct slice), void *ctx)
{
    struct index *x = t->state;
    unsigned at;
    int more;

    if (x->text)
        return table_each(x->text, fn, ctx);
    cdb_seqinit(&at, &x->cdb);
    while ((more = cdb_seqnext(&at, &x->cdb)) > 0) {
        const void *key = cdb_getkey(&x->cdb), *value = cdb_getdata(&x->cdb);
        if (key == NULL || value == NULL)
            return -1;
        fn(ctx, without_nul(key, cdb_keylen(&x->cdb)), without_nul(value, cdb_datalen(&x->cdb)));
    }
    return more;
}

static void index_close(struct table *t)
{
    struct index *x = t->state;

    table_close(&x->text);
    if (x->cdb.cdb_mem)
        cdb_free(&x->cdb);
    free(x);
}

const struct table_type table_cdb = {
    .name = "cdb", .open = cdb_open, .lookup = index_lookup, .each = index_each, .close = index_close
};
const struct table_type table_hash = {
    .name = "hash", .open = hash_open, .lookup = index_lookup, .each = index_each, .close = index_close
};
const struct table_type table_btree = {
    .name = "btree", .open = hash_open, .lookup = index_lookup, .each = index_each, .close = index_close
};
