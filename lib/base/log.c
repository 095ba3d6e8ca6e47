/* log - builds one line and hands it to the sink; contract in log.h */
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char tag[101] = "posthorn";
static log_fn sink;
static void *sink_ctx;
static void (*sink_push)(void);
static const size_t *sink_kept;
static int verbose;
static const char *const prefix[] = { "", "", "warning: ", "error: ", "fatal: ", "panic: " };

void log_tag(const char *name) { snprintf(tag, sizeof tag, "%s", name); }

const char *log_tag_get(void) { return tag; }

void log_sink(log_fn fn, void *ctx)
{
    sink = fn;
    sink_ctx = ctx;
}

void log_sink_push(void (*push)(void), const size_t *kept)
{
    sink_push = push;
    sink_kept = kept;
}

bool log_kept(void) { return sink_kept && *sink_kept; }

void log_push(void)
{
    if (log_kept())
        sink_push();
}

void log_verbose(int level) { verbose = level; }
bool log_is_verbose(void) { return verbose > 0; }

static void make_harmless(char *text, size_t len)
{
    bool utf8 = utf8_valid((struct slice){ text, len });

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) text[i];
        if (c < ' ' || c == 127 || (c >= 128 && !utf8))
            text[i] = '?';
    }
}

__attribute__((format(printf, 2, 0))) static void say(enum log_level level, const char *fmt, va_list ap)
{
    char text[LOG_LINE_BYTES];
    int keep = errno; /* callers log between a failing call and looking at errno */
    size_t skip = (size_t) snprintf(text, sizeof text, "%s", prefix[level]);
    int n = vsnprintf(text + skip, sizeof text - skip, fmt, ap);
    size_t len = n < 0 ? skip : skip + (size_t) n;

    if (len >= sizeof text)
        len = sizeof text - 1;
    make_harmless(text, len);
    if (sink)
        sink(sink_ctx, level, tag, text, len);
    else
        fprintf(stderr, "%s: %s\n", tag, text);
    errno = keep;
}

#define SAY(level)           \
    do {                     \
        va_list ap;          \
        va_start(ap, fmt);   \
        say(level, fmt, ap); \
        va_end(ap);          \
    } while (0)

void log_debug(const char *fmt, ...)
{
    if (verbose > 0)
        SAY(LOG_LEVEL_DEBUG);
}
void log_info(const char *fmt, ...) { SAY(LOG_LEVEL_INFO); }
void log_warn(const char *fmt, ...) { SAY(LOG_LEVEL_WARN); }
void log_error(const char *fmt, ...) { SAY(LOG_LEVEL_ERROR); }

void log_fatal(const char *fmt, ...)
{
    SAY(LOG_LEVEL_FATAL);
    _exit(1);
}

void log_panic(const char *fmt, ...)
{
    SAY(LOG_LEVEL_PANIC);
    abort();
}
