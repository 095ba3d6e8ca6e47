/*
 * converse - plays the conversations of tests/proto/NAME/ against a session in this process
 *
 * A file is a conversation, named for what it shows. Its lines:
 *   C: text    the client sends text and CRLF (\r \n \t \\ \xHH are escapes; \ at the end: without CRLF)
 *   S: text    the server's next line; "..." stands for anything. The last S: of a file need not end the session
 *   Z:         the server closes the connection
 *   M: text    a message with that Subject, "\n"-ended lines and two lines of body, is delivered into the INBOX
 *   P: text    likewise, raw: text is the whole file
 *   2C: 2S:    the same for a second, third .. client of the same user
 *   #          says what is shown
 *
 * Callers     imapd/session_test.c, pop3d/session_test.c
 * Invariants  each file has a Maildir of its own, fresh and empty; the greeting (one line) is read and not compared
 */
#ifndef TESTS_PROTO_CONVERSE_H
#define TESTS_PROTO_CONVERSE_H
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "io/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONVERSE_CLIENTS = 4, CONVERSE_WAIT_MS = 20000 };

typedef void (*converse_run)(int fd, const char *root); /* a session, to its end */
struct converse {
    converse_run run;
    const char *path;
    int line;
    char root[64];
    struct stream *client[CONVERSE_CLIENTS];
    unsigned delivered;
};
struct converse_session {
    converse_run run;
    int fd;
    const char *root;
};

static void converse_session(void *arg)
{
    struct converse_session *s = arg;

    s->run(s->fd, s->root);
    free(s);
}

static _Noreturn void converse_fail(const struct converse *c, const char *what, const char *detail)
{
    fprintf(stderr, "%s:%d: %s: %s\n", c->path, c->line, what, detail);
    abort();
}

static void converse_unescape(const char *in, struct str *out)
{
    for (; *in; in++) {
        if (*in != '\\' || in[1] == 0) {
            str_addc(out, *in);
            continue;
        }
        in++;
        if (*in == 'x') {
            char digits[3] = { in[1], in[1] ? in[2] : (char) 0, 0 };
            str_addc(out, (char) strtoul(digits, NULL, 16));
            in += 2;
        } else {
            str_addc(out, *in == 'r' ? '\r' : *in == 'n' ? '\n' : *in == 't' ? '\t' : *in);
        }
    }
}

/* "..." matches any bytes, the fewest that do. */
static bool converse_match(const char *pattern, const char *text)
{
    if (strncmp(pattern, "...", 3) == 0) {
        for (;; text++) {
            if (converse_match(pattern + 3, text))
                return true;
            if (*text == 0)
                return false;
        }
    }
    if (*pattern == 0 || *text == 0)
        return *pattern == *text;
    return *pattern == *text && converse_match(pattern + 1, text + 1);
}

static void converse_read(struct converse *c, struct stream *s, const char *want)
{
    struct str line, wanted;
    enum stream_eol eol = STREAM_EOF;

    str_init(&line, 1 << 20);
    str_init(&wanted, 1 << 20);
    if (want)
        converse_unescape(want, &wanted);
    int rc = stream_line(s, &line, 1 << 20, &eol);
    if (rc != 0 || eol == STREAM_EOF)
        converse_fail(c, "the session ended, wanted", want ? want : "a greeting");
    if (want && !converse_match(wanted.p, line.p))
        converse_fail(c, want, line.p);
    str_free(&line);
    str_free(&wanted);
}

static struct stream *converse_client(struct converse *c, int number)
{
    if (c->client[number] == NULL) {
        struct converse_session *s = mem_new(sizeof *s);
        int fd[2];

        assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0);
        *s = (struct converse_session){ .run = c->run, .fd = fd[1], .root = c->root };
        c->client[number] = stream_new(fd[0]);
        stream_timeout(c->client[number], CONVERSE_WAIT_MS);
        fiber_go("session", converse_session, s);
        converse_read(c, c->client[number], NULL);
    }
    return c->client[number];
}

static void converse_deliver(struct converse *c, const char *text, bool raw)
{
    struct str body;
    char path[200];
    const char *const dirs[] = { "", "/cur", "/new", "/tmp" };

    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s%s", c->root, dirs[i]);
        mkdir(path, 0700);
    }
    str_init(&body, 1 << 20);
    if (raw)
        converse_unescape(text, &body);
    else
        str_printf(&body, "From: a@example.test\nSubject: %s\n\nline one\nline two\n", text);
    snprintf(path, sizeof path, "%s/new/%u.M%uP1.host,S=%zu", c->root, 1000000000 + c->delivered, c->delivered,
             body.len);
    c->delivered++;
    assert(file_replace(AT_FDCWD, path, str_slice(&body), 0600, false) == 0);
    str_free(&body);
}

static void converse_line(struct converse *c, char *line)
{
    int number = line[0] >= '1' && line[0] <= '3' ? *line++ - '0' : 0;
    struct stream *s;
    struct str bytes;
    char byte;

    if (line[0] == '#' || line[0] == 0)
        return;
    if (line[1] != ':')
        converse_fail(c, "unknown line", line);
    const char *text = line[2] ? line + 3 : "";
    if (line[0] == 'M' || line[0] == 'P') {
        converse_deliver(c, text, line[0] == 'P');
        return;
    }
    s = converse_client(c, number);
    switch (line[0]) {
    case 'C':
        str_init(&bytes, 1 << 20);
        converse_unescape(text, &bytes);
        if (bytes.len && bytes.p[bytes.len - 1] == '\\')
            str_cut(&bytes, bytes.len - 1);
        else
            str_adds(&bytes, "\r\n");
        stream_write(s, bytes.p, bytes.len);
        str_free(&bytes);
        break;
    case 'S': converse_read(c, s, text); break;
    case 'Z':
        if (stream_read(s, &byte, 1) != 0)
            converse_fail(c, "the session goes on", "");
        stream_free(&c->client[number]);
        break;
    default: converse_fail(c, "unknown line", line);
    }
}

static void converse_file(converse_run run, const char *path)
{
    struct converse c = { .run = run, .path = path, .root = "/tmp/converse.XXXXXX" };
    struct str text;
    char cmd[100];

    str_init(&text, 1 << 20);
    assert(mkdtemp(c.root) && file_read(path, &text) == 0);
    for (char *p = text.p, *end; *p; p = end) {
        end = p + strcspn(p, "\n");
        if (*end)
            *end++ = 0;
        c.line++;
        converse_line(&c, p);
    }
    for (int i = 0; i < CONVERSE_CLIENTS; i++)
        stream_free(&c.client[i]);
    while (fiber_count() > 1)
        event_sleep(5);
    snprintf(cmd, sizeof cmd, "rm -rf %s", c.root);
    assert(system(cmd) == 0);
    str_free(&text);
    printf("ok %s\n", path);
}

/* pattern: "tests/proto/imap/" "*.txt", from the top of the tree. */
static void converse_all(converse_run run, const char *pattern)
{
    glob_t files;

    setenv("TZ", "UTC", 1);
    assert(glob(pattern, 0, NULL, &files) == 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        converse_file(run, files.gl_pathv[i]);
    globfree(&files);
}
#endif
