/* stream - buffers, limits and waits of one descriptor; contract in stream.h */
#include "io/stream_internal.h"

#include "base/asan.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static struct stream *make(int rfd, int wfd)
{
    struct stream *s = mem_new(sizeof *s);

    s->rfd = rfd;
    s->wfd = wfd;
    s->shared_fd = rfd == wfd;
    s->timeout_ms = EVENT_NEVER;
    s->deadline = EVENT_NEVER;
    s->drained = true; /* most peers wait for our greeting: the first read would be in vain */
    return s;
}

struct stream *stream_accepted(int fd) { return make(fd, fd); }

struct stream *stream_pair(int read_fd, int write_fd)
{
    int one = 1;

    file_set_nonblock(read_fd, true);
    if (write_fd != read_fd)
        file_set_nonblock(write_fd, true);
    /* Fails on anything but TCP, where it does not matter. */
    (void) setsockopt(write_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return make(read_fd, write_fd);
}

struct stream *stream_new(int fd) { return stream_pair(fd, fd); }

/* A stream takes and gives back a buffer with each line it waits for: a few go from one to the next without malloc, until
 * the process is quiet. A sanitizer watches each buffer by itself. */
enum { SPARE_MAX = 8 };
static char *spare[SPARE_MAX];
static size_t spares;

static bool spare_wanted(void)
{
#ifdef WITH_ASAN
    return false;
#else
    return spares < SPARE_MAX && fiber_self();
#endif
}

static void drop_spares(void *unused)
{
    (void) unused;
    while (spares)
        free(spare[--spares]);
}

void stream_buffer_release(struct buffer *b)
{
    if (b->p && !b->odd && spare_wanted()) {
        event_when_quiet(drop_spares);
        spare[spares++] = b->p;
    } else {
        free(b->p);
    }
    *b = (struct buffer){ 0 };
}

void stream_buffer_need(struct buffer *b)
{
    if (b->p == NULL) {
        b->p = spares ? spare[--spares] : malloc(STREAM_BUFFER_BYTES); /* only what was read is looked at */
        if (b->p == NULL)
            log_fatal("out of memory for a stream's buffer");
        b->from = b->to = 0;
    }
}

void stream_free(struct stream **sp)
{
    struct stream *s = *sp;

    if (s == NULL)
        return;
    if (s->cover)
        s->cover->free(s);
    stream_fds_free(s);
    event_forget_fd(s->rfd);
    close(s->rfd);
    if (!s->shared_fd) {
        event_forget_fd(s->wfd);
        close(s->wfd);
    }
    stream_buffer_release(&s->in);
    stream_buffer_release(&s->out);
    stream_buffer_release(&s->records);
    free(s);
    *sp = NULL;
}

int stream_detach(struct stream **sp)
{
    struct stream *s = *sp;
    int fd = s->rfd;

    if (s->cover)
        log_panic("stream_detach: the stream is encrypted");
    stream_fds_free(s);
    event_forget_fd(fd);
    stream_buffer_release(&s->in);
    stream_buffer_release(&s->out);
    free(s);
    *sp = NULL;
    return fd;
}

int stream_fd(const struct stream *s) { return s->rfd; }
void stream_timeout(struct stream *s, int64_t ms) { s->timeout_ms = ms; }
void stream_deadline(struct stream *s, int64_t deadline) { s->deadline = deadline; }
size_t stream_buffered(const struct stream *s)
{
    return s->in.to - s->in.from + (s->cover ? s->cover->pending(s) : 0);
}
void stream_ready(struct stream *s) { s->drained = false; }
bool stream_eof(const struct stream *s) { return s->eof && s->in.from == s->in.to; }
int stream_error(const struct stream *s) { return s->error; }
uint64_t stream_bytes_in(const struct stream *s) { return s->bytes_in; }
uint64_t stream_bytes_out(const struct stream *s) { return s->bytes_out; }
const struct tls_info *stream_tls(const struct stream *s) { return s->info; }

int stream_fail(struct stream *s, int error)
{
    if (s->error == 0)
        s->error = error ? error : EIO;
    errno = s->error;
    return -1;
}

int64_t stream_until(const struct stream *s)
{
    int64_t until = s->deadline;

    if (s->timeout_ms != EVENT_NEVER) {
        int64_t one = time_mono_ms() + s->timeout_ms;
        if (one < until)
            until = one;
    }
    return until;
}

int stream_wait(struct stream *s, int fd, int what)
{
    if (event_wait_fd(fd, what, stream_until(s)) < 0)
        return stream_fail(s, errno);
    return 0;
}

static int send_bytes(struct stream *s, const char *p, size_t len)
{
    while (len) {
        ssize_t n = s->cover ? s->cover->write(s, p, len) : write(s->wfd, p, len);
        if (n < 0 && s->cover)
            return -1;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (stream_wait(s, s->wfd, EVENT_WRITE) < 0)
                return -1;
            continue;
        }
        if (n < 0)
            return stream_fail(s, errno);
        s->bytes_out += (uint64_t) n;
        p += n;
        len -= (size_t) n;
    }
    return 0;
}

int stream_flush(struct stream *s)
{
    size_t len = s->out.to - s->out.from;

    if (s->error) {
        errno = s->error;
        return -1;
    }
    if (len == 0)
        return s->cover ? s->cover->flush(s) : 0;
    s->out.from = s->out.to = 0; /* what is being sent may not be added to: one fiber writes a stream */
    s->sending = true;
    int rc = send_bytes(s, s->out.p, len);
    s->sending = false;
    if (s->filling) /* another fiber waits for input: an idle stream holds no buffer */
        stream_buffer_release(&s->out);
    return rc;
}

void stream_last_words(struct stream *s)
{
    size_t len = s->out.to - s->out.from;
    ssize_t n = -1;

    if (len && s->cover == NULL && s->error == 0)
        n = send(s->wfd, s->out.p, len, MSG_MORE | MSG_NOSIGNAL);
    if (n > 0) {
        s->bytes_out += (uint64_t) n;
        s->out.to -= (size_t) n;
        memmove(s->out.p, s->out.p + n, s->out.to);
    }
    stream_flush(s);
}

static ssize_t read_once(struct stream *s, void *p, size_t len)
{
    ssize_t n;

    if (s->cover)
        return s->cover->read(s, p, len);
    s->drained = true;
    n = s->fds ? stream_fds_read(s, p, len) : read(s->rfd, p, len);
    if (n == (ssize_t) len)
        s->drained = false;
    return n;
}

/* Waits for input; meanwhile an idle stream holds no buffers. */
static int wait_input(struct stream *s, int fd, int what)
{
    int rc;

    stream_buffer_release(&s->in);
    if (!s->sending)
        stream_buffer_release(&s->out);
    s->filling = true;
    rc = stream_wait(s, fd, what);
    s->filling = false;
    s->drained = false;
    return rc;
}

/* The peer must have what it waits for. Where its next words are at hand it waits for nothing: what a handshake has left
 * to be sent travels with the answer. */
static int flush_before_input(struct stream *s)
{
    bool written = s->out.to != s->out.from;

    if (s->error || written || (s->cover && stream_buffered(s) == 0))
        return stream_flush(s);
    return 0;
}

/* Reads to p, or into the empty buffer when p is NULL: bytes read, 0 at the end, -1. */
static ssize_t input(struct stream *s, char *p, size_t len)
{
    if (s->eof)
        return 0;
    if (s->error) {
        errno = s->error;
        return -1;
    }
    if (flush_before_input(s) < 0)
        return -1;
    if (s->drained && !(s->cover && s->cover->pending(s)) && wait_input(s, s->rfd, EVENT_READ) < 0)
        return -1;
    for (;;) {
        if (p == NULL)
            stream_buffer_need(&s->in);
        ssize_t n = read_once(s, p ? p : s->in.p, p ? len : STREAM_BUFFER_BYTES);
        if (n > 0) {
            s->bytes_in += (uint64_t) n;
            return n;
        }
        if (n == 0) {
            s->eof = true;
            stream_buffer_release(&s->in);
            return 0;
        }
        if (n == -1 && s->cover)
            return -1;
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno != EAGAIN && errno != EWOULDBLOCK)
            return stream_fail(s, errno);
        if (s->cover && s->cover->flush(s) < 0) /* of a record that was at hand the end is missing */
            return -1;
        if (wait_input(s, n == STREAM_WANT_WRITE ? s->wfd : s->rfd,
                       n == STREAM_WANT_WRITE ? EVENT_WRITE : EVENT_READ) < 0)
            return -1;
    }
}

/* Reads into the empty buffer: bytes read, 0 at the end, -1. */
static ssize_t fill(struct stream *s)
{
    ssize_t n = input(s, NULL, 0);

    if (n > 0) {
        s->in.from = 0;
        s->in.to = (size_t) n;
    }
    return n;
}

ssize_t stream_peek(struct stream *s, const char **bytes)
{
    if (s->in.from == s->in.to) {
        ssize_t n = fill(s);
        if (n <= 0)
            return n;
    }
    *bytes = s->in.p + s->in.from;
    return (ssize_t) (s->in.to - s->in.from);
}

void stream_consume(struct stream *s, size_t len)
{
    if (len > s->in.to - s->in.from)
        log_panic("stream_consume: %zu bytes of %zu", len, s->in.to - s->in.from);
    s->in.from += len;
}

ssize_t stream_read(struct stream *s, void *buf, size_t len)
{
    const char *p;
    ssize_t n = stream_peek(s, &p);

    if (n <= 0)
        return n;
    if ((size_t) n > len)
        n = (ssize_t) len;
    memcpy(buf, p, (size_t) n);
    stream_consume(s, (size_t) n);
    return n;
}

int stream_read_full(struct stream *s, void *buf, size_t len)
{
    char *at = buf;

    while (len) {
        /* What would fill the buffer goes past it. */
        bool past = s->in.from == s->in.to && len >= STREAM_BUFFER_BYTES;
        ssize_t n = past ? input(s, at, len) : stream_read(s, at, len);
        if (n <= 0) {
            if (n == 0)
                errno = at == (char *) buf ? 0 : EPROTO;
            return -1;
        }
        at += n;
        len -= (size_t) n;
    }
    return 0;
}

int stream_line(struct stream *s, struct str *out, size_t max, enum stream_eol *eol)
{
    size_t start = out->len;
    bool too_long = false, cr = false; /* cr: a CR ended the last piece, kept back until we know what follows */

    for (;;) {
        const char *p;
        ssize_t n = stream_peek(s, &p);
        if (n < 0)
            return -1;
        if (n == 0) {
            if (cr)
                str_addc(out, '\r');
            if (out->len == start && !too_long) {
                errno = 0;
                return -1;
            }
            *eol = STREAM_EOF;
            break;
        }
        const char *lf = memchr(p, '\n', (size_t) n);
        size_t len = lf ? (size_t) (lf - p) : (size_t) n;
        size_t text = len;
        bool crlf = lf && (len ? p[len - 1] == '\r' : cr);
        if (cr && !(lf && len == 0))
            str_addc(out, '\r');
        cr = !lf && len && p[len - 1] == '\r';
        if (len && (cr || crlf))
            text--;
        if (text > max - (out->len - start) || out->len - start > max) {
            too_long = true;
            text = out->len - start < max ? max - (out->len - start) : 0;
        }
        str_add(out, p, text);
        stream_consume(s, len + (lf ? 1 : 0));
        if (lf) {
            *eol = crlf ? STREAM_CRLF : STREAM_LF;
            break;
        }
    }
    if (too_long || str_over(out)) {
        errno = EMSGSIZE;
        return -1;
    }
    return 0;
}

int stream_wait_input(struct stream *s, int64_t deadline)
{
    const char *p;
    int64_t keep = s->deadline;
    ssize_t n = -1;

    if (flush_before_input(s) < 0) /* before an interrupt may come: it must not tear a reply */
        return -1;
    if (!s->interrupted) {
        if (deadline < s->deadline)
            s->deadline = deadline;
        s->waiting_input = true;
        n = stream_peek(s, &p);
        s->waiting_input = false;
        s->deadline = keep;
    }
    if (n < 0 && s->interrupted && !fiber_cancelled() && (s->error == 0 || s->error == ECANCELED)) {
        s->interrupted = false;
        s->error = 0;
        errno = EINTR;
        return -1;
    }
    if (n < 0 && errno == ETIMEDOUT && s->error == ETIMEDOUT && time_mono_ms() < keep) {
        s->error = 0; /* the caller's own deadline, not the stream's: it may go on */
        errno = ETIMEDOUT;
    }
    if (n < 0 && s->error == ECANCELED) {
        s->error = 0; /* nothing is half read or half sent: there may be last words */
        errno = ECANCELED;
    }
    return n < 0 ? -1 : 0;
}

void stream_interrupt(struct stream *s)
{
    s->interrupted = true;
    if (s->waiting_input)
        event_forget_fd(s->rfd);
}

void stream_unread(struct stream *s, const void *p, size_t len)
{
    size_t have = s->in.to - s->in.from;
    char *joined;

    if (len == 0)
        return;
    joined = mem_new(len + have > STREAM_BUFFER_BYTES ? len + have : STREAM_BUFFER_BYTES);
    memcpy(joined, p, len);
    if (have)
        memcpy(joined + len, s->in.p + s->in.from, have);
    stream_buffer_release(&s->in);
    s->in = (struct buffer){ .p = joined, .to = len + have, .odd = true };
}

void stream_write(struct stream *s, const void *data, size_t len)
{
    const char *p = data;

    while (len && s->error == 0) {
        if (s->out.to == s->out.from && len >= STREAM_BUFFER_BYTES) {
            send_bytes(s, p, len);
            return;
        }
        stream_buffer_need(&s->out);
        size_t room = STREAM_BUFFER_BYTES - s->out.to;
        size_t n = len < room ? len : room;
        memcpy(s->out.p + s->out.to, p, n);
        s->out.to += n;
        p += n;
        len -= n;
        if (s->out.to == STREAM_BUFFER_BYTES)
            stream_flush(s);
    }
}

void stream_puts(struct stream *s, const char *text) { stream_write(s, text, strlen(text)); }

void stream_vprintf(struct stream *s, const char *fmt, va_list ap)
{
    char small[512];
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(small, sizeof small, fmt, ap);
    if (n >= 0 && (size_t) n < sizeof small) {
        stream_write(s, small, (size_t) n);
    } else {
        struct str big;
        str_init(&big, STR_UNLIMITED);
        str_vprintf(&big, fmt, again);
        stream_write(s, big.p, big.len);
        str_free(&big);
    }
    va_end(again);
}

void stream_printf(struct stream *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    stream_vprintf(s, fmt, ap);
    va_end(ap);
}

/* 1: the kernel copied all; 0: it will not, copy by hand from where *from is now; -1: failed. */
static int send_by_kernel(struct stream *s, int fd, off_t *from, size_t *len)
{
    while (*len) {
        ssize_t n = sendfile(s->wfd, fd, from, *len);
        if (n > 0) {
            s->bytes_out += (uint64_t) n;
            *len -= (size_t) n;
        } else if (n == 0) {
            return stream_fail(s, ENODATA);
        } else if (errno == EAGAIN) {
            if (stream_wait(s, s->wfd, EVENT_WRITE) < 0)
                return -1;
        } else if (errno == EINVAL || errno == ENOSYS || errno == EPERM) {
            return 0;
        } else if (errno != EINTR) {
            return stream_fail(s, errno);
        }
    }
    return 1;
}

int stream_sendfile(struct stream *s, int fd, off_t from, size_t len)
{
    enum { WORTH_A_CALL = 4096 }; /* smaller pieces travel with the text around them */

    if (s->error) {
        errno = s->error;
        return -1;
    }
    if (s->cover == NULL && len >= WORTH_A_CALL) {
        if (stream_flush(s) < 0)
            return -1;
        int rc = send_by_kernel(s, fd, &from, &len);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    while (len && s->error == 0) {
        char piece[8192];
        ssize_t n = pread(fd, piece, len < sizeof piece ? len : sizeof piece, from);
        if (n <= 0)
            return stream_fail(s, n < 0 ? errno : ENODATA);
        stream_write(s, piece, (size_t) n);
        from += n;
        len -= (size_t) n;
    }
    return s->error ? stream_fail(s, s->error) : 0;
}
