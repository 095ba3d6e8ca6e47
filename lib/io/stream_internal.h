/*
 * stream_internal - what stream.c and stream_tls.c share
 */
#ifndef IO_STREAM_INTERNAL_H
#define IO_STREAM_INTERNAL_H
#include "io/stream.h"

enum { STREAM_BUFFER_BYTES = 16384 }; /* each way; also the largest TLS record */

struct buffer {
    char *p; /* NULL while empty */
    size_t from, to;
    bool odd; /* not of STREAM_BUFFER_BYTES */
};
struct stream;
/* What stands between a stream and its descriptor: TLS, once there was a handshake. Calls go through here so that a
 * daemon without TLS does not load OpenSSL: its relocations alone are 450 KiB of every process. */
struct stream_cover {
    /* One try: bytes; 0 at the end; -1 after stream_fail; or what to wait for first, so that the wait holds no buffer.
     */
    ssize_t (*read)(struct stream *, void *p, size_t len);
    ssize_t (*write)(struct stream *, const void *p, size_t len); /* waits itself */
    size_t (*pending)(const struct stream *);
    int (*flush)(struct stream *); /* sends what write has kept back; 0, or -1 with the stream's error */
    void (*free)(struct stream *);
};
struct stream {
    int rfd, wfd;
    struct buffer in, out;
    int error;
    bool eof;
    bool shared_fd; /* rfd == wfd */
    bool waiting_input, interrupted;
    bool sending, filling; /* two fibers may share a stream: one reads, one writes */
    int64_t timeout_ms, deadline;
    uint64_t bytes_in, bytes_out;
    bool drained;                     /* the last read took all there was: wait before the next */
    struct stream_fds *fds;           /* NULL: descriptors are not expected */
    const struct stream_cover *cover; /* NULL: plaintext */
    struct ssl_st *ssl;
    struct buffer records; /* of TLS, that leave together with what is written next */
    bool gathering;        /* records do not leave on their own */
    struct tls_info *info;
};

int stream_wait(struct stream *, int fd, int what); /* within timeout and deadline; 0, or -1 with the error kept */
int stream_fail(struct stream *, int error);        /* keeps the first error; -1 */
void stream_buffer_need(struct buffer *);           /* of STREAM_BUFFER_BYTES */
void stream_buffer_release(struct buffer *);
/* read() and recvmsg() of descriptors: as read(2). */
ssize_t stream_fds_read(struct stream *, void *p, size_t len);
void stream_fds_free(struct stream *);
enum { STREAM_WANT_READ = -2, STREAM_WANT_WRITE = -3 };
#endif
