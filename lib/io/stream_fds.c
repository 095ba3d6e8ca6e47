/*
 * stream_fds - descriptors that come beside the bytes of a stream
 *
 * Invariants  a read never goes past bytes that descriptors came with, so they queue in the order of the bytes
 */
#include "io/stream_internal.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FDS_A_READ = 32 };

struct stream_fds {
    int fd[STREAM_FDS_MAX];
    size_t from, to;
};

void stream_receive_fds(struct stream *s)
{
    if (s->fds == NULL)
        s->fds = mem_new(sizeof *s->fds);
}

int stream_take_fd(struct stream *s)
{
    struct stream_fds *q = s->fds;

    if (q == NULL || q->from == q->to)
        return -1;
    int fd = q->fd[q->from++];
    if (q->from == q->to)
        q->from = q->to = 0;
    return fd;
}

/* False: some were lost, or there is no room; those are closed. */
static bool collect(struct stream_fds *q, struct msghdr *mh)
{
    bool ok = !(mh->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
                       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
                       : 0;
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (q->to < STREAM_FDS_MAX) {
                q->fd[q->to++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

ssize_t stream_fds_read(struct stream *s, void *p, size_t len)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FDS_A_READ)];
    } control;
    struct iovec iov = { p, len };
    struct msghdr mh = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space
    };
    ssize_t n = recvmsg(s->rfd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n > 0 && mh.msg_controllen > 0) {
        if (!collect(s->fds, &mh)) {
            errno = EPROTO;
            return -1;
        }
        s->drained = false; /* it may have ended at the descriptors, with more behind them */
    }
    return n;
}

void stream_fds_free(struct stream *s)
{
    for (int fd; (fd = stream_take_fd(s)) >= 0;)
        close(fd);
    free(s->fds);
    s->fds = NULL;
}
