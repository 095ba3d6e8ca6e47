/*
 * authd_test - what the master and userdb sockets may answer, and what is made of it: only a clear line is a clear
 * answer
 */
#include "client/authd.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "io/stream.h"
#include "ipc/client.h"
#include "proto/sasl/dovecot_auth.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING "VERSION\t1\t1\nSPID\t1\n"
/* What the service says; "%u" is the id of the question. NULL: the connection is refused. */
struct script {
    const char *greeting, *reply;
    bool closes;        /* behind the reply */
    const char *claims; /* answers CLAIMS */
};
static struct script now;
static unsigned connections, replaced; /* connections up to this one lead to a process that ends: FAIL */
static char asked[400];

static void serve(void *arg)
{
    struct stream *s = arg;
    struct str line;
    enum stream_eol eol;
    unsigned id, number = connections;

    str_init(&line, 2000);
    stream_timeout(s, EVENT_NEVER);
    stream_puts(s, now.greeting);
    while (stream_line(s, &line, 2000, &eol) == 0 && eol != STREAM_EOF) {
        const char *tab = strchr(line.p, '\t');
        if (tab && strncmp(line.p, "VERSION", 7) != 0) {
            id = (unsigned) strtoul(tab + 1, NULL, 10);
            const char *rest = strchr(tab + 1, '\t'),
                       *reply = strncmp(line.p, "CLAIMS", 6) == 0 ? now.claims : now.reply;
            snprintf(asked, sizeof asked, "%.*s%s", (int) (tab - line.p), line.p, rest ? rest : "");
            for (const char *p = number <= replaced ? "FAIL\t%u\n" : reply; *p; p++) {
                if (strncmp(p, "%u", 2) == 0) {
                    stream_printf(s, "%u", id);
                    p++;
                } else if (*p == 127) { /* a NUL */
                    stream_write(s, "", 1);
                } else {
                    stream_write(s, p, 1);
                }
            }
            if (now.closes)
                break;
        }
        str_reset(&line);
    }
    stream_flush(s);
    str_free(&line);
    stream_free(&s);
}

static int connector(const char *service, int64_t deadline)
{
    int ends[2];

    (void) deadline;
    assert(strcmp(service, AUTHD_USERDB_SERVICE) == 0);
    connections++;
    if (now.greeting == NULL) {
        errno = ECONNREFUSED;
        return -1;
    }
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    fiber_go("service", serve, stream_new(ends[1]));
    return ends[0];
}

static const struct {
    const char *what;
    struct script is;
    enum lookup found;
    const char *user, *home, *maildir;
    int64_t uid, gid; /* -1: not said */
    int code;         /* of RETRY */
} rows[] = {
    { "all of it",
      { GREETING, "USER\t%u\tjoe\tuid=5000\tgid=5001\thome=/var/mail/joe/\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "/var/mail/joe",
      "/var/mail/joe",
      5000,
      5001,
      0 },
    { "a name alone", { GREETING, "USER\t%u\tjoe\n", false, NULL }, LOOKUP_FOUND, "joe", "", "", -1, -1, 0 },
    { "mail beside home",
      { GREETING, "USER\t%u\tjoe\thome=/h\tmail=maildir:~/Maildir:INDEX=/i\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "/h",
      "/h/Maildir",
      -1,
      -1,
      0 },
    { "mail that is no Maildir",
      { GREETING, "USER\t%u\tjoe\thome=/h\tmail=mbox:~/m\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "/h",
      "",
      -1,
      -1,
      0 },
    { "mail that is nowhere",
      { GREETING, "USER\t%u\tjoe\thome=/h\tmail=maildir:m\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "/h",
      "",
      -1,
      -1,
      0 },
    { "a tilde without a home",
      { GREETING, "USER\t%u\tjoe\tmail=maildir:~/m\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "",
      "",
      -1,
      -1,
      0 },
    { "escaped text",
      { GREETING, "USER\t%u\tj\001too\thome=/a\001tb\n", false, NULL },
      LOOKUP_FOUND,
      "j\too",
      "/a\tb",
      "/a\tb",
      -1,
      -1,
      0 },
    { "uid 4294967294",
      { GREETING, "USER\t%u\tjoe\tuid=4294967294\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "",
      "",
      4294967294,
      -1,
      0 },
    { "uid 0 is told as it is",
      { GREETING, "USER\t%u\tjoe\tuid=0\n", false, NULL },
      LOOKUP_FOUND,
      "joe",
      "",
      "",
      0,
      -1,
      0 },
    { "nobody", { GREETING, "NOTFOUND\t%u\n", false, NULL }, LOOKUP_NONE, NULL, NULL, NULL, 0, 0, 0 },
    { "a fault",
      { GREETING, "FAIL\t%u\treason=database is away\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "a fault without words", { GREETING, "FAIL\t%u\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "uid that means nobody",
      { GREETING, "USER\t%u\tjoe\tuid=4294967295\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "uid below 0",
      { GREETING, "USER\t%u\tjoe\tuid=-1\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "gid that is a word",
      { GREETING, "USER\t%u\tjoe\tgid=mail\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "no name", { GREETING, "USER\t%u\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "an empty name", { GREETING, "USER\t%u\t\tuid=1\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "another word", { GREETING, "MAYBE\t%u\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "another's id", { GREETING, "NOTFOUND\t999\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "no id", { GREETING, "NOTFOUND\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "an empty line", { GREETING, "\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "half a line, then the end",
      { GREETING, "NOTFOUND\t%u", true, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "a NUL", { GREETING, "NOTFOUND\t%u\t\x7f\n", false, NULL }, LOOKUP_NONE, NULL, NULL, NULL, 0, 0, 0 },
    { "the end instead of an answer", { GREETING, "", true, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "silence", { GREETING, "", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "half a line, then silence",
      { GREETING, "NOTFOUND\t%u", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "refused", { NULL, "", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "no greeting", { "", "NOTFOUND\t%u\n", false, NULL }, LOOKUP_RETRY, NULL, NULL, NULL, 0, 0, 451 },
    { "half a greeting",
      { "VERSION\t1\t1\n", "NOTFOUND\t%u\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "another version",
      { "VERSION\t2\t0\nSPID\t1\n", "NOTFOUND\t%u\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "the socket of clients",
      { "VERSION\t1\t2\nMECH\tPLAIN\nSPID\t1\n", "NOTFOUND\t%u\n", false, NULL },
      LOOKUP_RETRY,
      NULL,
      NULL,
      NULL,
      0,
      0,
      451 },
    { "words to come in the greeting",
      { "VERSION\t1\t9\nNEWS\tx\nSPID\t1\n", "NOTFOUND\t%u\n", false, NULL },
      LOOKUP_NONE,
      NULL,
      NULL,
      NULL,
      0,
      0,
      0 },
};

static enum lookup ask(struct authd_client *c, struct arena *arena, struct authd_user *u, struct err *err)
{
    *err = (struct err){ 0 };
    return authd_client_user(c, "lmtp", SLICE("joe@x.test"), arena, u, time_mono_ms() + 150, err);
}

static void test_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct authd_client *c = authd_client_new(AUTHD_USERDB_SERVICE);
        struct arena *arena = arena_new();
        struct authd_user u = { .user = NULL };
        struct err err;

        now = rows[i].is;
        enum lookup found = ask(c, arena, &u, &err);
        bool good = found == rows[i].found;
        if (good && found == LOOKUP_FOUND)
            good = strcmp(u.user, rows[i].user) == 0 && strcmp(u.home, rows[i].home) == 0 &&
                   strcmp(u.maildir, rows[i].maildir) == 0 && u.has_uid == (rows[i].uid >= 0) &&
                   (!u.has_uid || u.uid == rows[i].uid) && u.has_gid == (rows[i].gid >= 0);
        if (good && found == LOOKUP_RETRY)
            good = err.code == 451 && strcmp(err.dsn, "4.3.0") == 0 && err.text[0];
        if (!good) {
            fprintf(stderr, "%s: %d, %s %s %s, %d %s\n", rows[i].what, (int) found, u.user ? u.user : "",
                    u.user ? u.home : "", u.user ? u.maildir : "", err.code, err.text);
            abort();
        }
        /* Whatever that was, the next question gets its own answer. */
        now = (struct script){ GREETING, "NOTFOUND\t%u\n", false, NULL };
        if (ask(c, arena, &u, &err) != LOOKUP_NONE) {
            fprintf(stderr, "%s: the next question fails\n", rows[i].what);
            abort();
        }
        authd_client_free(&c);
        arena_free(&arena);
    }
}

/* A connection that was kept may be stale: asked once more over a fresh one, but not for ever. */
static void test_kept(void)
{
    struct authd_client *c = authd_client_new(AUTHD_USERDB_SERVICE);
    struct arena *arena = arena_new();
    struct authd_user u;
    struct err err;

    now = (struct script){ GREETING, "USER\t%u\tjoe\n", false, NULL };
    connections = 0;
    assert(ask(c, arena, &u, &err) == LOOKUP_FOUND && ask(c, arena, &u, &err) == LOOKUP_FOUND && connections == 1);
    assert(strcmp(asked, "USER\tjoe@x.test\tservice=lmtp") == 0);
    authd_client_free(&c);

    /* Answers once and closes: the kept connection is at its end when the next question comes. */
    c = authd_client_new(AUTHD_USERDB_SERVICE);
    now = (struct script){ GREETING, "USER\t%u\tjoe\n", true, NULL };
    connections = 0;
    for (int i = 0; i < 3; i++) {
        assert(ask(c, arena, &u, &err) == LOOKUP_FOUND);
        event_sleep(2);
    }
    assert(connections == 3);

    /* A process that is being replaced says FAIL over the kept one; its successor knows. */
    now = (struct script){ GREETING, "USER\t%u\tjoe\n", false, NULL };
    assert(ask(c, arena, &u, &err) == LOOKUP_FOUND);
    replaced = connections;
    assert(ask(c, arena, &u, &err) == LOOKUP_FOUND);
    replaced = connections + 1;
    assert(ask(c, arena, &u, &err) == LOOKUP_RETRY); /* nor does the next: so it is true */
    replaced = 0;
    authd_client_free(&c);
    arena_free(&arena);
}

static void test_questions(void)
{
    struct authd_client *c = authd_client_new(AUTHD_USERDB_SERVICE);
    struct arena *arena = arena_new();
    struct authd_user u;
    struct err err = { 0 };
    char *name = mem_new(DOVECOT_AUTH_LINE_BYTES + 10);

    now = (struct script){ GREETING, "USER\t%u\tjoe\tuid=1\tgid=1\thome=/h\tquota_rule=*:storage=1G\n", false, NULL };
    assert(authd_client_request(c, "imap", 77, 5, "0123456789abcdef0123456789abcdef", arena, &u, time_mono_ms() + 500,
                                &err) == LOOKUP_FOUND);
    assert(strcmp(asked, "REQUEST\t77\t5\t0123456789abcdef0123456789abcdef\tclaim_ahead") == 0);
    assert(strcmp(authd_user_extra(&u, "quota_rule"), "*:storage=1G") == 0 && authd_user_extra(&u, "x") == NULL);
    /* A name with the protocol's own characters stays one word; one longer than a line is nobody's. */
    assert(authd_client_user(c, "lmtp", SLICE("a\tb\nc"), arena, &u, time_mono_ms() + 500, &err) == LOOKUP_FOUND);
    assert(strcmp(asked, "USER\ta\001tb\001nc\tservice=lmtp") == 0);
    memset(name, 'x', DOVECOT_AUTH_LINE_BYTES + 1);
    assert(authd_client_user(c, "lmtp", slice_of(name), arena, &u, time_mono_ms() + 500, &err) == LOOKUP_NONE);
    free(name);
    authd_client_free(&c);
    arena_free(&arena);
}

/* Once authd has said that it can, it tells of logins before they are asked for: those are not asked for. */
static void test_ahead(void)
{
    static const char cookie[] = "0123456789abcdef0123456789abcdef";
    struct authd_client *c = authd_client_new(AUTHD_USERDB_SERVICE);
    struct arena *arena = arena_new();
    struct authd_user u;
    struct err err = { 0 };

    now = (struct script){
        GREETING, "USER\t%u\tjoe\tuid=1\tgid=1\tclaim_ahead\n", false,
        "OK\t%u\nCLAIM\t999999999999\t77\t6\t0123456789abcdef0123456789abcdef\tann\tuid=7\tgid=8\n"
    };
    connections = 0;
    assert(authd_client_request(c, "imap", 77, 5, cookie, arena, &u, time_mono_ms() + 500, &err) == LOOKUP_FOUND);
    assert(strcmp(u.user, "joe") == 0 && connections == 2 && strncmp(asked, "CLAIMS", 6) == 0);
    assert(authd_client_request(c, "imap", 77, 6, cookie, arena, &u, time_mono_ms() + 500, &err) == LOOKUP_FOUND);
    assert(strcmp(u.user, "ann") == 0 && u.uid == 7 && u.gid == 8 && strncmp(asked, "CLAIMS", 6) == 0);
    assert(authd_client_request(c, "imap", 77, 6, cookie, arena, &u, time_mono_ms() + 500, &err) == LOOKUP_FOUND);
    assert(strcmp(u.user, "joe") == 0 &&
           strncmp(asked, "REQUEST", 7) == 0); /* that one was claimed: authd is asked */
    assert(connections == 2);
    authd_client_free(&c);
    arena_free(&arena);
}

/* Where home and mail come from when the userdb does not say; a name cannot lead out of its place. */
static void test_places(void)
{
    static const struct {
        const char *home, *location, *reply, *maildir;
        enum lookup found;
    } places[] = {
        { "/var/vmail/%d/%n/", "", "USER\t%u\tjoe@x.test\n", "/var/vmail/x.test/joe", LOOKUP_FOUND },
        { "/var/vmail/%d/%n", "maildir:~/Maildir", "USER\t%u\tjoe@x.test\n", "/var/vmail/x.test/joe/Maildir",
          LOOKUP_FOUND },
        { "/var/vmail/%u", "maildir:/m/%u", "USER\t%u\tjoe\thome=/h\n", "/m/joe", LOOKUP_FOUND },
        { "/var/vmail/%u", "", "USER\t%u\t../root\n", NULL, LOOKUP_RETRY },
        { "/var/vmail/%u", "", "USER\t%u\t..\n", NULL, LOOKUP_RETRY },
        { "", "maildir:/m/%u", "USER\t%u\ta/b\n", NULL, LOOKUP_RETRY },
        { "/h/%{nonsense}", "", "USER\t%u\tjoe\n", NULL, LOOKUP_RETRY },
    };

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct authd_client *c = authd_client_new(AUTHD_USERDB_SERVICE);
        struct arena *arena = arena_new();
        struct authd_user u;
        struct err err;

        conf_mail_home = places[i].home;
        conf_mail_location = places[i].location;
        now = (struct script){ GREETING, places[i].reply, false, NULL };
        if (ask(c, arena, &u, &err) != places[i].found ||
            (places[i].maildir && strcmp(u.maildir, places[i].maildir))) {
            fprintf(stderr, "place %zu: %s\n", i, places[i].maildir ? u.maildir : "taken");
            abort();
        }
        authd_client_free(&c);
        arena_free(&arena);
    }
    conf_mail_home = conf_mail_location = "";
}

static void test(void *unused)
{
    (void) unused;
    conf_mail_home = conf_mail_location = "";
    ipc_set_connector(connector);
    test_rows();
    test_kept();
    test_questions();
    test_ahead();
    test_places();
    event_stop();
}

int main(void)
{
    alarm(120);
    event_run(test, NULL);
    return 0;
}
