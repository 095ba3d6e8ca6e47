/*
 * process - starting, counting and reaping the processes of services
 *
 * Invariants  on demand: master watches the listeners of a service while none of its processes takes connections
 *             maxproc: "-" and what is not exclusive count processes, the ending ones too. An explicit maxproc of an
 *             exclusive service counts sessions: each process holds a quota, and what quotas and the sessions of
 *             ending processes add up to never passes it
 *             a process that fails before it was ready throttles its service; one that crashed later is started
 *             again at the next demand, at once when the service has a wake-up timer or is solitary
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "master.h"
#include "service/channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ARGS_MAX = 512,
    SPREAD_SESSIONS = 4,
    SAFE_FD = 200,
    STRESS_SECONDS = 600,
    EXEC_FAILED = 127,
    RESTART_MS = 1000
};

struct process *process_ref(struct process *p)
{
    p->refs++;
    return p;
}

void process_unref(struct process *p)
{
    if (--p->refs > 0)
        return;
    event_forget_fd(p->channel);
    close(p->channel);
    free(p);
}

struct errand {
    struct process *process;
    struct msg *msg;
    uint32_t id;
};

static void tell_later(void *arg)
{
    struct errand *e = arg;
    struct process *p = e->process;

    if (event_sem_get(&p->sending, EVENT_NEVER) == 0) {
        while (msg_send_packet(p->channel, e->msg, e->id) < 0 && errno == EAGAIN)
            if (event_wait_fd(p->channel, EVENT_WRITE, EVENT_NEVER) < 0)
                break;
        event_sem_put(&p->sending);
    }
    msg_free(&e->msg);
    process_unref(p);
    free(e);
}

/* Never waits: what the daemon does not take now is sent by a fiber of its own. */
int process_tell(struct process *p, struct msg **m, uint32_t id)
{
    struct errand *e;

    if (p->sending.permits == 1 && (msg_send_packet(p->channel, *m, id) == 0 || errno != EAGAIN)) {
        msg_free(m);
        return 0;
    }
    e = mem_new(sizeof *e);
    *e = (struct errand){ process_ref(p), *m, id };
    *m = NULL;
    fiber_go("tell", tell_later, e);
    return 0;
}

static void tell(struct process *p, const char *order)
{
    struct msg *m = msg_new(order);

    process_tell(p, &m, 0);
}

/* Sessions that an explicit maxproc of an exclusive service still allows; -1: no such limit. */
static int64_t free_sessions(const struct unit *s)
{
    int64_t left = s->max_proc;

    if (s->max_proc <= 0 || (s->known && !s->exclusive))
        return -1;
    list_each(it, &s->processes)
    {
        struct process *p = list_entry(it, struct process, node);
        left -= p->ending_said ? p->sessions : p->sessions > p->quota ? p->sessions : p->quota;
    }
    return left < 0 ? 0 : left;
}

static int64_t processors(void)
{
    static long n;

    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}

static int64_t quota_share(const struct unit *s)
{
    int64_t left = free_sessions(s), processes = processors(), share;

    if (left < 0)
        return 0;
    if (processes > s->max_proc)
        processes = s->max_proc;
    share = (s->max_proc + processes - 1) / processes;
    if (s->sessions_max > 0 && share > s->sessions_max)
        share = s->sessions_max;
    return share < left ? share : left;
}

static int64_t count(const struct unit *s, bool with_ending)
{
    int64_t n = 0;

    list_each(it, &s->processes)
    {
        if (with_ending || !list_entry(it, struct process, node)->ending)
            n++;
    }
    return n;
}

size_t process_count(void)
{
    size_t n = 0;

    list_each(it, &services) n += (size_t) count(list_entry(it, struct unit, node), true);
    return n;
}

bool process_may_start(struct unit *s)
{
    int64_t limit = s->spawner ? 1 : s->max_proc;

    if (s->throttled || s->removed || master_stopping)
        return false;
    if (limit == MASTERCF_PROC_DEFAULT)
        limit = conf_default_process_limit;
    if (limit == 0)
        return true;
    if (s->known && s->exclusive && s->max_proc > 0)
        return free_sessions(s) > 0 && count(s, false) < limit;
    return count(s, !s->overlaps) < limit;
}

bool process_none_takes(const struct unit *s)
{
    list_each(it, &s->processes)
    {
        if (list_entry(it, struct process, node)->taking)
            return false;
    }
    return true;
}

/* What an inet service is told with -o stress=: all its processes are busy, and there will be no more. */
static bool stressed(struct unit *s)
{
    return s->type == MASTERCF_INET && s->stress_time && time_now() - s->stress_time < STRESS_SECONDS;
}

static void note_limit(struct unit *s)
{
    if (master_stopping || (s->max_proc == 1 && !s->exclusive))
        return;
    if (s->stress_time && time_now() - s->stress_time < STRESS_SECONDS)
        return;
    s->stress_time = time_now();
    log_warn(
        "service \"%s\" (%s) has reached its process limit \"%lld\": new clients may experience noticeable delays",
        s->name, s->program, (long long) (s->max_proc > 0 ? s->max_proc : conf_default_process_limit));
    log_warn(
        "to avoid this condition, increase the process count in master.cf or reduce the service time per client");
}

struct argv {
    char *arg[ARGS_MAX + 1];
    size_t count;
};
static void push(struct argv *a, char *text)
{
    if (a->count < ARGS_MAX)
        a->arg[a->count++] = text;
    else
        free(text);
}
static void push2(struct argv *a, const char *option, char *value)
{
    push(a, mem_strdup(option));
    push(a, value);
}

static void make_args(struct argv *a, struct unit *s, int64_t quota)
{
    const char *base = strrchr(s->program, '/');

    push(a, mem_strdup(base ? base + 1 : s->program));
    push2(a, "-n", mem_strdup(s->name));
    push2(a, "-t", mem_strdup(s->spawner ? "spawner" : mastercf_type_name[s->type]));
    if (s->unpriv)
        push(a, mem_strdup("-u"));
    if (s->chroot)
        push(a, mem_strdup("-c"));
    if (s->listener_count)
        push2(a, "-s", mem_printf("%zu", s->listener_count));
    if (quota > 0)
        push2(a, "-S", mem_printf("%lld", (long long) quota));
    if (s->type == MASTERCF_INET)
        push2(a, "-o", mem_strdup(stressed(s) ? "stress=yes" : "stress="));
    for (char **arg = s->args; *arg; arg++)
        push(a, mem_strdup(*arg));
    a->arg[a->count] = NULL;
}

/* In the child, between fork and exec: only what is safe there. Descriptors first go where they cannot collide with
 * the places they are meant for. */
_Noreturn static void exec_child(struct unit *s, int channel, char *const *argv, char *const *env)
{
    int fds[LISTENERS_MAX + 1], null = open("/dev/null", O_RDWR | O_CLOEXEC), high;
    size_t n = 0;
    sigset_t none;

    fds[n++] = fcntl(channel, F_DUPFD_CLOEXEC, SAFE_FD);
    for (size_t i = 0; i < s->listener_count; i++)
        fds[n++] = fcntl(s->listeners[i].fd, F_DUPFD_CLOEXEC, SAFE_FD);
    high = fcntl(log_capture_fd(), F_DUPFD_CLOEXEC, SAFE_FD);
    dup2(null, STDIN_FILENO);
    if (!master_foreground)
        dup2(null, STDOUT_FILENO);
    dup2(high, STDERR_FILENO);
    for (size_t i = 0; i < n; i++)
        if (fds[i] < 0 || dup2(fds[i], CHANNEL_FD + (int) i) < 0)
            _exit(EXEC_FAILED);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(s->path, argv, env);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", s->path, strerror(errno));
    _exit(EXEC_FAILED);
}

static void spread(struct unit *s)
{
    bool busy = false;

    if (!s->known || s->solitary || s->spawner || s->type == MASTERCF_UNIX_DGRAM || count(s, false) >= processors() ||
        !process_may_start(s))
        return;
    list_each(it, &s->processes)
    {
        struct process *p = list_entry(it, struct process, node);
        if (p->ending) /* for idleness, perhaps: no sign of work */
            continue;
        if (!p->ready || (p->taking && p->sessions < SPREAD_SESSIONS))
            return;
        busy = true;
    }
    if (busy)
        process_start(s);
}

/* A full process gets more of the service's sessions where there are any and no further process is due. */
static void raise_quota(struct process *p)
{
    struct unit *s = p->service;
    int64_t left = free_sessions(s);
    struct msg *m;

    if (!s->exclusive || left <= 0 || p->ending || p->sessions < p->quota || count(s, false) < processors() ||
        (s->sessions_max > 0 && p->quota >= s->sessions_max))
        return;
    p->quota += left < quota_share(s) ? left : quota_share(s);
    m = msg_new(CHANNEL_QUOTA);
    msg_put_num(m, "sessions", p->quota);
    process_tell(p, &m, 0);
}

static void on_ready(struct process *p, struct msg *m)
{
    struct unit *s = p->service;

    s->exclusive = msg_get_num(m, "exclusive", 0, 1);
    s->solitary = msg_get_num(m, "solitary", 0, 1);
    s->overlaps = msg_get_num(m, "overlaps", 0, 1);
    s->sessions_max = msg_get_num(m, "sessions_max", 0, INT32_MAX);
    s->known = true;
    p->ready = true;
    if (p->wakeup_pending)
        tell(p, CHANNEL_WAKEUP);
    p->wakeup_pending = false;
    if (s->spawner)
        spawn_ready(p);
}

static void on_status(struct process *p, struct msg *m)
{
    p->sessions = msg_get_num(m, "sessions", 0, INT32_MAX);
    p->taking = msg_get_num(m, "taking", 0, 1);
    p->ending_said = msg_get_num(m, "ending", 0, 1);
    p->ending |= p->ending_said;
    p->uses = msg_get_num(m, "uses", 0, INT64_MAX);
    if (!p->taking)
        raise_quota(p);
    spread(p->service);
    event_cond_broadcast(&p->service->changed);
}

static void on_message(struct process *p, struct msg *m)
{
    const char *name = msg_name(m);

    if (strcmp(name, CHANNEL_STATUS) == 0)
        on_status(p, m);
    else if (strcmp(name, CHANNEL_READY) == 0)
        on_ready(p, m);
    else if (strcmp(name, CHANNEL_CONNECT) == 0)
        introduce(p, m);
    else if (strcmp(name, CHANNEL_SPAWN) == 0)
        spawn_order(p, m);
    else if (p->service->spawner)
        spawn_answer(p, m);
    else
        log_warn("process %s, pid %ld: unexpected message \"%s\"", p->service->program, (long) p->pid, name);
}

static void read_channel(void *arg)
{
    struct process *p = arg;
    struct msg *m;

    while (p->service) {
        if (msg_recv_packet(p->channel, &m) == 0) {
            if (p->service)
                on_message(p, m);
            msg_free(&m);
        } else if (errno != EAGAIN || event_wait_fd(p->channel, EVENT_READ, EVENT_NEVER) < 0) {
            break;
        }
    }
    if (p->service) { /* it closed the channel; its end is near */
        p->taking = false;
        p->ending = true;
        event_cond_broadcast(&p->service->changed);
    }
    process_unref(p);
}

static void begin_process(struct unit *s, struct process *p, int64_t quota)
{
    p->service = s;
    p->sending.permits = 1;
    p->taking = true;
    p->quota = quota;
    p->started_ms = time_mono_ms();
    p->refs = 2; /* the list's and the reader's */
    list_append(&s->processes, &p->node);
    s->used = true;
    fiber_go("daemon", read_channel, p);
    event_cond_broadcast(&s->changed);
}

struct process *process_start(struct unit *s)
{
    int64_t quota = quota_share(s);
    struct process *p;
    struct argv argv = { .count = 0 };
    char **env;
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        log_warn("cannot start %s: %s", s->path, strerror(errno));
        return NULL;
    }
    make_args(&argv, s, quota);
    env = master_environment();
    pid = fork();
    if (pid == 0)
        exec_child(s, pair[1], argv.arg, env);
    close(pair[1]);
    for (size_t i = 0; i < argv.count; i++)
        free(argv.arg[i]);
    free(env);
    if (pid < 0) {
        log_warn("cannot start %s: fork: %s", s->path, strerror(errno));
        close(pair[0]);
        return NULL;
    }
    p = mem_new(sizeof *p);
    p->pid = pid;
    p->channel = pair[0];
    begin_process(s, p, quota);
    return p;
}

void process_wakeup(struct unit *s)
{
    list_each(it, &s->processes)
    {
        struct process *p = list_entry(it, struct process, node);
        if (p->ending)
            continue;
        if (p->ready)
            tell(p, CHANNEL_WAKEUP);
        else
            p->wakeup_pending = true;
        return;
    }
    if (process_may_start(s)) {
        struct process *p = process_start(s);
        if (p)
            p->wakeup_pending = true;
    } else {
        s->wakeup_due = !list_empty(&s->processes); /* the last one is ending: its successor will be told */
    }
}

void process_end_all(struct unit *s, const char *order)
{
    list_each(it, &s->processes)
    {
        struct process *p = list_entry(it, struct process, node);
        if (p->ending && strcmp(order, CHANNEL_STOP) != 0)
            continue;
        p->ending = true;
        p->taking = false;
        tell(p, order);
    }
    event_cond_broadcast(&s->changed);
}

void process_kill_all(bool postlogd_too)
{
    list_each(it, &services)
    {
        struct unit *s = list_entry(it, struct unit, node);
        if (strcmp(s->program, "postlogd") == 0 && !postlogd_too)
            continue;
        list_each(at, &s->processes)
        {
            struct process *p = list_entry(at, struct process, node);
            log_warn("process %s pid %ld does not end: killing it", s->path, (long) p->pid);
            kill(p->pid, SIGKILL);
        }
    }
}

static void unthrottle(void *arg)
{
    struct unit *s = arg;

    s->throttled = false;
    event_timer_free(&s->throttle_timer);
    event_cond_broadcast(&s->changed);
    if (s->spawner && !s->removed)
        spawn_resume(s);
    if ((s->wakeup > 0 || s->solitary) && !s->removed && !s->spawner)
        process_wakeup(s);
}

static void hold_back(struct unit *s, int64_t milliseconds)
{
    s->throttled = true;
    s->held_until = time_mono_ms() + milliseconds;
    if (s->throttle_timer == NULL)
        s->throttle_timer = event_timer_new(milliseconds, unthrottle, s);
}

/* Who came while it could not start is told so by the end of the connection. */
static void turn_away(struct unit *s)
{
    for (size_t n = 0; n < s->listener_count; n++)
        for (int fd; (fd = accept4(s->listeners[n].fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
            close(fd);
}

/* A service that works by itself, not for a client that will ask again, must come back by itself. */
static void restart(struct unit *s, int64_t lived_ms)
{
    if (s->wakeup <= 0 && !s->solitary)
        return;
    if (lived_ms < RESTART_MS)
        hold_back(s, RESTART_MS);
    else if (process_may_start(s))
        process_wakeup(s);
}

static void ended(struct process *p, int status)
{
    struct unit *s = p->service;
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;

    if (failed && WIFEXITED(status))
        log_warn("process %s pid %ld exit status %d", s->path, (long) p->pid, WEXITSTATUS(status));
    else if (failed && !(master_stopping && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM)))
        log_warn("process %s pid %ld killed by signal %d", s->path, (long) p->pid, WTERMSIG(status));
    list_del(&p->node);
    p->service = NULL;
    if (failed && !p->ready && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        restart(s, 0); /* somebody did that; the program may well be good */
    } else if (failed && !p->ready && !s->throttled && !master_stopping) {
        log_warn("%s: bad command startup -- throttling", s->path);
        hold_back(s, master_throttle_seconds * 1000);
    } else if (failed && p->ready && !s->removed && !master_stopping) {
        restart(s, time_mono_ms() - p->started_ms);
    }
    if (introduce_refuses(s))
        turn_away(s);
    if (s->wakeup_due && !s->removed && process_may_start(s)) {
        s->wakeup_due = false;
        process_wakeup(s);
    }
    if (s->spawner)
        spawn_lost(p, s);
    shutdown(p->channel, SHUT_RDWR); /* its reader ends */
    process_unref(p);
    event_cond_broadcast(&s->changed);
    process_retired(s);
}

static struct process *find(pid_t pid)
{
    list_each(it, &services)
    {
        list_each(at, &list_entry(it, struct unit, node)->processes)
        {
            struct process *p = list_entry(at, struct process, node);
            if (p->pid == pid)
                return p;
        }
    }
    return NULL;
}

void process_reap(void)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        struct process *p = find(pid);
        if (p)
            ended(p, status);
        else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM && WTERMSIG(status) != SIGKILL)
            log_warn("process %ld of a user was killed by signal %d", (long) pid, WTERMSIG(status));
    }
}

/* Of a living process, by "pid (name) state parent group ..."; -1 when there is none. */
static pid_t group_of(pid_t pid)
{
    char path[64], text[512];
    struct slice rest, word;
    uint64_t group = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long) pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, text, sizeof text);
    close(fd);
    rest = slice_make(text, n > 0 ? (size_t) n : 0);
    rest = slice_sub(rest, (size_t) (slice_rfind(rest, ')') + 1), rest.len); /* the name may hold anything */
    for (int i = 0; i < 3; i++)
        if (!slice_word(&rest, " ", &word) || (i == 0 && slice_eq(word, "Z")))
            return -1;
    return slice_u64(word, INT32_MAX, &group) == 0 ? (pid_t) group : -1;
}

bool process_alive(pid_t pid) { return group_of(pid) >= 0; }

size_t process_strays(int signo)
{
    DIR *proc = getpgrp() == getpid() ? opendir("/proc") : NULL;
    size_t strays = 0;

    for (struct dirent *e; proc && (e = readdir(proc)) != NULL;) {
        uint64_t pid;
        if (slice_u64(slice_of(e->d_name), INT32_MAX, &pid) < 0 || (pid_t) pid == getpid() || find((pid_t) pid) ||
            group_of((pid_t) pid) != getpgrp())
            continue;
        strays++;
        if (signo)
            kill((pid_t) pid, signo);
    }
    if (proc)
        closedir(proc);
    return strays;
}

/* Watches one listener while nobody takes its connections. */
struct watch {
    struct unit *service;
    int fd;
};

static void watch_listener(void *arg)
{
    struct watch w = *(struct watch *) arg;
    struct unit *s = w.service;

    free(arg);
    while (!fiber_cancelled()) {
        if (!process_none_takes(s) || !process_may_start(s)) {
            struct pollfd client = { w.fd, POLLIN, 0 }; /* a look, not a wait: `changed` keeps no state */
            if (process_none_takes(s) && !s->throttled && !list_empty(&s->processes) && poll(&client, 1, 0) > 0)
                note_limit(s);
            if (event_cond_wait(&s->changed, EVENT_NEVER) < 0)
                return;
            continue;
        }
        if (event_wait_fd(w.fd, EVENT_READ, EVENT_NEVER) < 0)
            return;
        if (!fiber_cancelled() && process_none_takes(s) && process_may_start(s))
            process_start(s);
    }
}

void service_watch(struct unit *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        struct watch *w = mem_new(sizeof *w);
        *w = (struct watch){ s, s->listeners[i].fd };
        s->listeners[i].watcher = fiber_new("watch", watch_listener, w);
    }
}
