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
    "  queue...: default maildrop, hold, incoming, active, deferred\n";
enum { PLAN_MAX = 10000 };

struct found { /* a file as it lies there, which may be the wrong hash directory */
    const char *queue, *id, *path;
};
struct action {
    char letter;
    const char *done, *total; /* "ID: done", "total: N messages" */
    bool (*run)(const struct found *);
    bool wanted;
    size_t count;
};
static bool delete_one(const struct found *);
static bool hold_one(const struct found *);
static bool release_one(const struct found *);
static bool requeue_one(const struct found *);
static bool expire_one(const struct found *);
static struct action actions[] = {
    { .letter = 'r', .done = "requeued", .total = "Requeued", .run = requeue_one },
    { .letter = 'd', .done = "removed", .total = "Deleted", .run = delete_one },
    { .letter = 'e', .done = "expired", .total = "Force-expired", .run = expire_one },
    { .letter = 'h', .done = "placed on hold", .total = "Placed on hold", .run = hold_one },
    { .letter = 'H', .done = "released from hold", .total = "Released from hold", .run = release_one },
};
enum { REQUEUE, DELETE, EXPIRE, HOLD, RELEASE, ACTIONS };
static const char *const default_queues[] = { QUEUE_MAILDROP, QUEUE_HOLD,     QUEUE_INCOMING,
                                              QUEUE_ACTIVE,   QUEUE_DEFERRED, NULL };
static const char *const *queues; /* named on the command line; NULL: none */
static bool failed;

/* A file that is gone is no failure: the mail system works beside us. */
static bool did(int rc, const char *what, const char *path)
{
    if (rc == 0)
        return true;
    if (errno != ENOENT) {
        log_warn("%s %s: %s", what, path, strerror(errno));
        failed = true;
    }
    return false;
}

static void remove_log(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    queue_path(path, queue, id);
    did(unlink(path), "remove", path);
    snprintf(path, sizeof path, "%s/%s", queue, id); /* where it was written with other hash_queue_names */
    did(unlink(path), "remove", path);
}

static int move(const struct found *f, const char *queue)
{
    char to[QUEUE_PATH_BYTES];

    queue_path(to, queue, f->id);
    if (rename(f->path, to) == 0)
        return 0;
    if (errno != ENOENT || access(f->path, F_OK) < 0 || queue_mkdirs(queue, f->id) < 0)
        return -1;
    return rename(f->path, to);
}

static bool delete_one(const struct found *f)
{
    if (!did(unlink(f->path), "remove", f->path))
        return false;
    remove_log(QUEUE_BOUNCE, f->id);
    remove_log(QUEUE_DEFER, f->id);
    remove_log(QUEUE_TRACE, f->id);
    return true;
}

static bool hold_one(const struct found *f)
{
    return strcmp(f->queue, QUEUE_HOLD) != 0 && strcmp(f->queue, QUEUE_MAILDROP) != 0 &&
           did(move(f, QUEUE_HOLD), "hold", f->path);
}

static bool release_one(const struct found *f)
{
    return strcmp(f->queue, QUEUE_HOLD) == 0 && did(move(f, QUEUE_DEFERRED), "release", f->path);
}

static bool requeue_one(const struct found *f)
{
    char to[QUEUE_PATH_BYTES];

    if (strcmp(f->queue, QUEUE_MAILDROP) == 0 || !did(move(f, QUEUE_MAILDROP), "requeue", f->path))
        return false;
    queue_path(to, QUEUE_MAILDROP, f->id);
    if (utimensat(AT_FDCWD, to, NULL, AT_SYMLINK_NOFOLLOW) <
        0) /* the time of its next attempt was that of the old id */
        did(-1, "set time of", to);
    remove_log(QUEUE_DEFER, f->id); /* the other logs hold what the sender has not been told yet */
    return true;
}

static bool expire_one(const struct found *f)
{
    struct stat st;
    int fd;
    bool ok;

    if (strcmp(f->queue, QUEUE_MAILDROP) == 0) /* it has not been a message for anybody yet */
        return false;
    fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return did(-1, "open", f->path);
    ok = fstat(fd, &st) == 0 && queue_is_ready(&st) && (st.st_mode & QUEUE_MODE_EXPIRE) == 0;
    if (ok && st.st_nlink > 1) {
        log_warn("expire file %s: file has %lu hard links", f->path, (unsigned long) st.st_nlink);
        ok = false;
    }
    if (ok)
        ok = did(fchmod(fd, (st.st_mode | QUEUE_MODE_EXPIRE) & 07777), "expire", f->path);
    close(fd);
    return ok;
}

/* Twice: a file that moves from one queue to another while we look is in neither the first time. */
static void run_id(struct action *a, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    if (!queue_id_valid(id)) {
        log_warn("invalid mail queue id: %.100s", id);
        return;
    }
    for (int pass = 0; pass < 2; pass++)
        for (const char *const *q = queues ? queues : default_queues; *q; q++) {
            queue_path(path, *q, id);
            if (a->run(&(struct found){ *q, id, path })) {
                log_info("%s: %s", id, a->done);
                a->count++;
                return;
            }
        }
}

static void run_queue(struct action *a, const char *queue)
{
    struct queue_scan *scan = queue_scan_open(queue);
    struct found f = { .queue = queue };

    if (scan == NULL) {
        log_warn("open directory %s: %s", queue, strerror(errno));
        failed = true;
        return;
    }
    queue_scan_warn(scan);
    while ((f.id = queue_scan_next(scan, &f.path)) != NULL)
        if (a->run(&f))
            a->count++;
    queue_scan_free(&scan);
}

static void run_all(struct action *a)
{
    for (const char *const *q = queues ? queues : default_queues; *q; q++)
        run_queue(a, *q);
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
            postsuper_total(actions[i].total, actions[i].count);
    if (actions[RELEASE].count || actions[EXPIRE].count)
        (void) tool_trigger("public/qmgr", "D");
    if (actions[REQUEUE].count)
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

void postsuper_total(const char *what, size_t count)
{
    log_info("%s: %zu message%s", what, count, count == 1 ? "" : "s");
}

struct plan { /* what the command line asks, in its order */
    struct action *action;
    const char *argument;
};

static struct action *action_of(int letter)
{
    for (size_t i = 0; i < ACTIONS; i++)
        if (actions[i].letter == letter)
            return &actions[i];
    return &actions[RELEASE]; /* -f: expire, then release */
}

static size_t parse(int argc, char **argv, struct plan *plan, bool *purge, enum postsuper_repair *repair,
                    const char **config)
{
    static const struct option longs[] = { { "help", no_argument, NULL, '1' }, { NULL, 0, NULL, 0 } };
    size_t count = 0;

    for (int c; (c = getopt_long(argc, argv, "c:d:e:f:h:H:pr:sSv", longs, NULL)) != -1;) {
        switch (c) {
        case 'c': *config = optarg; continue;
        case 'p': *purge = true; continue;
        case 's': *repair = *repair ? *repair : POSTSUPER_REPAIR; continue;
        case 'S': *repair = POSTSUPER_REPAIR_LONG; continue;
        case 'v': log_verbose(1); continue;
        case '1': tool_help(usage); continue;
        case '?': tool_fatal(EX_USAGE, "%s", usage);
        }
        if (count + 2 > PLAN_MAX)
            tool_fatal(EX_USAGE, "too many queue ids: give them on standard input (-)");
        if (c == 'f')
            plan[count++] = (struct plan){ &actions[EXPIRE], optarg };
        plan[count++] = (struct plan){ action_of(c), optarg };
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct plan plan[PLAN_MAX];
    bool purge = false;
    enum postsuper_repair repair = POSTSUPER_LEAVE;
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
    if (count == 0 && !purge && !repair) {
        purge = true;
        repair = POSTSUPER_REPAIR;
    }
    for (size_t i = 0; i < count; i++)
        run_action(plan[i].action, plan[i].argument);
    if (purge && postsuper_purge() < 0)
        failed = true;
    if (repair && postsuper_repair(repair) < 0)
        failed = true;
    report();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
