/* userdb_test - mailboxes from tables and from authd: doubt is "later", and no path or uid leads out of bounds */
#include "client/userdb.h"
#include "base/mem.h"
#include "event/event.h"
#include "io/stream.h"
#include "ipc/client.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const boxes =
    "inline:{ {joe@x.test = x.test/joe/} {mbox@x.test = x.test/mbox} {up@x.test = ../etc/} "
    "{inside@x.test = a/../../b/} {dots@x.test = a..b/c/} {alien@x.test = x/} {low@x.test = x/} "
    "{word@x.test = x/} {nogid@x.test = x/} {group0@x.test = x/} "
    "{abs@x.test = /x/} }";
static const char *const uids =
    "inline:{ {joe@x.test = 5000} {mbox@x.test = 5000} {up@x.test = 5000} {inside@x.test = 5000} "
    "{dots@x.test = 5000} {low@x.test = 99} {word@x.test = mail} {nogid@x.test = 5000} "
    "{group0@x.test = 5000} {abs@x.test = 100} }";
static const char *const gids =
    "inline:{ {joe@x.test = 5001} {mbox@x.test = 5001} {up@x.test = 1} {inside@x.test = 1} "
    "{dots@x.test = 1} {low@x.test = 5} {word@x.test = 1} {group0@x.test = 0} {abs@x.test = 1} }";

#define GONE "/mail/gone" /* with this base a second table follows, which cannot be opened */

static const struct {
    const char *base, *address;
    enum lookup found;
    const char *path, *user;
    bool maildir;
    uid_t uid;
    gid_t gid;
    const char *dsn; /* of RETRY */
} rows[] = {
    { "/var/mail", "joe@x.test", LOOKUP_FOUND, "/var/mail/x.test/joe/", "joe@x.test", true, 5000, 5001, NULL },
    { "/var/mail", "JOE@X.Test", LOOKUP_FOUND, "/var/mail/x.test/joe/", "JOE@X.Test", true, 5000, 5001, NULL },
    { "/var/mail", "joe+ext@x.test", LOOKUP_FOUND, "/var/mail/x.test/joe/", "joe@x.test", true, 5000, 5001, NULL },
    { "/var/mail", "mbox@x.test", LOOKUP_FOUND, "/var/mail/x.test/mbox", "mbox@x.test", false, 5000, 5001, NULL },
    { "/var/mail", "dots@x.test", LOOKUP_FOUND, "/var/mail/a..b/c/", "dots@x.test", true, 5000, 1, NULL },
    { "/var/mail", "up@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" },
    { "/var/mail", "inside@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" },
    { "", "joe@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" }, /* no base, and not absolute */
    { "", "abs@x.test", LOOKUP_FOUND, "/x/", "abs@x.test", true, 100, 1, NULL },
    { "/var/mail", "alien@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0,
      "4.3.5" }, /* no uid: a mistake, not "unknown" */
    { "/var/mail", "low@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" },
    { "/var/mail", "word@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" },
    { "/var/mail", "nogid@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" },
    { "/var/mail", "group0@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.5" },
    { "/var/mail", "nobody@x.test", LOOKUP_NONE, NULL, NULL, false, 0, 0, NULL },
    { GONE, "nobody@x.test", LOOKUP_RETRY, NULL, NULL, false, 0, 0, "4.3.0" }, /* a table that is gone may know */
    { GONE, "joe@x.test", LOOKUP_FOUND, GONE "/x.test/joe/", "joe@x.test", true, 5000, 5001, NULL },
};

static void check(const char *what, enum lookup found, enum lookup wanted, const struct err *err, const char *dsn)
{
    if (found != wanted ||
        (found == LOOKUP_RETRY && (err->code != 451 || strcmp(err->dsn, dsn) != 0 || !err->text[0]))) {
        fprintf(stderr, "%s: %d, %d %s %s\n", what, (int) found, err->code, err->dsn, err->text);
        abort();
    }
}

static const struct param *const tables[] = { conf_global_params, userdb_params, NULL };

static void configure(const char *where, const char *base, const char *service)
{
    char *path = mem_printf("%s/main.cf", where);
    FILE *f = fopen(path, "w");

    assert(f);
    fprintf(f,
            "virtual_mailbox_base = %s\nvirtual_mailbox_maps = %s%s\nvirtual_uid_maps = %s\nvirtual_gid_maps = %s\n",
            base, boxes, strcmp(base, GONE) == 0 ? ", pcre:/nonexistent/table" : "", uids, gids);
    fprintf(f,
            "recipient_delimiter = +\ninet_interfaces = 127.0.0.1\nmyhostname = mail.x.test\nuserdb_service = %s\n",
            service);
    fclose(f);
    assert(conf_open(where) == 0 && conf_load(tables) == 0);
    free(path);
}

/* Tables and connections live as long as the process: each row has its own. */
static void in_child(void (*row)(size_t), size_t i)
{
    pid_t pid = fork();
    int status;

    assert(pid >= 0);
    if (pid == 0) {
        alarm(60);
        row(i);
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid);
    if (status != 0)
        exit(1);
}

static char dir[] = "/tmp/userdb-test-XXXXXX";

static void test_table(size_t i)
{
    struct arena *arena = arena_new();
    struct userdb_mailbox box;
    struct err err = { 0 };
    enum lookup found;

    configure(dir, rows[i].base, "");
    userdb_open();
    found = userdb_find(rows[i].address, "lmtp", arena, &box, &err);
    check(rows[i].address, found, rows[i].found, &err, rows[i].dsn);
    if (found == LOOKUP_FOUND)
        assert(strcmp(box.path, rows[i].path) == 0 && box.maildir == rows[i].maildir && box.uid == rows[i].uid &&
               box.gid == rows[i].gid && strcmp(box.user, rows[i].user) == 0);
    arena_free(&arena);
}

static const char *reply;
static char asked[200];

static void serve(void *arg)
{
    struct stream *s = arg;
    struct str line;
    enum stream_eol eol;

    str_init(&line, 1000);
    stream_puts(s, "VERSION\t1\t1\nSPID\t1\n");
    while (stream_line(s, &line, 1000, &eol) == 0 && eol != STREAM_EOF) {
        unsigned id;
        char user[100];
        if (sscanf(line.p, "USER\t%u\t%99s", &id, user) == 2) {
            strcat(strcat(asked, user), " ");
            if (strchr(user, '+') && strcmp(reply, "plain") == 0)
                stream_printf(s, "NOTFOUND\t%u\n", id);
            else if (strcmp(reply, "plain") == 0)
                stream_printf(s, "USER\t%u\t%s\tuid=5000\tgid=5001\thome=/h/joe\n", id, user);
            else if (strcmp(reply, "NOTFOUND") == 0 || strcmp(reply, "FAIL") == 0)
                stream_printf(s, "%s\t%u\n", reply, id);
            else
                stream_printf(s, "USER\t%u\t%s\n", id, reply);
        }
        str_reset(&line);
    }
    str_free(&line);
    stream_free(&s);
}

static int connector(const char *service, int64_t deadline)
{
    int ends[2];

    (void) deadline;
    if (reply == NULL || strcmp(service, "private/auth-userdb") != 0) {
        errno = ECONNREFUSED;
        return -1;
    }
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    fiber_go("authd", serve, stream_new(ends[1]));
    return ends[0];
}

static const struct {
    const char *reply, *address;
    enum lookup found;
    const char *asked, *dsn;
} answers[] = {
    { "plain", "joe@x.test", LOOKUP_FOUND, "joe@x.test ", NULL },
    { "plain", "joe+ext@x.test", LOOKUP_FOUND, "joe+ext@x.test joe@x.test ", NULL },
    { "NOTFOUND", "joe+ext@x.test", LOOKUP_NONE, "joe+ext@x.test joe@x.test ", NULL },
    { "FAIL", "joe+ext@x.test", LOOKUP_RETRY, "joe+ext@x.test ", "4.3.0" },
    { "joe\tuid=0\tgid=1\thome=/h", "joe@x.test", LOOKUP_RETRY, NULL, "4.3.5" },
    { "joe\tuid=5000\tgid=0\thome=/h", "joe@x.test", LOOKUP_RETRY, NULL, "4.3.5" },
    { "joe\tgid=5000\thome=/h", "joe@x.test", LOOKUP_RETRY, NULL, "4.3.5" },
    { "joe\tuid=5000\tgid=5000", "joe@x.test", LOOKUP_RETRY, NULL, "4.3.5" },
    { "joe\tuid=5000\tgid=5000\thome=h", "joe@x.test", LOOKUP_RETRY, NULL, "4.3.5" },
    { NULL, "joe@x.test", LOOKUP_RETRY, NULL, "4.3.0" },
};

static void ask_service(void *row)
{
    size_t i = (size_t) (uintptr_t) row;
    struct arena *arena = arena_new();
    struct userdb_mailbox box;
    struct err err = { 0 };

    userdb_open();
    reply = answers[i].reply;
    asked[0] = '\0';
    check(answers[i].address, userdb_find(answers[i].address, "lmtp", arena, &box, &err), answers[i].found, &err,
          answers[i].dsn);
    if (answers[i].found == LOOKUP_FOUND)
        assert(strcmp(box.path, "/h/joe/") == 0 && box.maildir && box.uid == 5000 && box.gid == 5001 &&
               strcmp(box.user, "joe@x.test") == 0);
    assert(answers[i].asked == NULL || strcmp(asked, answers[i].asked) == 0);
    arena_free(&arena);
    event_stop();
}

static void test_service(size_t i)
{
    configure(dir, "", "private/auth-userdb");
    conf_mail_home = conf_mail_location = "";
    ipc_set_connector(connector);
    event_run(ask_service, (void *) (uintptr_t) i);
}

int main(void)
{
    char cmd[100];

    assert(mkdtemp(dir));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        in_child(test_table, i);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        in_child(test_service, i);
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd) != 0;
}
