/*
 * load - the generator of tests/bench/run: the same clients for both sides
 *
 *     load smtp   messages over SMTP (or LMTP with -l, pipelined), -s sessions at a time, a connection for each message
 *                 unless -k
 *     load login  logins by IMAP, POP3 or SMTP AUTH, -s at a time
 *     load idle   holds sessions, at most -n, until its standard input ends; lines there:
 *                 hold N  opens more until there are N
 *                 news    those are in IDLE: brings each one a message by LMTP to port -d, and measures from each 250
 *                         to the client's EXISTS
 *     load script commands of standard input in one IMAP session, each timed
 *
 * One line of JSON on standard output, another for each command of a script. Exit status 1 when anything failed.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "event/event.h"
#include "io/stream.h"
#include "library.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* In the order of Thunderbird, Apple's and Android's clients on processors that have AES. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
enum { LINE_BYTES = 1 << 20, SETUP_AT_ONCE = 50, NEWS_AT_ONCE = 10, DEADLINE_MS = 120000, BASE64_MAX = 2048 };

static struct {
    int port, news_port, sessions, users;
    long count, size;
    bool lmtp, keep, tls, starttls;
    const char *protocol, *to, *password, *from;
} o = { .sessions = 1, .users = 1, .count = 1, .size = 4096, .protocol = "imap", .from = "load@elsewhere.example" };
static long started, done, failed, wanted;
static int64_t *latency_us;
static struct tls_ctx *tls;
static char *body;
static size_t body_len;
static char first_error[500];

static void fail(const char *what, const char *line)
{
    failed++;
    if (first_error[0] == '\0')
        snprintf(first_error, sizeof first_error, "%s: %.300s", what, line);
}

static struct stream *dial_plain(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port) };
    struct stream *s;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Blocking: on this machine the kernel answers at once. */
    if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof to) < 0) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    s = stream_new(fd);
    stream_timeout(s, DEADLINE_MS);
    return s;
}

static struct stream *dial(void)
{
    struct stream *s = dial_plain(o.port);
    struct tls_why why;

    if (s && o.tls && !o.starttls && stream_tls_client(s, tls, "localhost", time_mono_ms() + DEADLINE_MS, &why) < 0)
        stream_free(&s);
    return s;
}

/* Reads a reply to its last line: "250 ", or for IMAP the one with the tag (or "+ "). 0 when it begins as wanted. */
static int reply(struct stream *s, struct str *line, const char *want)
{
    enum stream_eol eol;
    size_t len = strlen(want);

    for (;;) {
        str_reset(line);
        if (stream_line(s, line, LINE_BYTES, &eol) < 0)
            return -1;
        if (want[0] >= '0' && want[0] <= '9' && line->len > 3 && line->p[3] == '-')
            continue;
        if (want[0] == 't' && line->p[0] == '*')
            continue;
        return strncmp(line->p, want, len) == 0 ? 0 : -1;
    }
}

static int say(struct stream *s, struct str *line, const char *want, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    stream_vprintf(s, fmt, ap);
    va_end(ap);
    return reply(s, line, want);
}

static void user_name(long n, char *out, size_t size)
{
    char number[24];
    const char *mark = strstr(o.to, "%d");

    snprintf(number, sizeof number, "%ld", n % o.users);
    if (mark)
        snprintf(out, size, "%.*s%s%s", (int) (mark - o.to), o.to, number, mark + 2);
    else
        snprintf(out, size, "%s", o.to);
}

static void make_body(void)
{
    static const char head[] = "Subject: load\r\nFrom: load@elsewhere.example\r\nTo: undisclosed\r\n\r\n";
    static const char row[] = "The quick brown fox jumps over the lazy dog, and again, and once more.\r\n";
    struct str b;

    str_init(&b, STR_UNLIMITED);
    str_adds(&b, head);
    while (b.len < (size_t) o.size)
        str_adds(&b, row);
    str_adds(&b, ".\r\n");
    body_len = b.len;
    body = str_take(&b);
}

static int greet(struct stream *s, struct str *line)
{
    return reply(s, line, "220") < 0 || say(s, line, "250", "%s load.example\r\n", o.lmtp ? "LHLO" : "EHLO") < 0 ? -1
                                                                                                                 : 0;
}

/* *took: from the last byte to the 250. */
static int one_message(struct stream *s, struct str *line, long n, int64_t *took)
{
    char to[300];
    int64_t began;

    user_name(n, to, sizeof to);
    if (o.lmtp) { /* in one write, as Postfix's lmtp(8) has it where the server says PIPELINING, which both do */
        stream_printf(s, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", o.from, to);
        if (reply(s, line, "250") < 0 || reply(s, line, "250") < 0 || reply(s, line, "354") < 0)
            return -1;
    } else if (say(s, line, "250", "MAIL FROM:<%s>\r\n", o.from) < 0 ||
               say(s, line, "250", "RCPT TO:<%s>\r\n", to) < 0 || say(s, line, "354", "DATA\r\n") < 0) {
        return -1;
    }
    stream_write(s, body, body_len);
    began = time_mono_us();
    if (reply(s, line, "250") < 0)
        return -1;
    *took = time_mono_us() - began;
    return 0;
}

static void smtp_session(void *unused)
{
    struct stream *s = NULL;
    struct str line;

    (void) unused;
    str_init(&line, LINE_BYTES);
    while (started < o.count) {
        long n = started++;
        int64_t took_us = 0;
        if (s == NULL && ((s = dial()) == NULL || greet(s, &line) < 0)) {
            fail("greeting", line.p);
            stream_free(&s);
            continue;
        }
        if (one_message(s, &line, n, &took_us) < 0) {
            fail("message", line.p);
        } else {
            latency_us[done++] = took_us; /* its place is known only now: other sessions ended meanwhile */
            if (o.keep)
                continue;
            (void) say(s, &line, "221", "QUIT\r\n");
        }
        stream_free(&s);
    }
    if (s)
        (void) say(s, &line, "221", "QUIT\r\n");
    stream_free(&s);
    str_free(&line);
}

static int start_tls(struct stream *s, struct str *line)
{
    struct tls_why why;
    bool smtp = strcmp(o.protocol, "smtp") == 0;

    if (!o.starttls)
        return 0;
    if (say(s, line, smtp ? "220" : "t0 OK", smtp ? "STARTTLS\r\n" : "t0 STARTTLS\r\n") < 0 ||
        stream_tls_client(s, tls, "localhost", time_mono_ms() + DEADLINE_MS, &why) < 0)
        return -1;
    return smtp ? say(s, line, "250", "EHLO load.example\r\n") : 0;
}

static void plain(const char *user, char *out)
{
    unsigned char raw[600];
    int len = snprintf((char *) raw, sizeof raw, "%c%s%c%s", 1, user, 1, o.password);

    for (int i = 0; i < len; i++)
        if (raw[i] == 1)
            raw[i] = 0;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (int i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t) raw[i] << 16 | (i + 1 < len ? (uint32_t) raw[i + 1] << 8 : 0) |
                     (i + 2 < len ? (uint32_t) raw[i + 2] : 0);
        out[at++] = digits[v >> 18];
        out[at++] = digits[v >> 12 & 63];
        out[at++] = i + 1 < len ? digits[v >> 6 & 63] : '=';
        out[at++] = i + 2 < len ? digits[v & 63] : '=';
    }
    out[at] = '\0';
}

static int log_in(struct stream *s, struct str *line, long n)
{
    char user[300], secret[BASE64_MAX];

    user_name(n, user, sizeof user);
    if (strcmp(o.protocol, "imap") == 0)
        return reply(s, line, "* OK") < 0 || start_tls(s, line) < 0 ||
                       say(s, line, "t1 OK", "t1 LOGIN %s %s\r\n", user, o.password) < 0
                   ? -1
                   : 0;
    if (strcmp(o.protocol, "pop3") == 0)
        return reply(s, line, "+OK") < 0 || say(s, line, "+OK", "USER %s\r\n", user) < 0 ||
                       say(s, line, "+OK", "PASS %s\r\n", o.password) < 0
                   ? -1
                   : 0;
    plain(user, secret);
    if (greet(s, line) < 0 || start_tls(s, line) < 0)
        return -1;
    return say(s, line, "235", "AUTH PLAIN %s\r\n", secret);
}

static int log_out(struct stream *s, struct str *line)
{
    if (strcmp(o.protocol, "imap") == 0)
        return say(s, line, "t9 OK", "t9 LOGOUT\r\n");
    return say(s, line, strcmp(o.protocol, "pop3") == 0 ? "+OK" : "221", "QUIT\r\n");
}

static void login_session(void *unused)
{
    struct str line;

    (void) unused;
    str_init(&line, LINE_BYTES);
    while (started < o.count) {
        long n = started++;
        int64_t began = time_mono_us();
        struct stream *s = dial();
        if (s == NULL || log_in(s, &line, n) < 0) {
            fail("login", line.p);
        } else {
            latency_us[done++] = time_mono_us() - began;
            (void) log_out(s, &line);
        }
        stream_free(&s);
    }
    str_free(&line);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

    return x < y ? -1 : x > y;
}

static void report(double seconds)
{
    qsort(latency_us, (size_t) done, sizeof *latency_us, by_value);
    printf("{\"count\": %ld, \"failed\": %ld, \"seconds\": %.4f, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": "
           "%.3f, "
           "\"max_ms\": %.3f, \"error\": \"",
           done, failed, seconds, (double) done / seconds, done ? (double) latency_us[done / 2] / 1000 : 0,
           done ? (double) latency_us[done * 99 / 100] / 1000 : 0, done ? (double) latency_us[done - 1] / 1000 : 0);
    for (const char *p = first_error; *p; p++)
        putchar(*p < ' ' || *p == '"' || *p == '\\' ? ' ' : *p);
    printf("\"}\n");
    fflush(stdout);
}

static void run_all(event_fn session, int sessions)
{
    struct fiber **f = mem_array((size_t) sessions, sizeof *f);

    for (int i = 0; i < sessions; i++)
        f[i] = fiber_new("session", session, NULL);
    for (int i = 0; i < sessions; i++)
        fiber_join(f[i], EVENT_NEVER);
    free(f);
}

static struct held {
    struct stream *s;
    int64_t delivered_us, told_us; /* 0: not yet */
} * held;

static int hold(struct stream *s, struct str *line, long n)
{
    if (strcmp(o.protocol, "smtp") == 0)
        return greet(s, line) < 0 || start_tls(s, line) < 0 ? -1 : 0;
    return log_in(s, line, n) < 0 || say(s, line, "t2 OK", "t2 SELECT INBOX\r\n") < 0 ||
                   say(s, line, "+", "t3 IDLE\r\n") < 0
               ? -1
               : 0;
}

/* Those in IDLE are told of new mail. */
static void listener(void *arg)
{
    struct held *h = arg;
    struct str line;
    enum stream_eol eol;

    str_init(&line, LINE_BYTES);
    stream_timeout(h->s, EVENT_NEVER);
    while (stream_line(h->s, &line, LINE_BYTES, &eol) == 0 && eol != STREAM_EOF) {
        if (h->told_us == 0 && strstr(line.p, "EXISTS"))
            h->told_us = time_mono_us();
        str_reset(&line);
    }
    str_free(&line);
}

static void idle_session(void *unused)
{
    struct str line;

    (void) unused;
    str_init(&line, LINE_BYTES);
    while (started < wanted) {
        long n = started++;
        if ((held[n].s = dial()) == NULL || hold(held[n].s, &line, n) < 0) {
            fail("idle", line.p);
            continue;
        }
        done++;
        fiber_go("listener", listener, &held[n]);
    }
    str_free(&line);
}

static void news_session(void *unused)
{
    struct str line;
    struct stream *s;
    int64_t took;

    (void) unused;
    str_init(&line, LINE_BYTES);
    s = dial_plain(o.news_port);
    o.lmtp = true;
    if (s == NULL || greet(s, &line) < 0)
        fail("LMTP", line.p);
    while (failed == 0 && started < wanted) {
        long n = started++;
        if (one_message(s, &line, n, &took) < 0)
            fail("news", line.p);
        held[n].delivered_us = time_mono_us();
    }
    stream_free(&s);
    str_free(&line);
}

/* Who was told before our 250 came was told at once. */
static void news(void)
{
    enum { PATIENCE_MS = 60000, LOOK_MS = 10 };
    int64_t began = time_mono_us(), until;
    double seconds;
    long told;

    done = started = 0;
    if (body == NULL)
        make_body();
    for (long n = 0; n < wanted; n++)
        held[n].delivered_us = held[n].told_us = 0;
    run_all(news_session, NEWS_AT_ONCE);
    seconds = (double) (time_mono_us() - began) / 1e6;
    until = time_mono_ms() + PATIENCE_MS;
    for (told = 0; told < wanted && time_mono_ms() < until; event_sleep(LOOK_MS))
        for (told = 0; told < wanted && held[told].told_us; told++)
            ;
    for (long n = 0; n < wanted; n++)
        if (held[n].told_us && held[n].delivered_us)
            latency_us[done++] = held[n].told_us > held[n].delivered_us ? held[n].told_us - held[n].delivered_us : 0;
    if (done < wanted)
        fail("news", "not all were told within a minute");
    report(seconds);
    started = wanted;
}

static void follow_orders(void)
{
    struct stream *in = stream_pair(STDIN_FILENO, STDOUT_FILENO);
    struct str line;
    enum stream_eol eol;

    str_init(&line, LINE_BYTES);
    while (stream_line(in, &line, LINE_BYTES, &eol) == 0 && eol != STREAM_EOF) {
        int64_t began = time_mono_us();
        if (strncmp(line.p, "hold ", 5) == 0) {
            wanted = atol(line.p + 5) < o.count ? atol(line.p + 5) : o.count;
            done = 0;
            run_all(idle_session, SETUP_AT_ONCE);
            memset(latency_us, 0, (size_t) done * sizeof *latency_us);
            report((double) (time_mono_us() - began) / 1e6);
        } else {
            news();
        }
        str_reset(&line);
    }
}

/* "\\n" stands for a line end: a literal in the middle of a command. */
static void say_unescaped(struct stream *s, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '\\' && p[1] == 'n') {
            stream_puts(s, "\r\n");
            p++;
        } else {
            stream_write(s, p, 1);
        }
    }
    stream_puts(s, "\r\n");
}

/* Is the end of the reply there? line: its last bytes. */
static bool imap_over(const struct str *line, bool *ok)
{
    const char *end = line->len > 2 && line->p[line->len - 1] == '\n' ? line->p + line->len - 2 : NULL;

    while (end && end > line->p && end[-1] != '\n')
        end--;
    *ok = end && strncmp(end, "t5 OK", 5) == 0;
    return end && strncmp(end, "t5 ", 3) == 0;
}

/* RETR and TOP are answered by lines up to a dot. first: the reply's first byte. */
static bool pop3_over(const char *command, char first, const struct str *line, bool *ok)
{
    bool lines = first == '+' && (strncmp(command, "RETR ", 5) == 0 || strncmp(command, "TOP ", 4) == 0);

    *ok = first == '+';
    return lines ? line->len >= 5 && memcmp(line->p + line->len - 5, "\r\n.\r\n", 5) == 0
                 : line->len && line->p[line->len - 1] == '\n';
}

static void script(void)
{
    bool pop3 = strcmp(o.protocol, "pop3") == 0;
    struct stream *s = dial(), *in = stream_pair(STDIN_FILENO, STDERR_FILENO);
    struct str line, command;
    enum stream_eol eol;

    str_init(&line, 64 << 20);
    str_init(&command, LINE_BYTES);
    if (s == NULL || log_in(s, &line, 0) < 0) {
        fail("login", line.p);
        return;
    }
    while (stream_line(in, &command, LINE_BYTES, &eol) == 0 && eol != STREAM_EOF) {
        int64_t began = time_mono_us();
        uint64_t bytes = stream_bytes_in(s);
        const char *p;
        ssize_t n;
        bool over = false, ok = false;
        char first = 0;

        if (!pop3)
            stream_puts(s, "t5 ");
        say_unescaped(s, command.p);
        /* What is read is only looked at for its last line. */
        str_reset(&line);
        while (!over && (n = stream_peek(s, &p)) > 0) {
            first = first ? first : *p;
            str_add(&line, p, (size_t) n);
            stream_consume(s, (size_t) n);
            if (line.len > 4096)
                str_drop(&line, line.len - 4096);
            over = pop3 ? pop3_over(command.p, first, &line, &ok) : imap_over(&line, &ok);
        }
        if (!ok)
            fail(command.p, line.p);
        printf("{\"ms\": %.3f, \"bytes\": %llu, \"ok\": %s}\n", (double) (time_mono_us() - began) / 1000,
               (unsigned long long) (stream_bytes_in(s) - bytes), ok ? "true" : "false");
        str_reset(&command);
        if (!over)
            break;
    }
    stream_free(&s);
}

static void work(void *mode)
{
    int64_t began = time_mono_us();

    latency_us = mem_array((size_t) o.count + 1, sizeof *latency_us);
    if (strcmp(mode, "script") == 0) {
        script();
        event_stop();
        return;
    }
    if (strcmp(mode, "idle") == 0) {
        held = mem_array((size_t) o.count, sizeof *held);
        follow_orders();
        _exit(failed != 0);
    }
    make_body();
    run_all(strcmp(mode, "smtp") == 0 ? smtp_session : login_session, o.sessions);
    report((double) (time_mono_us() - began) / 1e6);
    _exit(failed != 0); /* thousands of sessions need not be taken apart */
}

static void usage(void)
{
    fprintf(stderr,
            "usage: load smtp|login|idle|script -p PORT [-n COUNT] [-s SESSIONS] [-b BYTES] [-t USER%%d@DOMAIN] "
            "[-u USERS] [-w PASSWORD] [-P imap|pop3|smtp] [-d LMTP_PORT] [-l] [-k] [-T] [-S]\n");
    exit(2);
}

/* Clients are other machines: here, where they share the processors, an answer to one of them does not interrupt a server
 * that is at work for the others. */
static void yield_to_servers(void)
{
    struct sched_param none = { 0 };

    (void) sched_setscheduler(0, SCHED_BATCH, &none);
}

static int start_openssl(void)
{
    const struct tls_config config = { .server = false, .ciphersuites = SUITES, .library = library_of_a_client() };
    struct tls_why why = { "no OpenSSL" };

    if (config.library && (tls = tls_ctx_new(&config, &why)))
        return 0;
    fprintf(stderr, "load: %s\n", why.text);
    return -1;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int c;

    if (argc < 2)
        usage();
    const char *mode = argv[1];
    yield_to_servers();
    optind = 2;
    while ((c = getopt(argc, argv, "p:d:n:s:b:t:u:w:P:f:lkTS")) != -1) {
        switch (c) {
        case 'p': o.port = atoi(optarg); break;
        case 'd': o.news_port = atoi(optarg); break;
        case 'n': o.count = atol(optarg); break;
        case 's': o.sessions = atoi(optarg); break;
        case 'b': o.size = atol(optarg); break;
        case 't': o.to = optarg; break;
        case 'u': o.users = atoi(optarg); break;
        case 'w': o.password = optarg; break;
        case 'P': o.protocol = optarg; break;
        case 'f': o.from = optarg; break;
        case 'l': o.lmtp = true; break;
        case 'k': o.keep = true; break;
        case 'T': o.tls = true; break;
        case 'S': o.tls = o.starttls = true; break;
        default: usage();
        }
    }
    if (o.port == 0 || o.to == NULL || o.count < 1 || o.sessions < 1 || o.users < 1)
        usage();
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (o.tls && start_openssl() < 0)
        return 1;
    event_run(work, (void *) (uintptr_t) mode);
    return failed != 0;
}
