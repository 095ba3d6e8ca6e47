/*
 * introduce - who may reach what: daemons ask for a connection, master makes it and passes the descriptor
 *
 * Callers     process.c, for each "connect" of a daemon
 * Invariants  one table says it, by program. An own socket (below private/ or public/, served by a service of ours)
 *             must stand in the daemon's row; with ANY_TRANSPORT every private socket
 *             a socket of somebody else (a policy server, a milter, a real Dovecot) only where the row says
 *             `foreign`, and as mail_owner: what that user may not reach, no daemon reaches through us
 * Privilege   root for own sockets; mail_owner's effective uid for the others
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "master.h"
#include "service/channel.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_MS = 10000, FULL_BACKLOG_MS = 20, BRIEF_MS = 2000 };
#define ANY_TRANSPORT "*"

static const struct row {
    const char *program;
    const char *services; /* blank-separated */
    bool foreign;
} rows[] = {
    { "smtpd",
      "public/cleanup private/rewrite private/anvil private/tlsmgr private/proxymap private/resolver private/auth "
      "private/auth-login private/saslauth private/verify public/flush public/qmgr",
      true },
    { "postscreen", "private/smtpd private/resolver private/tlsmgr private/anvil private/proxymap private/dnsblog",
      true },
    { "cleanup",
      "private/rewrite private/proxymap private/bounce private/defer private/trace private/verify public/qmgr",
      true },
    { "pickup", "public/cleanup private/bounce", false },
    { "qmgr", ANY_TRANSPORT " public/cleanup public/flush", false },
    { "trivial-rewrite", "private/proxymap", false },
    { "bounce", "public/cleanup private/rewrite private/proxymap public/qmgr public/flush", false },
    { "smtp",
      "private/tlsmgr private/resolver private/bounce private/defer private/trace private/scache private/proxymap "
      "private/rewrite private/verify private/dovecot-lmtp private/auth public/flush",
      true },
    { "lmtp",
      "private/tlsmgr private/resolver private/bounce private/defer private/trace private/scache private/proxymap "
      "private/rewrite private/verify private/dovecot-lmtp private/auth public/flush",
      true },
    { "virtual",
      "private/bounce private/defer private/trace private/proxymap private/auth-userdb private/dispatcher "
      "private/verify public/cleanup",
      true },
    { "local",
      "private/bounce private/defer private/trace private/proxymap private/auth-userdb private/dispatcher "
      "private/rewrite private/verify public/cleanup",
      true },
    { "pipe", "private/bounce private/defer private/trace private/proxymap private/verify", false },
    { "error", "private/bounce private/defer private/trace private/verify public/flush", false },
    { "discard", "private/bounce private/defer private/trace private/verify", false },
    { "lmtpd",
      "private/auth-userdb private/proxymap private/dispatcher private/rewrite private/anvil private/tlsmgr "
      "public/cleanup",
      true },
    { "login",
      "private/auth private/auth-login private/dispatcher private/tlsmgr private/anvil private/resolver "
      "private/proxymap",
      true },
    { "dispatcher", "private/auth-master private/auth-userdb private/auth private/anvil private/keeper", true },
    { "authd", "private/proxymap private/oauth2 private/anvil private/resolver private/auth-worker", true },
    { "oauth2", "private/resolver", false },
    { "proxymap", "private/resolver private/proxymap", true },
    { "showq", "public/qmgr private/defer private/bounce", false },
    { "verify", "public/cleanup private/rewrite private/proxymap", false },
    { "flush", "public/qmgr private/rewrite", false },
    { "tlsmgr", "", false },
};

static const struct row *row_of(const char *program)
{
    const char *base = strrchr(program, '/');

    base = base ? base + 1 : program;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].program, base) == 0)
            return &rows[i];
    return NULL;
}

/* "private/x", "public/x", also written with the queue directory before it: the part below it; NULL for others. */
static const char *below_queue(const char *target)
{
    size_t len = strlen(conf_queue_directory);

    if (strncmp(target, conf_queue_directory, len) == 0 && target[len] == '/')
        target += len + 1;
    if (strncmp(target, "private/", 8) == 0 || strncmp(target, "public/", 7) == 0)
        return strchr(strchr(target, '/') + 1, '/') ? NULL : target;
    return NULL;
}

static bool own_service(const char *below)
{
    return service_find(strchr(below, '/') + 1, strncmp(below, "private/", 8) == 0) != NULL;
}

static bool named(const struct row *row, const char *below)
{
    struct slice rest = slice_of(row->services), word;

    while (slice_word(&rest, " ", &word))
        if (slice_eq(word, below) || (slice_eq(word, ANY_TRANSPORT) && strncmp(below, "private/", 8) == 0))
            return true;
    return false;
}

/* The service of ours that a path leads to by whatever detour ("private//x", "./private/x", a symbolic link); NULL
 * for somebody else's socket. */
static const char *ours(const char *real)
{
    char *queue = realpath(conf_queue_directory, NULL);
    size_t len = queue ? strlen(queue) : 0;
    const char *below = NULL;

    if (queue && strncmp(real, queue, len) == 0 && real[len] == '/')
        below = below_queue(real + len + 1);
    free(queue);
    return below && own_service(below) ? below : NULL;
}

/* 0 when it may be reached: *path is where (the caller frees it), *foreign as whom. Else an errno. */
static int judge(const struct row *row, const char *target, char **path, bool *foreign)
{
    const char *below = below_queue(target);
    char *real;

    *foreign = false;
    *path = NULL;
    if (row == NULL)
        return EACCES;
    if (below && named(row, below)) {
        *foreign = !own_service(below);
        *path = mem_strdup(target);
        return 0;
    }
    if ((below && own_service(below)) || !row->foreign)
        return EACCES;
    real = realpath(target, NULL);
    if (real == NULL)
        return errno;
    below = ours(real);
    if (below && !named(row, below)) {
        free(real);
        return EACCES;
    }
    *foreign = below == NULL;
    *path = real;
    return 0;
}

int introduce_judge(const char *program, const char *target, char **path, bool *foreign)
{
    return judge(row_of(program), target, path, foreign);
}

static void owner_ids(uid_t *uid, gid_t *gid)
{
    static char *name;
    static uid_t known_uid;
    static gid_t known_gid;

    if (name == NULL || strcmp(name, conf_mail_owner) != 0) {
        struct passwd *pw = getpwnam(conf_mail_owner);
        free(name);
        name = mem_strdup(conf_mail_owner);
        known_uid = pw ? pw->pw_uid : (uid_t) -1;
        known_gid = pw ? pw->pw_gid : (gid_t) -1;
    }
    *uid = known_uid;
    *gid = known_gid;
}

/* One connect(), never waiting, so that the effective uid is nobody else's problem. */
static int connect_once(int fd, const struct sockaddr_un *addr, bool as_owner)
{
    uid_t uid;
    gid_t gid;
    int rc, keep;

    if (!as_owner || geteuid() != 0)
        return connect(fd, (const struct sockaddr *) addr, sizeof *addr);
    owner_ids(&uid, &gid);
    if (uid == (uid_t) -1 || setegid(gid) < 0 || seteuid(uid) < 0) {
        if (setegid(getgid()) < 0)
            log_fatal("cannot take the effective gid back: %s", strerror(errno));
        errno = EACCES;
        return -1;
    }
    rc = connect(fd, (const struct sockaddr *) addr, sizeof *addr);
    keep = errno;
    if (seteuid(0) < 0 || setegid(getgid()) < 0)
        log_fatal("cannot take the effective uid back: %s", strerror(errno));
    errno = keep;
    return rc;
}

static int connect_to(const char *path, bool as_owner)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int64_t until = time_mono_ms() + CONNECT_MS;
    int fd;

    if (strlen(path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    while (fd >= 0 && connect_once(fd, &addr, as_owner) < 0) {
        int keep = errno;
        if (keep == EAGAIN && time_mono_ms() < until && event_sleep(FULL_BACKLOG_MS) == 0)
            continue;
        close(fd);
        errno = keep;
        return -1;
    }
    return fd;
}

struct question {
    struct process *process;
    uint32_t id;
    char *target;
    bool foreign;
};

static void answer(struct process *p, uint32_t id, int fd, int error)
{
    struct msg *m = msg_new(fd >= 0 ? CHANNEL_GRANTED : CHANNEL_REFUSED);

    if (fd >= 0)
        msg_put_fd(m, fd);
    else
        msg_put_num(m, "errno", error ? error : EIO);
    process_tell(p, &m, id);
}

bool introduce_refuses(const struct unit *s)
{
    return strcmp(s->program, "authd") == 0 && s->throttled && list_empty(&s->processes) &&
           s->held_until - time_mono_ms() > BRIEF_MS;
}

/* Our listening socket would take the client and keep it. */
static bool held_back(const char *target)
{
    const char *below = below_queue(target);
    const struct unit *s = below ? service_find(strchr(below, '/') + 1, strncmp(below, "private/", 8) == 0) : NULL;

    return s && introduce_refuses(s);
}

static void connect_body(void *arg)
{
    struct question *q = arg;
    bool held = held_back(q->target);
    int fd = held ? -1 : connect_to(q->target, q->foreign), keep = held ? ECONNREFUSED : errno;

    answer(q->process, q->id, fd, keep);
    if (fd >= 0)
        close(fd);
    process_unref(q->process);
    free(q->target);
    free(q);
}

void introduce(struct process *p, struct msg *m)
{
    const char *target = msg_get_str(m, "service", CHANNEL_PATH_BYTES);
    char *path;
    bool foreign;
    int refused;

    if (!msg_done(m)) {
        log_warn("process %s, pid %ld: malformed question", p->service->program, (long) p->pid);
        answer(p, msg_id(m), -1, EPROTO);
        return;
    }
    if (strncmp(target, "unix:", 5) == 0)
        target += 5;
    refused = introduce_judge(p->service->program, target, &path, &foreign);
    if (refused) {
        if (refused == EACCES)
            log_warn("process %s, pid %ld may not connect to %s", p->service->program, (long) p->pid, target);
        answer(p, msg_id(m), -1, refused);
        return;
    }
    struct question *q = mem_new(sizeof *q);
    *q = (struct question){ process_ref(p), msg_id(m), path, foreign };
    fiber_go("introduce", connect_body, q);
}
