/*
 * db - see db.h
 */
#include "db.h"
#include "conf/lines.h"
#include <stdlib.h>

enum setting_type { TEXT, YES_NO, VERBOSE, SKIP, RULE };
struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;
    bool passdb_only;
};
static const struct setting settings[] = {
    { "deny", YES_NO, offsetof(struct db_entry, deny), true },
    { "pass", YES_NO, offsetof(struct db_entry, pass), true },
    { "master", YES_NO, offsetof(struct db_entry, master), true },
    { "skip", SKIP, offsetof(struct db_entry, skip), false },
    { "result_success", RULE, offsetof(struct db_entry, on_success), false },
    { "result_failure", RULE, offsetof(struct db_entry, on_failure), false },
    { "result_internalfail", RULE, offsetof(struct db_entry, on_internalfail), false },
    { "default_fields", TEXT, offsetof(struct db_entry, default_fields), false },
    { "override_fields", TEXT, offsetof(struct db_entry, override_fields), false },
    { "username_filter", TEXT, offsetof(struct db_entry, username_filter), true },
    { "mechanisms", TEXT, offsetof(struct db_entry, mechanisms), true },
    { "auth_verbose", VERBOSE, offsetof(struct db_entry, verbose), false },
};
static const char *const rules[] = {
    [DB_RETURN] = "return",     [DB_RETURN_OK] = "return-ok",     [DB_RETURN_FAIL] = "return-fail",
    [DB_CONTINUE] = "continue", [DB_CONTINUE_OK] = "continue-ok", [DB_CONTINUE_FAIL] = "continue-fail"
};
static const char *const skips[][3] = {
    [DB_PASSDB] = { [DB_SKIP_NEVER] = "never",
                    [DB_SKIP_DONE] = "authenticated",
                    [DB_SKIP_UNDONE] = "unauthenticated" },
    [DB_USERDB] = { [DB_SKIP_NEVER] = "never", [DB_SKIP_DONE] = "found", [DB_SKIP_UNDONE] = "notfound" },
};
static const char *const yes_no[] = { "no", "yes" };

static int one_of(const char *const *words, size_t count, const char *name, struct slice value, int *out,
                  struct err *err)
{
    for (size_t n = 0; n < count; n++)
        if (slice_caseeq(value, words[n])) {
            *out = (int) n;
            return 0;
        }
    return err_set(err, 0, NULL, "%s=%.*s: not a value that exists", name, (int) value.len, value.p);
}

static int set(struct db_entry *e, enum db_kind kind, const struct setting *s, struct slice value, struct arena *a,
               struct err *err)
{
    char *at = (char *) e + s->offset;
    int n = 0, rc = 0;

    switch (s->type) {
    case TEXT: *(const char **) (void *) at = arena_strndup(a, value.p, value.len); return 0;
    case YES_NO:
        rc = one_of(yes_no, 2, s->name, value, &n, err);
        *(bool *) at = n == 1;
        return rc;
    case VERBOSE:
        rc = one_of(yes_no, 2, s->name, value, &n, err);
        e->verbose = n == 1 ? DB_VERBOSE_YES : DB_VERBOSE_NO;
        return rc;
    case SKIP:
        rc = one_of(skips[kind], 3, s->name, value, &n, err);
        e->skip = (enum db_skip) n;
        return rc;
    case RULE:
        rc = one_of(rules, sizeof rules / sizeof *rules, s->name, value, &n, err);
        *(enum db_rule *) (void *) at = (enum db_rule) n;
        return rc;
    }
    return -1;
}

static int source(struct db_entry *e, struct slice text, struct arena *a, struct err *err)
{
    ptrdiff_t colon = slice_find(text, ':');
    struct slice driver = colon < 0 ? text : slice_sub(text, 0, (size_t) colon), args;

    args = colon < 0 ? SLICE("") : slice_trim(slice_sub(text, (size_t) colon + 1, text.len));
    driver = slice_trim(driver);
    for (size_t n = 0; n < driver.len; n++)
        if (!ascii_isalnum(driver.p[n]) && driver.p[n] != '-')
            return err_set(err, 0, NULL, "%.*s: \"driver:args\" was expected", (int) text.len, text.p);
    if (driver.len == 0)
        return err_set(err, 0, NULL, "%.*s: \"driver:args\" was expected", (int) text.len, text.p);
    e->driver = arena_strndup(a, driver.p, driver.len);
    e->args = arena_strndup(a, args.p, args.len);
    return 0;
}

static int setting(struct db_entry *e, enum db_kind kind, struct slice word, struct arena *a, struct err *err)
{
    ptrdiff_t eq = slice_find(word, '=');
    struct slice name = slice_trim(slice_sub(word, 0, eq < 0 ? word.len : (size_t) eq)), value;

    if (eq < 0)
        return err_set(err, 0, NULL, "%.*s: \"name=value\" was expected", (int) word.len, word.p);
    value = slice_trim(slice_sub(word, (size_t) eq + 1, word.len));
    if (value.len > 0 && value.p[0] == '{')
        lines_unbrace(&value, NULL);
    for (size_t n = 0; n < sizeof settings / sizeof *settings; n++)
        if (slice_eq(name, settings[n].name) && (kind == DB_PASSDB || !settings[n].passdb_only))
            return set(e, kind, &settings[n], value, a, err);
    return err_set(err, 0, NULL, "%.*s: no such setting", (int) name.len, name.p);
}

/* The next part of an element: to the next comma outside of braces. */
static bool part(struct slice *rest, struct slice *out)
{
    size_t n = 0, depth = 0;

    if (rest->p == NULL)
        return false;
    for (; n < rest->len && (depth > 0 || rest->p[n] != ','); n++)
        if (rest->p[n] == '{')
            depth++;
        else if (rest->p[n] == '}' && depth > 0)
            depth--;
    *out = slice_trim(slice_sub(*rest, 0, n));
    *rest = n < rest->len ? slice_sub(*rest, n + 1, rest->len) : (struct slice){ NULL, 0 };
    return true;
}

static int consistent(const struct db_entry *e, struct err *err)
{
    if (e->pass && e->on_success != DB_RETURN_OK)
        return err_set(err, 0, NULL, "%s: both pass=yes and result_success are set", e->driver);
    if (e->deny && e->master)
        return err_set(err, 0, NULL, "%s: both deny=yes and master=yes are set", e->driver);
    return 0;
}

static int element(enum db_kind kind, struct slice word, struct arena *a, struct db_entry *e, struct err *err)
{
    const char *why = "";
    struct slice rest = word, one;
    bool first = true;

    *e = (struct db_entry){ .driver = "",
                            .args = "",
                            .on_success = DB_RETURN_OK,
                            .on_failure = DB_CONTINUE,
                            .on_internalfail = DB_CONTINUE,
                            .default_fields = "",
                            .override_fields = "",
                            .username_filter = "",
                            .mechanisms = "" };
    if (word.p[0] != '{')
        return source(e, word, a, err);
    if (lines_unbrace(&rest, &why) != 0)
        return err_set(err, 0, NULL, "%.*s: %s", (int) word.len, word.p, why);
    while (part(&rest, &one)) {
        if (one.len == 0 && !first) /* a comma at the end */
            continue;
        if (one.len > 0 && one.p[0] == '{' && lines_unbrace(&one, &why) != 0)
            return err_set(err, 0, NULL, "%.*s: %s", (int) word.len, word.p, why);
        if ((first ? source(e, one, a, err) : setting(e, kind, one, a, err)) != 0)
            return -1;
        first = false;
    }
    if (e->pass)
        return consistent(e, err) != 0 ? -1 : (e->on_success = DB_CONTINUE, 0);
    return consistent(e, err);
}

int db_list_parse(enum db_kind kind, const char *list, struct arena *a, struct db_entry out[DB_MAX], size_t *count,
                  struct err *err)
{
    struct slice rest = slice_of(list), word;

    *count = 0;
    while (lines_word(&rest, ", \t\r\n", &word)) {
        if (*count == DB_MAX)
            return err_set(err, 0, NULL, "more than %d databases", DB_MAX);
        if (element(kind, word, a, &out[*count], err) != 0)
            return -1;
        ++*count;
    }
    return 0;
}

bool db_wildcard_match(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool pattern_matches(struct slice pattern, const char *user)
{
    char *text = mem_strndup(pattern.p, pattern.len);
    bool same = db_wildcard_match(text, user);

    free(text);
    return same;
}

bool db_username_accepted(const char *filter, const char *user)
{
    struct slice rest = slice_of(filter), word;
    bool wanted = false, matched = false;

    while (slice_word(&rest, " \t,", &word)) {
        bool refuse = word.p[0] == '!';
        if (refuse)
            word = slice_sub(word, 1, word.len);
        else
            wanted = true;
        if (pattern_matches(word, user)) {
            if (refuse)
                return false;
            matched = true;
        }
    }
    return matched || !wanted;
}

bool db_mechanism_accepted(const char *mechanisms, const char *mech)
{
    struct slice rest = slice_of(mechanisms), word;
    bool any = false;

    while (slice_word(&rest, " \t,", &word)) {
        any = true;
        if (mech[0] ? slice_caseeq(word, mech) : slice_caseeq(word, "none"))
            return true;
    }
    return !any;
}
