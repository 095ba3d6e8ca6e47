/*
 * address - connecting, accepting, and addresses as text
 */
#include "io/stream.h"

#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int give_up(int fd)
{
    int keep = errno;

    event_forget_fd(fd);
    close(fd);
    errno = keep;
    return -1;
}

int io_connect(const struct sockaddr *to, socklen_t len, const struct sockaddr *bind_to, socklen_t bind_len,
               int64_t deadline)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = 0;
    socklen_t size = sizeof err;

    if (fd < 0)
        return -1;
    if (bind_to && bind(fd, bind_to, bind_len) < 0)
        return give_up(fd);
    if (connect(fd, to, len) == 0)
        return fd;
    if (errno != EINPROGRESS && errno != EINTR)
        return give_up(fd);
    if (event_wait_fd(fd, EVENT_WRITE, deadline) < 0)
        return give_up(fd);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0)
        return give_up(fd);
    if (err) {
        errno = err;
        return give_up(fd);
    }
    return fd;
}

int io_connect_unix(const char *path, int64_t deadline)
{
    enum { FULL_BACKLOG_MS = 20 };
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof sun.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(sun.sun_path, path, strlen(path) + 1);
    for (;;) {
        int fd = io_connect((const struct sockaddr *) &sun, sizeof sun, NULL, 0, deadline);
        /* A unix socket whose backlog is full says EAGAIN and cannot be waited for. */
        if (fd >= 0 || errno != EAGAIN || fiber_self() == NULL)
            return fd;
        if (time_mono_ms() >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (event_sleep(FULL_BACKLOG_MS) < 0)
            return -1;
    }
}

int io_accept(int listen_fd, struct sockaddr_storage *peer, socklen_t *len)
{
    for (;;) {
        *len = sizeof *peer;
        int fd = accept4(listen_fd, (struct sockaddr *) peer, len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            return fd;
        if (errno == ECONNABORTED || errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return -1;
        if (event_wait_fd(listen_fd, EVENT_READ | EVENT_SHARED, EVENT_NEVER) < 0)
            return -1;
    }
}

void io_address_text(const struct sockaddr *sa, socklen_t len, char host[64], char port[16])
{
    snprintf(host, 64, "unknown");
    snprintf(port, 16, "unknown");
    if (sa == NULL || len < sizeof sa->sa_family)
        return;
    if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, 64);
        snprintf(port, 16, "%u", ntohs(in.sin_port));
    } else if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
            inet_ntop(AF_INET, in6.sin6_addr.s6_addr + 12, host, 64);
        else
            inet_ntop(AF_INET6, &in6.sin6_addr, host, 64);
        snprintf(port, 16, "%u", ntohs(in6.sin6_port));
    }
}
