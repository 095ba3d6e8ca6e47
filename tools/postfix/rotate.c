/* rotate - a new log file; contract in rotate.h */
#include "rotate.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SUFFIX_BYTES = 256, SETTLE_MS = 1000 /* lines under way are still written to the old file */ };

static const char *compressor, *suffix_format;
const struct param rotate_params[] = {
    { .name = "maillog_file_compressor",
      .type = PARAM_STRING,
      .str = &compressor,
      .def = "gzip",
      .min = 1,
      .doc = "Program that packs a log file when \"postfix logrotate\" has put it aside; its argument is the file." },
    { .name = "maillog_file_rotate_suffix",
      .type = PARAM_STRING,
      .str = &suffix_format,
      .def = "%Y%m%d-%H%M%S",
      .min = 1,
      .doc = "What \"postfix logrotate\" adds to the name of maillog_file, behind a dot, as strftime(3)." },
    { .type = PARAM_END },
};

static int pack(const char *path)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        execlp(compressor, compressor, path, (char *) NULL);
        log_error("cannot run %s: %s", compressor, strerror(errno));
        _exit(1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        log_error("logfile '%s' rotation failed: %s did not pack %s", conf_maillog_file, compressor, path);
        return -1;
    }
    return 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Wformat-nonliteral" /* the administrator's format; strftime reads nothing else by it */
static bool make_suffix(char *out, size_t size)
{
    time_t now = time_now();
    struct tm tm;

    return strftime(out, size, suffix_format, localtime_r(&now, &tm)) > 0;
}
#pragma GCC diagnostic pop

int postfix_logrotate(void (*reload)(void))
{
    char suffix[SUFFIX_BYTES], *path;
    int rc;

    if (*conf_maillog_file == '\0' || strncmp(conf_maillog_file, "/dev/", 5) == 0) {
        log_error(*conf_maillog_file ? "not rotating '%s'"
                                     : "empty 'maillog_file%s' parameter value - logfile rotation failed",
                  conf_maillog_file);
        return -1;
    }
    if (!make_suffix(suffix, sizeof suffix)) {
        log_error("maillog_file_rotate_suffix: too long: %s", suffix_format);
        return -1;
    }
    path = mem_printf("%s.%s", conf_maillog_file, suffix);
    rc = access(path, F_OK) == 0 ? (errno = EEXIST, -1) : rename(conf_maillog_file, path);
    if (rc < 0) {
        log_error("logfile '%s' rotation failed: rename to %s: %s", conf_maillog_file, path, strerror(errno));
    } else {
        reload();
        usleep(SETTLE_MS * 1000);
        rc = pack(path);
    }
    free(path);
    return rc;
}
