/*
 * postfix - start, stop and look after the mail system
 *
 * Callers     the administrator, init systems, conf/quickstart
 * Invariants  words and exit statuses are those of Postfix's own command; what is said goes to the log and to
 *             standard error
 *             whether the system runs is asked of the lock on pid/master.pid, never of a process list
 * Errors      status 1 after a "fatal:" line; "check" warns and goes on
 * Privilege   root, or the ordinary user who runs a private instance
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "service/jail.h"
#include "service/sink.h"
#include "check.h"
#include "permissions.h"
#include "rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

enum {
    STOP_SECONDS = 20, /* more than master takes when all goes wrong */
    FORCE_SECONDS = 5,
    LOOK_MS = 50,
    LOOKS = 20,
    LINE_BYTES = 3000,
    PID_BYTES = 64
};

static const struct param *const tables[] = { conf_global_params, service_params, rotate_params, NULL };
static int verbose;

/* What is said: to standard error for who called, and to the log. */
static int log_fd = -1;
static bool to_postlogd;
static void to_both(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR, LOG_CRIT, LOG_CRIT };
    char line[LINE_BYTES];

    (void) ctx;
    (void) len;
    fprintf(stderr, "%s: %s\n", tag, text);
    if (log_fd >= 0) {
        int n = sink_line(line, sizeof line, !to_postlogd, priorities[level], tag, text);
        if (send(log_fd, line, (size_t) n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            log_fd = -1;
    }
}

/* The pid of the running master; 0 when none runs. */
static pid_t running(void)
{
    const char *directory = conf_value("process_id_directory");
    char *path = mem_printf("%s/%s/master.pid", conf_queue_directory, directory ? directory : "pid");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[PID_BYTES + 1] = "";
    pid_t pid = 0;

    if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
        log_fatal("open %s: %s", path, strerror(errno));
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        ssize_t n;
        uint64_t value = 0;
        for (int i = 0; (n = pread(fd, text, PID_BYTES, 0)) == 0 && i < LOOKS; i++)
            usleep(LOOK_MS * 1000); /* it has just taken the lock */
        if (n <= 0 || slice_u64(slice_trim(slice_make(text, (size_t) n)), INT32_MAX, &value) < 0 || value == 0)
            log_fatal("%s is locked, but holds no process id", path);
        pid = (pid_t) value;
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return pid;
}

static pid_t must_run(void)
{
    pid_t pid = running();

    if (pid == 0)
        log_fatal("the Postfix mail system is not running");
    return pid;
}

static int command_status(void)
{
    pid_t pid = running();

    if (pid == 0) {
        log_info("the Postfix mail system is not running");
        return 1;
    }
    log_info("the Postfix mail system is running: PID: %ld", (long) pid);
    return 0;
}

_Noreturn static void exec_master(const char *how)
{
    char *path = mem_printf("%s/master", conf_daemon_directory);

    setenv("MAIL_CONFIG", conf_dir(), 1);
    if (verbose)
        execl(path, "master", "-c", conf_dir(), how, "-v", (char *) NULL);
    else
        execl(path, "master", "-c", conf_dir(), how, (char *) NULL);
    log_fatal("cannot run %s: %s", path, strerror(errno));
}

/* Old unfinished files go, and a queue that was copied or restored gets the names it needs: before anybody reads it.
 */
static void tidy_queue(void)
{
    char *path = mem_printf("%s/postsuper", conf_command_directory);
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execl(path, "postsuper", "-c", conf_dir(), "-ps", (char *) NULL);
        log_fatal("cannot run %s: %s", path, strerror(errno));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        log_fatal("Postfix integrity check failed!");
    free(path);
}

static int command_quick_start(void)
{
    pid_t pid;
    int status;

    if (running())
        log_fatal("the Postfix mail system is already running");
    log_info("starting the Postfix mail system");
    pid = fork();
    if (pid == 0)
        exec_master("-w");
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        log_fatal("cannot start the mail system: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        log_fatal("mail system startup failed");
    return 0;
}

static int command_start(void)
{
    if (running())
        log_fatal("the Postfix mail system is already running");
    if (postfix_check(false) < 0)
        log_fatal("Postfix integrity check failed!");
    tidy_queue();
    return command_quick_start();
}

static int command_start_fg(void)
{
    if (running())
        log_fatal("the Postfix mail system is already running");
    if (postfix_check(false) < 0)
        log_fatal("Postfix integrity check failed!");
    tidy_queue();
    log_info("starting the Postfix mail system");
    exec_master(getpid() == 1 ? "-i" : "-s");
}

static void tell(pid_t pid, int signo)
{
    if (kill(pid, signo) < 0)
        log_fatal("cannot signal process %ld: %s", (long) pid, strerror(errno));
}

static int end(const char *words)
{
    pid_t pid = must_run();
    int64_t until = time_mono_ms() + STOP_SECONDS * 1000;

    log_info("%s", words);
    tell(pid, SIGTERM);
    while (running() == pid && time_mono_ms() < until)
        usleep(LOOK_MS * 1000);
    if (running() != pid)
        return 0;
    log_warn("stopping the Postfix mail system with force");
    tell(getpgid(pid) == pid ? -pid : pid, SIGKILL); /* with all its processes: some may be what hangs */
    for (until = time_mono_ms() + FORCE_SECONDS * 1000; running() == pid && time_mono_ms() < until;)
        usleep(LOOK_MS * 1000);
    return 0;
}

static int command_stop(void) { return end("stopping the Postfix mail system"); }
static int command_abort(void) { return end("aborting the Postfix mail system"); }

static int command_reload(void)
{
    pid_t pid = must_run();

    log_info("refreshing the Postfix mail system");
    tell(pid, SIGHUP);
    return 0;
}

static int command_flush(void)
{
    char *path = mem_printf("%s/postqueue", conf_command_directory);

    must_run();
    setenv("MAIL_CONFIG", conf_dir(), 1);
    execl(path, "postqueue", "-f", (char *) NULL);
    log_fatal("cannot run %s: %s", path, strerror(errno));
}

static int command_check(void) { return postfix_check(true) < 0 ? 1 : 0; }

static char **settings; /* name=value arguments; ends with NULL */

/* They are written to main.cf, and this process goes on with them. */
static int take_settings(void)
{
    char *path = mem_printf("%s/postconf", conf_command_directory);
    pid_t pid;
    int status = 0;

    if (*settings == NULL)
        return 0;
    pid = fork();
    if (pid == 0) {
        char **args = mem_array(5, sizeof *args);
        size_t n = 4;
        args[0] = path;
        args[1] = mem_strdup("-c");
        args[2] = mem_strdup(conf_dir());
        args[3] = mem_strdup("-e");
        for (size_t i = 0; settings[i]; i++) {
            args = mem_grow(args, n + 2, sizeof *args);
            args[n++] = settings[i];
        }
        args[n] = NULL;
        execv(path, args);
        log_fatal("cannot run %s: %s", path, strerror(errno));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        log_fatal("cannot change main.cf");
    free(path);
    return conf_open(conf_dir()) < 0 || conf_load(tables) < 0 ? -1 : 0;
}

static int command_set_permissions(void) { return take_settings() < 0 || postfix_set_permissions() < 0 ? 1 : 0; }

/* Files of older versions are read as they stand: there is nothing to upgrade but what the arguments say. */
static int command_upgrade(void)
{
    bool asked = *settings != NULL;

    if (take_settings() < 0)
        return 1;
    if (!asked)
        log_info("main.cf and master.cf are read as they stand: nothing to upgrade; checking them");
    return postfix_check(true) < 0 ? 1 : 0;
}

static void begin_log(void)
{
    pid_t pid = running();

    if (pid)
        tell(pid, SIGHUP);
}
static int command_logrotate(void) { return postfix_logrotate(begin_log) < 0 ? 1 : 0; }

static const struct {
    const char *name;
    int (*run)(void);
    const char *words;
    bool settings; /* name=value arguments may follow */
} commands[] = {
    { "start", command_start, "start the mail system", false },
    { "start-fg", command_start_fg, "the same in the foreground, for containers", false },
    { "stop", command_stop, "stop it; sessions get a moment to end", false },
    { "abort", command_abort, "the same", false },
    { "reload", command_reload, "read main.cf and master.cf again; no connection is lost", false },
    { "flush", command_flush, "try to deliver all deferred mail now", false },
    { "check", command_check, "make missing directories; report what is wrong or not obeyed", false },
    { "status", command_status, "say whether it runs; exit status 0 when it does", false },
    { "set-permissions", command_set_permissions,
      "give queue, data and set-gid commands the owner and mode they need", .settings = true },
    { "upgrade-configuration", command_upgrade,
      "change main.cf as the arguments say, then check; older files need nothing else", true },
    { "logrotate", command_logrotate, "begin a new maillog_file, and pack the old one", false },
    { "quick-start", command_quick_start, "start without checks", false },
    { "quick-stop", command_stop, "the same as stop", false },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *to)
{
    fprintf(to, "usage: postfix [-c config_dir] [-Dv] command\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-21s %s\n", commands[i].name, commands[i].words);
}

static const char *parse_options(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
                                           { "params", no_argument, NULL, 'P' },
                                           { NULL, 0, NULL, 0 } };
    const char *config = NULL;

    for (int letter; (letter = getopt_long(argc, argv, "+c:Dv", longs, NULL)) != -1;)
        switch (letter) {
        case 'c': config = optarg; break;
        case 'v': verbose++; break;
        case 'D': break;
        case 'h': usage(stdout); exit(0);
        case 'P': conf_print(stdout, tables); exit(fflush(stdout) == 0 ? 0 : 1);
        default: usage(stderr); exit(1);
        }
    if (optind >= argc) {
        usage(stderr);
        exit(1);
    }
    return config;
}

int main(int argc, char **argv)
{
    const char *config;

    log_tag("postfix");
    config = parse_options(argc, argv);
    log_verbose(verbose);
    if (conf_open(config) < 0 || conf_load(tables) < 0)
        return 1;
    char *tag = mem_printf("%s/postfix-script", conf_syslog_name);
    log_tag(tag);
    free(tag);
    sink_setup();
    log_fd = sink_find(&to_postlogd);
    log_sink(to_both, NULL);
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, argv[optind]) == 0) {
            settings = &argv[optind + 1];
            if (*settings && !commands[i].settings) {
                log_error("usage: postfix %s (no arguments)", argv[optind]);
                return 1;
            }
            return commands[i].run();
        }
    log_error("unknown command: '%s'", argv[optind]);
    usage(stderr);
    return 1;
}
