/*
 * sendmail - the mail system as a program: submission from standard input, and the front door of other commands
 *
 * Callers     users, cron, web applications; also as mailq and newaliases
 * Invariants  mail is taken by postdrop, so that it is safe on disk when this ends with 0, whether the mail system
 *             runs or not
 * Errors      exit status of sysexits.h; a message that could not be stored is EX_TEMPFAIL or says why for good
 * Privilege   the caller's; postdrop is set-gid
 */
#include "sendmail.h"
#include "base/log.h"
#include "proto/addr/addr.h"
#include "../tool.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: sendmail [options] [recipient...]\n"
    "Modes:   -bm submit a message (default)  -bp list the queue    -bs SMTP on standard input and output\n"
    "         -bv report how it would go      -bi rebuild aliases   -bd start the mail system  -q try queued mail\n"
    "         -qIid, -qRsite: only that message or site\n"
    "Message: -f sender  -F full name  -t recipients from the headers  -i a lone dot does not end it\n"
    "         -B 7BIT|8BITMIME  -G for elsewhere, not to be completed  -N never|success,failure,delay\n"
    "         -R full|hdrs  -V envelope id  -XV[xy] VERP  -v report by mail  -C configuration\n";

enum mode { SUBMIT, LIST, SERVE, ALIASES, DAEMON, FOREGROUND, FLUSH, FLUSH_ID, FLUSH_SITE };
static struct submission sub = { .fix_line_endings = "always" };
static enum mode mode = SUBMIT;
static const char *config, *flush_argument;
static int verbose;

_Noreturn static void bad_usage(const char *what, const char *value)
{
    tool_fatal(EX_USAGE, "bad %s: %s", what, value);
}

static void on_mode(const char *arg)
{
    switch (*arg) {
    case 'm': mode = SUBMIT; return;
    case 'p': mode = LIST; return;
    case 's': mode = SERVE; return;
    case 'i': mode = ALIASES; return;
    case 'd': mode = DAEMON; return;
    case 'l': mode = FOREGROUND; return;
    case 'v':
        mode = SUBMIT;
        sub.verify = true;
        return;
    case 'h':
    case 'H': exit(EX_OK); /* host status: there is none to show or purge */
    default: tool_fatal(EX_USAGE, "unsupported: -%c%c", 'b', *arg);
    }
}

static void on_flush(const char *arg)
{
    if (*arg == 'I' || *arg == 'R') {
        mode = *arg == 'I' ? FLUSH_ID : FLUSH_SITE;
        flush_argument = arg + 1;
        if (*flush_argument == 0)
            bad_usage("-q argument", arg);
    } else if (*arg == 'S') {
        tool_fatal(EX_USAGE, "-qS is not supported");
    } else if (*arg == 0) {
        mode = FLUSH;
    } /* -q30m: the mail system has its own rhythm */
}

static void on_notify(const char *arg)
{
    static const struct {
        const char *word;
        int flag;
    } words[] = {
        { "never", DSN_NEVER }, { "success", DSN_SUCCESS }, { "failure", DSN_FAILURE }, { "delay", DSN_DELAY }
    };
    struct slice rest = slice_of(arg), word;

    sub.notify = 0;
    while (slice_word(&rest, ", ", &word)) {
        size_t i = 0;
        while (i < 4 && !slice_caseeq(word, words[i].word))
            i++;
        if (i == 4)
            bad_usage("-N option value", arg);
        sub.notify |= words[i].flag;
    }
    if (sub.notify == 0 || ((sub.notify & DSN_NEVER) && sub.notify != DSN_NEVER))
        bad_usage("-N option value", arg);
}

static void on_return(const char *arg)
{
    if (strcasecmp(arg, "full") == 0)
        sub.ret = DSN_RET_FULL;
    else if (strcasecmp(arg, "hdrs") == 0)
        sub.ret = DSN_RET_HDRS;
    else
        bad_usage("-R option value", arg);
}

static void on_encoding(const char *arg)
{
    if (strcasecmp(arg, "7BIT") == 0)
        sub.encoding = "7bit";
    else if (strcasecmp(arg, "8BITMIME") == 0)
        sub.encoding = "8bit";
    else
        bad_usage("-B option value", arg);
}

static void on_old_option(const char *arg)
{
    if (*arg == 'i')
        sub.dot_is_text = true;
    else if (*arg == 'A' && arg[1])
        sub.alias_database = arg + 1;
    /* the others have no meaning here, and scripts give them */
}

static void on_verp(const char *arg)
{
    if (*arg != 'V')
        return; /* -X logfile of the old sendmail */
    sub.verp = arg + 1;
}

/* Known only with main.cf read. */
static void settle_verp(void)
{
    if (sub.verp == NULL)
        return;
    if (*sub.verp == '\0')
        sub.verp = conf_default_verp_delimiters;
    if (!addr_verp_delimiters(slice_of(sub.verp), conf_verp_delimiter_filter))
        tool_fatal(EX_USAGE, "-V requires two characters from %s", conf_verp_delimiter_filter);
}

static void on_config(const char *arg)
{
    char *dir = mem_strdup(arg), *slash;
    size_t len = strlen(dir);

    if (len > 3 && strcmp(dir + len - 3, ".cf") == 0 && (slash = strrchr(dir, '/')) != NULL)
        *slash = 0; /* of a file: its directory */
    config = dir;
    setenv("MAIL_CONFIG", dir, 1);
}

static void take_option(int c, const char *arg)
{
    switch (c) {
    case 'B': on_encoding(arg); break;
    case 'C': on_config(arg); break;
    case 'F': sub.full_name = arg; break;
    case 'G': sub.gateway = true; break;
    case 'I': mode = ALIASES; break;
    case 'N': on_notify(arg); break;
    case 'R': on_return(arg); break;
    case 'V': sub.envid = arg; break;
    case 'X': on_verp(arg); break;
    case 'b': on_mode(arg); break;
    case 'f':
    case 'r': sub.sender = arg; break;
    case 'i': sub.dot_is_text = true; break;
    case 'o': on_old_option(arg); break;
    case 'q': on_flush(arg); break;
    case 't': sub.from_headers = true; break;
    case 'v': verbose++; break;
    case 'Z': tool_help(usage); break;
    case '?': tool_fatal(EX_USAGE, "usage: sendmail [options]");
    default: break; /* A, h, L, m, n, O, p, U: accepted for the sake of scripts */
    }
}

_Noreturn static void run(const char *directory, const char *program, const char *const *args)
{
    char *path = mem_printf("%s/%s", directory, program);

    execv(path, (char *const *) (const void *) args);
    tool_fatal(errno == EACCES ? EX_NOPERM : EX_UNAVAILABLE, "unable to execute %s: %s", path, strerror(errno));
}

static void run_aliases(void)
{
    const char *args[64] = { "postalias", NULL };
    const char *list = sub.alias_database ? sub.alias_database : conf_value("alias_database");
    struct slice rest = slice_of(list ? list : ""), word;
    size_t n = 1;

    while (n < 63 && slice_word(&rest, ", \t\r\n", &word))
        args[n++] = mem_strndup(word.p, word.len);
    if (n == 1)
        tool_fatal(EX_CONFIG, "no alias database: alias_database is empty");
    run(conf_command_directory, "postalias", args);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'Z' }, { NULL, 0, NULL, 0 } };

    tool_start(argv[0]);
    if (strcmp(tool_name(), "mailq") == 0)
        mode = LIST;
    else if (strcmp(tool_name(), "newaliases") == 0)
        mode = ALIASES;
    log_tag("sendmail");
    for (int c; (c = getopt_long(argc, argv, "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:q::r:tvx", longs, NULL)) != -1;)
        take_option(c, optarg ? optarg : "");
    tool_config(config, false);
    switch (mode) {
    case SUBMIT: break;
    case LIST: run(conf_command_directory, "postqueue", (const char *[]){ "postqueue", "-p", NULL });
    case SERVE: run(conf_daemon_directory, "smtpd", (const char *[]){ "smtpd", NULL });
    case ALIASES: run_aliases(); break;
    case DAEMON: run(conf_command_directory, "postfix", (const char *[]){ "postfix", "start", NULL });
    case FOREGROUND: run(conf_command_directory, "postfix", (const char *[]){ "postfix", "start-fg", NULL });
    case FLUSH: run(conf_command_directory, "postqueue", (const char *[]){ "postqueue", "-f", NULL });
    case FLUSH_ID:
        run(conf_command_directory, "postqueue", (const char *[]){ "postqueue", "-i", flush_argument, NULL });
    case FLUSH_SITE:
        run(conf_command_directory, "postqueue", (const char *[]){ "postqueue", "-s", flush_argument, NULL });
    }
    if (!tool_user_may("authorized_submit_users"))
        tool_fatal(EX_NOPERM, "User %s(%ld) is not allowed to submit mail", tool_user(), (long) getuid());
    settle_verp();
    sub.report = verbose == 1 && !sub.verify;
    sub.recipients = (const char *const *) (const void *) &argv[optind];
    submit(&sub);
    return EXIT_SUCCESS;
}
