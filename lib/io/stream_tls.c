/*
 * stream_tls - the bytes of an encrypted stream, and the handshake
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

/* What OpenSSL wants before it can go on: 1 waited, try again; 0 the peer closed; -1 failed. */
static int after(struct stream *s, int rc)
{
    int keep = errno;

    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return stream_wait(s, s->rfd, EVENT_READ) < 0 ? -1 : 1;
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
            return n;
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
    .read = tls_read, .write = tls_write, .pending = tls_pending, .free = tls_free
};

static int handshake(struct stream *s, bool server, int64_t deadline, struct tls_why *why)
{
    int64_t keep_deadline = s->deadline, keep_timeout = s->timeout_ms;
    int rc;

    s->deadline = deadline;
    s->timeout_ms = EVENT_NEVER;
    for (;;) {
        ERR_clear_error();
        errno = 0;
        rc = server ? SSL_accept(s->ssl) : SSL_connect(s->ssl);
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
        return -1;
    }
    s->deadline = keep_deadline;
    s->timeout_ms = keep_timeout;
    s->info = mem_new(sizeof *s->info);
    tls_describe(s->ssl, server, s->info);
    return 0;
}

static int prepare(struct stream *s, struct tls_ctx *ctx, struct tls_why *why)
{
    if (stream_flush(s) < 0) {
        snprintf(why->text, sizeof why->text, "%s", strerror(errno));
        return -1;
    }
    s->in.from = s->in.to = 0; /* plaintext sent ahead of the handshake counts for nothing */
    s->drained = false;        /* what comes with the handshake's last record is read together with it */
    s->ssl = tls_ctx_session(ctx);
    if (s->ssl)
        s->cover = &tls;
    if (s->ssl == NULL || SSL_set_rfd(s->ssl, s->rfd) != 1 || SSL_set_wfd(s->ssl, s->wfd) != 1) {
        tls_why_openssl(why, "cannot make a TLS session");
        return stream_fail(s, EPROTO);
    }
    return 0;
}

int stream_tls_server(struct stream *s, struct tls_ctx *ctx, int64_t deadline, struct tls_why *why)
{
    return prepare(s, ctx, why) < 0 ? -1 : handshake(s, true, deadline, why);
}

int stream_tls_client(struct stream *s, struct tls_ctx *ctx, const char *sni, int64_t deadline, struct tls_why *why)
{
    unsigned char addr[16];

    if (prepare(s, ctx, why) < 0)
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
    return handshake(s, false, deadline, why);
}

void stream_tls_shutdown(struct stream *s)
{
    if (s->ssl && s->error == 0 && stream_flush(s) == 0) {
        ERR_clear_error();
        (void) SSL_shutdown(s->ssl);
    }
}

int stream_tls_binding(const struct stream *s, const char *type, struct str *out)
{
    return s->ssl ? tls_binding(s->ssl, type, out) : -1;
}

int stream_tls_peer_name(const struct stream *s, const char *field, struct str *out)
{
    return s->ssl ? tls_peer_name(s->ssl, field, out) : -1;
}
