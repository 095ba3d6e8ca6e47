/*
 * accounts - see accounts.h
 */
#include "accounts.h"
#include "base/map.h"
#include "client/auth_worker.h"
#include "fields.h"
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

enum { NAMES_MAX = 1000, NUMBER_BYTES = 16 };
enum kind { USER, GROUP, KINDS };
/* Name to number, as text; they live as long as the process. */
static struct map *known[KINDS];

static bool is_number(const char *name)
{
    uint64_t n;

    return slice_u64(slice_of(name), UINT32_MAX - 1, &n) == 0;
}

static void learn(enum kind kind, const char *name)
{
    const struct passwd *pw = kind == USER ? getpwnam(name) : NULL;
    const struct group *gr = kind == GROUP ? getgrnam(name) : NULL;
    char *number;

    if (pw == NULL && gr == NULL) /* said when it is needed: it may be made meanwhile */
        return;
    if (known[kind] == NULL)
        known[kind] = map_new(NAMES_MAX, free);
    number = mem_printf("%u", (unsigned) (pw ? pw->pw_uid : gr->gr_gid));
    if (!map_set(known[kind], slice_of(name), number))
        free(number);
}

void accounts_learn(const char *text)
{
    struct arena *a = arena_new();
    struct authd_fields fields = { 0 };

    authd_fields_parse(&fields, a, slice_of(text));
    for (size_t n = 0; n < fields.count; n++) {
        const char *name = fields.field[n].name, *value = fields.field[n].value;
        if (strncmp(name, "userdb_", strlen("userdb_")) == 0)
            name += strlen("userdb_");
        if (value == NULL || *value == '\0' || strchr(value, '%') || is_number(value))
            continue;
        if (strcmp(name, "uid") == 0)
            learn(USER, value);
        else if (strcmp(name, "gid") == 0)
            learn(GROUP, value);
    }
    arena_free(&a);
}

static const char *number_of(enum kind kind, const char *name, struct arena *a, struct err *err)
{
    const char *number = is_number(name) ? name : known[kind] ? map_get(known[kind], slice_of(name)) : NULL;
    uint32_t id = 0;

    if (number)
        return number;
    switch (kind == USER ? auth_worker_uid(name, &id, err) : auth_worker_gid(name, &id, err)) {
    case LOOKUP_FOUND: return arena_printf(a, "%u", (unsigned) id);
    case LOOKUP_NONE:
        err_set(err, 0, NULL, "there is no %s \"%.100s\"", kind == USER ? "user" : "group", name);
        break;
    case LOOKUP_RETRY: break;
    }
    return NULL;
}

const char *accounts_uid(const char *name, struct arena *a, struct err *err) { return number_of(USER, name, a, err); }
const char *accounts_gid(const char *name, struct arena *a, struct err *err)
{
    return number_of(GROUP, name, a, err);
}
