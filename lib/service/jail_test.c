/*
 * jail_test - what each right of a jail allows, and what it holds back; under every Landlock ABI, as root and not
 *
 * Each row runs in a process of its own: one that closes the jail, tries, and tells by its exit status.
 */
#include "event/event.h"
#include "service/jail.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

enum { NOBODY = 65534 };
static char scratch[] = "/tmp/jail_test.XXXXXX";
static pid_t victim;
static int held; /* a descriptor from before the jail */

/* Paths are relative to the scratch directory, in the jail or not. "in" may be used where the row says so. */
static int yes(int rc) { return rc >= 0 ? 1 : 0; }
static int read_in(void) { return yes(open("in/file", O_RDONLY)); }
static int read_out(void) { return yes(open("out/file", O_RDONLY)); }
static int read_passwd(void) { return yes(open("/etc/passwd", O_RDONLY)); }
static int write_in(void) { return yes(open("in/new", O_WRONLY | O_CREAT, 0600)); }
static int write_out(void) { return yes(open("out/new", O_WRONLY | O_CREAT, 0600)); }
static int cut_in(void) { return yes(open("in/file", O_RDONLY | O_TRUNC)); }
static int cut_out(void) { return yes(open("out/file", O_RDONLY | O_TRUNC)) || yes(truncate("out/file", 0)); }
static int rename_in(void) { return yes(rename("in/file", "in/file2")); }
static int rename_out(void) { return yes(rename("out/file", "in/stolen")) || yes(rename("in/file", "out/file3")); }
static int unlink_out(void) { return yes(unlink("out/file")); }
static int stat_path(void)
{
    struct stat st;

    return yes(stat("out/file", &st)) || yes(lstat("/etc/passwd", &st)) ||
           yes((int) syscall(SYS_newfstatat, AT_FDCWD, "out/file", &st, AT_EMPTY_PATH));
}
static int stat_held(void)
{
    struct stat st;

    return yes(fstat(held, &st)) && st.st_size == 5;
}
static int change_path(void)
{
    return yes(chmod("in/file", 0644)) || yes(fchmodat(AT_FDCWD, "in/file", 0644, 0)) ||
           yes(chown("in/file", NOBODY, NOBODY)) || yes(utime("in/file", NULL)) ||
           yes(utimensat(AT_FDCWD, "in/file", NULL, 0)) || yes(setxattr("in/file", "user.x", "1", 1, 0)) ||
           yes(removexattr("in/file", "user.x"));
}
static int change_held(void)
{
    int fd = open("in/file", O_RDWR);

    return yes(futimens(fd, NULL)) && yes(fchmod(fd, 0700)) && yes(ftruncate(fd, 3)) && yes(fsync(fd));
}
static int reach_unix(void)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "out/socket" };
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0), pair[2];

    return yes(connect(fd, (struct sockaddr *) &to, sizeof to)) || yes(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) ||
           yes((int) sendto(held, "x", 1, 0, (struct sockaddr *) &to, sizeof to));
}
static int reach_inet(void) { return yes(socket(AF_INET, SOCK_STREAM, 0)); }
static int stream_pair_made(void)
{
    int pair[2];

    return yes(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) && write(pair[0], "x", 1) == 1;
}
static int watch_path(void) { return yes(inotify_init1(0)) && yes(inotify_add_watch(3, "in", IN_CREATE)); }
static int kill_victim(void)
{
    return yes(kill(victim, 0)) || yes((int) syscall(SYS_tgkill, victim, victim, 0)) || yes(kill(-1, 0));
}
static int kill_self(void)
{
    signal(SIGUSR1, SIG_IGN);
    return yes(raise(SIGUSR1)) && yes(kill(getpid(), SIGUSR1));
}
static int run_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}
static int fork_child(void) { return yes(fork()); }
static int exec_program(void)
{
    execl("/bin/true", "true", (char *) NULL);
    return 0;
}
static int trace(void) { return yes((int) ptrace(PTRACE_ATTACH, victim, 0, 0)); }
static int new_namespace(void) { return yes((int) syscall(SYS_unshare, 0x10000000)); }
static int become_root(void) { return yes(setuid(0)); }

static int offloaded;
static void in_thread(void *unused)
{
    (void) unused;
    offloaded = 1;
}
static void in_fiber(void *unused)
{
    (void) unused;
    event_sleep(5);
    event_offload(in_thread, NULL);
}
static int run_threads(void)
{
    event_run(in_fiber, NULL);
    return offloaded;
}
static void only_sleep(void *unused)
{
    (void) unused;
    event_sleep(5);
    offloaded = 1;
}
static int run_loop(void)
{
    event_run(only_sleep, NULL);
    return offloaded;
}

enum outcome { REFUSED, ALLOWED, KILLED };
static const struct {
    const char *name;
    unsigned may;
    int (*try)(void);
    enum outcome want;
} rows[] = {
    { "read without MAY_OPEN", 0, read_in, REFUSED },
    { "read in", MAY_OPEN, read_in, ALLOWED },
    { "read out", MAY_OPEN, read_out, REFUSED },
    { "read /etc/passwd", MAY_OPEN | MAY_WRITE_FILES, read_passwd, REFUSED },
    { "write in, readers", MAY_OPEN, write_in, REFUSED },
    { "write in", MAY_OPEN | MAY_WRITE_FILES, write_in, ALLOWED },
    { "write out", MAY_OPEN | MAY_WRITE_FILES, write_out, REFUSED },
    { "truncate in by opening it for reading", MAY_OPEN | MAY_WRITE_FILES, cut_in, REFUSED },
    { "truncate out", MAY_OPEN | MAY_WRITE_FILES, cut_out, REFUSED },
    { "rename in, readers", MAY_OPEN, rename_in, REFUSED },
    { "rename in", MAY_OPEN | MAY_WRITE_FILES, rename_in, ALLOWED },
    { "rename between in and out", MAY_OPEN | MAY_WRITE_FILES, rename_out, REFUSED },
    { "unlink out", MAY_OPEN | MAY_WRITE_FILES, unlink_out, REFUSED },
    { "stat by path", 0, stat_path, REFUSED },
    { "fstat", 0, stat_held, ALLOWED },
    { "chmod, chown, utime, xattr by path", MAY_OPEN | MAY_WRITE_FILES, change_path, REFUSED },
    { "fchmod, futimens, ftruncate, fsync", MAY_OPEN | MAY_WRITE_FILES, change_held, ALLOWED },
    { "unix sockets", MAY_OPEN | MAY_WRITE_FILES | MAY_INET, reach_unix, REFUSED },
    { "inet sockets", 0, reach_inet, REFUSED },
    { "inet sockets, allowed", MAY_INET, reach_inet, ALLOWED },
    { "stream socket pair", 0, stream_pair_made, ALLOWED },
    { "inotify", MAY_OPEN | MAY_WRITE_FILES, watch_path, REFUSED },
    { "kill others", MAY_OPEN | MAY_WRITE_FILES | MAY_INET, kill_victim, REFUSED },
    { "kill oneself", 0, kill_self, ALLOWED },
    { "executable memory", MAY_OPEN | MAY_WRITE_FILES, run_code, REFUSED },
    { "fork", MAY_THREADS, fork_child, REFUSED },
    { "exec", MAY_OPEN | MAY_WRITE_FILES, exec_program, REFUSED },
    { "ptrace", 0, trace, KILLED },
    { "unshare", MAY_FORK, new_namespace, KILLED },
    { "setuid", 0, become_root, KILLED },
    { "threads", MAY_THREADS, run_threads, ALLOWED },
    { "threads of writers", MAY_OPEN | MAY_WRITE_FILES, run_threads, ALLOWED },
    { "event loop", 0, run_loop, ALLOWED },
};

static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text));
    assert(fchmod(fd, 0666) == 0 && (geteuid() != 0 || fchown(fd, NOBODY, NOBODY) == 0));
    close(fd);
}

static void make_scratch(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "out/socket" };
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    mkdir("in", 0777);
    mkdir("out", 0777);
    chmod("in", 0777);
    chmod("out", 0777);
    unlink("out/socket");
    unlink("in/new");
    unlink("in/file2");
    assert(bind(fd, (struct sockaddr *) &at, sizeof at) == 0 && chmod("out/socket", 0777) == 0);
    close(fd);
    put_file("in/file", "five\n");
    put_file("out/file", "five\n");
}

static void in_the_jail(size_t row, int abi, bool root)
{
    static const struct service_path paths[] = { { "in", true, false }, { NULL, false, false } };
    static const struct service_path readable[] = { { "in", false, false }, { NULL, false, false } };
    struct service svc = { .name = "test", .jail = JAIL_CHROOT, .may = rows[row].may, .user = "65534" };

    svc.paths = rows[row].may & MAY_WRITE_FILES ? paths : readable;
    if (!root)
        assert(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    jail_close(&svc, abi);
    if (prctl(PR_GET_DUMPABLE) != 0 || getuid() == 0)
        _exit(99);
    _exit(rows[row].try() ? 10 : 20);
}

static int run_row(size_t row, int abi, bool root)
{
    static const char *const words[] = { "refused", "allowed", "killed" };
    int status, got;
    pid_t pid;

    make_scratch();
    held = open("in/file", O_RDONLY);
    pid = fork();
    if (pid == 0)
        in_the_jail(row, abi, root);
    close(held);
    assert(waitpid(pid, &status, 0) == pid);
    got = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? KILLED
          : WIFEXITED(status) && WEXITSTATUS(status) == 10  ? ALLOWED
          : WIFEXITED(status) && WEXITSTATUS(status) == 20  ? REFUSED
                                                            : -1;
    if (got == (int) rows[row].want)
        return 0;
    printf("%s, Landlock ABI at most %d, %s: %s, not %s (status %x)\n", rows[row].name, abi,
           root ? "from root" : "as a user", got < 0 ? "failed" : words[got], words[rows[row].want],
           (unsigned) status);
    return 1;
}

int main(void)
{
    int failed = 0, abi_max = jail_landlock_abi();
    bool root = geteuid() == 0;

    assert(mkdtemp(scratch) && chdir(scratch) == 0 && chmod(scratch, 0755) == 0);
    victim = fork();
    if (victim == 0) {
        if (root)
            assert(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
        for (;;)
            pause();
    }
    if (abi_max < 2)
        printf("no Landlock here: its rows cannot be tried\n");
    for (int abi = 2; abi <= abi_max; abi++)
        for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
            if (root)
                failed += run_row(row, abi, true);
            if (!root || abi == 2)
                failed += run_row(row, abi, false);
        }
    kill(victim, SIGKILL);
    char *clean;
    assert(asprintf(&clean, "rm -rf %s", scratch) > 0 && system(clean) == 0);
    free(clean);
    return failed ? 1 : 0;
}
