/*
 * dispatcher - hand-over of a client's socket, and the channel of a user's process
 *
 * Callers     see dispatcher.h
 * Invariants  a decoded session owns its descriptor; a session that is refused is closed here
 */
#include "client/dispatcher.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/dispatcher_wire.h"
#include "ipc/client.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *name;
    enum dispatcher_answer answer;
} answers[] = { { DISPATCHER_W_OK, DISPATCHER_OK },
                { DISPATCHER_W_LIMIT, DISPATCHER_LIMIT },
                { DISPATCHER_W_DENIED, DISPATCHER_DENIED },
                { DISPATCHER_W_UNAVAILABLE, DISPATCHER_UNAVAILABLE } };

const char *dispatcher_answer_name(enum dispatcher_answer answer)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (answers[i].answer == answer)
            return answers[i].name;
    return DISPATCHER_W_UNAVAILABLE;
}

struct dispatcher_session *dispatcher_session_new(void)
{
    struct dispatcher_session *s = mem_new(sizeof *s);

    s->fd = -1;
    str_init(&s->input, DISPATCHER_INPUT_BYTES);
    str_init(&s->state, DISPATCHER_STATE_BYTES);
    return s;
}

void dispatcher_session_free(struct dispatcher_session **session)
{
    struct dispatcher_session *s = *session;

    if (s == NULL)
        return;
    if (s->fd >= 0)
        close(s->fd);
    str_free(&s->input);
    str_free(&s->state);
    free(s->protocol);
    free(s->id);
    free(s->rip);
    free(s->lip);
    free(s->tag);
    free(s->user);
    free(s->maildir);
    free(s);
    *session = NULL;
}

static void put_text(struct msg *m, const char *name, const char *value) { msg_put_str(m, name, value ? value : ""); }

struct msg *dispatcher_session_encode(const struct dispatcher_session *s, const char *name)
{
    struct msg *m = msg_new(name);

    put_text(m, "protocol", s->protocol);
    put_text(m, "session", s->id);
    put_text(m, "rip", s->rip);
    put_text(m, "lip", s->lip);
    msg_put_num(m, "rport", s->rport);
    msg_put_num(m, "lport", s->lport);
    msg_put_num(m, "tls", s->tls);
    msg_put_num(m, "secured", s->secured);
    put_text(m, "tag", s->tag);
    msg_put_num(m, "untagged", s->capability_untagged);
    msg_put(m, "input", str_slice(&s->input));
    put_text(m, "user", s->user);
    put_text(m, "maildir", s->maildir);
    msg_put(m, "state", str_slice(&s->state));
    msg_lend_fd(m, s->fd);
    return m;
}

static char *get_text(struct msg *m, const char *name, size_t max) { return mem_strdup(msg_get_str(m, name, max)); }

int dispatcher_session_decode(struct msg *m, struct dispatcher_session **out)
{
    struct dispatcher_session *s = dispatcher_session_new();

    s->protocol = get_text(m, "protocol", DISPATCHER_TEXT_BYTES);
    s->id = get_text(m, "session", DISPATCHER_TEXT_BYTES);
    s->rip = get_text(m, "rip", DISPATCHER_TEXT_BYTES);
    s->lip = get_text(m, "lip", DISPATCHER_TEXT_BYTES);
    s->rport = (unsigned) msg_get_num(m, "rport", 0, 65535);
    s->lport = (unsigned) msg_get_num(m, "lport", 0, 65535);
    s->tls = msg_get_num(m, "tls", 0, 1) != 0;
    s->secured = msg_get_num(m, "secured", 0, 1) != 0;
    s->tag = get_text(m, "tag", DISPATCHER_TAG_BYTES);
    s->capability_untagged = msg_get_num(m, "untagged", 0, 1) != 0;
    str_addslice(&s->input, msg_get(m, "input", DISPATCHER_INPUT_BYTES));
    s->user = get_text(m, "user", DISPATCHER_TEXT_BYTES);
    s->maildir = get_text(m, "maildir", DISPATCHER_PATH_BYTES);
    str_addslice(&s->state, msg_get(m, "state", DISPATCHER_STATE_BYTES));
    s->fd = msg_take_fd(m);
    if (s->fd < 0 || s->protocol[0] == '\0' || s->id[0] == '\0') {
        dispatcher_session_free(&s);
        return -1;
    }
    *out = s;
    return 0;
}

static int64_t answers_now; /* pid of who has answered last; 0: nobody */

int64_t dispatcher_pid(void) { return answers_now; }

enum dispatcher_answer dispatcher_hand_over(const struct dispatcher_session *s, const struct dispatcher_claim *claim,
                                            int64_t deadline, pid_t *mail_pid, char *reason, size_t reason_bytes)
{
    static struct ipc_client *client; /* lives as long as the process */
    enum dispatcher_answer answer = DISPATCHER_UNAVAILABLE;
    struct msg *m = dispatcher_session_encode(s, DISPATCHER_W_SESSION), *reply;

    if (client == NULL)
        client = ipc_client_new(DISPATCHER_SERVICE, DISPATCHER_PROTOCOL, DISPATCHER_VERSION);
    msg_put_num(m, "client_pid", claim->client_pid);
    msg_put_num(m, "request", claim->request);
    msg_put_str(m, "cookie", claim->cookie);
    reply = ipc_call(client, &m, false, deadline);
    *mail_pid = 0;
    reason[0] = '\0';
    answers_now = 0;
    if (reply == NULL)
        return DISPATCHER_UNAVAILABLE;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (strcmp(msg_name(reply), answers[i].name) == 0)
            answer = answers[i].answer;
    pid_t pid = (pid_t) msg_get_num(reply, "pid", 0, INT32_MAX);
    const char *text = msg_get_str(reply, "reason", DISPATCHER_TEXT_BYTES);
    int64_t by = msg_get_num(reply, "by", 1, INT32_MAX);
    if (msg_done(reply)) {
        answers_now = answer == DISPATCHER_OK ? by : 0;
        *mail_pid = pid;
        snprintf(reason, reason_bytes, "%s", text);
    } else {
        answer = DISPATCHER_UNAVAILABLE;
    }
    msg_free(&reply);
    return answer;
}

/* The user's process. */
struct dispatcher_link {
    struct stream *stream;
    struct event_sem sending; /* sessions take turns */
};

struct dispatcher_link *dispatcher_link_new(int control_fd)
{
    struct dispatcher_link *l = mem_new(sizeof *l);

    l->stream = stream_new(control_fd);
    l->sending.permits = 1;
    return l;
}

void dispatcher_link_free(struct dispatcher_link **link)
{
    if (*link == NULL)
        return;
    stream_free(&(*link)->stream);
    free(*link);
    *link = NULL;
}

int dispatcher_link_next(struct dispatcher_link *l, struct dispatcher_session **out, int64_t deadline)
{
    for (;;) {
        struct msg *m;

        stream_deadline(l->stream, deadline);
        if (msg_recv(l->stream, &m) != 0)
            return -1;
        if (strcmp(msg_name(m), DISPATCHER_W_STOP) == 0 && msg_done(m)) {
            msg_free(&m);
            errno = ESHUTDOWN;
            return -1;
        }
        bool good = strcmp(msg_name(m), DISPATCHER_W_SESSION) == 0 && dispatcher_session_decode(m, out) == 0;
        if (good && !msg_done(m)) {
            dispatcher_session_free(out);
            good = false;
        }
        if (!good)
            log_warn("dispatcher sent a frame \"%s\" that cannot be used", msg_name(m));
        msg_free(&m);
        if (good)
            return 0;
    }
}

static int say(struct dispatcher_link *l, struct msg *m)
{
    int rc = -1;

    fiber_shield(true); /* half a frame would be the end of all sessions */
    if (event_sem_get(&l->sending, EVENT_NEVER) == 0) {
        rc = msg_send(l->stream, m, 0);
        event_sem_put(&l->sending);
    }
    fiber_shield(false);
    msg_free(&m);
    return rc;
}

static int say_of(struct dispatcher_link *l, const char *word, const char *id)
{
    struct msg *m = msg_new(word);

    msg_put_str(m, "session", id);
    return say(l, m);
}

int dispatcher_link_taken(struct dispatcher_link *l, const char *id) { return say_of(l, DISPATCHER_W_TAKEN, id); }

void dispatcher_link_ended(struct dispatcher_link *l, const char *id)
{
    (void) say_of(l, DISPATCHER_W_ENDED, id); /* dispatcher gone: it learns of the end with its own */
}

static const char *const dir_names[DISPATCHER_SLEEP_DIRS] = { "dir_0", "dir_1" };

void dispatcher_sleep_encode(struct msg *m, const struct dispatcher_sleep *how)
{
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++) {
        if (how->dir_fd[i] < 0)
            continue;
        msg_put_num(m, dir_names[i], how->mtime_ns[i]);
        msg_lend_fd(m, how->dir_fd[i]);
    }
    msg_put_str(m, "notify", how->notify);
    msg_put_num(m, "notify_ms", how->notify_ms);
    msg_put_num(m, "notify_in_ms", how->notify_in_ms);
    msg_put_num(m, "end_in_ms", how->end_in_ms);
}

int dispatcher_sleep_decode(struct msg *m, struct dispatcher_sleep *out)
{
    bool bad = false;

    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++) {
        out->dir_fd[i] = -1;
        if (!msg_has(m, dir_names[i]))
            continue;
        out->mtime_ns[i] = msg_get_num(m, dir_names[i], INT64_MIN, INT64_MAX);
        out->dir_fd[i] = msg_take_fd(m);
        bad = bad || out->dir_fd[i] < 0;
    }
    out->notify = msg_get_str(m, "notify", DISPATCHER_NOTIFY_BYTES);
    out->notify_ms = msg_get_num(m, "notify_ms", 1, DISPATCHER_SLEEP_MS_MAX);
    out->notify_in_ms = msg_get_num(m, "notify_in_ms", 0, DISPATCHER_SLEEP_MS_MAX);
    out->end_in_ms = msg_get_num(m, "end_in_ms", 0, DISPATCHER_SLEEP_MS_MAX);
    if (!bad && msg_done(m))
        return 0;
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++)
        if (out->dir_fd[i] >= 0)
            close(out->dir_fd[i]);
    return -1;
}

int dispatcher_link_sleep(struct dispatcher_link *l, struct dispatcher_session *s, const struct dispatcher_sleep *how)
{
    struct msg *m;
    int rc;

    if (str_over(&s->state))
        return -1;
    m = dispatcher_session_encode(s, DISPATCHER_W_SLEEP);
    dispatcher_sleep_encode(m, how);
    rc = say(l, m);
    s->slept = rc == 0;
    return rc;
}

/*
 * Change notice is dnotify, not inotify: it needs no more than an open directory, so it works in this process's
 * chroot under Landlock, where an inotify watch made by dispatcher for us would need read permission of dispatcher's
 * uid, and 128 inotify instances are all that a uid may have.
 */
struct dispatcher_watch {
    struct list node;
    int fd;
    event_fn changed;
    void *arg;
};
static struct list watches; /* lives as long as the process */

static void on_sigio(void *unused)
{
    (void) unused;
    list_each(it, &watches)
    {
        struct dispatcher_watch *w = list_entry(it, struct dispatcher_watch, node);
        fiber_go("mailbox changed", w->changed, w->arg);
    }
}

struct dispatcher_watch *dispatcher_watch_new(struct dispatcher_link *link, int dir_fd, event_fn changed, void *arg)
{
    struct dispatcher_watch *w;
    /* A file description of our own: closing any duplicate of the caller's would end the notice. */
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void) link;
    if (fd < 0)
        return NULL;
    if (watches.next == NULL) {
        list_init(&watches);
        event_signal(SIGIO, on_sigio, NULL); /* the default action of SIGIO ends the process */
    }
    if (fcntl(fd, F_NOTIFY, DN_CREATE | DN_DELETE | DN_RENAME | DN_MULTISHOT) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return NULL;
    }
    w = mem_new(sizeof *w);
    w->fd = fd;
    w->changed = changed;
    w->arg = arg;
    list_append(&watches, &w->node);
    return w;
}

void dispatcher_watch_free(struct dispatcher_watch **watch)
{
    struct dispatcher_watch *w = *watch;

    if (w == NULL)
        return;
    list_del(&w->node);
    close(w->fd);
    free(w);
    *watch = NULL;
}
