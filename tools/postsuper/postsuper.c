/*
 * postsuper - maintenance of the mail queue: delete, hold, release, requeue, expire, repair
 *
 * Callers     the administrator; postfix (start: -s)
 * Invariants  works while the mail system runs: each step is one rename or unlink
 *             the log files of a message go with it
 * Errors      what fails for one file is said and does not stop the rest; exit status 1 when anything failed
 * Privilege   root, continues as mail_owner; else the owner of the queue
 */
#include "base/log.h"
#include "base/mem.h"
#include "queue/file.h"
#include "postsuper.h"
#include "../tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: postsuper [-psSv] [-c config_dir] [-d id] [-e id] [-f id] [-h id] [-H id] [-r id] [queue...]\n"
    "  -d delete   -h hold   -H release from hold   -r requeue   -e expire   -f expire, and release from hold\n"
    "  id: a queue id, ALL, or - to read ids from standard input\n"
    "  -p purge old temporary files   -s, -S repair the structure of the queue   (default: -ps)\n"
    "  queue...: default hold, incoming, active, deferred\n";
enum { PLAN_MAX = 10000 };

struct action {
    char letter;
    const char *done, *total; /* "ID: done", "total: N messages" */
    bool (*run)(const char *queue, const char *id);
    bool wanted;
    size_t count;
};
static bool delete_one(const char *queue, const char *id);
static bool hold_one(const char *queue, const char *id);
static bool release_one(const char *queue, const char *id);
static bool requeue_one(const char *queue, const char *id);
static bool expire_one(const char *queue, const char *id);
static bool expire_release_one(const char *queue, const char *id);
static struct action actions[] = {
    { .letter = 'h', .done = "placed on hold", .total = "Placed on hold", .run = hold_one },
    { .letter = 'H', .done = "released from hold", .total = "Released from hold", .run = release_one },
    { .letter = 'r', .done = "requeued", .total = "Requeued", .run = requeue_one },
    { .letter = 'd', .done = "removed", .total = "Deleted", .run = delete_one },
    { .letter = 'e', .done = "expired", .total = "Force-expired", .run = expire_one },
    { .letter = 'f', .done = "expired", .total = "Force-expired", .run = expire_release_one },
};
enum { ACTIONS = sizeof actions / sizeof *actions };
static const char *default_queues[] = { QUEUE_HOLD, QUEUE_INCOMING, QUEUE_ACTIVE, QUEUE_DEFERRED, NULL };
static const char *const *queues = default_queues;
static bool failed;

/* A file that is gone is no failure: the mail system works beside us. */
static bool did(int rc, const char *what, const char *queue, const char *id)
{
    if (rc == 0)
        return true;
    if (errno != ENOENT) {
        log_warn("%s %s/%s: %s", what, queue, id, strerror(errno));
        failed = true;
    }
    return false;
}

static bool delete_one(const char *queue, const char *id)
{
    if (!did(queue_remove(queue, id), "remove", queue, id))
        return false;
    did(queue_remove(QUEUE_BOUNCE, id), "remove", QUEUE_BOUNCE, id);
    did(queue_remove(QUEUE_DEFER, id), "remove", QUEUE_DEFER, id);
    did(queue_remove(QUEUE_TRACE, id), "remove", QUEUE_TRACE, id);
    return true;
}

static bool hold_one(const char *queue, const char *id)
{
    return strcmp(queue, QUEUE_HOLD) != 0 && did(queue_move(id, queue, QUEUE_HOLD), "hold", queue, id);
}

static bool release_one(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    if (strcmp(queue, QUEUE_HOLD) != 0)
        return false;
    queue_path(path, queue, id);
    /* Its next attempt is now, whatever the time stamp said. */
    return did(utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW), "release", queue, id) &&
           did(queue_move(id, queue, QUEUE_DEFERRED), "release", queue, id);
}

static bool requeue_one(const char *queue, const char *id)
{
    return strcmp(queue, QUEUE_MAILDROP) != 0 && did(queue_move(id, queue, QUEUE_MAILDROP), "requeue", queue, id);
}

static bool expire_one(const char *queue, const char *id)
{
    struct stat st;
    int fd = queue_open(queue, id, O_RDONLY);
    bool ok;

    if (fd < 0)
        return did(-1, "open", queue, id);
    ok = fstat(fd, &st) == 0 && queue_is_ready(&st) && (st.st_mode & QUEUE_MODE_EXPIRE) == 0;
    if (ok)
        ok = did(fchmod(fd, (st.st_mode | QUEUE_MODE_EXPIRE) & 07777), "expire", queue, id);
    close(fd);
    return ok;
}

static bool expire_release_one(const char *queue, const char *id)
{
    bool expired = expire_one(queue, id);

    if (strcmp(queue, QUEUE_HOLD) == 0 && release_one(queue, id)) {
        log_info("%s: released from hold", id);
        return true;
    }
    return expired;
}

static void run_id(struct action *a, const char *id)
{
    if (!queue_id_valid(id)) {
        log_warn("invalid mail queue id: %s", id);
        failed = true;
        return;
    }
    for (const char *const *q = queues; *q; q++)
        if (a->run(*q, id)) {
            log_info("%s: %s", id, a->done);
            a->count++;
            return;
        }
}

static void run_all(struct action *a)
{
    for (const char *const *q = queues; *q; q++) {
        struct queue_scan *scan = queue_scan_open(*q);
        const char *id;
        if (scan == NULL) {
            log_warn("open directory %s: %s", *q, strerror(errno));
            failed = true;
            continue;
        }
        while ((id = queue_scan_next(scan, NULL)) != NULL)
            if (a->run(*q, id))
                a->count++;
        queue_scan_free(&scan);
    }
}

static void run_stdin(struct action *a)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct slice text = slice_trim(slice_make(line, (size_t) n)), word;
        if (!slice_word(&text, " \t", &word)) /* the rest of the line may say more, as mailq's does */
            continue;
        char *id = mem_strndup(word.p, word.len);
        run_id(a, id);
        free(id);
    }
    free(line);
}

static void run_action(struct action *a, const char *argument)
{
    a->wanted = true;
    if (strcmp(argument, "ALL") == 0)
        run_all(a);
    else if (strcmp(argument, "-") == 0)
        run_stdin(a);
    else
        run_id(a, argument);
}

static void report(void)
{
    for (size_t i = 0; i < ACTIONS; i++)
        if (actions[i].wanted)
            log_info("%s: %zu message%s", actions[i].total, actions[i].count, actions[i].count == 1 ? "" : "s");
    if (actions[1].count || actions[5].count) /* released */
        (void) tool_trigger("public/qmgr", "D");
    if (actions[2].count)
        (void) tool_trigger("public/pickup", "W");
}

/* Root goes on as mail_owner, so that a link in the queue leads nowhere root could not be led anyway. */
static void become_owner(void)
{
    struct passwd *pw = getpwnam(conf_mail_owner);
    struct stat st;

    if (geteuid() != 0) {
        if (stat(QUEUE_INCOMING, &st) < 0 || st.st_uid != geteuid())
            tool_fatal(EX_NOPERM, "use of this command is reserved for the superuser");
        return;
    }
    if (stat(QUEUE_INCOMING, &st) == 0 && st.st_uid == 0)
        return; /* an instance that root runs for itself */
    if (pw == NULL)
        tool_fatal(EX_CONFIG, "mail_owner: no such user: %s", conf_mail_owner);
    if (setgroups(0, NULL) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
        tool_fatal(EX_OSERR, "become %s: %s", conf_mail_owner, strerror(errno));
}

struct plan { /* what the command line asks, in its order */
    struct action *action;
    const char *argument;
};

static size_t parse(int argc, char **argv, struct plan *plan, bool *purge, bool *repair, const char **config)
{
    static const struct option longs[] = { { "help", no_argument, NULL, '1' }, { NULL, 0, NULL, 0 } };
    size_t count = 0;

    for (int c; (c = getopt_long(argc, argv, "c:d:e:f:h:H:pr:sSv", longs, NULL)) != -1;) {
        switch (c) {
        case 'c': *config = optarg; continue;
        case 'p': *purge = true; continue;
        case 's':
        case 'S': *repair = true; continue;
        case 'v': log_verbose(1); continue;
        case '1': tool_help(usage); continue;
        case '?': tool_fatal(EX_USAGE, "%s", usage);
        }
        if (count == PLAN_MAX)
            tool_fatal(EX_USAGE, "too many queue ids: give them on standard input (-)");
        for (size_t i = 0; i < ACTIONS; i++)
            if (actions[i].letter == c)
                plan[count++] = (struct plan){ &actions[i], optarg };
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct plan plan[PLAN_MAX];
    bool purge = false, repair = false;
    const char *config = NULL;
    size_t count;

    tool_start(argv[0]);
    count = parse(argc, argv, plan, &purge, &repair, &config);
    tool_config(config, false);
    tool_log_too();
    tool_enter_queue();
    for (int i = optind; i < argc; i++)
        if (strchr(argv[i], '/') || argv[i][0] == '.' || access(argv[i], F_OK) < 0)
            tool_fatal(EX_USAGE, "invalid directory name: %s", argv[i]);
    if (optind < argc)
        queues = (const char *const *) (const void *) &argv[optind];
    become_owner();
    umask(077);
    if (count == 0 && !purge && !repair)
        purge = repair = true;
    for (size_t i = 0; i < count; i++)
        run_action(plan[i].action, plan[i].argument);
    if (purge && postsuper_purge() < 0)
        failed = true;
    if (repair && postsuper_repair() < 0)
        failed = true;
    report();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
