/* permissions - owners and modes; contract in permissions.h */
#include "permissions.h"

#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 4 }; /* hash_queue_depth, and one */

static struct layout_accounts accounts;

static int complain(const char *what, const char *path)
{
    log_error("%s %s: %s", what, path, strerror(errno));
    return -1;
}

/* Everything below the directory, which is ours and already mail_owner's. Hard links are left alone: the file's other
 * name may be anybody's. */
static int give_files(int dir_fd, const char *path, int depth)
{
    DIR *dir = fdopendir(dir_fd);
    struct dirent *e;
    struct stat st;
    int rc = 0, fd;

    if (dir == NULL) {
        close(dir_fd);
        return complain("read", path);
    }
    while ((e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX &&
            (fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0) {
            if (fchown(fd, accounts.mail_uid, accounts.mail_gid) < 0 || fchmod(fd, 0700) < 0)
                rc = complain("set owner and mode of a directory in", path);
            rc |= give_files(fd, path, depth + 1);
        } else if (S_ISREG(st.st_mode) && st.st_uid != accounts.mail_uid && st.st_nlink == 1 &&
                   fchownat(dirfd(dir), e->d_name, accounts.mail_uid, accounts.mail_gid, AT_SYMLINK_NOFOLLOW) < 0) {
            rc = complain("change the owner of a file in", path);
        }
    }
    closedir(dir);
    return rc;
}

static int give_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, bool files)
{
    int fd, rc = 0;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return complain("make directory", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return complain("open directory", path);
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
        rc = complain("set owner and mode of", path);
    if (files)
        return give_files(fd, path, 0) < 0 ? -1 : rc;
    close(fd);
    return rc;
}

static int give_program(const char *name)
{
    char *path = mem_printf("%s/%s", conf_command_directory, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc = 0;

    if (fd < 0 || fchown(fd, 0, accounts.submit_gid) < 0 || fchmod(fd, LAYOUT_SETGID_MODE) < 0)
        rc = complain("set owner and mode of", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

int postfix_set_permissions(void)
{
    int rc = 0;

    if (geteuid() != 0) {
        log_error("set-permissions is reserved for the superuser");
        return -1;
    }
    if (layout_accounts(&accounts) < 0)
        return -1;
    rc |= give_directory(conf_queue_directory, 0755, 0, 0, false);
    for (size_t i = 0; i < layout_directory_count; i++) {
        const struct layout_directory *d = &layout_directories[i];
        char *path = mem_printf("%s/%s", conf_queue_directory, d->name);
        rc |= give_directory(path, d->mode, d->mail ? accounts.mail_uid : 0,
                             d->submit ? accounts.submit_gid
                             : d->mail ? accounts.mail_gid
                                       : 0,
                             d->files);
        free(path);
    }
    rc |= give_directory(conf_data_directory, 0700, accounts.mail_uid, accounts.mail_gid, true);
    for (size_t i = 0; layout_setgid_programs[i]; i++)
        rc |= give_program(layout_setgid_programs[i]);
    return rc < 0 ? -1 : 0;
}
