/*
 * master - listens, starts the daemons, watches them, introduces them to each other
 *
 * Callers     postfix start (tools/postfix), init systems, containers (-i)
 * Invariants  one master a queue directory: pid/master.pid is locked as long as it runs
 *             SIGHUP: main.cf and master.cf are read again; sockets that stay are never closed, sessions end by
 *             themselves. SIGTERM: everything ends, postlogd last
 * Errors      a configuration that cannot be read: no start; at a reload the old one stays
 * Privilege   root, or an ordinary user: then nobody changes uid and ports are those one may use
 */
#include "master.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "service/channel.h"
#include "service/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STOP_MS = 10000,
    STOP_LOOK_MS = 20,
    STOP_USERS_MS = 2000,
    STOP_LOG_MS = 3000,
    LOCK_TRIES = 20,
    LOCK_LOOK_MS = 50,
    PID_WIDTH = 32,
    DESCRIPTORS = 65536,
    OPTION_PARAMS = 1000,
    OPTION_HELP
};

bool master_stopping, master_foreground;
int64_t master_throttle_seconds;
const char *master_disabled, *master_imported;
static const char *pid_directory, *unix_listeners;

static const struct param params[] = {
    { .name = "service_throttle_time",
      .type = PARAM_SECONDS,
      .num = &master_throttle_seconds,
      .def = "60s",
      .min = 1,
      .doc = "How long a service rests whose program failed to start." },
    { .name = "process_id_directory",
      .type = PARAM_STRING,
      .str = &pid_directory,
      .def = "pid",
      .min = 1,
      .doc = "Directory of master.pid, below queue_directory." },
    { .name = "master_service_disable",
      .type = PARAM_STRING,
      .str = &master_disabled,
      .def = "",
      .doc = "Services that are not started: types (\"inet\") or name/type (\"smtp/inet\")." },
    { .name = "unix_listeners",
      .type = PARAM_STRING,
      .str = &unix_listeners,
      .def = "",
      .doc =
          "Further unix sockets of services, { SERVICE PATH mode=0660 user=NAME group=NAME }, and mode and owner of "
          "those that master.cf gives them. PATH is absolute, or private/NAME." },
    { .name = "import_environment",
      .type = PARAM_STRING,
      .str = &master_imported,
      .def = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME",
      .doc = "Environment variables, or name=value, that daemons get." },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { conf_global_params, service_params, params, NULL };

static struct {
    const char *config;
    bool debug, test, wait, init;
    int64_t exit_after;
    int lock, data_lock, parent; /* parent: a pipe to who waits for the end of the start */
} run = { .lock = -1, .data_lock = -1, .parent = -1 };

static int read_configuration(void)
{
    if (conf_open(run.config) < 0 || conf_load(tables) < 0 || sockets_read(unix_listeners) < 0)
        return -1;
    char *tag = mem_printf("%s/master[%ld]", conf_syslog_name, (long) getpid());
    log_tag(tag);
    free(tag);
    return 0;
}

static void usage(FILE *to)
{
    fprintf(to, "usage: master [-c config_dir] [-d] [-D] [-e seconds] [-i] [-s] [-t] [-v] [-w] [--params]\n"
                "  -d  do not detach        -i  as process 1 of a container    -s  keep standard output\n"
                "  -t  test: exit 0 when no master runs    -w  return when the start is complete\n");
}

static void parse_options(int argc, char **argv)
{
    static const struct option longs[] = { { "params", no_argument, NULL, OPTION_PARAMS },
                                           { "help", no_argument, NULL, OPTION_HELP },
                                           { NULL, 0, NULL, 0 } };
    uint64_t n;
    int verbose = 0;

    for (int letter; (letter = getopt_long(argc, argv, "c:dDe:istvVw", longs, NULL)) != -1;)
        switch (letter) {
        case 'c': run.config = optarg; break;
        case 'd': run.debug = true; break;
        case 'e':
            if (slice_u64(slice_of(optarg), INT32_MAX, &n) < 0)
                log_fatal("-e wants a number of seconds");
            run.exit_after = (int64_t) n;
            break;
        case 'i': run.init = master_foreground = true; break;
        case 's': master_foreground = true; break;
        case 't': run.test = true; break;
        case 'w': run.wait = true; break;
        case 'v': log_verbose(++verbose); break;
        case 'D':
        case 'V': break;
        case OPTION_PARAMS: conf_print(stdout, tables); exit(fflush(stdout) == 0 ? 0 : 1);
        case OPTION_HELP: usage(stdout); exit(0);
        default: usage(stderr); exit(64);
        }
    if (run.init && getpid() != 1)
        log_debug("-i, but not process 1");
}

/* Descriptor of a locked file; -1 when another process holds the lock. */
static int lock_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        log_fatal("open lock file %s: %s", path, strerror(errno));
    /* Who asks whether a master runs holds it for an instant. */
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (errno != EWOULDBLOCK)
            log_fatal("lock %s: %s", path, strerror(errno));
        usleep(LOCK_LOOK_MS * 1000);
    }
    close(fd);
    return -1;
}

static int test_lock(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0 && errno != ENOENT) {
        log_error("open lock file %s: %s", path, strerror(errno));
        return 1;
    }
    return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : 1;
}

static void take_locks(const char *path)
{
    char *data = mem_printf("%s/master.lock", conf_data_directory);
    struct passwd *pw = getpwnam(conf_mail_owner);
    char pid[PID_WIDTH + 2];

    run.lock = lock_file(path);
    if (run.lock < 0)
        log_fatal("open lock file %s: unable to set exclusive lock: Resource temporarily unavailable", path);
    /* At once: "postfix stop" reads it as soon as the lock is held. */
    snprintf(pid, sizeof pid, "%*ld\n", PID_WIDTH, (long) getpid());
    if (ftruncate(run.lock, 0) < 0 || pwrite(run.lock, pid, strlen(pid), 0) != (ssize_t) strlen(pid))
        log_fatal("cannot write %s: %s", path, strerror(errno));
    run.data_lock = lock_file(data);
    if (run.data_lock < 0)
        log_fatal("open lock file %s: unable to set exclusive lock: Resource temporarily unavailable", data);
    if (geteuid() == 0 && pw && fchown(run.data_lock, pw->pw_uid, pw->pw_gid) < 0)
        log_warn("cannot give %s to %s: %s", data, conf_mail_owner, strerror(errno));
    free(data);
}

/* -w: the parent waits for one byte that says that the start is complete. */
static void detach_and_wait(void)
{
    int fds[2];
    char done;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        log_fatal("cannot detach: %s", strerror(errno));
    if (pid > 0) {
        close(fds[1]);
        _exit(read(fds[0], &done, 1) == 1 ? 0 : 1);
    }
    close(fds[0]);
    run.parent = fds[1];
}

static void start_complete(void)
{
    if (run.parent < 0)
        return;
    if (write(run.parent, "", 1) != 1)
        log_debug("nobody waits for the end of the start");
    close(run.parent);
    run.parent = -1;
}

/* Standard error stays until the start is complete, so that who started us sees why it failed. */
static void let_go_of_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || run.debug)
        return;
    dup2(null, STDIN_FILENO);
    if (!master_foreground) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    close(null);
}

static void raise_limits(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < DESCRIPTORS) {
        r.rlim_cur = geteuid() == 0 || r.rlim_max >= DESCRIPTORS ? DESCRIPTORS : r.rlim_max;
        if (r.rlim_max < r.rlim_cur)
            r.rlim_max = r.rlim_cur;
        if (setrlimit(RLIMIT_NOFILE, &r) < 0)
            log_debug("cannot raise the limit of open files: %s", strerror(errno));
    }
}

static void on_child(void *unused)
{
    (void) unused;
    process_reap();
}

static void reload(void *unused)
{
    (void) unused;
    if (master_stopping)
        return;
    if (read_configuration() < 0) {
        log_error("the configuration cannot be read: going on with the old one");
        return;
    }
    log_open();
    log_info("reload -- version %s, configuration %s", conf_mail_version, conf_dir());
    if (services_load(false) < 0)
        log_error("master.cf cannot be used: going on with the old services");
}

static size_t still_running(bool postlogd_too)
{
    struct unit *log = service_of_program("postlogd");
    size_t all = process_count();

    if (!postlogd_too && log)
        list_each(it, &log->processes) all--;
    return all;
}

static void end_services(bool postlogd)
{
    list_each(it, &services)
    {
        struct unit *s = list_entry(it, struct unit, node);
        if ((strcmp(s->program, "postlogd") == 0) == postlogd)
            process_end_all(s, CHANNEL_STOP);
    }
}

static void stop(void *why)
{
    int64_t until = time_mono_ms() + STOP_MS;

    if (master_stopping)
        return;
    master_stopping = true;
    log_info("terminating on signal %d", (int) (intptr_t) why);
    end_services(false);
    while (still_running(false) > 0 && time_mono_ms() < until)
        event_sleep(STOP_LOOK_MS);
    process_kill_all(false);
    process_strays(SIGTERM);
    for (until = time_mono_ms() + STOP_USERS_MS; process_strays(0) > 0 && time_mono_ms() < until;)
        event_sleep(STOP_LOOK_MS);
    process_strays(SIGKILL);
    end_services(true);
    until = time_mono_ms() + STOP_LOG_MS;
    while (process_count() > 0 && time_mono_ms() < until)
        event_sleep(STOP_LOOK_MS);
    process_kill_all(true);
    event_stop();
}

static void start(void *unused)
{
    (void) unused;
    event_signal(SIGCHLD, on_child, NULL);
    event_signal(SIGHUP, reload, NULL);
    event_signal(SIGTERM, stop, (void *) (intptr_t) SIGTERM);
    if (run.debug || master_foreground)
        event_signal(SIGINT, stop, (void *) (intptr_t) SIGINT);
    log_capture_start();
    if (run.exit_after > 0)
        event_timer_new(run.exit_after * 1000, stop, (void *) (intptr_t) SIGTERM);
    log_info("daemon started -- version %s, configuration %s", conf_mail_version, conf_dir());
    if (jail_landlock_abi() < 2)
        log_warn(
            "this kernel has no Landlock (or only its first version): daemons are confined by chroot and seccomp "
            "alone");
    if (services_load(true) < 0)
        log_fatal("bad master.cf: the mail system is not started");
    start_complete();
    log_started();
    let_go_of_terminal();
}

int main(int argc, char **argv)
{
    char *lock;

    log_tag("postfix/master");
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    parse_options(argc, argv);
    if (read_configuration() < 0)
        return 1;
    if (chdir(conf_queue_directory) < 0)
        log_fatal("cannot enter the queue directory %s: %s", conf_queue_directory, strerror(errno));
    lock = mem_printf("%s/master.pid", pid_directory);
    if (run.test)
        return test_lock(lock);
    if (run.wait)
        detach_and_wait();
    if (!run.debug && !run.init && setsid() < 0)
        setpgid(0, 0);
    if (read_configuration() < 0) /* the pid in the log tag is now ours */
        return 1;
    raise_limits();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    take_locks(lock);
    free(lock);
    log_open();
    event_run(start, NULL);
    log_flush();
    return 0;
}
