/*
 * table - the types, the tables of this process (one for each name and flags), and whether their files have changed
 */
#include "table/internal.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "proto/addr/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const struct table_type *const types[] = {
    &table_btree,  &table_cdb,      &table_cidr,  &table_environ, &table_fail,  &table_hash,
    &table_inline, &table_mysql,    &table_pcre,  &table_pipe,    &table_proxy, &table_regexp,
    &table_static, &table_texthash, &table_union, &table_unix,
};
enum { TYPES = sizeof types / sizeof *types, REGISTERED_MAX = 8, SAID_SECONDS = 60 };
static const struct table_type *registered[REGISTERED_MAX];
static size_t registered_count;
static struct table *tables; /* of this process */
static bool sees_names;

void table_sees_names(void) { sees_names = true; }

const char *const *table_types(void)
{
    static const char *names[TYPES + 1];

    for (size_t i = 0; i < TYPES; i++)
        names[i] = types[i]->name;
    return names;
}

void table_watch(struct table *t, int fd)
{
    if (t->files == TABLE_FILES)
        log_panic("table_watch: %s has too many files", t->spec);
    t->file[t->files].fd = fd;
    if (fstat(fd, &t->file[t->files].st) < 0)
        log_warn("fstat the file of table %s: %s", t->spec, strerror(errno));
    t->files++;
}

int table_read_file(struct table *t, const char *path, struct str *text, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        (void) err_set(err, 0, NULL, "open %s: %s", path, strerror(errno));
        free(t->unread);
        t->unread = mem_strdup(path);
        (void) stat(path, &t->unread_st);
        return -1;
    }
    table_watch(t, fd);
    if (file_read_str(fd, text) == 0)
        return 0;
    return err_set(err, 0, NULL, "read %s: %s", path, errno == EFBIG ? "the file is too large" : strerror(errno));
}

void table_fold(struct str *out, const char *key) { addr_fold(out, slice_of(key)); }

void table_register(const struct table_type *type)
{
    if (registered_count == REGISTERED_MAX)
        log_panic("table_register: too many types");
    registered[registered_count++] = type;
}

static const struct table_type *find_type(struct slice name)
{
    for (size_t i = 0; i < registered_count; i++)
        if (slice_eq(name, registered[i]->name))
            return registered[i];
    for (size_t i = 0; i < TYPES; i++)
        if (slice_eq(name, types[i]->name))
            return types[i];
    return NULL;
}

static void close_files(struct table *t)
{
    for (size_t i = 0; i < t->files; i++)
        close(t->file[i].fd);
    t->files = 0;
}

static void open_type(struct table *t)
{
    struct err err = { .text = "" };
    ptrdiff_t colon = slice_find(slice_of(t->spec), ':');

    t->opened = time_now();
    if (colon < 0) {
        t->error = mem_printf("\"%s\" is not of the form type:name", t->spec);
        return;
    }
    t->type = find_type(slice_make(t->spec, (size_t) colon));
    t->name = t->spec + colon + 1;
    if (t->type == NULL)
        t->error = mem_printf("unsupported dictionary type: %.*s", (int) colon, t->spec);
    else if (t->type->open(t, &err) < 0)
        t->error = mem_strdup(err.text);
    if (t->error)
        log_error("%s is unavailable. %s", t->spec, t->error);
}

struct table *table_open(const char *spec, unsigned flags)
{
    struct table *t;

    for (t = tables; t; t = t->next)
        if (t->flags == flags && strcmp(t->spec, spec) == 0) {
            t->uses++;
            return t;
        }
    t = mem_new(sizeof *t);
    t->spec = mem_strdup(spec);
    t->name = t->spec;
    t->flags = flags;
    t->uses = 1;
    open_type(t);
    t->next = tables;
    tables = t;
    return t;
}

void table_close(struct table **tp)
{
    struct table *t = *tp;

    *tp = NULL;
    if (t == NULL || --t->uses)
        return;
    for (struct table **at = &tables; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    if (t->type && t->state && t->type->close)
        t->type->close(t);
    close_files(t);
    free(t->unread);
    free(t->error);
    free(t->spec);
    free(t);
}

const char *table_spec(const struct table *t) { return t->spec; }
const char *table_error(const struct table *t) { return t->error; }

bool table_full_key_only(const struct table *t)
{
    const struct table_type *type = t->type;
    ptrdiff_t colon;

    if (type == &table_proxy && (colon = slice_find(slice_of(t->name), ':')) > 0)
        type = find_type(slice_make(t->name, (size_t) colon));
    return type && type->traits & TABLE_FULL_KEY;
}

bool table_say(struct table *t)
{
    int64_t now = time_mono_ms();

    if (t->said && now < t->said + SAID_SECONDS * 1000)
        return false;
    t->said = now;
    return true;
}

static enum lookup ask_type(struct table *t, const char *key, struct table_asked *asked, struct str *out)
{
    return asked && t->type->lookup_asked ? t->type->lookup_asked(t, key, asked, out) : t->type->lookup(t, key, out);
}

enum lookup table_lookup(struct table *t, const char *key, struct str *out)
{
    return table_lookup_asked(t, key, NULL, out);
}

enum lookup table_lookup_asked(struct table *t, const char *key, struct table_asked *asked, struct str *out)
{
    struct str folded;
    enum lookup answer;

    if (t->error) {
        if (table_say(t))
            log_warn("%s is unavailable. %s", t->spec, t->error);
        return LOOKUP_RETRY;
    }
    if (strlen(key) > TABLE_KEY_BYTES) {
        log_warn("%s: a key of %zu bytes is too long", t->spec, strlen(key));
        return LOOKUP_RETRY;
    }
    if (!(t->flags & TABLE_FOLD) || t->type->traits & TABLE_OWN_CASE) {
        answer = ask_type(t, key, asked, out);
    } else {
        str_init(&folded, STR_UNLIMITED);
        table_fold(&folded, key);
        answer = ask_type(t, folded.p, asked, out);
        str_free(&folded);
    }
    if (answer == LOOKUP_FOUND && str_over(out)) {
        log_warn("%s: the result for \"%.100s\" is too long", t->spec, key);
        return LOOKUP_RETRY;
    }
    return answer;
}

int table_each(struct table *t, void (*fn)(void *, struct slice, struct slice), void *ctx)
{
    if (t->error || t->type->each == NULL)
        return -1;
    return t->type->each(t, fn, ctx);
}

static bool differs(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
           a->st_mtim.tv_nsec != b->st_mtim.tv_nsec || a->st_ctim.tv_sec != b->st_ctim.tv_sec ||
           a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

static bool changed(const struct table_file *f)
{
    struct stat st;

    return fstat(f->fd, &st) == 0 && (st.st_nlink == 0 || differs(&st, &f->st));
}

/* Is it time to try once more what could not be opened? */
static bool worth_reopening(const struct table *t)
{
    struct stat st = { 0 };

    if (t->error == NULL || t->wrong_text)
        return false;
    if (sees_names && t->unread) {
        (void) stat(t->unread, &st);
        return differs(&st, &t->unread_st);
    }
    return time_now() >= t->opened + TABLE_REOPEN_SECONDS;
}

bool table_stale(const char **spec)
{
    static int64_t next;
    int64_t now = time_mono_ms();

    if (now < next)
        return false;
    next = now + 1000;
    for (const struct table *t = tables; t; t = t->next) {
        bool stale = worth_reopening(t);
        for (size_t i = 0; i < t->files; i++)
            stale = stale || changed(&t->file[i]);
        if (stale) {
            if (spec)
                *spec = t->spec;
            next = 0; /* it stays stale */
            return true;
        }
    }
    return false;
}

bool table_restart(void)
{
    static bool said;
    const char *spec;

    if (!table_stale(&spec))
        return false;
    if (!said)
        log_info("table %s has changed -- restarting", spec);
    said = true;
    return true;
}
