/*
 * listen - --listen: endpoints of a daemon that runs without master, for tests and people
 */
#include "base/log.h"
#include "base/mem.h"
#include "service/internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

static int listen_unix(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    bool datagram = service_state.svc->datagram != NULL;
    int fd = socket(AF_UNIX, (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof addr.sun_path)
        log_fatal("--listen %s: the path is too long", path);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *) &addr, sizeof addr) < 0 || (!datagram && listen(fd, BACKLOG) < 0))
        log_fatal("--listen %s: %s", path, strerror(errno));
    return fd;
}

static int listen_inet(const char *endpoint)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    const char *colon = strrchr(endpoint, ':');
    char *host = mem_strndup(endpoint, colon ? (size_t) (colon - endpoint) : 0);
    int fd, on = 1, rc = getaddrinfo(*host ? host : NULL, colon ? colon + 1 : endpoint, &hints, &found);

    free(host);
    if (rc != 0)
        log_fatal("--listen %s: %s", endpoint, gai_strerror(rc));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        log_fatal("--listen %s: %s", endpoint, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

int serve_listen(const char *endpoint)
{
    if (strncmp(endpoint, "unix:", 5) == 0)
        return listen_unix(endpoint + 5);
    if (strncmp(endpoint, "inet:", 5) == 0)
        return listen_inet(endpoint + 5);
    log_fatal("--listen wants unix:/path or inet:host:port, not %s", endpoint);
}
