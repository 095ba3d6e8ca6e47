/*
 * jail_landlock - which files a process may open
 *
 * Invariants  every right the kernel knows (up to the ABI in use) is handled, so what no rule names is refused
 *             Landlock does not judge stat, chmod, chown, utime, xattr, connect on unix sockets, chdir, nor (before
 *             ABI 3) truncate, nor (before ABI 6) signals: seccomp and chroot do
 * Source      landlock(7); linux/landlock.h of kernel 6.12 for the rights younger than the system's header
 */
#include "service/jail.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LANDLOCK_ABI_REFER = 2,
    LANDLOCK_ABI_TRUNCATE = 3,
    LANDLOCK_ABI_NET = 4,
    LANDLOCK_ABI_IOCTL = 5,
    LANDLOCK_ABI_SCOPE = 6
};
#define FS_TRUNCATE  (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONN_TCP (1ULL << 1)
#define SCOPE_UNIX   (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

struct ruleset_attr { /* as the kernel knows it today; size says how much of it is meant */
    uint64_t fs, net, scoped;
};

static const uint64_t fs_first = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* all of ABI 1 */
static const uint64_t fs_of_files = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                    LANDLOCK_ACCESS_FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
static const uint64_t fs_reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t fs_writing = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                                   LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                   LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                   LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |
                                   LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE;

int jail_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return abi < 0 ? 0 : (int) abi;
}

static uint64_t fs_handled(int abi)
{
    uint64_t fs = fs_first;

    if (abi >= LANDLOCK_ABI_REFER)
        fs |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= LANDLOCK_ABI_TRUNCATE)
        fs |= FS_TRUNCATE;
    if (abi >= LANDLOCK_ABI_IOCTL)
        fs |= FS_IOCTL_DEV;
    return fs;
}

static int ruleset_new(const struct service *svc, int abi)
{
    struct ruleset_attr attr = { .fs = fs_handled(abi) };
    size_t size = sizeof attr.fs;
    long fd;

    if (abi >= LANDLOCK_ABI_NET) {
        size += sizeof attr.net;
        if (!(svc->may & MAY_INET))
            attr.net = NET_BIND_TCP | NET_CONN_TCP;
    }
    if (abi >= LANDLOCK_ABI_SCOPE) {
        size += sizeof attr.scoped;
        attr.scoped = SCOPE_SIGNAL | (svc->may & MAY_UNIX ? 0 : SCOPE_UNIX);
    }
    fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        log_fatal("cannot make Landlock rules: %s", strerror(errno));
    return (int) fd;
}

static void rule_add(int ruleset, int fd, const char *path, bool write, int abi)
{
    struct landlock_path_beneath_attr rule = { .parent_fd = fd };
    struct stat st;

    if (fstat(fd, &st) < 0)
        log_fatal("cannot look at %s: %s", path, strerror(errno));
    rule.allowed_access = (write ? fs_writing : fs_reading) & fs_handled(abi);
    if (!S_ISDIR(st.st_mode))
        rule.allowed_access &= fs_of_files;
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        log_fatal("cannot add a Landlock rule for %s: %s", path, strerror(errno));
}

static void rule_for(int ruleset, const struct service_path *p, int abi)
{
    const char *path = p->path[0] == '$' ? conf_value(p->path + 1) : p->path;
    int fd;

    if (path == NULL || *path == '\0') {
        if (!p->optional)
            log_fatal("%s: the parameter has no value", p->path);
        return;
    }
    fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && p->optional)
        return;
    if (fd < 0)
        log_fatal("cannot open %s: %s", path, strerror(errno));
    rule_add(ruleset, fd, path, p->write, abi);
    close(fd);
}

int jail_landlock_prepare(const struct service *svc, int abi)
{
    int ruleset;

    if (abi < 1)
        return -1;
    ruleset = ruleset_new(svc, abi);
    for (const struct service_path *p = svc->paths; p && p->path; p++)
        rule_for(ruleset, p, abi);
    return ruleset;
}

int jail_landlock_prepare_user(const struct service_user *user, int abi)
{
    static const struct service confined = { .jail = JAIL_SPAWNED };
    const struct service_path path = { user->directory, true, false };
    int ruleset;

    if (abi < 1)
        return -1;
    ruleset = ruleset_new(&confined, abi);
    rule_for(ruleset, &path, abi);
    for (int i = 0; i < SERVICE_PLACES; i++)
        if (user->place_fd[i] > 0)
            rule_add(ruleset, user->place_fd[i], "a place of the user's", true, abi);
    return ruleset;
}

void jail_landlock_enforce(int ruleset)
{
    if (ruleset < 0)
        return;
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        log_fatal("cannot close the Landlock jail: %s", strerror(errno));
    close(ruleset);
}
