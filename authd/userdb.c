/*
 * userdb - uid, gid, home and mail of a user: from the user's entry, what is missing from virtual_*
 *
 * Callers     authd/master.c
 * Invariants  a user exists who has an entry, or a result in virtual_mailbox_maps
 *             a path from a table stays below virtual_mailbox_base: one with ".." is a fault of the table
 * Errors      three answers; any table that answers "later" makes the whole answer that
 */
#include "authd.h"
#include "base/log.h"
#include "conf/param.h"
#include "passwd.h"
#include "table/table.h"

static struct {
    struct maps *mailbox, *uid, *gid;
} maps; /* opened before the jail, for as long as the process lives */

int authd_userdb_open(void)
{
    unsigned flags = TABLE_FOLD | TABLE_NO_SUBST;

    maps.mailbox = maps_new("virtual_mailbox_maps", conf_virtual_mailbox_maps, flags);
    maps.uid = maps_new("virtual_uid_maps", conf_virtual_uid_maps, flags);
    maps.gid = maps_new("virtual_gid_maps", conf_virtual_gid_maps, flags);
    return 0;
}

void authd_userdb_close(void)
{
    maps_free(&maps.mailbox);
    maps_free(&maps.uid);
    maps_free(&maps.gid);
}

static enum lookup ask(struct maps *m, const char *user, struct arena *a, const char **out, struct err *err)
{
    struct str value;
    enum lookup found;

    *out = "";
    if (maps_empty(m))
        return LOOKUP_NONE;
    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_address(m, user, MAPS_FULL | MAPS_NOEXT | MAPS_AT_DOMAIN, &value, NULL);
    if (found == LOOKUP_FOUND)
        *out = arena_strndup(a, value.p, value.len);
    else if (found == LOOKUP_RETRY)
        err_set(err, 0, NULL, "%s: lookup error", maps_list(m));
    str_free(&value);
    return found;
}

static bool leaves(const char *path)
{
    struct slice rest = slice_of(path), part;

    while (slice_split(&rest, '/', &part))
        if (slice_eq(part, ".."))
            return true;
    return false;
}

/* home and mail from virtual_mailbox_maps; an entry's own home stays. */
static enum lookup mailbox(const char *user, struct arena *a, const char **home, const char **mail, struct err *err)
{
    const char *result, *path;
    enum lookup found = ask(maps.mailbox, user, a, &result, err);

    if (found != LOOKUP_FOUND)
        return found;
    if (leaves(result)) {
        err_set(err, 0, NULL, "virtual_mailbox_maps: %s: the path %s leaves virtual_mailbox_base", user, result);
        return LOOKUP_RETRY;
    }
    if (conf_virtual_mailbox_base[0] == '\0')
        path = result;
    else
        path = arena_printf(a, "%s/%s", conf_virtual_mailbox_base, result[0] == '/' ? result + 1 : result);
    size_t len = strlen(path);
    bool directory = len > 0 && path[len - 1] == '/';
    while (len > 1 && path[len - 1] == '/')
        len--;
    path = arena_strndup(a, path, len);
    if ((*home)[0] == '\0')
        *home = path;
    if ((*mail)[0] == '\0')
        *mail = arena_printf(a, "%s:%s", directory ? "maildir" : "mbox", path);
    return LOOKUP_FOUND;
}

static enum lookup number(struct maps *m, const char *user, struct arena *a, const char **out, struct err *err)
{
    uint64_t n;

    if ((*out)[0] == '\0' && ask(m, user, a, out, err) == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    if ((*out)[0] && slice_u64(slice_of(*out), UINT32_MAX - 1, &n) != 0) {
        err_set(err, 0, NULL, "%s: uid or gid \"%s\" is not a number", user, *out);
        return LOOKUP_RETRY;
    }
    return LOOKUP_FOUND;
}

static void add(struct authd_fields *f, const char *name, const char *value)
{
    if (value[0])
        authd_fields_add(f, name, value);
}

enum lookup authd_userdb(struct slice name, struct arena *a, const char **canonical, struct authd_fields *f,
                         struct err *err)
{
    struct passwd_entry entry = { .uid = "", .gid = "", .home = "" };
    const char *mail = "", *extra;
    struct str user;

    *f = (struct authd_fields){ 0 };
    str_init(&user, USERNAME_BYTES);
    if (username_canonical(&authd_username_rules, name, &user, err) != 0) {
        str_free(&user);
        return LOOKUP_NONE;
    }
    *canonical = arena_strndup(a, user.p, user.len);
    str_free(&user);
    enum lookup found = passwd_find(*canonical, a, &entry, err);
    if (found == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    if ((extra = passwd_extra(&entry, "userdb_mail")) != NULL)
        mail = extra;
    enum lookup boxed = mailbox(*canonical, a, &entry.home, &mail, err);
    if (boxed == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    if (found == LOOKUP_NONE && boxed == LOOKUP_NONE)
        return LOOKUP_NONE;
    if (number(maps.uid, *canonical, a, &entry.uid, err) == LOOKUP_RETRY ||
        number(maps.gid, *canonical, a, &entry.gid, err) == LOOKUP_RETRY)
        return LOOKUP_RETRY;
    if (mail[0] == '\0' && entry.home[0])
        mail = authd_mail_location;
    add(f, "uid", entry.uid);
    add(f, "gid", entry.gid);
    add(f, "home", entry.home);
    add(f, "mail", mail);
    for (size_t n = 0; n < entry.extras; n++)
        if (strncmp(entry.extra[n].name, "userdb_", 7) == 0 && strcmp(entry.extra[n].name, "userdb_mail") != 0)
            authd_fields_add(f, entry.extra[n].name + 7, entry.extra[n].value);
    return LOOKUP_FOUND;
}
