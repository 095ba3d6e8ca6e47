/*
 * msg_io - frames over sockets, descriptors beside them
 *
 * Invariants  frames are read through the stream's buffer: one that has arrived costs one call
 */
#include "base/log.h"
#include "base/mem.h"
#include "event/event.h"
#include "ipc/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LENGTH_BYTES = 4, READ_STEP = 256 << 10 };

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(int) * MSG_FDS)];
};

static void attach_fds(struct msghdr *mh, union control *control, const int *fds, size_t count)
{
    struct cmsghdr *c;

    if (count == 0)
        return;
    memset(control, 0, sizeof *control);
    mh->msg_control = control->space;
    mh->msg_controllen = CMSG_SPACE(sizeof(int) * count);
    c = CMSG_FIRSTHDR(mh);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
}

/* Descriptors that came with one read; those past MSG_FDS are closed and make the frame malformed. */
static bool collect_fds(struct msghdr *mh, int fds[MSG_FDS], size_t *count)
{
    bool ok = !(mh->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
                       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
                       : 0;
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (*count < MSG_FDS) {
                fds[(*count)++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

static void close_fds(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

static int encode_checked(const struct msg *m, uint32_t id, struct str *wire, size_t max)
{
    str_init(wire, STR_UNLIMITED);
    if (!m->bad)
        msg_encode(m, id, wire);
    if (m->bad || wire->len > max + LENGTH_BYTES) {
        str_free(wire);
        errno = EMSGSIZE;
        return -1;
    }
    return 0;
}

int msg_send_fd(int fd, struct msg *m, uint32_t id, int64_t deadline, size_t *sent)
{
    struct str wire;
    int rc = -1, keep;

    *sent = 0;
    if (encode_checked(m, id, &wire, MSG_BYTES) < 0)
        return -1;
    log_push();
    while (*sent < wire.len) {
        union control control;
        struct iovec iov = { wire.p + *sent, wire.len - *sent };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
        if (*sent == 0)
            attach_fds(&mh, &control, m->fds + m->fds_taken, m->fds_count - m->fds_taken);
        ssize_t n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            *sent += (size_t) n;
        } else if (errno == EAGAIN) {
            if (event_wait_fd(fd, EVENT_WRITE, deadline) < 0)
                goto out;
        } else if (errno != EINTR) {
            goto out;
        }
    }
    rc = 0;
out:
    keep = errno;
    str_free(&wire);
    errno = keep;
    return rc;
}

static int read_body(struct stream *s, size_t len, struct str *body)
{
    while (body->len < len) { /* grows with what arrives, not with what was announced */
        size_t step = len - body->len < READ_STEP ? len - body->len : READ_STEP;
        str_reserve(body, step);
        if (stream_read_full(s, body->p + body->len, step) < 0)
            return -1;
        body->len += step;
        body->p[body->len] = '\0';
    }
    return 0;
}

static int adopt_fds(struct msg **m, const int *fds, size_t count)
{
    if ((*m)->fds_promised != count) {
        msg_free(m);
        close_fds(fds, count);
        errno = EPROTO;
        return -1;
    }
    memcpy((*m)->fds, fds, count * sizeof *fds);
    (*m)->fds_count = count;
    return 0;
}

/* The descriptors that the frame says came with it: they queue in the order of the frames. */
static int take_fds(struct stream *s, struct msg **m)
{
    int fds[MSG_FDS];
    size_t count = 0;

    while (count < (*m)->fds_promised && (fds[count] = stream_take_fd(s)) >= 0)
        count++;
    if (stream_buffered(s) == 0) /* nothing is behind this frame: what is left came with it, unannounced */
        for (int fd; (fd = stream_take_fd(s)) >= 0; close(fd))
            (*m)->fds_promised = SIZE_MAX;
    return adopt_fds(m, fds, count);
}

int msg_recv_any(struct stream *s, struct msg **out)
{
    unsigned char word[LENGTH_BYTES];
    size_t len;
    struct str body;
    int keep;

    *out = NULL;
    stream_receive_fds(s);
    if (stream_read_full(s, word, sizeof word) < 0)
        return -1;
    len = (size_t) word[0] << 24 | (size_t) word[1] << 16 | (size_t) word[2] << 8 | word[3];
    if (len > MSG_BYTES || len == 0) {
        errno = EPROTO;
        return -1;
    }
    str_init(&body, STR_UNLIMITED);
    if (read_body(s, len, &body) == 0 && msg_parse(&body, out) == 0)
        return take_fds(s, out);
    keep = errno ? errno : EPROTO; /* an end inside a frame */
    str_free(&body);
    errno = keep;
    return -1;
}

int msg_wait(struct stream *s)
{
    if (stream_buffered(s))
        return 0;
    if (event_wait_fd(stream_fd(s), EVENT_READ, EVENT_NEVER) < 0)
        return -1;
    stream_ready(s);
    return 0;
}

int msg_send(struct stream *s, struct msg *m, uint32_t id)
{
    size_t sent;

    if (stream_flush(s) < 0)
        return -1;
    return msg_send_fd(stream_fd(s), m, id, stream_until(s), &sent);
}

int msg_recv(struct stream *s, struct msg **out)
{
    *out = NULL;
    if (stream_flush(s) < 0)
        return -1;
    for (;;) {
        if (msg_recv_any(s, out) < 0)
            return -1;
        if (strcmp((*out)->name, MSG_BYE) != 0)
            return 0;
        msg_free(out);
    }
}

int msg_send_packet(int fd, struct msg *m, uint32_t id)
{
    struct str wire;
    union control control;
    struct msghdr mh = { 0 };
    struct iovec iov;
    ssize_t n;

    if (encode_checked(m, id, &wire, MSG_PACKET_BYTES) < 0)
        return -1;
    log_push();
    iov = (struct iovec){ wire.p, wire.len };
    mh.msg_iov = &iov;
    mh.msg_iovlen = 1;
    attach_fds(&mh, &control, m->fds + m->fds_taken, m->fds_count - m->fds_taken);
    do
        n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    int keep = errno;
    str_free(&wire);
    errno = keep;
    return n < 0 ? -1 : 0;
}

int msg_recv_packet(int fd, struct msg **out)
{
    struct str body;
    union control control;
    struct iovec iov = { NULL, MSG_PACKET_BYTES + LENGTH_BYTES };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space };
    int fds[MSG_FDS];
    size_t fd_count = 0;
    ssize_t n;
    bool ok;

    str_init(&body, STR_UNLIMITED);
    str_reserve(&body, iov.iov_len);
    iov.iov_base = body.p;
    mh.msg_controllen = sizeof control.space;
    do
        n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        int keep = n < 0 ? errno : 0;
        str_free(&body);
        errno = keep;
        return -1;
    }
    ok = collect_fds(&mh, fds, &fd_count) && !(mh.msg_flags & MSG_TRUNC) && n > LENGTH_BYTES;
    body.len = (size_t) n;
    body.p[body.len] = 0;
    str_drop(&body, LENGTH_BYTES);
    if (!ok || msg_parse(&body, out) < 0) {
        str_free(&body);
        close_fds(fds, fd_count);
        errno = EPROTO;
        return -1;
    }
    return adopt_fds(out, fds, fd_count);
}
