/*
 * passwd - finds a user's line, takes it apart
 *
 * Callers     see passwd.h
 */
#include "passwd.h"
#include "authd.h"
#include "passwd_file.h"
#include "table/table.h"
#include <limits.h>

struct passwd_source {
    const char *path; /* with %variables when `file` is NULL */
    struct passwd_file *file;
    struct maps *maps; /* instead of a path */
    const char *scheme, *username_format, *key;
};

/* The word "name=value"; the value reaches to the next blank. */
static bool option(struct slice *rest, const char *name, struct arena *a, const char **value)
{
    size_t len = strlen(name);
    struct slice word;

    if (!slice_starts(*rest, name) || rest->len <= len || rest->p[len] != '=')
        return false;
    *rest = slice_sub(*rest, len + 1, rest->len);
    if (rest->len == 0 || ascii_isspace(rest->p[0]) || !slice_word(rest, " \t", &word))
        *value = "";
    else
        *value = arena_strndup(a, word.p, word.len);
    *rest = slice_trim(*rest);
    return true;
}

static int open_path(struct passwd_source *s, struct arena *a, struct err *err)
{
    const char *percent = strchr(s->path, '%'), *slash;

    if (percent == NULL) {
        slash = strrchr(s->path, '/');
        s->file = passwd_file_open(s->path);
    } else {
        for (slash = percent; *slash != '/'; slash--)
            ;
        if (slash == s->path)
            return err_set(err, 0, NULL, "%s: the first directory must be named without %%variables", s->path);
    }
    authd_may_read(slash == s->path ? "/" : arena_strndup(a, s->path, (size_t) (slash - s->path)));
    return 0;
}

struct passwd_source *passwd_source_open(const char *parameter, const char *args, struct arena *a, struct err *err)
{
    struct passwd_source *s = arena_alloc(a, sizeof *s);
    struct slice rest = slice_trim(slice_of(args));

    s->scheme = PASSWD_DEFAULT_SCHEME;
    s->username_format = "%u";
    while (option(&rest, "scheme", a, &s->scheme) || option(&rest, "username_format", a, &s->username_format))
        ;
    if (rest.len == 0) {
        err_set(err, 0, NULL, "no path and no table is named");
        return NULL;
    }
    s->path = arena_strndup(a, rest.p, rest.len);
    s->key = arena_printf(a, "%s %s", s->username_format, s->path);
    if (authd_format_check(s->username_format, err) != 0 ||
        (rest.p[0] == '/' && authd_format_check(s->path, err) != 0))
        return NULL;
    if (rest.p[0] != '/')
        s->maps = maps_new(parameter, s->path, TABLE_FOLD);
    else if (open_path(s, a, err) != 0)
        return NULL;
    return s;
}

const char *passwd_source_scheme(const struct passwd_source *s) { return s->scheme; }
const char *passwd_source_key(const struct passwd_source *s) { return s->key; }

/* "password[34]" says how the password is stored, as libpam-pwdfile has it. */
static const char *with_suffix(struct slice text, struct arena *a)
{
    ptrdiff_t at = slice_find(text, '[');

    if (at < 0 || text.len == 0 || text.p[text.len - 1] != ']')
        return arena_strndup(a, text.p, text.len);
    struct slice kind = slice_sub(text, (size_t) at + 1, text.len - (size_t) at - 2);
    const char *scheme = slice_eq(kind, "34")   ? "{PLAIN-MD5}"
                         : slice_eq(kind, "56") ? "{DIGEST-MD5}"
                         : slice_eq(kind, "13") ? "{CRYPT}"
                                                : "";
    return arena_printf(a, "%s%.*s", scheme, (int) (*scheme ? (size_t) at : text.len), text.p);
}

int passwd_parse(struct slice rest, struct arena *a, struct passwd_entry *out)
{
    enum { PASSWORD, UID, GID, GECOS, HOME, SHELL, FIELDS };
    struct slice field[FIELDS] = { 0 };

    *out = (struct passwd_entry){ 0 };
    if (memchr(rest.p, '\0', rest.len))
        return -1;
    for (size_t n = 0; n < FIELDS && slice_split(&rest, ':', &field[n]); n++)
        ;
    out->password = field[PASSWORD].p ? with_suffix(field[PASSWORD], a) : "";
    out->uid = field[UID].p ? arena_strndup(a, field[UID].p, field[UID].len) : "";
    out->gid = field[GID].p ? arena_strndup(a, field[GID].p, field[GID].len) : "";
    out->home = field[HOME].p ? arena_strndup(a, field[HOME].p, field[HOME].len) : "";
    if (rest.p)
        authd_fields_parse(&out->extra, a, rest);
    return out->extra.over ? -1 : 0;
}

static enum lookup find_in_tables(struct passwd_source *s, const char *key, struct str *value, struct err *err)
{
    enum lookup found = maps_find(s->maps, key, false, value);

    if (found == LOOKUP_RETRY)
        err_set(err, 0, NULL, "%s: lookup error", maps_list(s->maps));
    return found;
}

static enum lookup find_in_file(struct passwd_source *s, struct authd_request *r, const char *key, struct str *value,
                                struct err *err)
{
    struct passwd_file *file = s->file;
    struct slice line;
    enum lookup found;

    if (file == NULL) {
        const char *path = authd_format_path(r, s->path, err);
        if (path == NULL)
            return LOOKUP_RETRY;
        if ((file = passwd_file_of(path)) == NULL)
            return LOOKUP_NONE;
    }
    if ((found = passwd_file_find(file, key, &line, err)) == LOOKUP_FOUND)
        str_addslice(value, line);
    return found;
}

enum lookup passwd_source_find(struct passwd_source *s, struct authd_request *r, struct passwd_entry *out,
                               struct err *err)
{
    const char *key = authd_format(r, s->username_format, err);
    struct str value;
    enum lookup found;

    if (key == NULL)
        return LOOKUP_RETRY;
    str_init(&value, TABLE_VALUE_BYTES);
    found = s->maps ? find_in_tables(s, key, &value, err) : find_in_file(s, r, key, &value, err);
    if (found == LOOKUP_FOUND && (str_over(&value) || passwd_parse(str_slice(&value), r->arena, out) != 0)) {
        err_set(err, 0, NULL, "the entry of %s cannot be read", key);
        found = LOOKUP_RETRY;
    }
    mem_wipe(value.p, value.len);
    str_free(&value);
    return found;
}

struct lister {
    void (*fn)(void *ctx, struct slice user);
    void *ctx;
};
static void list_one(void *ctx, struct slice key, struct slice value)
{
    struct lister *l = ctx;

    (void) value;
    l->fn(l->ctx, key);
}

int passwd_source_each(struct passwd_source *s, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    struct lister l = { fn, ctx };

    if (s->file)
        return passwd_file_each(s->file, fn, ctx, err);
    if (s->maps && maps_each(s->maps, list_one, &l) == 0)
        return 0;
    return err_set(err, 0, NULL, "%s: cannot be listed", s->path);
}

bool passwd_source_stale(struct passwd_source *s) { return s->file && passwd_file_stale(s->file); }
