/* tool - what the queue's commands share; contract in tool.h */
#include "tool.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/client.h"
#include "queue/dir.h"
#include "service/sink.h"
#include "table/match.h"

#include <errno.h>
#include <sys/stat.h>
#include <limits.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static const char *authorized_submit, *authorized_mailq, *authorized_flush, *alternate_directories;
static const struct param tool_params[] = {
    { .name = "authorized_submit_users",
      .type = PARAM_STRING,
      .str = &authorized_submit,
      .def = "static:anyone",
      .doc = "Users who may submit mail with sendmail and postdrop." },
    { .name = "authorized_mailq_users",
      .type = PARAM_STRING,
      .str = &authorized_mailq,
      .def = "static:anyone",
      .doc = "Users who may list the queue." },
    { .name = "authorized_flush_users",
      .type = PARAM_STRING,
      .str = &authorized_flush,
      .def = "static:anyone",
      .doc = "Users who may have queued mail tried again at once." },
    { .name = "alternate_config_directories",
      .type = PARAM_STRING,
      .str = &alternate_directories,
      .def = "",
      .doc = "Configuration directories that set-gid commands accept from users besides the default one." },
    { .type = PARAM_END },
};
static const char *name = "posthorn";
static bool log_too, log_postlogd;
static int log_fd = -1;

void tool_start(const char *argv0)
{
    const char *base = strrchr(argv0, '/');

    name = base ? base + 1 : argv0;
    log_tag(name);
    signal(SIGPIPE, SIG_IGN);
}

const char *tool_name(void) { return name; }

static void to_log(const char *text)
{
    char line[LOG_LINE_BYTES + 200], tag[120];

    if (!log_too)
        return;
    if (log_fd < 0)
        log_fd = sink_find(&log_postlogd);
    snprintf(tag, sizeof tag, "%s/%s[%ld]", conf_syslog_name, name, (long) getpid());
    int n = sink_line(line, sizeof line, !log_postlogd, LOG_INFO, tag, text);
    if (log_fd >= 0 && n > 0 && write(log_fd, line, (size_t) n) < 0)
        log_too = false; /* nobody takes it: standard error has it */
}

static void sink(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx;
    (void) level;
    (void) len;
    fprintf(stderr, "%s: %s\n", tag, text);
    to_log(text);
}

_Noreturn void tool_fatal(int status, const char *fmt, ...)
{
    char text[LOG_LINE_BYTES], line[LOG_LINE_BYTES + 8];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "fatal: %s", text);
    fprintf(stderr, "%s: %s\n", name, line);
    to_log(line);
    exit(status);
}

void tool_help(const char *usage)
{
    fputs(usage, stdout);
    exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

static const struct param *const tables[] = { tool_params, queue_params, NULL };

_Noreturn void tool_print_params(void)
{
    conf_print(stdout, tables);
    exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

static void load(const char *dir)
{
    if (conf_open(dir) < 0 || conf_load(tables) < 0)
        tool_fatal(EX_CONFIG, "cannot use the configuration in %s", conf_dir());
}

static bool named(const char *list, const char *dir)
{
    struct slice rest = slice_of(list), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_eq(word, dir))
            return true;
    return false;
}

void tool_config(const char *config_dir, bool set_gid)
{
    const char *wanted = config_dir ? config_dir : getenv("MAIL_CONFIG");
    bool foreign = set_gid && getuid() != 0 && getgid() != getegid();

    if (foreign && wanted) {
        unsetenv("MAIL_CONFIG");
        load(NULL);
        if (strcmp(wanted, conf_dir()) != 0 && !named(alternate_directories, wanted) &&
            !named(conf_value("multi_instance_directories") ? conf_value("multi_instance_directories") : "", wanted))
            tool_fatal(EX_NOPERM, "unauthorized configuration directory name: %s", wanted);
    }
    load(wanted);
    ipc_set_queue_directory(conf_queue_directory);
}

void tool_log_too(void)
{
    sink_setup();
    log_too = true;
    log_sink(sink, NULL);
}

void tool_enter_queue(void)
{
    if (chdir(conf_queue_directory) < 0)
        tool_fatal(EX_UNAVAILABLE, "chdir %s: %s", conf_queue_directory, strerror(errno));
}

const char *tool_user(void)
{
    static char text[64];
    struct passwd *pw = getpwuid(getuid());

    if (pw)
        snprintf(text, sizeof text, "%s", pw->pw_name);
    else
        snprintf(text, sizeof text, "unknown");
    return text;
}

bool tool_user_may(const char *parameter)
{
    struct match *m = match_new(parameter, conf_value(parameter));
    enum lookup answer = getuid() == 0 ? LOOKUP_FOUND : match_string(m, tool_user());

    match_free(&m);
    if (answer == LOOKUP_RETRY)
        tool_fatal(EX_TEMPFAIL, "%s: lookup failed", parameter);
    return answer == LOOKUP_FOUND;
}

/* A socket, or a FIFO where master.cf says so; no reader on a FIFO is ENXIO, never a wait. */
static int open_trigger(const char *service)
{
    char path[PATH_MAX];
    struct stat st;

    if (snprintf(path, sizeof path, "%s/%s", conf_queue_directory, service) < (int) sizeof path &&
        stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
        return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return ipc_connect(service, 0);
}

int tool_trigger(const char *service, const char *bytes)
{
    int fd = open_trigger(service);
    int rc;

    if (fd < 0)
        return -1;
    rc = file_write_all(fd, bytes, strlen(bytes));
    close(fd);
    return rc;
}
