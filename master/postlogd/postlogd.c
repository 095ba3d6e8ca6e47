/*
 * postlogd - writes the log to a file, where maillog_file says so
 *
 * Callers     every daemon and postlog(1): datagrams to public/postlog, each of lines as they will stand in the file
 * Invariants  one process; the only writer. The file is opened before the jail; a reload opens it anew (a new process
 *             does), so logs are rotated by rename and "postfix reload"
 *             lines of one sender stay in order; a line holds no control characters
 * Errors      a file outside maillog_file_prefixes, or one that cannot be opened: no start
 * Privilege   chroot, mail_owner, one descriptor open for appending
 */
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "service/service.h"
#include "service/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 8192, BATCH_BYTES = 32768 };

static const char *prefixes, *permissions;
static int file = -1;

static const struct param params[] = {
    { .name = "maillog_file_prefixes",
      .type = PARAM_STRING,
      .str = &prefixes,
      .def = "/var, /dev/stdout",
      .doc = "maillog_file must be one of these, or below one of them." },
    { .name = "maillog_file_permissions",
      .type = PARAM_STRING,
      .str = &permissions,
      .def = "0600",
      .doc = "Access mode of a log file that is made, in octal." },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { params, NULL };

static bool prefix_ok(const char *path)
{
    struct slice rest = slice_of(prefixes), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (strncmp(path, word.p, word.len) == 0 &&
            (path[word.len] == '\0' || path[word.len] == '/' || word.p[word.len - 1] == '/'))
            return true;
    return false;
}

/* Lines that arrived together are written together. */
static char batch[BATCH_BYTES];
static size_t batched;

static void write_batch(void)
{
    /* A full disk: nobody can be told but the console, and mail goes on. */
    if (batched > 0 && file_write_all(file, batch, batched) < 0)
        dprintf(STDERR_FILENO, "postlogd: cannot write the log: %s\n", strerror(errno));
    batched = 0;
}

static void add_line(const char *line, size_t len)
{
    if (len > LINE_BYTES)
        len = LINE_BYTES;
    if (batched + len + 1 > sizeof batch)
        write_batch();
    for (size_t i = 0; i < len; i++)
        batch[batched++] = (unsigned char) line[i] < ' ' || line[i] == 127 ? '?' : line[i];
    batch[batched++] = '\n';
}

static void on_datagram(const void *p, size_t len)
{
    struct slice rest = slice_make(p, len), line;

    while (rest.len && (rest.p[rest.len - 1] == '\n' || rest.p[rest.len - 1] == '\0'))
        rest.len--;
    while (slice_split(&rest, '\n', &line))
        add_line(line.p, line.len);
}

/* Own lines go to the file too, not to the socket that this process reads. */
static void on_own_line(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    char line[LINE_BYTES];
    int n = sink_line(line, sizeof line, false, 0, tag, text);

    (void) ctx;
    (void) level;
    (void) len;
    add_line(line, (size_t) n);
    write_batch();
}

static int open_file(void)
{
    char *end;
    unsigned long mode = strtoul(permissions, &end, 8);

    if (*permissions == '\0' || *end != '\0' || mode > 0777) {
        log_error("maillog_file_permissions: not an access mode: %s", permissions);
        return -1;
    }
    if (*conf_maillog_file == '\0') {
        log_warn("maillog_file is empty: there is nothing to write to");
        return -1;
    }
    if (!prefix_ok(conf_maillog_file)) {
        log_error("maillog_file %s is not below any of maillog_file_prefixes: %s", conf_maillog_file, prefixes);
        return -1;
    }
    if (strcmp(conf_maillog_file, "/dev/stdout") == 0)
        file = dup(STDOUT_FILENO);
    else
        file = open(conf_maillog_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, (mode_t) mode);
    if (file < 0) {
        log_error("cannot open maillog_file %s: %s", conf_maillog_file, strerror(errno));
        return -1;
    }
    log_sink(on_own_line, NULL);
    return 0;
}

static const struct service postlogd = { .name = "postlogd",
                                         .summary = "write the mail log to a file",
                                         .jail = JAIL_CHROOT,
                                         .params = tables,
                                         .datagram = on_datagram,
                                         .datagrams_end = write_batch,
                                         .solitary = true,
                                         .pre_jail = open_file };
int main(int argc, char **argv) { return service_main(&postlogd, argc, argv); }
