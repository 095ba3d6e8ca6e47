/* layout - the directories of an instance; contract in layout.h */
#include "layout.h"

#include "base/log.h"
#include "conf/param.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

const struct layout_directory layout_directories[] = {
    { .name = "active", .mode = 0700, .mail = true, .files = true },
    { .name = "bounce", .mode = 0700, .mail = true, .files = true },
    { .name = "corrupt", .mode = 0700, .mail = true, .files = true },
    { .name = "defer", .mode = 0700, .mail = true, .files = true },
    { .name = "deferred", .mode = 0700, .mail = true, .files = true },
    { .name = "flush", .mode = 0700, .mail = true, .files = true },
    { .name = "hold", .mode = 0700, .mail = true, .files = true },
    { .name = "incoming", .mode = 0700, .mail = true, .files = true },
    { .name = "maildrop", .mode = 01730, .mail = true, .submit = true },
    { .name = "pid", .mode = 0755, .mail = false },
    { .name = "private", .mode = 0700, .mail = true },
    { .name = "public", .mode = 02710, .mail = true, .submit = true },
    { .name = "saved", .mode = 0700, .mail = true, .files = true },
    { .name = "trace", .mode = 0700, .mail = true, .files = true },
};
const size_t layout_directory_count = sizeof layout_directories / sizeof *layout_directories;
const char *const layout_setgid_programs[] = { "postdrop", "postqueue", "postlog", NULL };

int layout_accounts(struct layout_accounts *out)
{
    struct passwd *pw = getpwnam(conf_mail_owner);
    struct group *gr = getgrnam(conf_setgid_group);

    if (geteuid() != 0) {
        *out = (struct layout_accounts){ geteuid(), getegid(), getegid() };
        return 0;
    }
    if (pw == NULL)
        log_error("mail_owner: %s: no such user", conf_mail_owner);
    if (gr == NULL)
        log_error("setgid_group: %s: no such group", conf_setgid_group);
    if (pw == NULL || gr == NULL)
        return -1;
    if (pw->pw_uid == 0) {
        log_error("mail_owner: %s has the privileges of root", conf_mail_owner);
        return -1;
    }
    *out = (struct layout_accounts){ pw->pw_uid, pw->pw_gid, gr->gr_gid };
    return 0;
}
