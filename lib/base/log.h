/*
 * log - one line for each event, in Postfix's format
 *
 * Callers     everybody; who decides logs, once, with queue or session id
 * Format      "PREFIX/NAME[PID]: [warning: |error: |fatal: |panic: ]text"; bytes outside printable ASCII and valid
 *             UTF-8 become "?", so that a peer can forge no line; a line is cut at LOG_LINE_BYTES
 * Sinks       until log_sink is called: standard error. The skeleton sets syslog or postlogd, as main.cf says. A sink may
 *             keep lines back until log_push, which is called before the process waits for long (lib/event: at most
 *             5 ms after the one before) and before it sends another daemon a frame: what happened first stands first in
 *             the log, whoever wrote it
 * Errors      log_fatal: the machine failed us, ends the process with status 1 and master restarts it
 *             log_panic: we are wrong; ends by abort. No peer's input reaches either.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL, LOG_LEVEL_PANIC };
enum { LOG_LINE_BYTES = 2000 };

typedef void (*log_fn)(void *ctx, enum log_level, const char *tag, const char *text, size_t len);

void log_tag(const char *tag); /* "postfix/smtpd"; copied, cut at 100 bytes */
const char *log_tag_get(void);
void log_sink(log_fn, void *ctx);                           /* NULL: standard error again */
void log_sink_push(void (*push)(void), const size_t *kept); /* what log_push calls, and how much there is to push */
void log_push(void);
bool log_kept(void);
void log_verbose(int level); /* >0: log_debug lines are written (as info) */
bool log_is_verbose(void);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void log_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void log_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#endif
