/* location - see location.h */
#include "conf/location.h"

#include <stdlib.h>

/* Up to the next colon; "::" stands for one. False at the end. */
static bool next_part(struct slice *rest, struct arena *a, const char **part)
{
    struct str out;

    if (rest->p == NULL)
        return false;
    str_init(&out, STR_UNLIMITED); /* no longer than the text */
    for (size_t i = 0;; i++) {
        if (i == rest->len) {
            rest->p = NULL;
            break;
        }
        if (rest->p[i] == ':' && i + 1 < rest->len && rest->p[i + 1] == ':') {
            i++;
        } else if (rest->p[i] == ':') {
            *rest = slice_sub(*rest, i + 1, rest->len);
            break;
        }
        str_addc(&out, rest->p[i]);
    }
    *part = arena_strndup(a, out.p, out.len);
    str_free(&out);
    return true;
}

static int path_of(const char *text, const char *home, struct arena *a, const char **out, struct err *err)
{
    if (text[0] == '~' && (text[1] == '/' || text[1] == '\0')) {
        if (home[0] == '\0')
            return err_set(err, 0, NULL, "mail location: \"~\", but the user has no home");
        text = arena_printf(a, "%s%s", home, text + 1);
    }
    if (text[0] != '/' || strstr(text, "/../") || slice_caseends(slice_of(text), "/.."))
        return err_set(err, 0, NULL, "mail location: %.200s is not an absolute path", text);
    size_t len = strlen(text);
    while (len > 1 && text[len - 1] == '/')
        len--;
    *out = arena_strndup(a, text, len);
    return 0;
}

enum key { KEY_INBOX, KEY_CONTROL, KEY_INDEX, KEY_LAYOUT, KEY_UNKNOWN };

static enum key key_of(const char *part, const char **value)
{
    static const char *const names[] = { "INBOX=", "CONTROL=", "INDEX=", "LAYOUT=" };

    for (int k = 0; k < KEY_UNKNOWN; k++)
        if (slice_starts(slice_of(part), names[k])) {
            *value = part + strlen(names[k]);
            return (enum key) k;
        }
    return KEY_UNKNOWN;
}

/* One option. paths: they are to be absolute, variables being expanded. */
static int take(struct mail_location *l, const char *part, const char *home, bool paths, struct arena *a,
                struct err *err)
{
    const char *value = "", **path = NULL;

    switch (key_of(part, &value)) {
    case KEY_INBOX: path = &l->inbox; break;
    case KEY_CONTROL: path = &l->control; break;
    case KEY_INDEX:
        l->no_index = strcmp(value, "MEMORY") == 0;
        path = l->no_index ? NULL : &l->index;
        break;
    case KEY_LAYOUT:
        l->fs = slice_caseeq(slice_of(value), "fs");
        if (!l->fs && !slice_caseeq(slice_of(value), "maildir++"))
            return err_set(err, 0, NULL, "mail location: %.200s is not supported, only maildir++ and fs", part);
        break;
    case KEY_UNKNOWN: return err_set(err, 0, NULL, "mail location: %.200s is not supported", part);
    }
    return path && paths ? path_of(value, home, a, path, err) : 0;
}

static int parse(const char *text, const char *home, bool paths, struct arena *a, struct mail_location *l,
                 struct err *err)
{
    struct slice rest = slice_of(text);
    const char *part;

    *l = (struct mail_location){ .root = "", .inbox = "", .control = "", .index = "" };
    if (!slice_casestarts(rest, "maildir:"))
        return err_set(err, 0, NULL, "mail location: %.200s is not supported, only maildir:", text);
    rest = slice_sub(rest, strlen("maildir:"), rest.len);
    (void) next_part(&rest, a, &part);
    if (paths && path_of(part, home, a, &l->root, err) < 0)
        return -1;
    while (next_part(&rest, a, &part))
        if (*part && take(l, part, home, paths, a, err) < 0)
            return -1;
    if (strcmp(l->inbox, l->root) == 0)
        l->inbox = "";
    return 0;
}

int mail_location_parse(const char *text, const char *home, struct arena *a, struct mail_location *out,
                        struct err *err)
{
    return parse(text, home, true, a, out, err);
}

int mail_location_check(const char *text, struct err *err)
{
    struct arena *a = arena_new();
    struct mail_location l;
    int ret = *text ? parse(text, "", false, a, &l, err) : 0;

    arena_free(&a);
    return ret;
}

bool mail_location_index_elsewhere(const char *text)
{
    struct slice rest = slice_of(text);
    struct arena *a = arena_new();
    const char *part, *value;
    bool found = false;

    while (!found && next_part(&rest, a, &part))
        found = key_of(part, &value) == KEY_INDEX;
    arena_free(&a);
    return found;
}
