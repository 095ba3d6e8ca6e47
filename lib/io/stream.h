/*
 * stream - buffered bytes over a descriptor, with limits and deadlines; TLS is switched on inside one
 *
 * Callers     fibers only; at most one reads and one writes a stream at a time
 * Invariants  a stream keeps its first error: write freely, check at stream_flush or stream_error; after an error
 *             reads answer -1
 *             reading flushes first what was written, so a reply never waits behind the wait for the next command,
 *             and pipelined replies leave in one write
 *             TCP_NODELAY is set on TCP sockets
 *             an idle stream holds no buffers: they come with the first byte and go when empty at a wait
 * Units       milliseconds; bytes
 * Errors      -1 with errno: ETIMEDOUT (a read or the command took too long), ECANCELED, EPIPE/ECONNRESET, EMSGSIZE
 *             (line too long), EPROTO (TLS); an orderly end of file is 0 where a count is returned, else -1 with
 *             errno 0 and stream_eof()
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H
#include "base/str.h"
#include "event/event.h"
#include "io/tls.h"
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/types.h>

struct stream;
struct stream *stream_new(int fd);                     /* owns fd from here on, makes it non-blocking */
struct stream *stream_accepted(int fd);                /* likewise; non-blocking, and TCP_NODELAY where it is TCP */
struct stream *stream_pair(int read_fd, int write_fd); /* standard input and output: "sendmail -bs" */
void stream_free(struct stream **);                    /* flushes nothing; closes */
int stream_detach(struct stream **); /* hands the fd back (buffered input must be taken first); not with TLS */
int stream_fd(const struct stream *);

/* Each wait may last timeout_ms; all waits together no longer than until the deadline (EVENT_NEVER: no such limit).
 */
void stream_timeout(struct stream *, int64_t timeout_ms);
void stream_deadline(struct stream *, int64_t deadline);
int64_t
stream_until(const struct stream *); /* when a wait that began now would end; for those who wait on stream_fd */

/* Reading. stream_line appends one line without its line end. A line longer than max: what exceeds it is skipped up
 * to and including the LF, *out holds the first max bytes, errno is EMSGSIZE. *eol tells how the line ended. */
enum stream_eol { STREAM_CRLF, STREAM_LF, STREAM_EOF };
int stream_line(struct stream *, struct str *out, size_t max, enum stream_eol *eol); /* 0, or -1 */
ssize_t stream_read(struct stream *, void *buf, size_t len);  /* at least one byte; 0 at the end */
int stream_read_full(struct stream *, void *buf, size_t len); /* exactly len, or -1 */
ssize_t stream_peek(struct stream *,
                    const char **bytes);          /* what is buffered, waiting for one byte if nothing is; borrowed */
void stream_consume(struct stream *, size_t len); /* drops peeked bytes */
size_t stream_buffered(const struct stream *);    /* unread input bytes at hand: pipelining check, STARTTLS */
bool stream_eof(const struct stream *);
/* Flushes, then waits until there is something to read. After -1 with ETIMEDOUT (of this deadline) or ECANCELED the
 * stream is good: the caller may say why it ends. */
int stream_wait_input(struct stream *, int64_t deadline);
void stream_ready(struct stream *); /* who waited on stream_fd itself found input: the next read need not wait */
/* Another fiber makes the present or next stream_wait_input answer -1 with EINTR; the stream is as it was. */
void stream_interrupt(struct stream *);
/* Puts bytes in front of the unread input: what another process has read of this connection. */
void stream_unread(struct stream *, const void *p, size_t len);

/* On a unix socket from which descriptors are to be taken: they come with the bytes that they were sent beside, in
 * order. stream_take_fd: close-on-exec, the caller owns it; -1 when none waits. More than STREAM_FDS_MAX that nobody
 * took are an error of the stream (EPROTO). */
enum { STREAM_FDS_MAX = 64 };
void stream_receive_fds(struct stream *);
int stream_take_fd(struct stream *);

/* Writing into the buffer; a full buffer is written out, waiting for the peer. */
void stream_write(struct stream *, const void *p, size_t len);
void stream_puts(struct stream *, const char *s);
void stream_printf(struct stream *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void stream_vprintf(struct stream *, const char *fmt, va_list) __attribute__((format(printf, 2, 0)));
int stream_sendfile(struct stream *, int fd, off_t from, size_t len); /* bytes of a regular file, as they are */
int stream_flush(struct stream *);                                    /* 0, or -1 with the stream's error */
/* Flushes the last words, in plaintext. The caller closes next: they may leave only then, in one packet with the end. */
void stream_last_words(struct stream *);
int stream_error(const struct stream *); /* errno of the first failure, 0 */
uint64_t stream_bytes_in(const struct stream *);
uint64_t stream_bytes_out(const struct stream *);

/* TLS on a connected stream: handshake within `timeout`. Unread plaintext input is thrown away first (RFC 3207
 * section 4.2). */
int stream_tls_server(struct stream *, struct tls_ctx *, int64_t deadline, struct tls_why *why);
/* The same for a server that has the first word: with TLS 1.3 the greeting leaves with the server's part of the handshake,
 * a round trip earlier, when nothing is known of the client yet (RFC 8446 section 4.4.4): it may hold what anybody may
 * read. Where the client is asked for a certificate, and before TLS 1.3, it is written after the handshake. */
int stream_tls_server_greeting(struct stream *, struct tls_ctx *, struct slice greeting, int64_t deadline,
                               struct tls_why *why);
int stream_tls_client(struct stream *, struct tls_ctx *, const char *sni, int64_t deadline, struct tls_why *why);
const struct tls_info *stream_tls(const struct stream *); /* NULL in plaintext */
/* Appends the server's data of a channel binding: tls-server-end-point and tls-unique (RFC 5929), tls-exporter
 * (RFC 9266). -1: not known, or not to be trusted on this connection. */
int stream_tls_binding(const struct stream *, const char *type, struct str *out);
/* Appends a field of the subject of the peer's certificate, in UTF-8, whether it is trusted or not. -1: none. */
int stream_tls_peer_name(const struct stream *, const char *field, struct str *out);
/* Sends what was written, and close_notify; does not wait for the peer's. The caller closes next: the last bytes may
 * leave only then. */
void stream_tls_shutdown(struct stream *);

/* Addresses. */
int io_connect(const struct sockaddr *, socklen_t, const struct sockaddr *bind_to, socklen_t bind_len,
               int64_t deadline); /* fd or -1 */
int io_connect_unix(const char *path, int64_t deadline);
int io_accept(int listen_fd, struct sockaddr_storage *peer,
              socklen_t *len); /* waits in the fiber; close-on-exec, non-blocking */
/* "192.0.2.1", "2001:db8::1", port as text; unix sockets give "unix" or "unknown" as Postfix does. */
void io_address_text(const struct sockaddr *, socklen_t, char host[64], char port[16]);
#endif
