/*
 * service_test - the skeleton under a master made of a few lines: sessions, quota, introductions, wake-up, reload,
 * stop
 *
 * The program runs itself as the daemon (SERVICE_TEST=daemon): its status channel and listener are made as master
 * makes them.
 */
#include "base/time.h"
#include "service/channel.h"
#include "service/service.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 10000, NOTHING_MS = 300, LINE_BYTES = 200 };

/* The daemon: echoes lines; "connect NAME" asks to be introduced. */
static void session(struct stream *s, const struct service_peer *peer)
{
    struct str line;
    enum stream_eol eol;

    (void) peer;
    str_init(&line, LINE_BYTES);
    stream_timeout(s, WAIT_MS);
    stream_printf(s, "hello from %s\n", service_name());
    while (stream_line(s, &line, LINE_BYTES, &eol) == 0 && strcmp(line.p, "quit") != 0) {
        if (slice_starts(str_slice(&line), "connect ")) {
            int fd = service_connect(line.p + 8, time_mono_ms() + WAIT_MS);
            stream_printf(s, "%s\n", fd >= 0 && write(fd, "!", 1) == 1 ? "granted" : strerror(errno));
            if (fd >= 0)
                close(fd);
        } else {
            stream_printf(s, "%s\n", line.p);
        }
        str_reset(&line);
    }
    str_free(&line);
}
static void wakeup(void)
{
    int fd = service_connect("woken", time_mono_ms() + WAIT_MS);

    if (fd >= 0)
        close(fd);
}
static const struct service daemon_service = {
    .name = "echo", .jail = JAIL_CHROOT, .user = "65534", .session = session, .exclusive = true, .wakeup = wakeup
};

/* The master. */
static char scratch[] = "/tmp/service_test.XXXXXX";
static int channel, listener;
static pid_t pid;

static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text));
    close(fd);
}

static void start(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int pair[2];

    strcpy(at.sun_path, "socket");
    unlink("socket");
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert(bind(listener, (struct sockaddr *) &at, sizeof at) == 0 && listen(listener, 10) == 0);
    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    channel = pair[0];
    pid = fork();
    if (pid == 0) {
        int a = fcntl(pair[1], F_DUPFD, 100), b = fcntl(listener, F_DUPFD, 100);
        dup2(a, CHANNEL_FD);
        dup2(b, CHANNEL_FIRST_LISTENER);
        for (int fd = CHANNEL_FIRST_LISTENER + 1; fd < 120; fd++)
            close(fd);
        setenv("SERVICE_TEST", "daemon", 1);
        setenv("MAIL_CONFIG", scratch, 1);
        execl("/proc/self/exe", "echo", "-n", "test", "-t", "unix", "-s", "1", "-S", "2", (char *) NULL);
        _exit(127);
    }
    close(pair[1]);
}

static struct msg *receive(const char *name)
{
    struct pollfd p = { channel, POLLIN, 0 };
    struct msg *m;

    for (;;) {
        assert(poll(&p, 1, WAIT_MS) == 1);
        assert(msg_recv_packet(channel, &m) == 0);
        if (strcmp(msg_name(m), name) == 0)
            return m;
        assert(strcmp(msg_name(m), CHANNEL_STATUS) == 0); /* may come at any time */
        msg_free(&m);
    }
}

static void expect_status(int64_t sessions, bool taking, bool ending)
{
    for (;;) {
        struct msg *m = receive(CHANNEL_STATUS);
        bool as_wanted = msg_get_num(m, "sessions", 0, 100) == sessions;
        as_wanted &= msg_get_num(m, "taking", 0, 1) == taking;
        as_wanted &= msg_get_num(m, "ending", 0, 1) == ending;
        msg_get_num(m, "uses", 0, 100);
        assert(msg_done(m));
        msg_free(&m);
        if (as_wanted)
            return;
    }
}

static void order(const char *name, int64_t quota)
{
    struct msg *m = msg_new(name);

    if (quota)
        msg_put_num(m, "sessions", quota);
    assert(msg_send_packet(channel, m, 0) == 0);
    msg_free(&m);
}

static FILE *client(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(at.sun_path, "socket");
    assert(connect(fd, (struct sockaddr *) &at, sizeof at) == 0);
    return fdopen(fd, "r+");
}

static bool silent(FILE *f)
{
    struct pollfd p = { fileno(f), POLLIN, 0 };

    return poll(&p, 1, NOTHING_MS) == 0;
}

static void expect(FILE *f, const char *want)
{
    struct pollfd p = { fileno(f), POLLIN, 0 };
    char line[LINE_BYTES] = "";

    assert(poll(&p, 1, WAIT_MS) == 1 && fgets(line, sizeof line, f));
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, want) != 0)
        printf("got \"%s\", not \"%s\"\n", line, want);
    assert(strcmp(line, want) == 0);
}

static void say(FILE *f, const char *line) { assert(dprintf(fileno(f), "%s\n", line) > 0); }

static void answer_connect(const char *service, int fd, int error)
{
    struct msg *m = receive(CHANNEL_CONNECT), *answer;
    uint32_t id = msg_id(m);

    assert(id != 0 && strcmp(msg_get_str(m, "service", 100), service) == 0 && msg_done(m));
    msg_free(&m);
    answer = msg_new(fd >= 0 ? CHANNEL_GRANTED : CHANNEL_REFUSED);
    if (fd >= 0)
        msg_put_fd(answer, fd);
    else
        msg_put_num(answer, "errno", error);
    assert(msg_send_packet(channel, answer, id) == 0);
    msg_free(&answer);
}

static void expect_exit(void)
{
    int64_t until = time_mono_ms() + WAIT_MS;
    int status = -1;
    pid_t got = 0;

    while (got == 0 && time_mono_ms() < until) {
        got = waitpid(pid, &status, WNOHANG);
        usleep(10000);
    }
    assert(got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(channel);
    close(listener);
}

static void expect_ready(void)
{
    struct msg *m = receive(CHANNEL_READY);

    assert(msg_get_num(m, "exclusive", 0, 1) == 1 && msg_get_num(m, "solitary", 0, 1) == 0);
    assert(msg_get_num(m, "overlaps", 0, 1) == 0);
    assert(msg_get_num(m, "sessions_max", 0, 9) == 0 && msg_done(m));
    msg_free(&m);
}

static void test_quota_and_reload(void)
{
    FILE *a, *b, *c, *d;
    int fds[2];
    char byte;

    start();
    expect_ready();
    assert(sched_getscheduler(pid) == SCHED_BATCH); /* one that is woken does not interrupt who runs */
    a = client();
    expect(a, "hello from test");
    b = client();
    expect(b, "hello from test");
    expect_status(2, false, false); /* -S 2: full */
    c = client();
    assert(silent(c));
    order(CHANNEL_QUOTA, 3);
    expect(c, "hello from test");
    say(a, "one line");
    expect(a, "one line");

    assert(pipe(fds) == 0);
    say(a, "connect private/rewrite");
    answer_connect("private/rewrite", fds[1], 0);
    expect(a, "granted");
    assert(read(fds[0], &byte, 1) == 1 && byte == '!');
    say(a, "connect private/secret");
    answer_connect("private/secret", -1, EACCES);
    expect(a, strerror(EACCES));
    order(CHANNEL_WAKEUP, 0);
    answer_connect("woken", -1, ENOENT);

    order(CHANNEL_RELOAD, 0); /* sessions go on; nobody new is taken */
    expect_status(3, false, true);
    d = client();
    assert(silent(d));
    say(b, "still here");
    expect(b, "still here");
    say(a, "quit");
    say(b, "quit");
    expect_status(1, false, true);
    say(c, "quit");
    expect_exit();
    fclose(a);
    fclose(b);
    fclose(c);
    fclose(d);
    close(fds[0]);
    close(fds[1]);
}

/* An open session is no reason to stay: by order, by SIGTERM, and when master is gone. */
static void test_stop(int way)
{
    FILE *a;

    start();
    expect_ready();
    a = client();
    expect(a, "hello from test");
    if (way == 0)
        order(CHANNEL_STOP, 0);
    else if (way == 1)
        kill(pid, SIGTERM);
    else
        shutdown(channel, SHUT_RDWR);
    expect_exit();
    fclose(a);
}

int main(int argc, char **argv)
{
    char *main_cf, *clean;

    if (getenv("SERVICE_TEST"))
        return service_main(&daemon_service, argc, argv);
    assert(mkdtemp(scratch) && chdir(scratch) == 0 && chmod(scratch, 0755) == 0);
    assert(asprintf(&main_cf, "queue_directory = %s\nmail_owner = nobody\n", scratch) > 0);
    put_file("main.cf", main_cf);
    test_quota_and_reload();
    for (int way = 0; way < 3; way++)
        test_stop(way);
    assert(asprintf(&clean, "rm -rf %s", scratch) > 0 && system(clean) == 0);
    free(clean);
    free(main_cf);
    return 0;
}
