/*
 * stream_tls - the bytes of an encrypted stream, and the handshake
 *
 * Invariants  OpenSSL reads and writes through the stream: it is not let read in vain, and what a handshake ends with
 *             (a session ticket, a client's Finished) leaves in one write with the first line behind it, as close_notify
 *             does with the last one
 */
#include "io/stream_internal.h"
#include "io/tls_internal.h"

#include "base/mem.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int read_records(BIO *bio, char *p, int len)
{
    struct stream *s = BIO_get_data(bio);
    ssize_t n = -1;

    BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY | BIO_FLAGS_IN_EOF);
    errno = EAGAIN;
    while (!s->drained && (n = read(s->rfd, p, (size_t) len)) < 0 && errno == EINTR)
        ;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    if (n == 0) {
        errno = 0;
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    }
    s->drained = n < len && n != 0; /* the end can be read again */
    return (int) n;
}

/* One try to send what was gathered. last: the caller closes at once, and the end leaves in the same packet. */
static ssize_t send_records(struct stream *s, bool last)
{
    struct buffer *r = &s->records;
    ssize_t n;

    do {
        n = last ? send(s->wfd, r->p, r->to, MSG_MORE | MSG_NOSIGNAL) : -1;
        if (!last || (n < 0 && errno == ENOTSOCK))
            n = write(s->wfd, r->p, r->to);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t) r->to) {
        stream_buffer_release(r);
    } else if (n > 0) {
        r->to -= (size_t) n;
        memmove(r->p, r->p + n, r->to);
    }
    return n;
}

static int write_records(BIO *bio, const char *p, int len)
{
    struct stream *s = BIO_get_data(bio);
    struct buffer *r = &s->records;
    ssize_t n = 0;

    BIO_clear_retry_flags(bio);
    if (r->p && r->to == STREAM_BUFFER_BYTES)
        n = send_records(s, false);
    if (n >= 0 && (s->gathering || r->p)) {
        stream_buffer_need(r);
        n = (ssize_t) (STREAM_BUFFER_BYTES - r->to);
        n = len < n ? len : n;
        memcpy(r->p + r->to, p, (size_t) n);
        r->to += (size_t) n;
    } else if (n >= 0) {
        do
            n = write(s->wfd, p, (size_t) len);
        while (n < 0 && errno == EINTR);
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_write(bio);
    return (int) n;
}

static long control(BIO *bio, int command, long number, void *p)
{
    (void) number;
    (void) p;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH; /* when records leave is ours to say */
}

static BIO *bio_of(struct stream *s)
{
    static BIO_METHOD *method;
    BIO *bio;

    if (method == NULL && (method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream"))) {
        BIO_meth_set_read(method, read_records);
        BIO_meth_set_write(method, write_records);
        BIO_meth_set_ctrl(method, control);
    }
    bio = method ? BIO_new(method) : NULL;
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
    }
    return bio;
}

static int send_all(struct stream *s, bool last)
{
    while (s->records.p) {
        if (send_records(s, last) >= 0)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return stream_fail(s, errno);
        if (stream_wait(s, s->wfd, EVENT_WRITE) < 0)
            return -1;
    }
    return 0;
}

static int tls_flush(struct stream *s) { return s->gathering ? 0 : send_all(s, false); }

/* Before anything is waited for, the peer must have what it waits for. */
static int wait_read(struct stream *s)
{
    if (send_all(s, false) < 0 || stream_wait(s, s->rfd, EVENT_READ) < 0)
        return -1;
    s->drained = false;
    return 1;
}

/* What OpenSSL wants before it can go on: 1 waited, try again; 0 the peer closed; -1 failed. */
static int after(struct stream *s, int rc)
{
    int keep = errno;

    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return wait_read(s);
    case SSL_ERROR_WANT_WRITE: return stream_wait(s, s->wfd, EVENT_WRITE) < 0 ? -1 : 1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: return stream_fail(s, keep ? keep : ECONNRESET);
    default:
        /* A peer that closes without close_notify ends the stream; the protocols above know their own ends. */
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            return 0;
        }
        return stream_fail(s, EPROTO);
    }
}

static ssize_t tls_read(struct stream *s, void *p, size_t len)
{
    int keep, rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_read(s->ssl, p, (int) len);
    keep = errno;
    if (rc > 0)
        return rc;
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return STREAM_WANT_READ;
    case SSL_ERROR_WANT_WRITE: return STREAM_WANT_WRITE;
    default: break;
    }
    errno = keep;
    return after(s, rc);
}

static ssize_t tls_write(struct stream *s, const void *p, size_t len)
{
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int n = SSL_write(s->ssl, p, len < STREAM_BUFFER_BYTES ? (int) len : STREAM_BUFFER_BYTES);
        if (n > 0)
            return tls_flush(s) < 0 ? -1 : n;
        int rc = after(s, n);
        if (rc == 0)
            return stream_fail(s, EPIPE);
        if (rc < 0)
            return -1;
    }
}

/* Records that were read ahead but not opened yet have no size to tell. */
static size_t tls_pending(const struct stream *s)
{
    int bytes = SSL_pending(s->ssl);

    return bytes > 0 ? (size_t) bytes : (size_t) SSL_has_pending(s->ssl);
}

static void tls_free(struct stream *s)
{
    SSL_free(s->ssl);
    s->ssl = NULL;
    free(s->info);
    s->info = NULL;
}

static const struct stream_cover tls = {
    .read = tls_read, .write = tls_write, .pending = tls_pending, .flush = tls_flush, .free = tls_free
};

/* Has the server said all of its part, and does it ask nothing of the client? Its Finished is missing after a
 * HelloRetryRequest, when OpenSSL would take words for writing, too. */
static bool may_greet(SSL *ssl)
{
    unsigned char finished[EVP_MAX_MD_SIZE];

    return SSL_version(ssl) == TLS1_3_VERSION && !SSL_is_init_finished(ssl) &&
           !(SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) && SSL_get_finished(ssl, finished, sizeof finished) > 0;
}

/* As SSL_accept, and *greeting goes to the client on the way if it can. *half: the server's part is done. OpenSSL calls
 * "early data" what is sent before the end of the handshake, either way; none is accepted (no ticket of ours allows it). */
static int accept_greeting(struct stream *s, struct slice *greeting, bool *half)
{
    char none;
    size_t n = 0;

    if (!*half && SSL_read_early_data(s->ssl, &none, sizeof none, &n) != SSL_READ_EARLY_DATA_FINISH)
        return -1;
    *half = true;
    while (greeting->len && may_greet(s->ssl)) {
        if (SSL_write_early_data(s->ssl, greeting->p, greeting->len, &n) != 1)
            return -1;
        s->bytes_out += n;
        *greeting = slice_sub(*greeting, n, greeting->len);
    }
    return SSL_accept(s->ssl);
}

static int handshake(struct stream *s, bool server, struct slice greeting, int64_t deadline, struct tls_why *why)
{
    bool half = greeting.len == 0;
    int64_t keep_deadline = s->deadline, keep_timeout = s->timeout_ms;
    int rc;

    s->deadline = deadline;
    s->timeout_ms = EVENT_NEVER;
    s->gathering = true;
    for (;;) {
        ERR_clear_error();
        errno = 0;
        rc = server ? accept_greeting(s, &greeting, &half) : SSL_connect(s->ssl);
        if (rc == 1)
            break;
        int next = after(s, rc);
        if (next > 0)
            continue;
        if (next < 0 && s->error == EPROTO)
            tls_why_openssl(why, server ? "SSL_accept error" : "SSL_connect error");
        else
            snprintf(why->text, sizeof why->text, "%s", next == 0 ? "lost connection" : strerror(s->error));
        stream_fail(s, next == 0 ? ECONNRESET : s->error);
        s->gathering = false;
        if (s->records.p) /* an alert that says why; nobody waits for it to leave */
            (void) send_records(s, false);
        return -1;
    }
    s->gathering = false; /* but what is there waits for company, at most until the next wait for input */
    s->deadline = keep_deadline;
    s->timeout_ms = keep_timeout;
    s->info = mem_new(sizeof *s->info);
    tls_describe(s->ssl, server, s->info);
    stream_write(s, greeting.p, greeting.len);
    return 0;
}

static int prepare(struct stream *s, struct tls_ctx *ctx, bool server, struct tls_why *why)
{
    BIO *bio;

    if (stream_flush(s) < 0) {
        snprintf(why->text, sizeof why->text, "%s", strerror(errno));
        return -1;
    }
    s->in.from = s->in.to = 0; /* plaintext sent ahead of the handshake counts for nothing */
    s->drained = !server;      /* a client has the first word */
    s->ssl = tls_ctx_session(ctx);
    bio = bio_of(s);
    if (s->ssl)
        s->cover = &tls;
    if (s->ssl && bio) {
        SSL_set_bio(s->ssl, bio, bio);
    } else {
        BIO_free(bio);
        tls_why_openssl(why, "cannot make a TLS session");
        return stream_fail(s, EPROTO);
    }
    return 0;
}

int stream_tls_server(struct stream *s, struct tls_ctx *ctx, int64_t deadline, struct tls_why *why)
{
    return stream_tls_server_greeting(s, ctx, SLICE(""), deadline, why);
}

int stream_tls_server_greeting(struct stream *s, struct tls_ctx *ctx, struct slice greeting, int64_t deadline,
                               struct tls_why *why)
{
    return prepare(s, ctx, true, why) < 0 ? -1 : handshake(s, true, greeting, deadline, why);
}

int stream_tls_client(struct stream *s, struct tls_ctx *ctx, const char *sni, int64_t deadline, struct tls_why *why)
{
    unsigned char addr[16];

    if (prepare(s, ctx, false, why) < 0)
        return -1;
    bool numeric = sni && (inet_pton(AF_INET, sni, addr) == 1 || inet_pton(AF_INET6, sni, addr) == 1);
    if (sni && *sni && !numeric)
        SSL_set_tlsext_host_name(s->ssl, sni);
    if (tls_ctx_requires_verification(ctx)) {
        SSL_set_verify(s->ssl, SSL_VERIFY_PEER, NULL);
        if (sni && *sni &&
            (numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), sni) : SSL_set1_host(s->ssl, sni)) !=
                1) {
            tls_why_openssl(why, "cannot ask for the peer's name");
            return stream_fail(s, EPROTO);
        }
    }
    return handshake(s, false, SLICE(""), deadline, why);
}

void stream_tls_shutdown(struct stream *s)
{
    if (s->ssl == NULL || s->error || SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN)
        return;
    s->gathering = true;
    if (stream_flush(s) == 0) {
        ERR_clear_error();
        (void) SSL_shutdown(s->ssl);
    }
    s->gathering = false;
    if (s->error == 0)
        (void) send_all(s, true);
}

int stream_tls_binding(const struct stream *s, const char *type, struct str *out)
{
    return s->ssl ? tls_binding(s->ssl, type, out) : -1;
}

int stream_tls_peer_name(const struct stream *s, const char *field, struct str *out)
{
    return s->ssl ? tls_peer_name(s->ssl, field, out) : -1;
}
