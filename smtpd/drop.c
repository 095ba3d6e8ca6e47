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

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DROP_WAIT_MS = 300 * 1000, ANSWER_BYTES = 1000 };

struct smtpd_drop {
    pid_t pid;
    struct stream *to, *from;
};

static void child(int in, int out)
{
    char *path = mem_printf("%s/postdrop", conf_command_directory);

    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        execl(path, "postdrop", "-r", (char *) NULL);
    _exit(127);
}

static void close_both(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

static struct smtpd_drop *no_drop(struct err *err)
{
    err_set(err, 451, "4.3.0", "Error: queue file write error");
    return NULL;
}

struct smtpd_drop *smtpd_drop_open(struct err *err)
{
    struct smtpd_drop *d;
    int in[2], out[2];
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) < 0)
        return no_drop(err);
    if (pipe2(out, O_CLOEXEC) < 0) {
        close_both(in);
        return no_drop(err);
    }
    pid = fork();
    if (pid == 0)
        child(in[0], out[1]);
    if (pid < 0) {
        close_both(in);
        close_both(out);
        return no_drop(err);
    }
    close(in[0]);
    close(out[1]);
    d = mem_new(sizeof *d);
    d->pid = pid;
    d->to = stream_new(in[1]);
    d->from = stream_new(out[0]);
    stream_timeout(d->to, DROP_WAIT_MS);
    stream_timeout(d->from, DROP_WAIT_MS);
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

/* postdrop says "name NUL value NUL" pairs: where the value of queue_id is. */
static void read_id(struct stream *from, char *id, size_t bytes)
{
    static const char name[] = "queue_id";
    char answer[ANSWER_BYTES + 1] = "";
    size_t len = 0;
    ssize_t n;

    while (len < ANSWER_BYTES && (n = stream_read(from, answer + len, ANSWER_BYTES - len)) > 0)
        len += (size_t) n;
    const char *at = memmem(answer, len, name, sizeof name);
    snprintf(id, bytes, "%s", at ? at + sizeof name : "");
}

int smtpd_drop_end(struct smtpd_drop **dp, char *id, size_t bytes, struct err *err)
{
    struct smtpd_drop *d = *dp;
    int failed = stream_flush(d->to), status;

    stream_free(&d->to);
    read_id(d->from, id, bytes);
    stream_free(&d->from);
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

    kill(d->pid, SIGTERM); /* which postdrop obeys by removing its file, without a complaint */
    stream_free(&d->to);
    stream_free(&d->from);
    reap(d);
    free(d);
    *dp = NULL;
}
