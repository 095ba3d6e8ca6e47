/*
 * listen - the endpoints of a service
 *
 * Invariants  a socket that is the same before and after a reload is never closed: its clients wait in its queue
 *             sockets below the queue directory are found there by clients that may enter private/ or public/
 * Errors      a service of master.cf whose endpoint cannot be opened is logged and is an error at the start; a
 *             built-in one is logged and left out: its port or socket may belong to somebody else's server
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "io/stream.h"
#include "master.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, DATAGRAM_BYTES = 1 << 20 };

void listen_close(struct listener *l)
{
    if (l->watcher) {
        fiber_cancel(l->watcher);
        fiber_detach(l->watcher);
    }
    if (l->fd >= 0) {
        event_forget_fd(l->fd);
        close(l->fd);
    }
    free(l->path);
    *l = (struct listener){ .fd = -1 };
}

static struct listener *listener_add(struct unit *s)
{
    if (s->listener_count == LISTENERS_MAX)
        return NULL;
    s->listeners = mem_grow(s->listeners, s->listener_count + 1, sizeof *s->listeners);
    s->listeners[s->listener_count] = (struct listener){ .fd = -1 };
    return &s->listeners[s->listener_count++];
}

static bool same(const struct listener *a, const struct listener *b)
{
    if (a->path || b->path)
        return a->path && b->path && strcmp(a->path, b->path) == 0;
    return a->addr_len == b->addr_len && memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}

/* Takes the descriptor of the same endpoint out of `before`. */
static bool inherit(struct listener *l, const struct unit *before)
{
    for (size_t i = 0; before && i < before->listener_count; i++) {
        const struct listener *old = &before->listeners[i];
        if (old->fd >= 0 && same(l, old)) {
            l->fd = fcntl(old->fd, F_DUPFD_CLOEXEC, 0);
            return l->fd >= 0;
        }
    }
    return false;
}

static int open_inet(struct unit *s, struct listener *l)
{
    int on = 1;
    char host[64], port[16];

    l->fd = socket(l->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd >= 0 && setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (l->addr.ss_family != AF_INET6 || setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(l->fd, (struct sockaddr *) &l->addr, l->addr_len) == 0 && listen(l->fd, BACKLOG) == 0)
        return 0;
    int keep = errno;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    io_address_text((struct sockaddr *) &l->addr, l->addr_len, host, port);
    if (log_at_start() && !s->builtin)
        log_fatal("bind %s port %s: %s", host, port, strerror(keep));
    log_error("service %s: cannot listen on %s port %s: %s", s->name, host, port, strerror(keep));
    errno = keep;
    return -1;
}

static int add_inet(struct unit *s, const char *host, const char *port, int family, const struct unit *before)
{
    struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_family = family, .ai_socktype = SOCK_STREAM }, *found;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0) {
        log_error("service %s: host %s, port %s: %s", s->name, host ? host : "*", port, gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        struct listener *l = listener_add(s);
        if (l == NULL)
            break;
        memcpy(&l->addr, a->ai_addr, a->ai_addrlen);
        l->addr_len = a->ai_addrlen;
        for (size_t i = 0; i + 1 < s->listener_count && l->addr_len; i++)
            if (same(l, &s->listeners[i]))
                l->addr_len = 0; /* named twice */
        if (l->addr_len == 0) {
            s->listener_count--;
            continue;
        }
        if (!inherit(l, before) && open_inet(s, l) < 0)
            rc = errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL ? rc : -1;
        if (l->fd < 0)
            s->listener_count--;
    }
    freeaddrinfo(found);
    return rc;
}

static bool has_family(const char *wanted)
{
    return strstr(conf_inet_protocols, "all") != NULL || strstr(conf_inet_protocols, wanted) != NULL;
}

static int add_families(struct unit *s, const char *host4, const char *host6, const char *port,
                        const struct unit *before)
{
    int rc = 0;

    if (has_family("ipv4") && add_inet(s, host4, port, AF_INET, before) < 0)
        rc = -1;
    if (has_family("ipv6") && add_inet(s, host6, port, AF_INET6, before) < 0)
        rc = -1;
    return rc;
}

static int add_interfaces(struct unit *s, const char *port, const struct unit *before)
{
    struct slice rest = slice_of(conf_inet_interfaces), word;
    int rc = 0;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        char *host = mem_strndup(word.p, word.len);
        size_t len = strlen(host);
        if (strcmp(host, "all") == 0) {
            rc |= add_families(s, NULL, NULL, port, before);
        } else if (strcmp(host, "loopback-only") == 0) {
            rc |= add_families(s, "127.0.0.1", "::1", port, before);
        } else if (host[0] == '[' && host[len - 1] == ']') {
            host[len - 1] = '\0';
            rc |= add_inet(s, host + 1, port, AF_UNSPEC, before);
        } else {
            int family = has_family("ipv4") && has_family("ipv6") ? AF_UNSPEC
                         : has_family("ipv4")                     ? AF_INET
                                                                  : AF_INET6;
            rc |= add_inet(s, host, port, family, before);
        }
        free(host);
    }
    return rc;
}

/* "port", "host:port", "[v6]:port", "::1:port". */
static int add_endpoint(struct unit *s, const char *endpoint, const struct unit *before)
{
    const char *colon = strrchr(endpoint, ':');
    char *host;
    size_t len;
    int rc;

    if (colon == NULL)
        return add_interfaces(s, endpoint, before);
    host = mem_strndup(endpoint, (size_t) (colon - endpoint));
    len = strlen(host);
    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len);
        host[len - 2] = '\0';
    }
    rc = add_inet(s, *host ? host : NULL, colon + 1, AF_UNSPEC, before);
    free(host);
    return rc;
}

static void dress(const char *path, const struct socket_rule *r)
{
    struct passwd *pw = geteuid() == 0 ? getpwnam(conf_mail_owner) : NULL;
    uid_t uid = r->uid != (uid_t) -1 ? r->uid : pw ? pw->pw_uid : (uid_t) -1;
    gid_t gid = r->gid != (gid_t) -1 ? r->gid : pw ? pw->pw_gid : (gid_t) -1;

    /* Narrowed before it changes hands, so that nobody gets in between. */
    if (chmod(path, r->mode) < 0)
        log_warn("cannot set the mode of %s: %s", path, strerror(errno));
    if ((uid != (uid_t) -1 || gid != (gid_t) -1) && lchown(path, uid, gid) < 0)
        log_warn("cannot change the owner of %s: %s", path, strerror(errno));
}

static int open_fifo(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && !S_ISFIFO(st.st_mode) && unlink(path) < 0) /* the service was a socket before */
        return -1;
    if (mkfifo(path, 0600) < 0 && errno != EEXIST)
        return -1;
    return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* a writer of its own: no end of file between clients */
}

static int socket_address(const char *path, struct sockaddr_un *addr)
{
    *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof addr->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr->sun_path, path, strlen(path) + 1);
    return 0;
}

/* Another program's server, a Dovecot's for instance, is not pushed aside. Daemons that a killed master of ours left
 * behind may hold the socket for a moment: who began to listen is dead then, though its parent may not know. */
static bool in_use(const char *path)
{
    struct sockaddr_un addr;
    struct ucred peer = { 0 };
    socklen_t len = sizeof peer;
    bool used = false;
    int fd;

    if (socket_address(path, &addr) < 0)
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (struct sockaddr *) &addr, sizeof addr) < 0)
        used = errno == EAGAIN; /* its backlog is full */
    else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        used = peer.pid == 0 || process_alive(peer.pid); /* 0: of another namespace */
    close(fd);
    return used;
}

static int open_unix(const char *path, int type)
{
    struct sockaddr_un addr;
    int fd, bytes = DATAGRAM_BYTES, rc, keep;
    mode_t mask;

    if (socket_address(path, &addr) < 0)
        return -1;
    unlink(path);
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    mask = umask(0177); /* until its mode and owner are set nobody connects */
    rc = bind(fd, (struct sockaddr *) &addr, sizeof addr);
    keep = errno;
    umask(mask);
    errno = keep;
    if (rc < 0 || (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)) {
        keep = errno;
        close(fd);
        errno = keep;
        return -1;
    }
    if (type == SOCK_DGRAM)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return fd;
}

/* 1: it belongs to somebody else, and stays with him. */
static int add_local(struct unit *s, const struct socket_rule *r, const struct unit *before, bool ours)
{
    struct listener *l = listener_add(s);

    if (l == NULL)
        return -1;
    l->path = mem_strdup(r->path);
    if (!inherit(l, before)) {
        if (!ours && s->type == MASTERCF_UNIX && in_use(l->path)) {
            log_warn("service %s: %s is in use by another program, and left to it", s->name, l->path);
            listen_close(l);
            s->listener_count--;
            return 1;
        }
        if (s->type == MASTERCF_FIFO)
            l->fd = open_fifo(l->path);
        else
            l->fd = open_unix(l->path, s->type == MASTERCF_UNIX_DGRAM ? SOCK_DGRAM : SOCK_STREAM);
    }
    if (l->fd < 0) {
        log_error("service %s: cannot listen on %s%s%s: %s", s->name, l->path[0] == '/' ? "" : conf_queue_directory,
                  l->path[0] == '/' ? "" : "/", l->path, strerror(errno));
        return -1;
    }
    dress(l->path, r);
    return 0;
}

/* Is this the socket that master.cf's line gives the service? Then the rule says its mode and owner. */
static bool same_path(const struct socket_rule *r, const char *below)
{
    size_t len = strlen(conf_queue_directory);
    const char *path = r->path;

    if (strncmp(path, conf_queue_directory, len) == 0 && path[len] == '/')
        path += len + 1;
    return strcmp(path, below) == 0;
}

static int add_own(struct unit *s, const char *name, const struct unit *before)
{
    char *path = mem_printf("%s/%s", s->private ? "private" : "public", name);
    struct socket_rule own = { .path = path, .mode = SOCKET_MODE, .uid = (uid_t) -1, .gid = (gid_t) -1 };
    const struct socket_rule *r;
    size_t at = 0;
    int rc;

    while ((r = sockets_next(s->name, &at)) != NULL)
        if (same_path(r, path)) {
            own.mode = r->mode;
            own.uid = r->uid;
            own.gid = r->gid;
        }
    rc = add_local(s, &own, before, !s->builtin);
    free(path);
    return rc < 0 ? -1 : 0;
}

/* One that cannot be had is said, and the service does without. */
static void add_further(struct unit *s, const struct unit *before)
{
    const struct socket_rule *r;
    size_t at = 0;

    while ((r = sockets_next(s->name, &at)) != NULL) {
        bool there = false;
        for (size_t i = 0; i < s->listener_count; i++)
            there = there || (s->listeners[i].path && same_path(r, s->listeners[i].path));
        if (!there && add_local(s, r, before, false) < 0)
            listen_close(&s->listeners[--s->listener_count]);
    }
}

int listen_open(struct unit *s, const struct unit *before)
{
    struct slice rest = slice_of(s->name), word;
    int rc = 0;

    if (s->spawner)
        return 0;
    while (rc == 0 && slice_word(&rest, ",", &word)) { /* built-in services may have several names */
        char *name = mem_strndup(word.p, word.len);
        rc = s->type == MASTERCF_INET ? add_endpoint(s, name, before) : add_own(s, name, before);
        free(name);
    }
    if (rc == 0 && s->type == MASTERCF_UNIX)
        add_further(s, before);
    return rc;
}
