/* log_test - no peer's bytes forge a line; lines are cut, callers' errno kept; how fatal and panic end */
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[LOG_LINE_BYTES + 100], said_tag[200];
static enum log_level said_level;
static size_t said_len;
static unsigned lines;
static int context;

static void sink(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    assert(ctx == &context && strlen(text) == len);
    said_level = level;
    said_len = len;
    lines++;
    snprintf(said, sizeof said, "%s", text);
    snprintf(said_tag, sizeof said_tag, "%s", tag);
    errno = ENOTTY; /* as a sink may */
}

static const struct {
    const char *in, *out;
} rows[] = {
    { "plain text", "plain text" },
    { "two\nlines\r\n", "two?lines??" },
    { "\x1b[31mred\x7f", "?[31mred?" },
    { "tab\there", "tab?here" },
    { "caf\xc3\xa9", "caf\xc3\xa9" },
    { "caf\xe9", "caf?" },
    { "caf\xc3\xa9 and \xff", "caf?? and ?" }, /* one wrong byte: then none of it is UTF-8 */
    { "over\xc0\xaflong", "over??long" },
    { "\xed\xa0\x80", "???" },
    { "100% %s %n", "100% %s %n" },
    { "", "" },
};

static void test_harmless(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        errno = EACCES;
        log_info("%s", rows[i].in);
        assert(errno == EACCES);
        if (strcmp(said, rows[i].out) != 0 || said_level != LOG_LEVEL_INFO) {
            fprintf(stderr, "row %zu: %s\n", i, said);
            abort();
        }
    }
}

static void test_levels(void)
{
    unsigned before;

    log_warn("%d", 1);
    assert(said_level == LOG_LEVEL_WARN && strcmp(said, "warning: 1") == 0);
    log_error("x");
    assert(said_level == LOG_LEVEL_ERROR && strcmp(said, "error: x") == 0);
    before = lines;
    log_debug("x");
    assert(lines == before && !log_is_verbose());
    log_verbose(1);
    log_debug("y");
    assert(lines == before + 1 && log_is_verbose() && said_level == LOG_LEVEL_DEBUG && strcmp(said, "y") == 0);
    log_verbose(0);
}

static void test_cut(void)
{
    char big[3 * LOG_LINE_BYTES], tag[150];

    for (size_t len = LOG_LINE_BYTES - 12; len < LOG_LINE_BYTES + 3; len++) {
        memset(big, 'x', len);
        big[len] = '\0';
        log_warn("%s", big);
        size_t want = len + strlen("warning: ") < LOG_LINE_BYTES ? len + strlen("warning: ") : LOG_LINE_BYTES - 1;
        assert(said_len == want && strncmp(said, "warning: xxx", 12) == 0);
    }
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    memcpy(big + LOG_LINE_BYTES - 2, "\xc3\xa9", 2); /* a character on the edge: half of it is no character */
    log_info("%s", big);
    assert(said_len == LOG_LINE_BYTES - 1 && said[said_len - 1] == '?');
    memset(tag, 't', sizeof tag - 1);
    tag[sizeof tag - 1] = '\0';
    log_tag(tag);
    log_info("x");
    assert(strlen(said_tag) == 100 && strcmp(said_tag, log_tag_get()) == 0);
    log_tag("postfix/test");
}

/* The child's exit, and what it wrote to standard error. */
static int end_of(void (*end)(const char *, ...), char *text, size_t bytes)
{
    int fds[2], status;
    ssize_t n;
    pid_t pid;

    assert(pipe(fds) == 0 && (pid = fork()) >= 0);
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        log_sink(NULL, NULL);
        end("gone\n%s", "wrong");
        _exit(0);
    }
    close(fds[1]);
    n = read(fds[0], text, bytes - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    assert(waitpid(pid, &status, 0) == pid);
    return status;
}

int main(void)
{
    char text[500];
    int status;

    log_sink(sink, &context);
    test_harmless();
    test_levels();
    test_cut();
    status = end_of(log_fatal, text, sizeof text);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 1 && strcmp(text, "postfix/test: fatal: gone?wrong\n") == 0);
    status = end_of(log_panic, text, sizeof text);
    assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert(strncmp(text, "postfix/test: panic: gone?wrong\n", 32) == 0);
    return 0;
}
