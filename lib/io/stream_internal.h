/*
 * stream_internal - what stream.c and stream_tls.c share
 */
#ifndef IO_STREAM_INTERNAL_H
#define IO_STREAM_INTERNAL_H
#include "io/stream.h"
#include <openssl/ssl.h>

enum { STREAM_BUFFER_BYTES = 16384 }; /* each way; also the largest TLS record */

struct buffer {
    char *p; /* NULL while empty */
    size_t from, to;
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
    SSL *ssl;
    struct tls_info *info;
};

int stream_wait(struct stream *, int fd, int what); /* within timeout and deadline; 0, or -1 with the error kept */
int stream_fail(struct stream *, int error);        /* keeps the first error; -1 */
/* One try: bytes; 0 at the end; -1 after stream_fail; or what to wait for first, so that the wait holds no buffer. */
enum { STREAM_WANT_READ = -2, STREAM_WANT_WRITE = -3 };
ssize_t stream_tls_read(struct stream *, void *p, size_t len);
ssize_t stream_tls_write(struct stream *, const void *p, size_t len);
void stream_tls_free(struct stream *);

SSL *tls_ctx_session(struct tls_ctx *);
bool tls_ctx_requires_verification(const struct tls_ctx *);
void tls_describe(SSL *, bool server, struct tls_info *);
void tls_why_openssl(struct tls_why *, const char *what);
#endif
