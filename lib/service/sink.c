/*
 * sink - where a daemon's log lines go: syslog, postlogd, or standard error
 *
 * Invariants  the socket is connected before the jail and kept; nothing is opened later
 *             postlogd gets the lines that came up together in one datagram; warnings go out at once
 *             a line that its sink does not take goes to standard error, which is a pipe to master: it logs the line
 *             as it stands, so that a restart of syslogd loses nothing
 *             a full postlogd makes its writers wait, at most SEND_SECONDS a line
 * Source      RFC 3164 as glibc's syslog(3) writes it; postlogd takes the line as it will stand in the file
 */
#include "service/sink.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "service/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum {
    SEND_SECONDS = 5,
    HOST_BYTES = 256,
    LINE_EXTRA = HOST_BYTES + TIME_TEXT_BYTES + 128,
    DATAGRAM_BYTES = 1 << 20
};

static int sink_fd = -1;
static bool to_postlogd;
static int facility = LOG_MAIL;
static char host[HOST_BYTES] = "localhost";

static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR, LOG_CRIT, LOG_CRIT };

int sink_facility(const char *name)
{
    static const struct {
        const char *name;
        int value;
    } names[] = { { "auth", LOG_AUTH },     { "authpriv", LOG_AUTHPRIV }, { "cron", LOG_CRON },
                  { "daemon", LOG_DAEMON }, { "ftp", LOG_FTP },           { "kern", LOG_KERN },
                  { "lpr", LOG_LPR },       { "mail", LOG_MAIL },         { "news", LOG_NEWS },
                  { "security", LOG_AUTH }, { "syslog", LOG_SYSLOG },     { "user", LOG_USER },
                  { "uucp", LOG_UUCP },     { "local0", LOG_LOCAL0 },     { "local1", LOG_LOCAL1 },
                  { "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },     { "local4", LOG_LOCAL4 },
                  { "local5", LOG_LOCAL5 }, { "local6", LOG_LOCAL6 },     { "local7", LOG_LOCAL7 } };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0)
            return names[i].value;
    return -1;
}

int sink_line(char *out, size_t size, bool syslog_form, int priority, const char *tag, const char *text)
{
    char date[TIME_TEXT_BYTES];
    int n;

    time_log(time_now(), date);
    if (syslog_form)
        n = snprintf(out, size, "<%d>%s %s: %s", facility | priority, date, tag, text);
    else
        n = snprintf(out, size, "%s %s %s: %s", date, host, tag, text);
    return n < 0 ? 0 : (size_t) n >= size ? (int) size - 1 : n;
}

static int send_all(const char *p, size_t len)
{
    ssize_t sent;

    do
        sent = send(sink_fd, p, len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

/* Lines for postlogd, each with its LF. */
static char kept[SERVICE_DATAGRAM_BYTES];
static size_t kept_bytes;
static pthread_t keeper; /* other threads keep nothing */

static void send_kept(void)
{
    size_t head = strlen("Jan  1 00:00:00 ") + strlen(host) + 1; /* master adds its own */
    struct slice rest = slice_make(kept, kept_bytes), line;

    if (kept_bytes == 0)
        return;
    if (send_all(kept, kept_bytes - 1) < 0)
        while (slice_split(&rest, '\n', &line))
            if (line.len > head)
                dprintf(STDERR_FILENO, "%.*s\n", (int) (line.len - head), line.p + head);
    kept_bytes = 0;
}

static void keep(const char *line, size_t len)
{
    if (kept_bytes + len + 1 > sizeof kept)
        send_kept();
    memcpy(kept + kept_bytes, line, len);
    kept[kept_bytes + len] = '\n';
    kept_bytes += len + 1;
}

static void to_socket(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    char line[LOG_LINE_BYTES + LINE_EXTRA];
    int n = sink_line(line, sizeof line, !to_postlogd, priorities[level], tag, text);
    bool ours = pthread_equal(pthread_self(), keeper);

    (void) ctx;
    (void) len;
    if (to_postlogd && ours && fiber_self()) {
        keep(line, (size_t) n);
        if (level >= LOG_LEVEL_WARN)
            send_kept();
        return;
    }
    if (ours)
        send_kept();
    if (send_all(line, (size_t) n) < 0)
        dprintf(STDERR_FILENO, "%s: %s\n", tag, text);
}

int sink_connect(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct timeval wait = { .tv_sec = SEND_SECONDS };
    int bytes = DATAGRAM_BYTES, fd;

    if (strlen(path) >= sizeof addr.sun_path)
        return -1;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *) &addr, sizeof addr) < 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* datagrams wait in the sender's share */
    }
    return fd;
}

int sink_find(bool *postlogd)
{
    int fd = -1;

    *postlogd = false;
    if (conf_maillog_file && *conf_maillog_file) {
        char *path = mem_printf("%s/public/postlog", conf_queue_directory);
        fd = sink_connect(path);
        free(path);
        *postlogd = fd >= 0;
    }
    if (fd < 0)
        fd = sink_connect("/dev/log");
    return fd;
}

void sink_setup(void)
{
    int value = sink_facility(conf_syslog_facility);

    if (value >= 0)
        facility = value;
    else
        log_warn("syslog_facility: unknown: %s", conf_syslog_facility);
    if (*conf_myhostname != '\0')
        snprintf(host, sizeof host, "%.*s", (int) strcspn(conf_myhostname, "."), conf_myhostname);
}

void sink_retag(const char *program)
{
    char *tag = mem_printf("%s/%s[%ld]", conf_syslog_name, program, (long) getpid());

    log_tag(tag);
    free(tag);
}

void sink_open(const char *program)
{
    sink_retag(program);
    sink_setup();
    if (service_state.alone)
        return;
    sink_fd = sink_find(&to_postlogd);
    if (sink_fd < 0)
        return;
    keeper = pthread_self();
    pthread_atfork(send_kept, NULL, NULL); /* a child must not send them again */
    log_sink(to_socket, NULL);
    log_sink_push(send_kept, &kept_bytes);
}
