/* socket - libmariadb's input and output, waiting in the loop; contract in socket.h */
#include "table/sql/socket.h"

#include "base/time.h"
#include "event/event.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <errmsg.h>
#include <ma_pvio.h>

/* Of <mysql/client_plugin.h>, which cannot be included: it wants a header that Debian does not ship. */
struct io_plugin {
    int type;
    unsigned interface_version;
    const char *name, *author, *desc;
    unsigned version[3];
    const char *license;
    void *mysql_api;
    int (*init)(char *, size_t, int, va_list);
    int (*deinit)(void);
    int (*options)(const char *, const void *);
    struct st_ma_pvio_methods *methods;
};
enum { IO_PLUGIN = 101, IO_PLUGIN_VERSION = 0x100 };

static struct sql_socket *of(const MARIADB_PVIO *io)
{
    return (struct sql_socket *) (void *) ((char *) io->mysql - offsetof(struct sql_socket, mysql));
}

static bool wait_failed(struct sql_socket *s)
{
    s->late = errno == ETIMEDOUT;
    s->broken = true;
    return false;
}

static bool wait_for(struct sql_socket *s, int what)
{
    for (;;) {
        int64_t until = s->watch && s->watch_at < s->deadline ? s->watch_at : s->deadline;

        if (s->broken) {
            errno = ECANCELED;
            return false;
        }
        if (event_wait_fd(s->fd, what, until) >= 0)
            return true;
        if (errno != ETIMEDOUT || until == s->deadline)
            return wait_failed(s);
        s->watch_at = time_mono_ms() + s->watch->fn(s->watch->ctx);
    }
}

void sql_socket_abort(struct sql_socket *s)
{
    s->broken = true;
    event_forget_fd(s->fd); /* wakes who waits for it */
}

static ssize_t io_read(MARIADB_PVIO *io, uchar *buffer, size_t length)
{
    struct sql_socket *s = of(io);
    ssize_t n = -1;

    if (s->asked && !wait_for(s, EVENT_READ)) /* to look first would be a system call in vain */
        return -1;
    s->asked = false;
    while (!s->broken && (n = recv(s->fd, buffer, length, MSG_DONTWAIT)) < 0 && (errno == EAGAIN || errno == EINTR))
        if (errno == EAGAIN && !wait_for(s, EVENT_READ))
            break;
    return s->broken ? -1 : n;
}

static ssize_t send_some(struct sql_socket *s, const void *buffer, size_t length)
{
    ssize_t n = -1;

    while (!s->broken && (n = send(s->fd, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 &&
           (errno == EAGAIN || errno == EINTR))
        if (errno == EAGAIN && !wait_for(s, EVENT_WRITE))
            break;
    s->asked = true;
    return s->broken ? -1 : n;
}

static void send_gathered(struct sql_socket *s)
{
    size_t done = 0;

    while (done < s->gathered_bytes) {
        ssize_t n = send_some(s, s->gathered + done, s->gathered_bytes - done);
        if (n < 0) {
            s->broken = true; /* the server may have got half of a question */
            break;
        }
        done += (size_t) n;
    }
    mem_wipe(s->gathered, s->gathered_bytes);
    s->gathered_bytes = 0;
}

void sql_socket_gather(struct sql_socket *s)
{
    if (s->gathered == NULL)
        s->gathered = mem_new(SQL_GATHERED);
    s->gathers = true;
}

void sql_socket_send(struct sql_socket *s)
{
    send_gathered(s);
    s->gathers = false;
}

void sql_socket_free(struct sql_socket *s)
{
    free(s->gathered);
    s->gathered = NULL;
}

static ssize_t io_write(MARIADB_PVIO *io, const uchar *buffer, size_t length)
{
    struct sql_socket *s = of(io);

    if (s->gathers && length > SQL_GATHERED - s->gathered_bytes)
        send_gathered(s);
    if (!s->gathers || length > SQL_GATHERED)
        return send_some(s, buffer, length);
    memcpy(s->gathered + s->gathered_bytes, buffer, length);
    s->gathered_bytes += length;
    return (ssize_t) length;
}

/* The TLS handshake, and TLS reads and writes, come here when they would block. */
static int io_wait(MARIADB_PVIO *io, my_bool is_read, int timeout)
{
    (void) timeout;
    return wait_for(of(io), is_read ? EVENT_READ : EVENT_WRITE) ? 1 : -1;
}

static socklen_t socket_address(const struct sql_address *to, const MA_PVIO_CINFO *info, struct sockaddr_storage *out)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *) out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) out;
    struct sockaddr_un *local = (struct sockaddr_un *) out;

    memset(out, 0, sizeof *out);
    if (info->type == PVIO_TYPE_UNIXSOCKET) {
        const char *path = to->path ? to->path : info->unix_socket;
        size_t len = strlen(path);
        if (len >= sizeof local->sun_path) {
            errno = ENAMETOOLONG;
            return 0;
        }
        local->sun_family = AF_UNIX;
        memcpy(local->sun_path, path, len + 1);
        return sizeof *local;
    }
    if (inet_pton(AF_INET, to->numeric, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t) info->port);
        return sizeof *in4;
    }
    if (inet_pton(AF_INET6, to->numeric, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t) info->port);
        return sizeof *in6;
    }
    errno = EINVAL;
    return 0;
}

static int connect_socket(struct sql_socket *s, const struct sockaddr_storage *to, socklen_t len)
{
    int failed = 0, one = 1;
    socklen_t failed_len = sizeof failed;

    s->fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return -1;
    if (connect(s->fd, (const struct sockaddr *) to, len) < 0) {
        if (errno != EINPROGRESS || !wait_for(s, EVENT_WRITE))
            return -1;
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failed, &failed_len) < 0 || failed) {
            errno = failed;
            return -1;
        }
    }
    if (to->ss_family != AF_UNIX)
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return 0;
}

static my_bool io_connect(MARIADB_PVIO *io, MA_PVIO_CINFO *info)
{
    struct sockaddr_storage to;
    struct sql_socket *s;
    socklen_t len;

    io->mysql = info->mysql;
    io->type = info->type;
    s = of(io);
    len = socket_address(s->to, info, &to);
    if (len && connect_socket(s, &to, len) == 0)
        return 0;
    io->set_error(io->mysql, CR_CONN_HOST_ERROR, "HY000", "cannot connect: %s", strerror(errno));
    return 1;
}

static my_bool io_close(MARIADB_PVIO *io)
{
    struct sql_socket *s = of(io);

    if (s->fd >= 0) {
        event_forget_fd(s->fd);
        close(s->fd);
        s->fd = -1;
    }
    return 0;
}

static int io_shutdown(MARIADB_PVIO *io) { return shutdown(of(io)->fd, SHUT_RDWR); }

/* Deadlines are ours: each wait ends at s->deadline. */
static my_bool io_set_timeout(MARIADB_PVIO *io, enum enum_pvio_timeout type, int timeout)
{
    io->timeout[type] = timeout;
    return 0;
}
static int io_get_timeout(MARIADB_PVIO *io, enum enum_pvio_timeout type) { return io->timeout[type]; }

static int io_blocking(MARIADB_PVIO *io, my_bool wanted, my_bool *was)
{
    (void) io;
    (void) wanted;
    if (was)
        *was = 0;
    return 0;
}
static my_bool io_is_blocking(MARIADB_PVIO *io)
{
    (void) io;
    return 0;
}

static int io_fast_send(MARIADB_PVIO *io) /* done when it was connected */
{
    (void) io;
    return 0;
}

static int io_keepalive(MARIADB_PVIO *io)
{
    int one = 1;

    return setsockopt(of(io)->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

static my_bool io_get_handle(MARIADB_PVIO *io, void *handle)
{
    *(my_socket *) handle = of(io)->fd;
    return of(io)->fd < 0;
}

static my_bool io_has_data(MARIADB_PVIO *io, ssize_t *length)
{
    int n = 0;

    if (ioctl(of(io)->fd, FIONREAD, &n) < 0)
        return 1;
    *length = n;
    return 0;
}

static my_bool io_is_alive(MARIADB_PVIO *io) { return !of(io)->broken; }

static struct st_ma_pvio_methods methods = {
    .set_timeout = io_set_timeout,
    .get_timeout = io_get_timeout,
    .read = io_read,
    .write = io_write,
    .wait_io_or_timeout = io_wait,
    .blocking = io_blocking,
    .connect = io_connect,
    .close = io_close,
    .fast_send = io_fast_send,
    .keepalive = io_keepalive,
    .get_handle = io_get_handle,
    .is_blocking = io_is_blocking,
    .is_alive = io_is_alive,
    .has_data = io_has_data,
    .shutdown = io_shutdown,
};

/* A second plug-in of that name is not accepted: ours takes the place of the functions of the built-in one. */
int sql_socket_install(MYSQL *mysql, struct err *err)
{
    struct io_plugin *plugin = (struct io_plugin *) mysql_client_find_plugin(mysql, "pvio_socket", IO_PLUGIN);

    if (plugin == NULL || plugin->type != IO_PLUGIN || plugin->interface_version != IO_PLUGIN_VERSION)
        return err_set(err, 0, NULL, "libmariadb %s does its input and output in a way that is not known here",
                       mysql_get_client_info());
    plugin->methods = &methods;
    return 0;
}
