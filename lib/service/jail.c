/*
 * jail - the order in which privilege goes; jail_landlock.c and jail_calls.c are the two filters
 */
#include "service/jail.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CAPABILITIES = 64, USER_NAME_BYTES = 64, MAIL_GROUPS = 64 };

static int user_by_number(struct slice digits, uid_t *uid, gid_t *gid, char name[USER_NAME_BYTES])
{
    const char *gids = conf_value("virtual_gid_maps");
    uint64_t n, g;
    struct passwd *pw;

    if (slice_u64(digits, UINT32_MAX - 1, &n) < 0)
        return -1;
    pw = getpwuid((uid_t) n);
    *uid = (uid_t) n;
    *gid = pw ? pw->pw_gid : (gid_t) n;
    if (gids && strncmp(gids, "static:", 7) == 0 && slice_u64(slice_of(gids + 7), UINT32_MAX - 1, &g) == 0)
        *gid = (gid_t) g;
    snprintf(name, USER_NAME_BYTES, "%s", pw ? pw->pw_name : "");
    return 0;
}

static int group_named(struct slice word, gid_t *out)
{
    char *name = mem_strndup(word.p, word.len);
    struct group *g = getgrnam(name);
    uint64_t n;

    free(name);
    if (g)
        *out = g->gr_gid;
    else if (slice_u64(word, UINT32_MAX - 1, &n) == 0)
        *out = (gid_t) n;
    return g || slice_u64(word, UINT32_MAX - 1, &n) == 0 ? 0 : -1;
}

/* What one word of a user's description stands for; NULL: nothing that holds for all. */
static const char *word_value(const char *word)
{
    const char *value = word[0] == '$' ? conf_value(word + 1) : word;

    if (value == NULL || *value == '\0')
        return NULL;
    if (strncmp(value, "static:", 7) == 0)
        return value + 7;
    return word[0] == '$' && strchr(value, ':') ? NULL : value;
}

/* mail_uid's group is mail_gid, where that is set. */
static int group_of_mail(const char *word, gid_t *gid)
{
    if (strcmp(word, "$mail_uid") != 0 || *conf_mail_gid == '\0' || group_named(slice_of(conf_mail_gid), gid) == 0)
        return 0;
    log_error("mail_gid: %s: no such group", conf_mail_gid);
    return -1;
}

int jail_user(const char *spec, uid_t *uid, gid_t *gid, char name[USER_NAME_BYTES])
{
    struct slice rest = slice_of(spec), next;
    char word[USER_NAME_BYTES] = "";
    const char *value = NULL;
    struct passwd *pw;

    while (value == NULL && slice_word(&rest, " ", &next)) {
        snprintf(word, sizeof word, "%.*s", (int) next.len, next.p);
        value = word_value(word);
    }
    if (value == NULL) {
        log_error("user %s: the parameter has no value", spec);
        return -1;
    }
    if (user_by_number(slice_of(value), uid, gid, name) == 0)
        return group_of_mail(word, gid);
    pw = getpwnam(value);
    if (pw == NULL) {
        log_error("user %s (%s): no such user", word, value);
        return -1;
    }
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    snprintf(name, USER_NAME_BYTES, "%s", pw->pw_name);
    return group_of_mail(word, gid);
}

const char *jail_ids_forbidden(int64_t uid, int64_t gid)
{
    if (uid < 1 || uid < conf_virtual_minimum_uid || uid >= UINT32_MAX)
        return "virtual_minimum_uid";
    return gid < 1 || gid >= UINT32_MAX ? "virtual_gid_maps" : NULL;
}

static void drop_bounding_set(void)
{
    for (unsigned long cap = 0; cap < CAPABILITIES; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno != EINVAL)
                log_fatal("cannot drop capability %lu: %s", cap, strerror(errno));
            break; /* the kernel knows no more */
        }
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { 0 };

    if (syscall(SYS_capset, &head, none) < 0)
        log_fatal("cannot drop capabilities: %s", strerror(errno));
}

static void change_root(const char *directory)
{
    if (chdir(directory) < 0 || chroot(".") < 0 || chdir("/") < 0)
        log_fatal("cannot change the root directory to %s: %s", directory, strerror(errno));
}

static gid_t mail_groups[MAIL_GROUPS];
static int mail_group_count;

int jail_mail_groups(void)
{
    struct slice rest = slice_of(service_mail_access_groups), word;

    mail_group_count = 0;
    while (slice_word(&rest, ", \t\r\n", &word)) {
        if (mail_group_count == MAIL_GROUPS || group_named(word, &mail_groups[mail_group_count]) < 0 ||
            mail_groups[mail_group_count] == 0) {
            log_error("mail_access_groups: %.*s: there is no such group, it is root's, or one too many",
                      (int) word.len, word.p);
            return -1;
        }
        mail_group_count++;
    }
    return 0;
}

int jail_set_mail_groups(const char *name, gid_t gid)
{
    gid_t all[2 * MAIL_GROUPS] = { gid };
    int n = MAIL_GROUPS;

    if (name[0] == '\0')
        n = 1;
    else if (getgrouplist(name, gid, all, &n) < 0)
        n = MAIL_GROUPS;
    for (int i = 0; i < mail_group_count; i++)
        all[n++] = mail_groups[i];
    return setgroups((size_t) n, all);
}

static int set_groups(const char *name, gid_t gid, bool mail)
{
    if (mail)
        return jail_set_mail_groups(name, gid);
    return name[0] ? initgroups(name, gid) : setgroups(1, &gid);
}

static void change_user(uid_t uid, gid_t gid, const char *name, bool mail)
{
    if (uid == 0 || gid == 0)
        log_fatal("a jailed process cannot run as uid %u, gid %u", (unsigned) uid, (unsigned) gid);
    drop_bounding_set();
    if (set_groups(name, gid, mail) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        log_fatal("cannot become uid %u, gid %u: %s", (unsigned) uid, (unsigned) gid, strerror(errno));
    if (setuid(0) == 0 || getuid() != uid || geteuid() != uid)
        log_fatal("uid 0 can be regained");
}

static void lock(int ruleset)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        log_fatal("cannot give up privileges: %s", strerror(errno));
    jail_landlock_enforce(ruleset);
    drop_capabilities();
}

static int abi_of(int abi_max)
{
    int abi = jail_landlock_abi();

    return abi_max > 0 && abi > abi_max ? abi_max : abi;
}

void jail_close(const struct service *svc, int landlock_abi_max)
{
    bool root = geteuid() == 0;
    char name[USER_NAME_BYTES] = "";
    uid_t uid = 0;
    gid_t gid = 0;
    int ruleset;

    if (svc->jail == JAIL_NONE)
        return;
    tzset(); /* reads /etc/localtime while it can */
    if (root && jail_user(svc->user ? svc->user : conf_mail_owner, &uid, &gid, name) < 0)
        exit(1);
    if (root && svc->mail_groups && jail_mail_groups() < 0)
        exit(1);
    ruleset = jail_landlock_prepare(svc, abi_of(landlock_abi_max));
    if (root && svc->jail == JAIL_CHROOT)
        change_root(".");
    if (root)
        change_user(uid, gid, name, svc->mail_groups);
    lock(ruleset);
    jail_calls(svc);
}

/* An ordinary user may change the root directory in a user namespace of its own, where the system lets it make one.
 * The uid stays what it is, inside and outside. */
static bool write_map(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t) strlen(text);
}

static bool change_root_unprivileged(const char *directory)
{
    char uids[64], gids[64];

    snprintf(uids, sizeof uids, "%u %u 1", (unsigned) geteuid(), (unsigned) geteuid());
    snprintf(gids, sizeof gids, "%u %u 1", (unsigned) getegid(), (unsigned) getegid());
    if (unshare(CLONE_NEWUSER) < 0)
        return false;
    if (!write_map("/proc/self/setgroups", "deny") || !write_map("/proc/self/gid_map", gids) ||
        !write_map("/proc/self/uid_map", uids))
        log_fatal("cannot set up a user namespace: %s", strerror(errno));
    return chdir(directory) == 0 && chroot(".") == 0 && chdir("/") == 0;
}

void jail_close_user(const struct service *svc, const struct service_user *user, int landlock_abi_max,
                     const char **directory)
{
    bool root = geteuid() == 0;
    int ruleset;

    *directory = "/";
    tzset();
    ruleset = jail_landlock_prepare_user(user, abi_of(landlock_abi_max));
    if (root) {
        change_root(user->directory);
        change_user(user->uid, user->gid, "", true);
    } else if (!change_root_unprivileged(user->directory)) {
        *directory = user->directory;
        if (chdir(user->directory) < 0)
            log_fatal("cannot enter %s: %s", user->directory, strerror(errno));
    }
    lock(ruleset);
    jail_calls(svc);
}

void jail_close_spawner(void)
{
    tzset();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_fatal("cannot give up privileges: %s", strerror(errno));
    jail_calls_spawner();
}
