/* dispatcher_test - sessions survive the wire whole or not at all; what login and a user's process are told */
#include "client/dispatcher.h"
#include "client/dispatcher_wire.h"
#include "client/test_peer.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    assert(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static struct dispatcher_session *session(void)
{
    struct dispatcher_session *s = dispatcher_session_new();

    s->protocol = mem_strdup("imap");
    s->id = mem_strdup("c2b/2tFgcLx/AAAB");
    s->rip = mem_strdup("192.0.2.1");
    s->lip = mem_strdup("192.0.2.2");
    s->rport = 12345;
    s->lport = 143;
    s->tls = s->secured = true;
    s->tag = mem_strdup("a1");
    str_add(&s->input, "a2 \0NOOP\r\n", 10);
    s->user = mem_strdup("joe@x.test");
    s->maildir = mem_strdup("/Maildir");
    s->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return s;
}

static void test_wire(void)
{
    size_t before = open_descriptors();
    struct dispatcher_session *s = session(), *back;
    struct msg *m = dispatcher_session_encode(s, DISPATCHER_W_SESSION);

    assert(dispatcher_session_decode(m, &back) == 0 && msg_done(m));
    assert(strcmp(back->protocol, s->protocol) == 0 && strcmp(back->id, s->id) == 0 &&
           strcmp(back->rip, s->rip) == 0);
    assert(strcmp(back->lip, s->lip) == 0 && back->rport == 12345 && back->lport == 143 && back->tls &&
           back->secured);
    assert(strcmp(back->tag, "a1") == 0 && !back->capability_untagged);
    assert(slice_same(str_slice(&back->input), str_slice(&s->input)));
    assert(strcmp(back->user, "joe@x.test") == 0 && strcmp(back->maildir, "/Maildir") == 0 && back->fd >= 0);
    msg_free(&m);
    dispatcher_session_free(&back);
    for (int i = 0; i < 3; i++) { /* without a socket, a protocol, an id it is nobody's session */
        struct dispatcher_session *bad = session();
        if (i == 0) {
            close(bad->fd);
            bad->fd = -1;
        }
        char **text = i == 1 ? &bad->protocol : &bad->id;
        if (i > 0)
            (*text)[0] = '\0';
        m = dispatcher_session_encode(bad, DISPATCHER_W_SESSION);
        if (bad->fd < 0) /* a frame without descriptor */
            assert(msg_fds(m) == 0);
        assert(dispatcher_session_decode(m, &back) == -1);
        msg_free(&m);
        dispatcher_session_free(&bad);
    }
    m = msg_new(DISPATCHER_W_SESSION);
    msg_put_fd(m, s->fd);
    assert(dispatcher_session_decode(m, &back) == -1);
    msg_free(&m);
    dispatcher_session_free(&s);
    assert(open_descriptors() == before);
}

static void test_sleep_wire(void)
{
    static const struct {
        int64_t notify, first, end;
        int rc;
    } rows[] = { { 1, 0, 0, 0 }, { 0, 0, 0, -1 }, { 1, -1, 0, -1 }, { 1, 0, -1, -1 }, { INT64_MAX, 0, 0, -1 } };
    size_t before = open_descriptors();

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct dispatcher_sleep how = { .dir_fd = { -1, fd },
                                        .mtime_ns = { 0, -5 },
                                        .notify = "* OK\r\n",
                                        .notify_ms = rows[i].notify,
                                        .notify_in_ms = rows[i].first,
                                        .end_in_ms = rows[i].end },
                                back = { .notify = NULL };
        struct msg *m = msg_new(DISPATCHER_W_SLEEP);
        dispatcher_sleep_encode(m, &how);
        assert(dispatcher_sleep_decode(m, &back) == rows[i].rc);
        if (rows[i].rc == 0) {
            assert(back.dir_fd[0] == -1 && back.dir_fd[1] >= 0 && back.mtime_ns[1] == -5 &&
                   strcmp(back.notify, "* OK\r\n") == 0);
            close(back.dir_fd[1]);
        }
        msg_free(&m);
        close(fd);
    }
    assert(open_descriptors() == before);
}

static const char *answer = DISPATCHER_W_OK, *reason = "";
static int64_t pid = 4711;

static struct msg *right(struct msg *in)
{
    struct dispatcher_session *s;
    struct msg *m = msg_new(answer);

    assert(strcmp(msg_name(in), DISPATCHER_W_SESSION) == 0 && msg_get_num(in, "client_pid", 1, UINT32_MAX) == 77);
    assert(msg_get_num(in, "request", 1, UINT32_MAX) == 5 && strcmp(msg_get_str(in, "cookie", 32), "c00c1e") == 0);
    assert(dispatcher_session_decode(in, &s) == 0 && msg_done(in));
    dispatcher_session_free(&s);
    msg_put_num(m, "pid", pid);
    msg_put_str(m, "reason", reason);
    msg_put_num(m, "by", 815);
    return m;
}

static pid_t told_pid;
static char told[20];

static enum dispatcher_answer hand_over(void)
{
    struct dispatcher_session *s = session();
    struct dispatcher_claim claim = { .client_pid = 77, .request = 5, .cookie = "c00c1e" };
    enum dispatcher_answer a = dispatcher_hand_over(s, &claim, time_mono_ms() + 5000, &told_pid, told, sizeof told);

    dispatcher_session_free(&s);
    return a;
}

static bool ask(void)
{
    enum dispatcher_answer a = hand_over();

    assert(a == DISPATCHER_OK || a == DISPATCHER_UNAVAILABLE);
    return a == DISPATCHER_OK && told_pid == 4711;
}

static void test_hand_over(void)
{
    static const struct {
        const char *word;
        enum dispatcher_answer answer;
    } rows[] = {
        { DISPATCHER_W_OK, DISPATCHER_OK },         { DISPATCHER_W_LIMIT, DISPATCHER_LIMIT },
        { DISPATCHER_W_DENIED, DISPATCHER_DENIED }, { DISPATCHER_W_UNAVAILABLE, DISPATCHER_UNAVAILABLE },
        { "welcome", DISPATCHER_UNAVAILABLE },
    };

    /* Asked twice it could serve one client twice: never asked again. */
    peer_faults(ask, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        answer = rows[i].word;
        assert(hand_over() == rows[i].answer && dispatcher_pid() == (rows[i].answer == DISPATCHER_OK ? 815 : 0));
        assert(i == 4 || strcmp(dispatcher_answer_name(rows[i].answer), rows[i].word) == 0);
    }
    answer = DISPATCHER_W_LIMIT;
    reason = "a reason that is longer than the room for it";
    assert(hand_over() == DISPATCHER_LIMIT && strlen(told) == sizeof told - 1);
    answer = DISPATCHER_W_OK;
    reason = "";
    pid = -1;
    assert(hand_over() == DISPATCHER_UNAVAILABLE && told_pid == 0);
}

static int ends[2];

static struct dispatcher_link *link_new(void)
{
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    return dispatcher_link_new(ends[0]);
}

static struct dispatcher_session *framed; /* whose descriptor a frame has */

static void send_frame(struct msg *m)
{
    size_t sent;

    assert(msg_send_fd(ends[1], m, 0, time_mono_ms() + 1000, &sent) == 0);
    msg_free(&m);
    dispatcher_session_free(&framed);
}

static struct msg *frame_of(struct dispatcher_session *s, const char *name)
{
    framed = s;
    return dispatcher_session_encode(s, name);
}

/* The user's process: frames it cannot use are passed over, their sockets closed. */
static void test_link(void)
{
    size_t before = open_descriptors();
    struct dispatcher_link *l = link_new();
    struct dispatcher_session *s;
    struct msg *m;
    int64_t began = time_mono_ms();

    assert(dispatcher_link_next(l, &s, began + 50) == -1 && errno == ETIMEDOUT && time_mono_ms() - began >= 45);
    dispatcher_link_free(&l);
    close(ends[1]);

    l = link_new();
    send_frame(msg_new("nonsense"));
    send_frame(msg_new(DISPATCHER_W_SESSION));
    m = frame_of(session(), DISPATCHER_W_SESSION);
    msg_put_str(m, "surplus", "1");
    send_frame(m);
    m = msg_new(DISPATCHER_W_STOP);
    msg_put_str(m, "surplus", "1");
    send_frame(m);
    send_frame(frame_of(session(), DISPATCHER_W_SESSION));
    assert(dispatcher_link_next(l, &s, time_mono_ms() + 2000) == 0 && strcmp(s->user, "joe@x.test") == 0);
    dispatcher_session_free(&s);

    dispatcher_link_ended(l, "c2b/2tFgcLx/AAAB");
    struct stream *peer_end = stream_new(dup(ends[1]));
    assert(msg_recv(peer_end, &m) == 0 && strcmp(msg_name(m), DISPATCHER_W_ENDED) == 0);
    assert(strcmp(msg_get_str(m, "session", 100), "c2b/2tFgcLx/AAAB") == 0 && msg_done(m));
    msg_free(&m);
    stream_free(&peer_end);

    send_frame(msg_new(DISPATCHER_W_STOP));
    assert(dispatcher_link_next(l, &s, time_mono_ms() + 2000) == -1 && errno == ESHUTDOWN);
    close(ends[1]);
    assert(dispatcher_link_next(l, &s, time_mono_ms() + 2000) == -1 && errno == 0);
    dispatcher_link_ended(l, "to nobody");
    dispatcher_link_free(&l);
    dispatcher_link_free(&l);

    l = link_new();
    assert(write(ends[1], "\0\0\0\x09noise\xff\xff\xff\xff", 13) == 13);
    assert(dispatcher_link_next(l, &s, time_mono_ms() + 2000) == -1 && errno == EPROTO);
    close(ends[1]);
    dispatcher_link_free(&l);
    event_sleep(5);
    assert(open_descriptors() == before);
}

static void test_give_to_sleep(void)
{
    struct dispatcher_link *l = link_new();
    struct dispatcher_session *s = session(), *back;
    struct dispatcher_sleep how = { .dir_fd = { -1, -1 }, .notify = "", .notify_ms = 1 }, got = { .notify = NULL };
    struct stream *peer_end = stream_new(dup(ends[1]));
    struct msg *m;

    str_adds(&s->state, "what the session knows");
    assert(dispatcher_link_sleep(l, s, &how) == 0 && s->slept);
    assert(msg_recv(peer_end, &m) == 0 && strcmp(msg_name(m), DISPATCHER_W_SLEEP) == 0);
    assert(dispatcher_session_decode(m, &back) == 0 && dispatcher_sleep_decode(m, &got) == 0);
    assert(slice_same(str_slice(&back->state), str_slice(&s->state)));
    msg_free(&m);
    dispatcher_session_free(&back);
    s->slept = false; /* too much to remember: it stays awake */
    for (int i = 0; !str_over(&s->state) && i < 100000; i++)
        str_adds(&s->state, "0123456789012345678901234567890123456789");
    assert(str_over(&s->state) && dispatcher_link_sleep(l, s, &how) == -1 && !s->slept);
    str_reset(&s->state);
    stream_free(&peer_end);
    close(ends[1]);
    assert(dispatcher_link_sleep(l, s, &how) == -1 && !s->slept); /* dispatcher is gone */
    dispatcher_session_free(&s);
    dispatcher_link_free(&l);
}

static unsigned noticed;
static void on_change(void *arg)
{
    assert(arg == &noticed);
    noticed++;
}

static void test_watch(void)
{
    char dir[] = "/tmp/dispatcher-test-XXXXXX", path[64];
    struct dispatcher_watch *w;
    int fd;

    assert(mkdtemp(dir) && (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    w = dispatcher_watch_new(NULL, fd, on_change, &noticed);
    assert(w != NULL);
    snprintf(path, sizeof path, "%s/x", dir);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    event_sleep(50);
    assert(noticed == 1);
    dispatcher_watch_free(&w);
    unlink(path);
    event_sleep(50);
    assert(w == NULL && noticed == 1);
    dispatcher_watch_free(&w);
    assert(dispatcher_watch_new(NULL, -1, on_change, NULL) == NULL);
    close(fd);
    rmdir(dir);
}

static void test(void *unused)
{
    (void) unused;
    peer_init(DISPATCHER_SERVICE, DISPATCHER_PROTOCOL, DISPATCHER_VERSION, right);
    test_wire();
    test_sleep_wire();
    test_hand_over();
    test_link();
    test_give_to_sleep();
    test_watch();
    event_stop();
}

int main(void)
{
    peer_run(test);
    return 0;
}
