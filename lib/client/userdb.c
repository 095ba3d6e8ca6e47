/*
 * userdb - see userdb.h
 *
 * Callers     lmtpd, local/virtual
 * Invariants  see userdb.h
 * Errors      three answers
 */
#include "client/userdb.h"
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "client/authd.h"
#include "conf/param.h"
#include "proto/addr/addr.h"
#include "table/match.h"
#include "table/table.h"

#include <stdlib.h>

enum { PATH_BYTES = 4000, USERDB_WAIT_MS = 60000 };

static const char *userdb_service;
const struct param userdb_params[] = {
    { .name = "userdb_service",
      .type = PARAM_STRING,
      .str = &userdb_service,
      .def = "",
      .doc = "Socket that is asked for mailboxes (private/auth-userdb, or that of a Dovecot) instead of "
             "virtual_mailbox_maps, virtual_uid_maps and virtual_gid_maps." },
    { .type = PARAM_END },
};
static struct maps *mailboxes, *uids, *gids; /* live as long as the process */
static struct authd_client *authd;
static char *base_directory;

/* "/var/vmail" of "maildir:/var/vmail/%d/%n:LAYOUT=fs"; for one below the home, of mail_home. */
static char *fixed_directory(void)
{
    const char *colon = strchr(conf_mail_location, ':'), *text = colon ? colon + 1 : conf_mail_location;

    if (*text == '~')
        text = conf_mail_home;
    size_t len = strcspn(text, "%:");
    while (len && text[len - 1] != '/')
        len--;
    while (len && text[len - 1] == '/')
        len--;
    return mem_strndup(text, *text == '/' ? len : 0);
}

const char *userdb_base(void) { return base_directory ? base_directory : ""; }

void userdb_open(void)
{
    const unsigned flags = TABLE_FOLD | TABLE_NO_SUBST;

    base_directory = *conf_virtual_mailbox_base || *userdb_service == '\0' ? mem_strdup(conf_virtual_mailbox_base)
                                                                           : fixed_directory();
    if (*userdb_service) {
        authd = authd_client_new(userdb_service);
        return;
    }
    match_local_open(); /* the keys of an address depend on it, and the jail hides the interfaces */
    mailboxes = maps_new("virtual_mailbox_maps", conf_virtual_mailbox_maps, flags);
    uids = maps_new("virtual_uid_maps", conf_virtual_uid_maps, flags);
    gids = maps_new("virtual_gid_maps", conf_virtual_gid_maps, flags);
}

static enum lookup misconfigured(struct err *err)
{
    (void) err_set(err, 451, "4.3.5", "mail system configuration error");
    return LOOKUP_RETRY;
}

static enum lookup number(struct maps *maps, const char *what, const char *address, uint64_t least, uint64_t *out,
                          struct err *err)
{
    struct str value;
    struct slice ext;
    enum lookup found;

    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_address(maps, address, MAPS_ADDRESS, &value, &ext);
    if (found == LOOKUP_NONE) {
        log_warn("recipient %s: not found in %s", address, what);
        found = misconfigured(err);
    } else if (found == LOOKUP_RETRY) {
        (void) err_set(err, 451, "4.3.0", "table lookup failure");
    } else if (slice_u64(slice_trim(str_slice(&value)), UINT32_MAX - 1, out) < 0 || *out < least) {
        log_warn("recipient %s: bad or forbidden value %.100s in %s", address, value.p, what);
        found = misconfigured(err);
    }
    str_free(&value);
    return found;
}

/* base/result, without ".." anywhere in the result. */
static const char *mailbox_path(const char *base, struct slice result, struct arena *a)
{
    struct slice rest = result, part;

    if (result.len == 0 || result.len > PATH_BYTES || memchr(result.p, '\0', result.len))
        return NULL;
    while (slice_split(&rest, '/', &part))
        if (slice_eq(part, ".."))
            return NULL;
    if (*base == '\0')
        return *result.p == '/' ? arena_strndup(a, result.p, result.len) : NULL;
    return arena_printf(a, "%s/%.*s", base, (int) result.len, result.p);
}

/* virtual_minimum_uid is Postfix's and holds for all; the rest is Dovecot's. */
static bool permitted(const char *user, const char *protocol, uint64_t uid, uint64_t gid)
{
    return strcmp(protocol, "virtual") == 0 || authd_ids_permitted(user, (int64_t) uid, (int64_t) gid);
}

static enum lookup find_in_tables(const char *address, const char *protocol, struct arena *a,
                                  struct userdb_mailbox *out, struct err *err)
{
    const char *least_text = conf_value("virtual_minimum_uid");
    uint64_t least = least_text ? strtoull(least_text, NULL, 10) : 100, uid, gid;
    struct str value;
    struct slice ext = { "", 0 };
    enum lookup found;

    str_init(&value, TABLE_VALUE_BYTES);
    found = maps_address(mailboxes, address, MAPS_ADDRESS, &value, &ext);
    if (found == LOOKUP_FOUND) {
        out->path = mailbox_path(conf_virtual_mailbox_base, slice_trim(str_slice(&value)), a);
        if (out->path == NULL) {
            log_warn("recipient %s: bad mailbox %.200s in virtual_mailbox_maps", address, value.p);
            found = misconfigured(err);
        }
    } else if (found == LOOKUP_RETRY) {
        (void) err_set(err, 451, "4.3.0", "table lookup failure");
    }
    str_free(&value);
    if (found != LOOKUP_FOUND)
        return found;
    if ((found = number(uids, "virtual_uid_maps", address, least, &uid, err)) != LOOKUP_FOUND ||
        (found = number(gids, "virtual_gid_maps", address, 1, &gid, err)) != LOOKUP_FOUND)
        return found;
    if (!permitted(address, protocol, uid, gid))
        return misconfigured(err);
    out->uid = (uid_t) uid;
    out->gid = (gid_t) gid;
    out->maildir = out->path[strlen(out->path) - 1] == '/';
    out->no_index = mail_location_index_elsewhere(conf_mail_location);
    out->user = ext.len ? arena_printf(a, "%.*s%s", (int) (ext.p - address), address, ext.p + ext.len)
                        : arena_strdup(a, address);
    return LOOKUP_FOUND;
}

static enum lookup ask(const char *address, const char *protocol, struct arena *a, struct userdb_mailbox *out,
                       struct err *err)
{
    struct authd_user user;
    enum lookup found = authd_client_user(authd, protocol, slice_of(address), a, &user,
                                          time_mono_ms() + USERDB_WAIT_MS, err);

    if (found != LOOKUP_FOUND)
        return found;
    if (!user.has_uid || !user.has_gid || user.uid == 0 || user.gid == 0 || *user.maildir != '/') {
        log_warn("recipient %s: %s gives no uid, gid or maildir%s%s", address, userdb_service,
                 user.problem[0] ? ": " : "", user.problem);
        return misconfigured(err);
    }
    if (!permitted(user.user, protocol, user.uid, user.gid))
        return misconfigured(err);
    out->path = arena_printf(a, "%s/", user.maildir);
    out->maildir = true;
    out->no_index = user.location.no_index || user.location.index[0];
    out->uid = user.uid;
    out->gid = user.gid;
    out->user = user.user;
    out->home = user.home[0] == '/' ? user.home : NULL;
    return LOOKUP_FOUND;
}

enum lookup userdb_find(const char *address, const char *protocol, struct arena *a, struct userdb_mailbox *out,
                        struct err *err)
{
    struct slice all = slice_of(address), local, domain, base, extension;
    enum lookup found;

    *out = (struct userdb_mailbox){ 0 };
    if (authd == NULL)
        return find_in_tables(address, protocol, a, out, err);
    found = ask(address, protocol, a, out, err);
    if (found == LOOKUP_NONE && addr_split(all, &local, &domain) &&
        addr_split_extension(local, conf_recipient_delimiter, false, &base, &extension))
        found = ask(arena_printf(a, "%.*s@%.*s", (int) base.len, base.p, (int) domain.len, domain.p), protocol, a,
                    out, err);
    return found;
}
