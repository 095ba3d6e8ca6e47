/*
 * smtpd drop - messages of "sendmail -bs" go to postdrop
 *
 * Without master smtpd serves one session on standard input with the rights of who called sendmail: it may not reach
 * cleanup, and postdrop (set-gid) puts the message into maildrop/.
 *
 * Callers     message.c
 * Invariants  postdrop's exit status 0 is the only success
 * Privilege   the calling user's; forks and execs, so never in a jail
 */
#include "session.h"

#include "base/log.h"
#include "base/time.h"
#include "queue/record.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DROP_WAIT_MS = 300 * 1000, DROP_BUFFER_BYTES = 64 << 10 };

struct smtpd_drop {
    pid_t pid;
    struct stream *to;
};

static void child(int in)
{
    char *path = mem_printf("%s/postdrop", conf_command_directory);

    if (dup2(in, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
        execl(path, "postdrop", "-r", (char *) NULL);
    _exit(127);
}

struct smtpd_drop *smtpd_drop_open(struct err *err)
{
    struct smtpd_drop *d;
    int ends[2];
    pid_t pid;

    if (pipe(ends) < 0) {
        err_set(err, 451, "4.3.0", "Error: queue file write error");
        return NULL;
    }
    pid = fork();
    if (pid == 0) {
        close(ends[1]);
        child(ends[0]);
    }
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        err_set(err, 451, "4.3.0", "Error: queue file write error");
        return NULL;
    }
    d = mem_new(sizeof *d);
    d->pid = pid;
    d->to = stream_new(ends[1]);
    stream_timeout(d->to, DROP_WAIT_MS);
    return d;
}

void smtpd_drop_record(struct smtpd_drop *d, int type, struct slice data)
{
    struct str out;

    str_init(&out, STR_UNLIMITED);
    record_put(&out, type, data);
    stream_write(d->to, out.p, out.len);
    str_free(&out);
}

static int reap(struct smtpd_drop *d)
{
    int status = -1;

    if (event_wait_child(d->pid, &status, time_mono_ms() + DROP_WAIT_MS))
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int smtpd_drop_end(struct smtpd_drop **dp, struct err *err)
{
    struct smtpd_drop *d = *dp;
    int failed = stream_flush(d->to), status;

    stream_free(&d->to);
    status = reap(d);
    free(d);
    *dp = NULL;
    if (failed == 0 && status == 0)
        return 0;
    log_warn("postdrop: exit status %d", status);
    return err_set(err, 451, "4.3.0", "Error: queue file write error");
}

/* A message without its end record: postdrop throws it away. */
void smtpd_drop_cancel(struct smtpd_drop **dp)
{
    struct smtpd_drop *d = *dp;

    stream_free(&d->to);
    reap(d);
    free(d);
    *dp = NULL;
}
