/* dispatcher_serve_test - one user's process: sessions side by side, each told of once, and when the process ends */
#include "client/dispatcher_serve.h"
#include "client/dispatcher_wire.h"
#include "base/mem.h"
#include "base/time.h"
#include "ipc/msg.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ends[2];
static unsigned running, began, cancelled;
static char root[200];
static struct event_cond let_go;
static bool gone;
static int64_t returned_ms;

static void run(struct dispatcher_link *link, struct dispatcher_session *s, const char *where)
{
    (void) link;
    began++;
    running++;
    snprintf(root, sizeof root, "%s", where);
    s->slept = strcmp(s->id, "sleeps") == 0;
    if (strcmp(s->id, "quick") != 0 && !s->slept && event_cond_wait(&let_go, EVENT_NEVER) < 0 && errno == ECANCELED)
        cancelled++;
    running--;
}

static void give(const char *id, const char *maildir)
{
    struct dispatcher_session *s = dispatcher_session_new();
    struct msg *m;
    size_t sent;

    s->protocol = mem_strdup("imap");
    s->id = mem_strdup(id);
    s->maildir = mem_strdup(maildir);
    s->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    m = dispatcher_session_encode(s, DISPATCHER_W_SESSION);
    assert(msg_send_fd(ends[1], m, 0, time_mono_ms() + 1000, &sent) == 0);
    msg_free(&m);
    dispatcher_session_free(&s);
    event_sleep(5);
}

static void say(const char *word)
{
    struct msg *m = msg_new(word);
    size_t sent;

    assert(msg_send_fd(ends[1], m, 0, time_mono_ms() + 1000, &sent) == 0);
    msg_free(&m);
    event_sleep(5);
}

static void process(void *directory)
{
    dispatcher_serve(ends[0], directory, run);
    gone = true;
    returned_ms = time_mono_ms();
}

static void start(const char *directory)
{
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    gone = false;
    running = began = cancelled = 0;
    fiber_go("process", process, (void *) (uintptr_t) directory);
    event_sleep(1);
}

/* What has been said of sessions: "+" and the id of one that was taken, the id of one that ended, blank-separated. */
static const char *heard(struct stream *s)
{
    static char ids[200];
    struct msg *m;

    ids[0] = '\0';
    stream_timeout(s, 30);
    while (msg_recv(s, &m) == 0) {
        bool taken = strcmp(msg_name(m), DISPATCHER_W_TAKEN) == 0;

        assert(taken || strcmp(msg_name(m), DISPATCHER_W_ENDED) == 0);
        strcat(strcat(strcat(ids, taken ? "+" : ""), msg_get_str(m, "session", 50)), " ");
        msg_free(&m);
    }
    return ids;
}

static void test_roots(void)
{
    static const struct {
        const char *directory, *maildir, *root;
    } rows[] = {
        { "/", "/", "/" },
        { "/", "/Maildir", "/Maildir" },
        { "/", "", "/" },
        { "/home/u", "/", "/home/u" },
        { "/home/u/", "/Maildir/", "/home/u/Maildir" },
        { "/home/u", "Maildir//", "/home/u/Maildir" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        start(rows[i].directory);
        give("quick", rows[i].maildir);
        if (strcmp(root, rows[i].root) != 0) {
            fprintf(stderr, "%s %s: %s\n", rows[i].directory, rows[i].maildir, root);
            abort();
        }
        close(ends[1]);
        event_sleep(5);
        assert(gone);
    }
}

static void test_sessions(void)
{
    struct stream *s;

    start("/");
    s = stream_new(dup(ends[1]));
    give("slow", "/");
    give("quick", "/");
    give("sleeps", "/"); /* dispatcher has it: its end is not the session's */
    give("slower", "/");
    assert(began == 4 && running == 2);
    assert(strcmp(heard(s), "+slow +quick quick +sleeps +slower ") == 0);
    /* dispatcher dies: those at hand go on, and the process with them */
    stream_free(&s);
    close(ends[1]);
    event_sleep(20);
    assert(!gone && running == 2 && cancelled == 0);
    event_cond_broadcast(&let_go);
    event_sleep(5);
    assert(gone && running == 0);
}

/* dispatcher has given up waiting: the client is another's, and this process must not speak to it. */
static void test_not_taken(void)
{
    start("/");
    give("first", "/");
    assert(shutdown(ends[1], SHUT_RD) == 0);
    give("late", "/");
    assert(began == 1 && running == 1);
    event_cond_broadcast(&let_go);
    close(ends[1]);
    event_sleep(20);
    assert(gone && running == 0);
}

static void test_stop(void)
{
    struct stream *s;
    int64_t told;

    start("/");
    s = stream_new(dup(ends[1]));
    give("slow", "/");
    told = time_mono_ms();
    say(DISPATCHER_W_STOP);
    assert(!gone && running == 1); /* a command under way gets its moment */
    while (!gone && time_mono_ms() - told < 5000)
        event_sleep(20);
    assert(gone && cancelled == 1 && returned_ms - told >= 900 && returned_ms - told < 3000);
    stream_free(&s);
    close(ends[1]);
}

static void test(void *unused)
{
    (void) unused;
    test_roots();
    test_sessions();
    test_not_taken();
    fiber_shield(true); /* the stop ends the loop of this program too */
    test_stop();
    fiber_shield(false);
}

int main(void)
{
    alarm(120);
    event_run(test, NULL);
    assert(gone && cancelled == 1);
    return 0;
}
