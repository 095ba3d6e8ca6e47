/*
 * log - master's own lines, and what daemons write to standard error
 *
 * Invariants  master never waits for the log: postlogd is one of its children. Lines that cannot be sent wait in
 *             memory, at most KEPT_LINES
 *             a daemon whose log socket fails writes "TAG[PID]: text" to standard error: such a line is passed on as
 *             it stands; anything else (a sanitizer's report, an abort message of the C library) is logged as a
 *             warning
 *             until the start is complete, warnings and worse also go to standard error
 */
#include "base/log.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "io/stream.h"
#include "master.h"
#include "service/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

enum { KEPT_LINES = 2000, RETRY_MS = 100, OUTPUT_LINE_BYTES = 1500, FLUSH_MS = 2000, WIRE_BYTES = 3000 };

static int sink = -1;
static bool postlogd;
static struct kept_line {
    enum log_level level;
    char *tag, *text;
} kept[KEPT_LINES];
static size_t kept_first, kept_count;
static int capture[2] = { -1, -1 };
static struct event_timer *retrying; /* NULL: nothing waits */
static bool starting = true;

/* Until the start is complete postlogd may never read what is sent to it: who started us sees what is wrong himself.
 */
static bool shown(enum log_level level) { return starting && level >= LOG_LEVEL_WARN; }

bool log_at_start(void) { return starting; }

void log_started(void) { starting = false; }

static bool send_line(enum log_level level, const char *tag, const char *text)
{
    static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR, LOG_CRIT, LOG_CRIT };
    char line[WIRE_BYTES];
    int n;

    if (sink < 0)
        sink = sink_find(&postlogd);
    if (sink < 0)
        return false;
    n = sink_line(line, sizeof line, !postlogd, priorities[level], tag, text);
    if (send(sink, line, (size_t) n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return true;
    if (errno != EAGAIN && errno != ENOBUFS) {
        close(sink);
        sink = -1;
    }
    return false;
}

static void drop_first(void)
{
    free(kept[kept_first].tag);
    free(kept[kept_first].text);
    kept_first = (kept_first + 1) % KEPT_LINES;
    kept_count--;
}

static void retry(void *unused);

/* Only while there is something to send: at rest master sleeps. */
static void retry_later(void)
{
    if (capture[0] >= 0 && kept_count && retrying == NULL)
        retrying = event_timer_new(RETRY_MS, retry, NULL);
}

static void keep_line(enum log_level level, const char *tag, const char *text)
{
    if (kept_count == KEPT_LINES) {
        drop_first();
    }
    kept[(kept_first + kept_count++) % KEPT_LINES] = (struct kept_line){ level, mem_strdup(tag), mem_strdup(text) };
    retry_later();
}

static void send_kept(void)
{
    while (kept_count && send_line(kept[kept_first].level, kept[kept_first].tag, kept[kept_first].text))
        drop_first();
}

static void to_sink(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx;
    (void) len;
    if (shown(level))
        dprintf(STDERR_FILENO, "%s: %s\n", tag, text);
    send_kept();
    if (kept_count || !send_line(level, tag, text))
        keep_line(level, tag, text);
    if (level >= LOG_LEVEL_FATAL)
        log_flush();
}

static void retry(void *unused)
{
    (void) unused;
    event_timer_free(&retrying);
    send_kept();
    retry_later();
}

/* Where the log goes may have changed: called at start and at each reload. */
void log_open(void)
{
    sink_setup();
    if (sink >= 0)
        close(sink);
    sink = -1;
    log_sink(to_sink, NULL);
}

void log_flush(void)
{
    for (int64_t until = time_mono_ms() + FLUSH_MS; kept_count && time_mono_ms() < until; usleep(RETRY_MS * 100))
        send_kept();
    for (; kept_count; drop_first())
        if (!shown(kept[kept_first].level))
            dprintf(STDERR_FILENO, "%s: %s\n", kept[kept_first].tag, kept[kept_first].text);
}

/* "name/name[123]: text": the tag's length, 0 when the line has none. */
static size_t tag_of(const char *line)
{
    const char *end = strstr(line, "]: ");
    const char *open = end ? memchr(line, '[', (size_t) (end - line)) : NULL;

    if (open == NULL || open == line || end - line > 120)
        return 0;
    for (const char *p = open + 1; p < end; p++)
        if (!ascii_isdigit(*p))
            return 0;
    for (const char *p = line; p < open; p++)
        if (!ascii_isalnum(*p) && strchr("/-_.", *p) == NULL)
            return 0;
    return (size_t) (end - line) + 1;
}

static void pass_on(const char *line)
{
    size_t len = tag_of(line);
    char *tag;

    if (len == 0) {
        if (*line)
            log_warn("output of a daemon: %s", line);
        return;
    }
    tag = mem_strndup(line, len);
    to_sink(NULL, LOG_LEVEL_INFO, tag, line + len + 2, strlen(line + len + 2));
    free(tag);
}

static void read_output(void *unused)
{
    struct stream *s = stream_new(capture[0]);
    struct str line;
    enum stream_eol eol;

    (void) unused;
    str_init(&line, OUTPUT_LINE_BYTES);
    stream_timeout(s, EVENT_NEVER);
    while (stream_line(s, &line, OUTPUT_LINE_BYTES, &eol) == 0 || errno == EMSGSIZE) {
        pass_on(line.p);
        str_reset(&line);
    }
    str_free(&line);
    stream_free(&s);
}

int log_capture_fd(void) { return capture[1]; }

void log_capture_start(void)
{
    if (pipe2(capture, O_CLOEXEC) < 0)
        log_fatal("pipe: %s", strerror(errno));
    fiber_go("output of daemons", read_output, NULL);
    retry_later();
}
