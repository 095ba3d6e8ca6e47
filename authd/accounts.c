/*
 * accounts - see accounts.h
 */
#include "accounts.h"
#include "base/str.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

enum { LINE_BYTES = 8192 };

static bool is_number(const char *name)
{
    uint64_t n;

    return slice_u64(slice_of(name), UINT32_MAX - 1, &n) == 0;
}

static const char *missing(const char *what, const char *name, struct err *err)
{
    err_set(err, 0, NULL, "there is no %s \"%.100s\"", what, name);
    return NULL;
}

static const char *unreadable(const char *path, struct err *err)
{
    err_set(err, 0, NULL, "%s: %s", path, strerror(errno));
    return NULL;
}

const char *accounts_uid(const char *name, struct arena *a, struct err *err)
{
    struct passwd entry, *found = NULL;
    char line[LINE_BYTES];

    if (is_number(name))
        return name;
    FILE *f = fopen("/etc/passwd", "re");
    if (f == NULL)
        return unreadable("/etc/passwd", err);
    while (fgetpwent_r(f, &entry, line, sizeof line, &found) == 0 && strcmp(found->pw_name, name) != 0)
        found = NULL;
    fclose(f);
    return found ? arena_printf(a, "%u", (unsigned) found->pw_uid) : missing("user", name, err);
}

const char *accounts_gid(const char *name, struct arena *a, struct err *err)
{
    struct group entry, *found = NULL;
    char line[LINE_BYTES];

    if (is_number(name))
        return name;
    FILE *f = fopen("/etc/group", "re");
    if (f == NULL)
        return unreadable("/etc/group", err);
    while (fgetgrent_r(f, &entry, line, sizeof line, &found) == 0 && strcmp(found->gr_name, name) != 0)
        found = NULL;
    fclose(f);
    return found ? arena_printf(a, "%u", (unsigned) found->gr_gid) : missing("group", name, err);
}
