/*
 * jailprobe - what a daemon's jail lets through, tried from inside
 *
 * Built once for each daemon that the tests ask about, from that daemon's own main source, in which service_main is
 * renamed to the function below (tests/system/CMakeLists.txt): the jail that is tried is the daemon's own, not a
 * copy.
 *
 * Usage       jailprobe-NAME [-l abi] [-d user_directory -u uid -g gid] [-k pid] PATH...
 *             MAIL_CONFIG names the configuration. -d: the jail of a spawned process. -l: the highest Landlock ABI
 * Output      a line for each attempt: "NAME: OPERATION PATH: refused (reason)" or "... ALLOWED"
 * Invariants  each attempt is made by a process of its own, which closes the jail, then tries; a path below the queue
 *             directory is also tried as it is named inside a chroot
 * Errors      exit status 1 when anything was allowed, 2 when the probe itself failed
 */
#include "base/mem.h"
#include "base/str.h"
#include "ipc/client.h"
#include "service/jail.h"
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

enum { TABLES_MAX = 60, FAILED = 2 };

static pid_t victim;

static int try_open(const char *p) { return open(p, O_RDONLY); }
static int try_open_write(const char *p) { return open(p, O_WRONLY | O_CREAT, 0600); }
static int try_truncate(const char *p) { return truncate(p, 0) < 0 ? open(p, O_RDONLY | O_TRUNC) : 0; }
static int try_stat(const char *p)
{
    struct stat st;
    return stat(p, &st);
}
static int try_stat_empty(const char *p) /* a path where fstat's empty one belongs */
{
    struct stat st;
    return (int) syscall(SYS_newfstatat, AT_FDCWD, p, &st, AT_EMPTY_PATH);
}
static int try_chmod(const char *p) { return chmod(p, 0666); }
static int try_chown(const char *p) { return chown(p, getuid(), getgid()); }
static int try_utime(const char *p) { return utime(p, NULL); }
static int try_utimensat(const char *p) { return utimensat(AT_FDCWD, p, NULL, 0); }
static int try_setxattr(const char *p) { return setxattr(p, "user.probe", "1", 1, 0); }
static int try_rename(const char *p)
{
    char *to = mem_printf("%s.probe", p);
    int rc = rename(p, to), keep = errno;

    free(to);
    errno = keep;
    return rc;
}
static int try_link(const char *p)
{
    char *to = mem_printf("%s.probe", p);
    int rc = link(p, to), keep = errno;

    free(to);
    errno = keep;
    return rc;
}
static int try_inotify(const char *p)
{
    int fd = inotify_init1(0);

    return inotify_add_watch(fd < 0 ? 0 : fd, p, IN_MODIFY);
}
static int connect_as(const char *p, int type)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type, 0);

    if (fd < 0)
        return -1;
    snprintf(to.sun_path, sizeof to.sun_path, "%s", p);
    return connect(fd, (struct sockaddr *) &to, sizeof to);
}
static int try_connect(const char *p) { return connect_as(p, SOCK_STREAM); }
static int try_connect_datagram(const char *p) { return connect_as(p, SOCK_DGRAM); }
static int try_kill(const char *p)
{
    (void) p;
    return kill(victim, 0);
}
static int try_tgkill(const char *p)
{
    (void) p;
    return (int) syscall(SYS_tgkill, victim, victim, 0);
}

static const struct {
    const char *name;
    int (*try)(const char *path);
    bool no_path;
} attempts[] = {
    { "open", try_open, false },
    { "open for writing", try_open_write, false },
    { "truncate", try_truncate, false },
    { "stat", try_stat, false },
    { "fstatat", try_stat_empty, false },
    { "chmod", try_chmod, false },
    { "chown", try_chown, false },
    { "utime", try_utime, false },
    { "utimensat", try_utimensat, false },
    { "setxattr", try_setxattr, false },
    { "rename", try_rename, false },
    { "link", try_link, false },
    { "connect", try_connect, false },
    { "connect, datagrams", try_connect_datagram, false },
    { "inotify_add_watch", try_inotify, false },
    { "kill", try_kill, true },
    { "tgkill", try_tgkill, true },
};

static struct {
    const struct service *svc;
    int abi;
    const char *directory;
    struct service_user user;
} probe;

static void load(const struct service *svc)
{
    const struct param *tables[TABLES_MAX + 1] = { conf_global_params, service_params };
    size_t n = 2;

    for (const struct param *const *t = svc->params; t && *t && n < TABLES_MAX; t++)
        tables[n++] = *t;
    if (conf_open(NULL) < 0 || conf_load(tables) < 0 || chdir(conf_queue_directory) < 0)
        exit(FAILED);
}

/* 0 refused, 1 allowed; the reason goes to the parent over the pipe. */
static int one(int (*try)(const char *), const char *path, int *why)
{
    int fds[2], status;
    pid_t pid;

    if (pipe(fds) < 0 || (pid = fork()) < 0)
        exit(FAILED);
    if (pid == 0) {
        const char *inside;
        if (probe.directory)
            jail_close_user(probe.svc, &probe.user, probe.abi, &inside);
        else
            jail_close(probe.svc, probe.abi);
        int rc = try(path), keep = rc < 0 ? errno : 0;
        _exit(write(fds[1], &keep, sizeof keep) == sizeof keep ? rc >= 0 : FAILED);
    }
    close(fds[1]);
    *why = 0;
    if (read(fds[0], why, sizeof *why) != sizeof *why)
        *why = 0;
    close(fds[0]);
    if (waitpid(pid, &status, 0) != pid)
        exit(FAILED);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) == FAILED) {
        printf("%s: the jail could not be closed (status %x)\n", probe.svc->name, (unsigned) status);
        exit(FAILED);
    }
    return WEXITSTATUS(status);
}

static int attempt(size_t i, const char *path)
{
    int why, allowed = one(attempts[i].try, path, &why);

    printf("%s: %s %s: ", probe.svc->name, attempts[i].name, attempts[i].no_path ? "another process" : path);
    if (allowed)
        printf("ALLOWED\n");
    else
        printf("refused (%s)\n", why ? strerror(why) : "killed");
    return allowed;
}

static int try_path(const char *path)
{
    int allowed = 0;

    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        if (!attempts[i].no_path)
            allowed |= attempt(i, path);
    return allowed;
}

static void parse(int argc, char **argv)
{
    for (int letter; (letter = getopt(argc, argv, "d:g:k:l:u:")) != -1;)
        switch (letter) {
        case 'd': probe.directory = optarg; break;
        case 'g': probe.user.gid = (gid_t) strtoul(optarg, NULL, 10); break;
        case 'k': victim = (pid_t) strtol(optarg, NULL, 10); break;
        case 'l': probe.abi = (int) strtol(optarg, NULL, 10); break;
        case 'u': probe.user.uid = (uid_t) strtoul(optarg, NULL, 10); break;
        default: exit(FAILED);
        }
}

int service_main(const struct service *svc, int argc, char **argv)
{
    int allowed = 0;
    size_t len;

    probe.svc = svc;
    parse(argc, argv);
    probe.user.directory = probe.directory;
    if ((svc->jail == JAIL_SPAWNED) != (probe.directory != NULL)) {
        fprintf(stderr, "%s: -d goes with the jail of a spawned process, and only with it\n", svc->name);
        return FAILED;
    }
    load(svc);
    if (probe.directory)
        jail_calls_prepare(svc); /* as a spawner does */
    len = strlen(conf_queue_directory);
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = optind; i < argc; i++) {
        allowed |= try_path(argv[i]);
        if (strncmp(argv[i], conf_queue_directory, len) == 0)
            allowed |= try_path(argv[i] + len + 1) | try_path(argv[i] + len);
    }
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts && victim > 0; i++)
        if (attempts[i].no_path)
            allowed |= attempt(i, "");
    return allowed;
}
