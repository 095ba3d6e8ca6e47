/* sleep - see sleep.h */
#include "sleep.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIGNALS_AT_ONCE = 64 };

struct sleeper {
    struct list node;
    int fd;
    bool changed;
};
/* Which sleeper a directory belongs to, by descriptor. */
static struct sleeper **by_fd;
static size_t by_fd_len;
static struct list sleepers = { &sleepers, &sleepers };
static int notices = -1; /* signalfd: SIGRTMIN says which descriptor changed, SIGIO that too many did */
static bool listening;

int sleep_open(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGIO);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        notices = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (notices < 0)
        log_error("cannot listen to change notices: %s", strerror(errno));
    return notices < 0 ? -1 : 0;
}

static void wake(struct sleeper *s)
{
    s->changed = true;
    event_forget_fd(s->fd); /* ends its wait */
}

static void listen_body(void *unused)
{
    struct signalfd_siginfo info[SIGNALS_AT_ONCE];

    (void) unused;
    while (event_wait_fd(notices, EVENT_READ, EVENT_NEVER) >= 0) {
        ssize_t n = read(notices, info, sizeof info);
        for (size_t i = 0; n > 0 && i < (size_t) n / sizeof *info; i++) {
            int fd = info[i].ssi_fd;
            if (info[i].ssi_signo == (uint32_t) SIGIO) /* the queue of signals was full: it may have been anybody */
                list_each(it, &sleepers) wake(list_entry(it, struct sleeper, node));
            else if (fd >= 0 && (size_t) fd < by_fd_len && by_fd[fd])
                wake(by_fd[fd]);
        }
    }
    listening = false;
}

static void enter(int fd, struct sleeper *s)
{
    if ((size_t) fd >= by_fd_len) {
        size_t len = by_fd_len ? by_fd_len : 64;
        while (len <= (size_t) fd)
            len *= 2;
        by_fd = mem_grow(by_fd, len, sizeof *by_fd);
        memset(by_fd + by_fd_len, 0, (len - by_fd_len) * sizeof *by_fd);
        by_fd_len = len;
    }
    by_fd[fd] = s;
}

/* False: no notice will come, or the directory is not as the session saw it. */
static bool watch(struct sleeper *s, int fd, int64_t mtime_ns)
{
    struct stat st;

    if (fd < 0)
        return true;
    enter(fd, s);
    return fcntl(fd, F_SETSIG, SIGRTMIN) == 0 &&
           fcntl(fd, F_NOTIFY, DN_CREATE | DN_DELETE | DN_RENAME | DN_MULTISHOT) == 0 && fstat(fd, &st) == 0 &&
           (int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == mtime_ns;
}

static void unwatch(int fd)
{
    if (fd < 0)
        return;
    if ((size_t) fd < by_fd_len)
        by_fd[fd] = NULL;
    close(fd);
}

/* An empty directory goes without a notice. */
static bool deleted(const struct dispatcher_sleep *how)
{
    struct stat st;

    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++)
        if (how->dir_fd[i] >= 0 && (fstat(how->dir_fd[i], &st) < 0 || st.st_nlink == 0))
            return true;
    return false;
}

/* A client that does not take these few bytes at once has more to be told, or is gone: its process sees to that. */
static bool say(int fd, const char *text)
{
    size_t len = strlen(text);

    return len == 0 || send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t) len;
}

static enum sleep_end wait_for_client(struct sleeper *s, const struct dispatcher_sleep *how)
{
    int64_t now = time_mono_ms(), end = now + how->end_in_ms, notify = now + how->notify_in_ms;

    while (!s->changed) {
        int rc = event_wait_fd(s->fd, EVENT_READ, notify < end ? notify : end);
        now = time_mono_ms();
        if (rc >= 0 || s->changed || now >= end)
            break;
        if (fiber_cancelled()) {
            (void) say(s->fd, "* BYE Server shutting down.\r\n");
            return SLEEP_STOP;
        }
        if (now >= notify && (deleted(how) || !say(s->fd, how->notify)))
            break;
        if (now >= notify)
            notify = now + how->notify_ms;
    }
    return SLEEP_WAKE;
}

enum sleep_end sleep_wait(int client_fd, struct dispatcher_sleep *how)
{
    struct sleeper s = { .fd = client_fd };
    enum sleep_end end;

    if (!listening) {
        listening = true;
        fiber_go("change notices", listen_body, NULL);
    }
    list_append(&sleepers, &s.node);
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++)
        s.changed = !watch(&s, how->dir_fd[i], how->mtime_ns[i]) || s.changed;
    end = wait_for_client(&s, how);
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++)
        unwatch(how->dir_fd[i]);
    event_forget_fd(s.fd);
    list_del(&s.node);
    return end;
}
