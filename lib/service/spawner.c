/*
 * spawner - root, one thread: forks a confined process for each user that master orders
 *
 * Callers     lib/service/service.c for "-t spawner"; orders come from master alone, over the status channel
 * Invariants  never uid or gid 0, never below virtual_minimum_uid and first_valid_gid; checked here though master has checked
 *             the child is confined before it runs the daemon's code (jail_close_user)
 *             without a child, and without an order for max_idle, it ends
 *             after a child has crashed the spawner ends and master starts a new one from the program file, so that
 *             children to come share no addresses and no stack canary with the one that was probed; the other
 *             children live on and become master's
 * Privilege   root; its own filter forbids sockets, chmod, chown and what only an intruder needs
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "service/channel.h"
#include "service/internal.h"
#include "service/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REAP_MS = 100 };

static size_t children;
static int64_t idle_since; /* time_mono_ms: of the last order */

static struct service_user user;
static int control_fd = -1;
static bool crashed;

static void on_term(void *unused)
{
    (void) unused;
    event_stop();
}

static void child_body(void *unused)
{
    (void) unused;
    event_signal(SIGTERM, on_term, NULL);
    service_state.svc->spawned(control_fd, &user);
    event_stop();
}

struct spawn {
    char *directory, *place[SERVICE_PLACES], *hint;
};

static void make_directory(const char *directory)
{
    char *path = mem_strdup(directory);

    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        /* EACCES: a parent that exists and is not to be written; if it is missing after all, entering it fails */
        if (mkdir(path, 0700) < 0 && errno != EEXIST && errno != EACCES && errno != EROFS)
            log_fatal("cannot make %s: %s", path, strerror(errno));
        if (slash == NULL)
            break;
        *slash = '/';
    }
    free(path);
}

/* A user who never had mail has no directories yet. They are made and opened with that user's own rights, parents
 * included: root must not make, or follow, what a user could have put in the way. */
static void make_directories(const struct spawn *s)
{
    bool root = geteuid() == 0;

    if (root && (jail_set_mail_groups("", user.gid) < 0 || setegid(user.gid) < 0 || seteuid(user.uid) < 0))
        log_fatal("cannot become uid %u: %s", (unsigned) user.uid, strerror(errno));
    make_directory(s->directory);
    for (int i = 0; i < SERVICE_PLACES; i++) {
        if (*s->place[i] == '\0')
            continue;
        make_directory(s->place[i]);
        user.place_fd[i] = open(s->place[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (user.place_fd[i] < 0)
            log_fatal("cannot open %s: %s", s->place[i], strerror(errno));
    }
    if (root && (seteuid(0) < 0 || setegid(getgid()) < 0))
        log_fatal("cannot take uid 0 back: %s", strerror(errno));
}

_Noreturn static void run_child(const struct spawn *s)
{
    const char *inside;
    const char *base = strrchr(service_state.argv[0], '/');
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int fd = CHANNEL_FD; fd < CHANNEL_FIRST_LISTENER + service_state.listener_count; fd++)
        close(fd);
    sink_retag(base ? base + 1 : service_state.argv[0]);
    service_state.alone = true; /* no channel: whatever asks master is refused */
    ipc_set_connector(NULL);
    make_directories(s);
    user.directory = s->directory;
    user.hint = s->hint;
    jail_close_user(service_state.svc, &user, (int) service_landlock_abi_max, &inside);
    user.directory = inside;
    event_run(child_body, NULL);
    exit(0);
}

static bool is_place(const char *directory)
{
    size_t len = strlen(directory);

    return directory[0] == '/' && strspn(directory, "/") < len && strstr(directory, "/../") == NULL &&
           (len < 3 || strcmp(directory + len - 3, "/..") != 0);
}

static bool allowed(const struct spawn *s)
{
    if (geteuid() == 0 && jail_ids_forbidden(user.uid, user.gid))
        return false;
    for (int i = 0; i < SERVICE_PLACES; i++)
        if (*s->place[i] && !is_place(s->place[i]))
            return false;
    return is_place(s->directory);
}

static void answer(uint32_t id, pid_t pid, int error)
{
    struct msg *m = msg_new(pid > 0 ? CHANNEL_SPAWNED : CHANNEL_REFUSED);

    if (pid > 0)
        msg_put_num(m, "pid", pid);
    else
        msg_put_num(m, "errno", error);
    if (msg_send_packet(CHANNEL_FD, m, id) < 0)
        log_warn("cannot answer master: %s", strerror(errno));
    msg_free(&m);
}

static void spawn(struct msg *m)
{
    struct spawn s = { .directory = mem_strdup(msg_get_str(m, "directory", CHANNEL_PATH_BYTES)) };
    pid_t pid;

    for (int i = 0; i < SERVICE_PLACES; i++)
        s.place[i] = mem_strdup(msg_get_str(m, channel_place[i], CHANNEL_PATH_BYTES));
    s.hint = mem_strdup(msg_get_str(m, "hint", SERVICE_HINT_BYTES));
    user.uid = (uid_t) msg_get_num(m, "uid", 0, UINT32_MAX - 1);
    user.gid = (gid_t) msg_get_num(m, "gid", 0, UINT32_MAX - 1);
    control_fd = msg_take_fd(m);
    if (!msg_done(m) || !allowed(&s)) {
        log_warn("refused to start a process for uid %u, gid %u in %s", (unsigned) user.uid, (unsigned) user.gid,
                 s.directory);
        answer(msg_id(m), -1, EPERM);
    } else {
        pid = fork();
        if (pid == 0)
            run_child(&s);
        if (pid < 0)
            log_warn("cannot fork: %s", strerror(errno));
        answer(msg_id(m), pid, pid < 0 ? errno : 0);
        children += pid > 0;
    }
    if (control_fd >= 0)
        close(control_fd);
    control_fd = -1;
    free(s.directory);
    for (int i = 0; i < SERVICE_PLACES; i++)
        free(s.place[i]);
    free(s.hint);
}

static void ended(pid_t pid, int status)
{
    children -= children > 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM && WTERMSIG(status) != SIGKILL) {
        log_warn("process %ld was killed by signal %d (%s)", (long) pid, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        crashed = true;
    } else if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
        log_warn("process %ld ended with status %d", (long) pid, status);
    }
}

/* The system looks through all children for one that has ended: with thousands of users that is done once for those
 * whose signals were one, and not for each order. */
static int64_t reap_at = EVENT_NEVER;

static void reap_one(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, WNOHANG) == pid)
        ended(pid, status);
    if (reap_at == EVENT_NEVER)
        reap_at = time_mono_ms() + REAP_MS;
}

static void reap_others(void)
{
    int status;

    if (time_mono_ms() < reap_at)
        return;
    reap_at = EVENT_NEVER;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        ended(pid, status);
}

/* When to go for want of work: master starts another at the next order. */
static int64_t idle_end(void)
{
    return children || service_state.max_idle <= 0 ? EVENT_NEVER : idle_since + service_state.max_idle * 1000;
}

static int wait_ms(void)
{
    int64_t now = time_mono_ms(), next = reap_at < idle_end() ? reap_at : idle_end();

    return next == EVENT_NEVER ? -1 : next <= now ? 0 : next - now < INT_MAX ? (int) (next - now) : INT_MAX;
}

/* False when the spawner must end: master's order, or master is gone. Users' processes live on until their sessions
 * have ended: dispatcher holds their control descriptors. */
static bool obey(void)
{
    struct msg *m;
    bool go_on = true;

    if (msg_recv_packet(CHANNEL_FD, &m) < 0)
        return errno == EAGAIN || errno == EPROTO;
    if (strcmp(msg_name(m), CHANNEL_SPAWN) == 0)
        spawn(m);
    else if (strcmp(msg_name(m), CHANNEL_STOP) == 0 || strcmp(msg_name(m), CHANNEL_RELOAD) == 0)
        go_on = false;
    msg_free(&m);
    return go_on;
}

static void say_ready(void)
{
    struct msg *m = msg_new(CHANNEL_READY);

    msg_put_num(m, "exclusive", 0);
    msg_put_num(m, "solitary", 1);
    msg_put_num(m, "overlaps", 0);
    msg_put_num(m, "sessions_max", 0);
    msg_send_packet(CHANNEL_FD, m, 0);
    msg_free(&m);
}

int spawner_main(void)
{
    struct pollfd poll_fds[2] = { { CHANNEL_FD, POLLIN, 0 }, { -1, POLLIN, 0 } };
    struct signalfd_siginfo info;
    sigset_t set;

    if (service_state.svc->spawned == NULL)
        log_fatal("%s cannot run as a spawner", service_state.svc->name);
    if (jail_mail_groups() < 0 || (service_state.svc->pre_jail && service_state.svc->pre_jail() < 0))
        return 1;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    poll_fds[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (poll_fds[1].fd < 0)
        log_fatal("cannot watch for signals: %s", strerror(errno));
    jail_calls_prepare(service_state.svc);
    jail_close_spawner();
    say_ready();
    idle_since = time_mono_ms();
    for (;;) {
        int n = poll(poll_fds, 2, wait_ms());
        if (n < 0 && errno != EINTR)
            log_fatal("poll: %s", strerror(errno));
        if (poll_fds[0].revents)
            idle_since = time_mono_ms();
        if (n == 0 && time_mono_ms() >= idle_end())
            return 0;
        if (poll_fds[1].revents && read(poll_fds[1].fd, &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGTERM)
                return 0;
            reap_one((pid_t) info.ssi_pid);
        }
        reap_others();
        if (poll_fds[0].revents && !obey())
            return 0;
        if (crashed)
            return 0;
    }
}
