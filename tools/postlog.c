/*
 * postlog - writes lines to the mail log
 *
 * Callers     scripts; where maillog_file is set, this set-gid command reaches public/postlog
 * Invariants  a line holds no control characters (log.h)
 * Errors      status 1
 * Privilege   group setgid_group, given up once the socket is connected
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/param.h"
#include "service/sink.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

enum { LINE_BYTES = 3000 };

static const struct param *const tables[] = { conf_global_params, NULL };
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
        if (send(log_fd, line, (size_t) n, MSG_NOSIGNAL) < 0)
            fprintf(stderr, "postlog: cannot reach the log: %s\n", strerror(errno));
    }
}

/* -p: the words before a line are those of the level; a process that merely reports must not end. */
static void say(const char *priority, const char *text)
{
    static const struct {
        const char *name, *prefix;
    } levels[] = { { "info", "" },         { "warn", "warning: " }, { "warning", "warning: " },
                   { "error", "error: " }, { "fatal", "fatal: " },  { "panic", "panic: " } };

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(levels[i].name, priority) == 0) {
            log_info("%s%s", levels[i].prefix, text);
            return;
        }
    fprintf(stderr, "postlog: unknown priority: %s\n", priority);
    exit(1);
}

static void usage(FILE *to)
{
    fprintf(to, "usage: postlog [-iv] [-c config_dir] [-p info|warn|error|fatal|panic] [-t tag] [text...]\n"
                "Without text, lines of standard input are logged.\n");
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
    const char *config = NULL, *priority = "info", *tag = NULL;
    bool pid = false;

    for (int letter; (letter = getopt_long(argc, argv, "c:ip:t:v", longs, NULL)) != -1;)
        switch (letter) {
        case 'c': config = optarg; break;
        case 'i': pid = true; break;
        case 'p': priority = optarg; break;
        case 't': tag = optarg; break;
        case 'v': break;
        case 'h': usage(stdout); return 0;
        default: usage(stderr); return 1;
        }
    log_tag("postlog");
    if (getgid() != getegid() && getuid() != 0) { /* set-gid: the caller's configuration is not to be trusted */
        if (config)
            log_fatal("-c is for the super-user");
        unsetenv("MAIL_CONFIG");
    }
    if (conf_open(config) < 0 || conf_load(tables) < 0)
        return 1;
    sink_setup();
    log_fd = sink_find(&to_postlogd);
    if (setgid(getgid()) < 0)
        log_fatal("cannot give up the group: %s", strerror(errno));
    char *full = tag ? mem_strdup(tag) : mem_printf("%s/postlog", conf_syslog_name);
    char *tagged = pid ? mem_printf("%s[%ld]", full, (long) getpid()) : mem_strdup(full);
    log_tag(tagged);
    log_sink(to_both, NULL);
    free(full);
    free(tagged);
    if (optind < argc) {
        struct str text;
        str_init(&text, LOG_LINE_BYTES);
        for (int i = optind; i < argc; i++)
            str_printf(&text, "%s%s", i > optind ? " " : "", argv[i]);
        say(priority, text.p);
        str_free(&text);
        return 0;
    }
    char line[LOG_LINE_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        say(priority, line);
    }
    return 0;
}
