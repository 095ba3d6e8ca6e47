/*
 * jail_calls - which system calls a process may make
 *
 * Invariants  what no list allows answers EPERM; what only an intruder calls kills the process (SIGSYS; master logs
 *             "killed by signal 31", the kernel's audit log names the call)
 *             no page is ever made executable; no descriptor is opened for writing without MAY_WRITE_FILES; O_TRUNC
 *             needs a descriptor opened for writing, which Landlock judges even where it does not know truncation
 *             fstat: glibc 2.33 to 2.38 makes it newfstatat(fd, "", AT_EMPTY_PATH), which no filter can tell from a
 *             stat of any path; so ours below, in every daemon, is the old call, and newfstatat needs MAY_OPEN
 *             signals go to the process itself; the filter knows its pid, so it is made after the last fork
 * Source      seccomp_rule_add(3); libseccomp translates names it knows but this machine lacks into nothing
 */
#include "service/jail.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fstat(int fd, struct stat *st) { return (int) syscall(SYS_fstat, fd, st); }

#define CALL(name) SCMP_SYS(name)
static const int base_calls[] = {
    CALL(read),
    CALL(write),
    CALL(readv),
    CALL(writev),
    CALL(pread64),
    CALL(pwrite64),
    CALL(preadv),
    CALL(pwritev),
    CALL(preadv2),
    CALL(pwritev2),
    CALL(close),
    CALL(close_range),
    CALL(lseek),
    CALL(fstat),
    CALL(munmap),
    CALL(mremap),
    CALL(madvise),
    CALL(brk),
    CALL(msync),
    CALL(mincore),
    CALL(mlock),
    CALL(munlock),
    CALL(futex),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(rt_sigpending),
    CALL(rt_sigsuspend),
    CALL(sigaltstack),
    CALL(epoll_create1),
    CALL(epoll_ctl),
    CALL(epoll_wait),
    CALL(epoll_pwait),
    CALL(epoll_pwait2),
    CALL(poll),
    CALL(ppoll),
    CALL(select),
    CALL(pselect6),
    CALL(eventfd2),
    CALL(timerfd_create),
    CALL(timerfd_settime),
    CALL(timerfd_gettime),
    CALL(signalfd4),
    CALL(pipe),
    CALL(pipe2),
    CALL(dup),
    CALL(dup2),
    CALL(dup3),
    CALL(getpid),
    CALL(gettid),
    CALL(getppid),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(getresuid),
    CALL(getresgid),
    CALL(getgroups),
    CALL(getpgrp),
    CALL(getrandom),
    CALL(clock_gettime),
    CALL(clock_getres),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(gettimeofday),
    CALL(time),
    CALL(times),
    CALL(getrusage),
    CALL(sysinfo),
    CALL(uname),
    CALL(umask),
    CALL(getcpu),
    CALL(sched_yield),
    CALL(sched_getaffinity),
    CALL(set_robust_list),
    CALL(get_robust_list),
    CALL(rseq),
    CALL(set_tid_address),
    CALL(arch_prctl),
    CALL(exit),
    CALL(exit_group),
    CALL(restart_syscall),
    CALL(alarm),
    CALL(setitimer),
    CALL(getitimer),
    CALL(getrlimit),
    CALL(memfd_create),
    CALL(membarrier),
    CALL(getcwd),
    CALL(flock),
    CALL(fsync),
    CALL(fdatasync),
    CALL(sync_file_range),
    CALL(fadvise64),
    CALL(readahead),
    CALL(sendfile),
    CALL(splice),
    CALL(tee),
    CALL(copy_file_range),
    CALL(getdents64),
    CALL(recvmsg),
    CALL(sendmsg),
    CALL(recvmmsg),
    CALL(sendmmsg),
    CALL(recvfrom),
    CALL(shutdown),
    CALL(getsockopt),
    CALL(setsockopt),
    CALL(getsockname),
    CALL(getpeername),
    CALL(fstatfs),
    CALL(accept),
    CALL(accept4),
};
static const int open_calls[] = {
    CALL(stat),   CALL(lstat),     CALL(newfstatat), CALL(statx),    CALL(statfs),
    CALL(access), CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat),
};
static const int write_calls[] = {
    CALL(rename),    CALL(renameat),  CALL(renameat2), CALL(link),   CALL(linkat),          CALL(unlink),
    CALL(unlinkat),  CALL(symlink),   CALL(symlinkat), CALL(mkdir),  CALL(mkdirat),         CALL(rmdir),
    CALL(ftruncate), CALL(fallocate), CALL(fchmod),    CALL(syncfs), CALL(sync_file_range),
};
static const int inet_calls[] = { CALL(connect), CALL(bind), CALL(sendto) };
static const int unix_calls[] = { CALL(connect), CALL(sendto) };
static const int fork_calls[] = { CALL(fork), CALL(vfork), CALL(wait4), CALL(waitid), CALL(pidfd_open), CALL(kill) };
static const int exec_calls[] = { CALL(execve), CALL(execveat) };
static const int inotify_calls[] = { CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch) };
static const int chown_calls[] = { CALL(fchown) };
/* A spawner's children close their own, tighter filter inside this one, so it must leave them what that may allow.
 * What it is for: the spawner itself makes no connections and starts no programs but itself. */
static const int intruder_calls[] = {
    CALL(ptrace),
    CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(kexec_load),
    CALL(kexec_file_load),
    CALL(init_module),
    CALL(finit_module),
    CALL(delete_module),
    CALL(bpf),
    CALL(perf_event_open),
    CALL(userfaultfd),
    CALL(mount),
    CALL(umount2),
    CALL(pivot_root),
    CALL(move_mount),
    CALL(open_tree),
    CALL(fsopen),
    CALL(fsmount),
    CALL(setns),
    CALL(reboot),
    CALL(swapon),
    CALL(swapoff),
    CALL(add_key),
    CALL(request_key),
    CALL(keyctl),
    CALL(io_uring_setup),
    CALL(io_uring_enter),
    CALL(io_uring_register),
    CALL(iopl),
    CALL(ioperm),
    CALL(acct),
    CALL(quotactl),
    CALL(settimeofday),
    CALL(clock_settime),
    CALL(adjtimex),
    CALL(sethostname),
    CALL(setdomainname),
    CALL(syslog),
    CALL(vhangup),
    CALL(lookup_dcookie),
    CALL(name_to_handle_at),
    CALL(open_by_handle_at),
    CALL(nfsservctl),
    CALL(uselib),
    CALL(ustat),
    CALL(modify_ldt),
    CALL(personality),
};
static const int root_calls[] = { CALL(unshare), CALL(chroot),    CALL(setuid),    CALL(setresuid),
                                  CALL(setgid),  CALL(setresgid), CALL(setgroups), CALL(capset) };
#define COUNT(list) (sizeof(list) / sizeof *(list))

static void add(scmp_filter_ctx ctx, uint32_t action, int call, unsigned args, const struct scmp_arg_cmp *arg)
{
    int rc = seccomp_rule_add_array(ctx, action, call, args, arg);

    if (rc < 0 && rc != -EDOM && rc != -EFAULT)
        log_fatal("cannot add a seccomp rule for call %d: %s", call, strerror(-rc));
}
static void allow(scmp_filter_ctx ctx, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(ctx, SCMP_ACT_ALLOW, calls[i], 0, NULL);
}
/* Allows the call when argument `arg`, masked, has this value. */
static void allow_masked(scmp_filter_ctx ctx, int call, unsigned arg, uint64_t mask, uint64_t value)
{
    struct scmp_arg_cmp cmp = { .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value };

    add(ctx, SCMP_ACT_ALLOW, call, 1, &cmp);
}
static void allow_value(scmp_filter_ctx ctx, int call, unsigned arg, uint64_t value)
{
    allow_masked(ctx, call, arg, UINT32_MAX, value);
}
static void allow_null(scmp_filter_ctx ctx, int call, unsigned arg) { allow_masked(ctx, call, arg, UINT64_MAX, 0); }

static void allow_by_argument(scmp_filter_ctx ctx, uint32_t pid)
{
    static const int fcntl_commands[] = { F_DUPFD,       F_DUPFD_CLOEXEC, F_GETFD,  F_SETFD,  F_GETFL,
                                          F_SETFL,       F_GETLK,         F_SETLK,  F_SETLKW, F_OFD_GETLK,
                                          F_OFD_SETLK,   F_OFD_SETLKW,    F_NOTIFY, F_SETSIG, F_ADD_SEALS,
                                          F_GET_RW_HINT, F_SET_RW_HINT };
    static const unsigned long ioctls[] = { FIONREAD, FIONBIO, TCGETS };

    for (size_t i = 0; i < COUNT(fcntl_commands); i++)
        allow_value(ctx, CALL(fcntl), 1, (uint64_t) fcntl_commands[i]);
    for (size_t i = 0; i < COUNT(ioctls); i++)
        allow_value(ctx, CALL(ioctl), 1, ioctls[i]);
    allow_masked(ctx, CALL(mmap), 2, PROT_EXEC, 0);
    allow_masked(ctx, CALL(mprotect), 2, PROT_EXEC, 0);
    allow_null(ctx, CALL(prlimit64), 2);
    allow_value(ctx, CALL(prctl), 0, PR_SET_NAME);
    allow_value(ctx, CALL(prctl), 0, PR_GET_NAME);
    allow_value(ctx, CALL(prctl), 0, PR_GET_DUMPABLE);
    allow_value(ctx, CALL(kill), 0, pid);
    allow_value(ctx, CALL(tgkill), 0, pid);
    /* sendto without an address; a pair of datagram sockets could send to any path, so only streams */
    allow_null(ctx, CALL(sendto), 4);
    allow_masked(ctx, CALL(socketpair), 1, 0xf, SOCK_STREAM);
    allow_masked(ctx, CALL(socketpair), 1, 0xf, SOCK_SEQPACKET);
}

static void allow_open(scmp_filter_ctx ctx, unsigned may)
{
    static const struct {
        int call;
        unsigned flags;
    } calls[] = { { CALL(open), 1 }, { CALL(openat), 2 } };

    for (size_t i = 0; i < COUNT(calls); i++)
        if (may & MAY_WRITE_FILES) {
            allow_masked(ctx, calls[i].call, calls[i].flags, O_ACCMODE | O_TRUNC, O_RDONLY);
            allow_masked(ctx, calls[i].call, calls[i].flags, O_ACCMODE, O_WRONLY);
            allow_masked(ctx, calls[i].call, calls[i].flags, O_ACCMODE, O_RDWR);
        } else {
            allow_masked(ctx, calls[i].call, calls[i].flags, O_ACCMODE | O_TRUNC | O_CREAT, O_RDONLY);
        }
    allow(ctx, open_calls, COUNT(open_calls));
}

/* event_offload_low: a thread lowers its own; raising it needs a capability. */
static void allow_own_priority(scmp_filter_ctx ctx)
{
    const struct scmp_arg_cmp own[] = {
        { .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = UINT32_MAX, .datum_b = PRIO_PROCESS },
        { .arg = 1, .op = SCMP_CMP_MASKED_EQ, .datum_a = UINT32_MAX, .datum_b = 0 },
    };

    add(ctx, SCMP_ACT_ALLOW, CALL(setpriority), COUNT(own), own);
}

static void allow_may(scmp_filter_ctx ctx, unsigned may)
{
    static const uint64_t namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                       CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PTRACE;

    if (may & (MAY_OPEN | MAY_WRITE_FILES))
        allow_open(ctx, may);
    if (may & MAY_WRITE_FILES) {
        allow(ctx, write_calls, COUNT(write_calls));
        allow_null(ctx, CALL(utimensat), 1);
    }
    if (may & MAY_INET) {
        allow_value(ctx, CALL(socket), 0, AF_INET);
        allow_value(ctx, CALL(socket), 0, AF_INET6);
        allow(ctx, inet_calls, COUNT(inet_calls));
    }
    if (may & MAY_UNIX) {
        allow_value(ctx, CALL(socket), 0, AF_UNIX);
        allow(ctx, unix_calls, COUNT(unix_calls));
    }
    if (may & (MAY_FORK | MAY_EXEC)) {
        allow(ctx, fork_calls, COUNT(fork_calls));
        allow_masked(ctx, CALL(clone), 0, namespaces, 0);
    } else if (may & (MAY_THREADS | MAY_WRITE_FILES)) {
        allow_masked(ctx, CALL(clone), 0, namespaces | CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD);
    }
    if (may & MAY_THREADS)
        allow_own_priority(ctx);
    if (may & MAY_EXEC)
        allow(ctx, exec_calls, COUNT(exec_calls));
    if (may & MAY_INOTIFY)
        allow(ctx, inotify_calls, COUNT(inotify_calls));
    if (may & MAY_CHOWN)
        allow(ctx, chown_calls, COUNT(chown_calls));
}

static scmp_filter_ctx filter_new(uint32_t otherwise)
{
    scmp_filter_ctx ctx = seccomp_init(otherwise);
    int rc = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;

    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: a hundred rules cost seven steps */
    if (rc < 0)
        log_fatal("cannot make a seccomp filter: %s", strerror(-rc));
    return ctx;
}

static void filter_load(scmp_filter_ctx ctx)
{
    int rc = seccomp_load(ctx);

    if (rc < 0)
        log_fatal("cannot load the seccomp filter: %s", strerror(-rc));
    seccomp_release(ctx);
}

static scmp_filter_ctx filter_of(const struct service *svc, uint32_t pid)
{
    scmp_filter_ctx ctx = filter_new(SCMP_ACT_ERRNO(EPERM));

    allow(ctx, base_calls, COUNT(base_calls));
    allow_by_argument(ctx, pid);
    allow_may(ctx, svc->may);
    /* Their arguments stand in memory, out of a filter's sight: glibc uses the older calls instead. */
    add(ctx, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0, NULL);
    add(ctx, SCMP_ACT_ERRNO(ENOSYS), CALL(openat2), 0, NULL);
    for (size_t i = 0; i < COUNT(intruder_calls); i++)
        add(ctx, SCMP_ACT_KILL_PROCESS, intruder_calls[i], 0, NULL);
    for (size_t i = 0; i < COUNT(root_calls); i++)
        add(ctx, SCMP_ACT_KILL_PROCESS, root_calls[i], 0, NULL);
    return ctx;
}

/* A filter that was made for process SOMEBODY, a number that no process has: the child puts its own in. Making one
 * takes a millisecond, which is more than all the rest of a start. */
enum { SOMEBODY = 0x7ffffff1, PROGRAM_MAX = BPF_MAXINSNS };
static struct sock_fprog prepared;

static size_t put_pid(struct sock_fprog *p, uint32_t from, uint32_t to)
{
    size_t n = 0;

    for (size_t i = 0; i < p->len; i++)
        if (p->filter[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && p->filter[i].k == from) {
            p->filter[i].k = to;
            n++;
        }
    return n;
}

void jail_calls_prepare(const struct service *svc)
{
    scmp_filter_ctx ctx = filter_of(svc, SOMEBODY);
    int fd = memfd_create("filter", MFD_CLOEXEC);
    ssize_t n;

    prepared.filter = mem_array(PROGRAM_MAX, sizeof *prepared.filter);
    if (fd < 0 || seccomp_export_bpf(ctx, fd) < 0 ||
        (n = pread(fd, prepared.filter, PROGRAM_MAX * sizeof *prepared.filter, 0)) <= 0)
        log_fatal("cannot make a seccomp filter: %s", strerror(errno));
    close(fd);
    seccomp_release(ctx);
    prepared.len = (unsigned short) ((size_t) n / sizeof *prepared.filter);
    if (put_pid(&prepared, SOMEBODY, SOMEBODY) < 1)
        log_panic("the seccomp filter does not hold the process it is for");
}

void jail_calls(const struct service *svc)
{
    if (prepared.len == 0) {
        filter_load(filter_of(svc, (uint32_t) getpid()));
        return;
    }
    put_pid(&prepared, SOMEBODY, (uint32_t) getpid());
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prepared) != 0)
        log_fatal("cannot load the seccomp filter: %s", strerror(errno));
}

void jail_calls_spawner(void)
{
    static const int never[] = { CALL(socket),   CALL(connect),  CALL(bind),  CALL(listen),
                                 CALL(chmod),    CALL(fchmodat), CALL(chown), CALL(fchown),
                                 CALL(fchownat), CALL(setxattr), CALL(utime), CALL(inotify_add_watch),
                                 CALL(mknod),    CALL(mknodat) };
    scmp_filter_ctx ctx = filter_new(SCMP_ACT_ALLOW);

    for (size_t i = 0; i < COUNT(never); i++)
        add(ctx, SCMP_ACT_ERRNO(EPERM), never[i], 0, NULL);
    for (size_t i = 0; i < COUNT(intruder_calls); i++)
        add(ctx, SCMP_ACT_KILL_PROCESS, intruder_calls[i], 0, NULL);
    filter_load(ctx);
}
