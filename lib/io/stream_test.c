/*
 * stream_test - lines, limits, deadlines, pipelined replies, TLS and its idle cost
 */
#include "io/stream.h"
#include "io/tls_internal.h"

#include "base/time.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *in;
    size_t max;
    const char *line;
    int error;
    enum stream_eol eol;
} lines[] = {
    { "abc\r\n", 10, "abc", 0, STREAM_CRLF },
    { "abc\n", 10, "abc", 0, STREAM_LF },
    { "\r\n", 10, "", 0, STREAM_CRLF },
    { "\n", 10, "", 0, STREAM_LF },
    { "a\rb\r\n", 10, "a\rb", 0, STREAM_CRLF },
    { "a\r\r\n", 10, "a\r", 0, STREAM_CRLF },
    { "0123456789\r\n", 10, "0123456789", 0, STREAM_CRLF },
    { "0123456789x\r\n", 10, "0123456789", EMSGSIZE, STREAM_CRLF },
    { "tail", 10, "tail", 0, STREAM_EOF },
    { "tail\r", 10, "tail\r", 0, STREAM_EOF },
};

static void test_lines(int chunk)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        int fd[2];
        struct str out;
        enum stream_eol eol = STREAM_EOF;
        size_t len = strlen(lines[i].in);

        assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
        struct stream *s = stream_new(fd[0]);
        str_init(&out, 1000);
        if (chunk == 0)
            assert(write(fd[1], lines[i].in, len) == (ssize_t) len);
        else /* the first byte alone, already buffered when the rest comes */
            assert(write(fd[1], lines[i].in, 1) == 1 && stream_wait_input(s, EVENT_NEVER) == 0 &&
                   write(fd[1], lines[i].in + 1, len - 1) == (ssize_t) len - 1);
        close(fd[1]);
        int rc = stream_line(s, &out, lines[i].max, &eol);
        assert(rc == (lines[i].error ? -1 : 0));
        assert(rc == 0 || errno == lines[i].error);
        assert(strcmp(out.p, lines[i].line) == 0 && eol == lines[i].eol);
        assert(stream_line(s, &out, 10, &eol) == -1 && errno == 0 && stream_eof(s));
        str_free(&out);
        stream_free(&s);
    }
}

static void test_deadlines(void)
{
    int fd[2];
    struct str out;
    enum stream_eol eol;
    int64_t start = time_mono_ms();

    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    struct stream *s = stream_new(fd[0]);
    str_init(&out, 100);
    assert(stream_wait_input(s, time_mono_ms() + 10) == -1 && errno == ETIMEDOUT && stream_error(s) == 0);
    stream_timeout(s, 5000);
    stream_deadline(s, time_mono_ms() + 20);
    assert(stream_line(s, &out, 10, &eol) == -1 && errno == ETIMEDOUT);
    assert(time_mono_ms() - start < 2000);
    stream_puts(s, "lost");
    assert(stream_flush(s) == -1 && errno == ETIMEDOUT);
    stream_free(&s);
    close(fd[1]);
    str_free(&out);
}

/* Replies to pipelined commands leave together, and only when the server waits for more. */
static void test_pipelining(void)
{
    int fd[2];
    char buf[64];
    struct str out;
    enum stream_eol eol;

    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
    struct stream *s = stream_new(fd[0]);
    str_init(&out, 100);
    assert(write(fd[1], "a\r\nb\r\n", 6) == 6);
    assert(stream_line(s, &out, 10, &eol) == 0);
    stream_puts(s, "1\r\n");
    assert(stream_buffered(s) == 3 && read(fd[1], buf, sizeof buf) == -1);
    assert(stream_line(s, &out, 10, &eol) == 0 && strcmp(out.p, "ab") == 0);
    stream_puts(s, "2\r\n");
    assert(read(fd[1], buf, sizeof buf) == -1);
    assert(stream_wait_input(s, time_mono_ms() + 5) == -1);
    assert(read(fd[1], buf, sizeof buf) == 6 && memcmp(buf, "1\r\n2\r\n", 6) == 0);
    stream_free(&s);
    close(fd[1]);
    str_free(&out);
}

static struct tls_ctx *server_ctx, *client_ctx;
static size_t echoed;

/* Buffers go from stream to stream; one that is larger, or was in use, does not disturb another. */
static void test_buffers(void)
{
    enum { LARGE = 40000, STREAMS = 20 };
    struct stream *s[STREAMS], *peer[STREAMS];
    static char large[LARGE], got[LARGE];

    memset(large, 'l', sizeof large);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < STREAMS; i++) {
            int fd[2];
            assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
            s[i] = stream_new(fd[0]);
            peer[i] = stream_new(fd[1]);
            stream_printf(s[i], "line %d\n", i);
        }
        stream_unread(s[0], large, sizeof large);
        assert(stream_read_full(s[0], got, sizeof got) == 0 && memcmp(got, large, sizeof got) == 0);
        for (int i = 0; i < STREAMS; i++)
            assert(stream_flush(s[i]) == 0);
        for (int i = STREAMS - 1; i >= 0; i--) {
            char want[32];
            struct str line;
            enum stream_eol eol;

            str_init(&line, 100);
            snprintf(want, sizeof want, "line %d", i);
            assert(stream_line(peer[i], &line, 100, &eol) == 0 && strcmp(line.p, want) == 0);
            str_free(&line);
            stream_free(&peer[i]);
            stream_free(&s[i]);
        }
    }
}

static void interrupter(void *arg)
{
    event_sleep(20);
    stream_interrupt(arg);
}

static void test_interrupt(void)
{
    int fd[2];
    char got[16];

    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    struct stream *s = stream_new(fd[0]);
    fiber_go("interrupter", interrupter, s);
    assert(stream_wait_input(s, time_mono_ms() + 5000) == -1 && errno == EINTR && stream_error(s) == 0);
    stream_interrupt(s); /* nobody waits: the next wait knows */
    assert(stream_wait_input(s, time_mono_ms() + 5000) == -1 && errno == EINTR);
    stream_puts(s, "still here");
    assert(stream_wait_input(s, time_mono_ms() + 10) == -1 && errno == ETIMEDOUT);
    assert(read(fd[1], got, sizeof got) == 10);
    assert(write(fd[1], "later", 5) == 5 && stream_wait_input(s, time_mono_ms() + 5000) == 0);
    stream_unread(s, "first", 5);
    assert(stream_read_full(s, got, 10) == 0 && memcmp(got, "firstlater", 10) == 0);
    stream_free(&s);
    close(fd[1]);
}

static void echo_server(void *arg)
{
    struct stream *s = stream_new(*(int *) arg);
    struct tls_why why = { "" };
    char buf[5000];
    ssize_t n;

    stream_timeout(s, 5000);
    assert(stream_read(s, buf, sizeof buf) == 9 && memcmp(buf, "STARTTLS\n", 9) == 0);
    assert(stream_tls_server(s, server_ctx, time_mono_ms() + 5000, &why) == 0);
    assert(strcmp(stream_tls(s)->sni, "localhost") == 0);
    while ((n = stream_read(s, buf, sizeof buf)) > 0) {
        stream_write(s, buf, (size_t) n);
        echoed += (size_t) n;
    }
    assert(n == 0 && stream_error(s) == 0);
    stream_free(&s);
}

static void write_all(void *arg)
{
    struct stream *s = arg;
    char block[1000];

    memset(block, 'x', sizeof block);
    for (int i = 0; i < 100; i++) {
        stream_write(s, block, sizeof block);
        fiber_yield();
    }
    assert(stream_flush(s) == 0);
}

/* What binds to a connection is the same at its two ends, and another on the next one. */
static void bound_server(void *arg)
{
    struct stream *s = stream_new(*(int *) arg);
    struct tls_why why = { "" };
    struct str data;

    assert(stream_tls_server(s, server_ctx, time_mono_ms() + 5000, &why) == 0);
    assert(!stream_tls(s)->peer_verified); /* a certificate was asked for, and none came */
    str_init(&data, 1000);
    bool tls13 = strcmp(stream_tls(s)->protocol, "TLSv1.3") == 0;
    assert(stream_tls_binding(s, "tls-unique", &data) == (tls13 ? -1 : 0) && data.len == (tls13 ? 0 : 12));
    str_reset(&data);
    assert(stream_tls_binding(s, "tls-server-end-point", &data) == 0 && data.len == 32);
    assert(stream_tls_binding(s, "tls-nonsense", &data) == -1 && data.len == 32);
    assert(stream_tls_peer_name(s, "commonName", &data) == -1);
    str_reset(&data);
    assert(stream_tls_binding(s, "tls-exporter", &data) == 0 && data.len == 32);
    stream_write(s, data.p, data.len);
    assert(stream_flush(s) == 0);
    str_free(&data);
    stream_free(&s);
}

static void test_binding(void)
{
    char before[32] = "", got[32];
    struct tls_why why = { "" };
    struct str own;
    int fd[2];

    for (int n = 0; n < 2; n++) {
        assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
        fiber_go("server", bound_server, &fd[1]);
        struct stream *s = stream_new(fd[0]);
        assert(stream_tls_client(s, client_ctx, "localhost", time_mono_ms() + 5000, &why) == 0);
        assert(stream_read_full(s, got, sizeof got) == 0 && memcmp(got, before, sizeof got) != 0);
        memcpy(before, got, sizeof got);
        str_init(&own, 1000);
        assert(stream_tls_binding(s, "tls-exporter", &own) == 0 && memcmp(own.p, got, sizeof got) == 0);
        str_reset(&own);
        assert(stream_tls_peer_name(s, "commonName", &own) == 0 && slice_eq(str_slice(&own), "localhost"));
        str_free(&own);
        stream_free(&s);
    }
    assert(tls_field_exists("emailAddress") && !tls_field_exists("nonsense"));
}

/* A wire that keeps apart what was written apart. */
struct wire {
    int from, to;
    int packets;
};

static void carry(void *arg)
{
    struct wire *w = arg;
    char packet[20000];
    ssize_t n = -1;

    while (n != 0 && event_wait_fd(w->from, EVENT_READ, EVENT_NEVER) >= 0)
        if ((n = read(w->from, packet, sizeof packet)) > 0) {
            w->packets++;
            assert(write(w->to, packet, (size_t) n) == n);
        }
    event_forget_fd(w->from);
    shutdown(w->to, SHUT_WR);
}

static bool greets; /* with its part of the handshake */
static bool shaken; /* the server's handshake is over */

static void talking_server(void *arg)
{
    struct stream *s = stream_new(*(int *) arg);
    struct tls_why why = { "" };
    struct str line;
    enum stream_eol eol;

    str_init(&line, 100);
    stream_timeout(s, 5000);
    struct slice first = greets ? SLICE("hello\r\n") : SLICE("");
    assert(stream_tls_server_greeting(s, server_ctx, first, time_mono_ms() + 5000, &why) == 0);
    shaken = true;
    if (!greets)
        stream_puts(s, "hello\r\n");
    assert(stream_line(s, &line, 100, &eol) == 0 && strcmp(line.p, "quit") == 0);
    stream_puts(s, "bye\r\n");
    stream_tls_shutdown(s);
    stream_tls_shutdown(s); /* once is enough */
    str_free(&line);
    stream_free(&s);
}

/* The ticket leaves with the first line, close_notify with the last; a client that speaks first does so beside its
 * Finished. Both ends read to the end. early: the greeting comes with the server's part of the handshake; then the first
 * line that the ticket can travel with is the last. */
static void test_packets(bool client_first, bool early)
{
    static const unsigned char keys[TLS_TICKET_KEY_BYTES] = "a key for this test alone";
    int near[2], far[2];
    struct tls_why why = { "" };
    struct str line;
    enum stream_eol eol;

    greets = early;
    shaken = false;
    tls_ctx_ticket_keys(server_ctx, keys, 1);
    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, near) == 0);
    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, far) == 0);
    struct wire up = { near[1], far[0], 0 }, down = { far[0], near[1], 0 };
    struct fiber *there = fiber_new("up", carry, &up), *back = fiber_new("down", carry, &down);
    fiber_go("server", talking_server, &far[1]);
    struct stream *s = stream_new(near[0]);
    str_init(&line, 100);
    stream_timeout(s, 5000);
    assert(stream_tls_client(s, client_ctx, "localhost", time_mono_ms() + 5000, &why) == 0);
    if (client_first)
        stream_puts(s, "quit\r\n");
    assert(stream_line(s, &line, 100, &eol) == 0 && strcmp(line.p, "hello") == 0);
    assert(shaken || (early && !client_first));
    if (!client_first)
        stream_puts(s, "quit\r\n");
    str_reset(&line);
    assert(stream_line(s, &line, 100, &eol) == 0 && strcmp(line.p, "bye") == 0);
    assert(stream_line(s, &line, 100, &eol) == -1 && stream_eof(s) && stream_error(s) == 0);
    assert(up.packets == (client_first || early ? 2 : 3)); /* hello; Finished; quit */
    assert(down.packets == (early ? 2 : 3)); /* hello to Finished; ticket and line; line and close_notify */
    stream_free(&s);
    assert(fiber_join(back, EVENT_NEVER) == 0 && fiber_join(there, EVENT_NEVER) == 0);
    close(near[1]);
    close(far[0]);
    str_free(&line);
}

static void greeting_server(void *arg)
{
    struct stream *s = stream_new(*(int *) arg);
    struct tls_why why = { "" };
    char got[5];

    stream_timeout(s, 5000);
    if (stream_tls_server_greeting(s, server_ctx, SLICE("hello"), time_mono_ms() + 5000, &why) == 0) {
        assert(strcmp(stream_tls(s)->sni, "localhost") == 0);
        assert(stream_read_full(s, got, 5) == 0 && memcmp(got, "there", 5) == 0);
        stream_write(s, got, 5);
        stream_tls_shutdown(s);
        shaken = true;
    } else {
        assert(strstr(why.text, "unknown ca"));
    }
    stream_free(&s);
}

/* 0 when a client set up so is greeted and answered; else the server knows why not. */
static int greeted(const struct tls_config *c, bool require)
{
    struct tls_why why = { "" };
    struct tls_ctx *ctx = tls_ctx_new(c, &why);
    char got[5] = "";
    int fd[2], rc;

    shaken = false;
    tls_ctx_verify(ctx, require);
    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    struct fiber *server = fiber_new("server", greeting_server, &fd[1]);
    struct stream *s = stream_new(fd[0]);
    stream_timeout(s, 5000);
    rc = stream_tls_client(s, ctx, "localhost", time_mono_ms() + 5000, &why);
    if (rc == 0) {
        assert(stream_read_full(s, got, 5) == 0 && memcmp(got, "hello", 5) == 0);
        stream_puts(s, "there");
        assert(stream_read_full(s, got, 5) == 0 && memcmp(got, "there", 5) == 0);
    }
    stream_free(&s);
    assert(fiber_join(server, EVENT_NEVER) == 0);
    assert(shaken == (rc == 0));
    tls_ctx_free(&ctx);
    return rc;
}

/* Before the handshake's end or after it, a greeting comes once. */
static void test_greeting(const char *dir)
{
    char cert[300], key[300];
    struct tls_why why = { "" };
    struct tls_ctx *asking = server_ctx;

    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    const struct tls_config now = { .ca_file = cert }, before = { .ca_file = cert, .protocols = "<=TLSv1.2" };
    const struct tls_config stranger = { .ca_file = "" };
    const struct tls_config own = { .server = true, .cert_file = cert, .key_file = key, .tickets = true };
    assert(greeted(&now, true) == 0); /* a server that asks for the client's certificate waits for it */
    server_ctx = tls_ctx_new(&own, &why);
    assert(server_ctx);
    test_packets(false, true);
    assert(greeted(&now, true) == 0 && greeted(&before, true) == 0);
    assert(greeted(&stranger, true) == -1); /* its alert comes to a server that has greeted */
    /* The client's key share is of a group that the server does not have: HelloRetryRequest. */
    SSL *ssl = tls_ctx_session(server_ctx);
    assert(SSL_CTX_set1_groups_list(SSL_get_SSL_CTX(ssl), "P-384") == 1);
    SSL_free(ssl);
    assert(greeted(&now, true) == 0);
    tls_ctx_free(&server_ctx);
    server_ctx = asking;
}

static void any_end_server(void *arg)
{
    struct stream *s = stream_new(*(int *) arg);
    struct tls_why why = { "" };
    char c;

    if (stream_tls_server(s, server_ctx, time_mono_ms() + 5000, &why) == 0)
        assert(stream_read(s, &c, 1) <= 0);
    stream_free(&s);
}

/* Without an authority to trust a server is shown and not believed; who insists is told why it failed. */
static void test_nobody_trusted(void)
{
    struct tls_config c = { .protocols = ">=TLSv1.2" };
    struct tls_why why = { "" };
    int fd[2];

    for (int require = 0; require < 2; require++) {
        struct tls_ctx *ctx = tls_ctx_new(&c, &why);
        assert(ctx && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
        tls_ctx_verify(ctx, require);
        struct fiber *server = fiber_new("server", any_end_server, &fd[1]);
        struct stream *s = stream_new(fd[0]);
        int rc = stream_tls_client(s, ctx, "localhost", time_mono_ms() + 5000, &why);
        assert(rc == (require ? -1 : 0));
        if (require) {
            assert(strstr(why.text, "certificate verify failed"));
        } else {
            const struct tls_info *i = stream_tls(s);
            assert(!i->peer_verified && strcmp(i->peer_subject, "localhost") == 0);
            assert(strlen(i->peer_fingerprint) == 95 && strspn(i->peer_fingerprint, "0123456789ABCDEF:") == 95);
            assert(i->peer_fingerprint[2] == ':' && i->peer_fingerprint[92] == ':');
        }
        stream_free(&s);
        fiber_join(server, EVENT_NEVER);
        tls_ctx_free(&ctx);
    }
}

static void test_tls(const char *dir)
{
    char cert[300], key[300];
    int fd[2];
    struct tls_why why = { "" };

    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    struct tls_config missing = { .server = true, .cert_file = "/nonexistent/cert.pem" };
    assert(tls_ctx_new(&missing, &why) == NULL && strstr(why.text, "/nonexistent/cert.pem"));
    struct tls_config bad = { .server = true, .cert_file = cert, .key_file = key, .protocols = ">=TLSv9" };
    assert(tls_ctx_new(&bad, &why) == NULL && strstr(why.text, "TLSv9"));
    struct tls_config sc = { .server = true,
                             .cert_file = cert,
                             .key_file = key,
                             .protocols = ">=TLSv1.2",
                             .tickets = true,
                             .ca_file = cert,
                             .ask_peer_certificate = true };
    struct tls_config cc = { .ca_file = cert, .protocols = "!SSLv2, !SSLv3" };
    server_ctx = tls_ctx_new(&sc, &why);
    client_ctx = tls_ctx_new(&cc, &why);
    assert(server_ctx && client_ctx);
    tls_ctx_verify(client_ctx, true);
    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    fiber_go("server", echo_server, &fd[1]);
    struct stream *s = stream_new(fd[0]);
    stream_puts(s, "STARTTLS\n");
    assert(stream_flush(s) == 0 && event_sleep(20) == 0); /* it waits, as a client of STARTTLS does */
    if (stream_tls_client(s, client_ctx, "localhost", time_mono_ms() + 5000, &why) < 0) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
    assert(stream_tls(s)->peer_verified && strcmp(stream_tls(s)->protocol, "TLSv1.3") == 0);
    assert(strstr(stream_tls(s)->server_signature, "(2048 bits)") && stream_tls(s)->kex[0]);
    char back[1000];
    for (int i = 0; i < 3; i++) { /* the first arrives together with the handshake's last record */
        stream_puts(s, "hello\r\n");
        assert(stream_read_full(s, back, 7) == 0 && memcmp(back, "hello\r\n", 7) == 0);
    }
    stream_tls_shutdown(s);
    stream_free(&s);
    assert(event_sleep(20) == 0);
    assert(echoed == 21);
    test_packets(false, false);
    test_packets(true, false);
    test_greeting(dir);
    test_binding();
    test_nobody_trusted();
    struct tls_config old = { .ca_file = cert, .protocols = "<=TLSv1.2" };
    tls_ctx_free(&client_ctx);
    client_ctx = tls_ctx_new(&old, &why);
    test_binding();
    /* A peer that goes away in the handshake. */
    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    s = stream_new(fd[0]);
    struct stream *other = stream_new(fd[1]);
    stream_free(&other);
    assert(stream_tls_client(s, client_ctx, "localhost", time_mono_ms() + 1000, &why) == -1 && why.text[0]);
    stream_free(&s);
    tls_ctx_free(&server_ctx);
    tls_ctx_free(&client_ctx);
}

static void test_large(void)
{
    int fd[2];
    size_t got = 0;
    char buf[3000];

    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    struct stream *w = stream_new(fd[0]), *r = stream_new(fd[1]);
    struct fiber *f = fiber_new("writer", write_all, w);
    while (got < 100000) {
        ssize_t n = stream_read(r, buf, sizeof buf);
        assert(n > 0);
        for (ssize_t i = 0; i < n; i++)
            assert(buf[i] == 'x');
        got += (size_t) n;
    }
    assert(fiber_join(f, EVENT_NEVER) == 0);
    FILE *file = tmpfile();
    for (int i = 0; i < 10000; i++)
        fprintf(file, "%09d\n", i);
    fflush(file);
    stream_puts(w, "head\n");
    assert(stream_sendfile(w, fileno(file), 10, 60000) == 0 && stream_flush(w) == 0);
    assert(stream_read_full(r, buf, 5) == 0 && memcmp(buf, "head\n", 5) == 0);
    assert(stream_read_full(r, buf, 10) == 0 && memcmp(buf, "000000001\n", 10) == 0);
    fclose(file);
    stream_free(&w);
    stream_free(&r);
}

static void all(void *arg)
{
    test_lines(0);
    test_lines(1);
    test_buffers();
    test_interrupt();
    test_deadlines();
    test_pipelining();
    test_large();
    test_tls(arg);
}

int main(void)
{
    char dir[] = "/tmp/stream_test.XXXXXX", cmd[1000];

    assert(mkdtemp(dir));
    snprintf(
        cmd, sizeof cmd,
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost "
        "-keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
        dir, dir);
    assert(system(cmd) == 0);
    event_run(all, dir);
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    return system(cmd) == 0 ? 0 : 1;
}
