/*
 * postdrop - takes a message as a stream of records and leaves it in maildrop/
 *
 * Callers     sendmail, other people's programs; set-gid setgid_group: the only way for a user into maildrop/
 * Invariants  only what maildrop_rules names passes; answered is after fsync; a signal or a fault removes the file
 *             answers on standard output: protocol and queue_id, then status (0) and reason
 * Errors      exit status of sysexits.h; "uid=N: ..." on standard error
 * Privilege   runs with the caller's uid: the file tells who sent it
 */
#include "base/file.h"
#include "base/log.h"
#include "proto/addr/addr.h"
#include "queue/file.h"
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] = "usage: postdrop [-rv] [-c config_dir]\n"
                            "Reads queue file records from standard input and drops them into the mail queue.\n";
static const char *const maildrop_rules[] = { "MCFSRVAin", "XLN", "EAR" }; /* envelope, content, extracted */
static const char segment_ends[] = { REC_MESG, REC_XTRA, REC_END };
enum { INPUT_BYTES = 64 << 10 };

static char unfinished[QUEUE_PATH_BYTES]; /* for the signal handler */

static void on_signal(int signo)
{
    if (unfinished[0])
        (void) unlink(unfinished);
    _exit(128 + signo);
}

static void catch_signals(void)
{
    static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ };
    struct sigaction act = { .sa_handler = on_signal };

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction old;
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &act, NULL);
    }
}

static void answer(const char *text, size_t len)
{
    if (file_write_all(STDOUT_FILENO, text, len) < 0)
        log_debug("the caller reads no answer: %s", strerror(errno));
}

_Noreturn __attribute__((format(printf, 3, 4))) static void refuse(struct queue_writer **w, int status,
                                                                   const char *fmt, ...)
{
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    queue_writer_cancel(w);
    unfinished[0] = 0;
    tool_fatal(status, "uid=%ld: %s", (long) getuid(), text);
}

struct input {
    struct str buf;
    size_t used;
};

/* 1; 0 at the end of the input; -1 when it ends in a record or is none. */
static int next_record(struct input *in, struct record *rec)
{
    for (;;) {
        struct slice rest = slice_sub(str_slice(&in->buf), in->used, in->buf.len);
        int rc = record_get(&rest, rec);
        if (rc != 0) {
            in->used = in->buf.len - rest.len;
            return rc;
        }
        str_drop(&in->buf, in->used);
        in->used = 0;
        char more[INPUT_BYTES];
        ssize_t n = read(STDIN_FILENO, more, sizeof more);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 && in->buf.len == 0 ? 0 : -1;
        str_add(&in->buf, more, (size_t) n);
    }
}

static bool attribute_ok(struct slice data)
{
    struct slice name, value;

    if (record_split_attr(data, &name, &value) == 0 && queue_user_attribute(name, value))
        return true;
    log_warn("uid=%ld: ignoring attribute record: %.*s", (long) getuid(), (int) (data.len > 200 ? 200 : data.len),
             data.p);
    return false;
}

static void copy(struct queue_writer **w)
{
    struct input in = { .used = 0 };
    struct record rec;
    bool sender = false;
    int rc;

    str_init(&in.buf, RECORD_BYTES + RECORD_HEAD_BYTES + INPUT_BYTES);
    for (size_t segment = 0; segment < sizeof segment_ends;) {
        rc = next_record(&in, &rec);
        if (rc <= 0)
            refuse(w, EX_DATAERR, "malformed input");
        if (strchr(maildrop_rules[segment], rec.type) == NULL || rec.type == 0)
            refuse(w, EX_DATAERR, "unexpected record type: %d", rec.type);
        if (rec.type != REC_NORM && rec.type != REC_CONT && !record_is_line(rec.data))
            refuse(w, EX_DATAERR, "NUL, CR or LF in record type %d", rec.type);
        if ((rec.type == REC_FROM || rec.type == REC_RCPT) && rec.data.len > ADDR_BYTES)
            refuse(w, EX_DATAERR, "an address of %zu bytes", rec.data.len);
        if (segment == 0 && rec.type == REC_MESG && !sender)
            refuse(w, EX_DATAERR, "no sender in the input");
        sender = sender || rec.type == REC_FROM;
        if (rec.type == segment_ends[segment])
            segment++;
        if (rec.type != REC_SIZE && (rec.type != REC_ATTR || attribute_ok(rec.data)))
            queue_writer_record(*w, rec.type, rec.data);
        if (conf_message_size_limit > 0 && queue_writer_offset(*w) > conf_message_size_limit + QUEUE_BUFFER_BYTES)
            refuse(w, EX_UNAVAILABLE, "message file too big");
        if (queue_writer_error(*w))
            refuse(w, EX_TEMPFAIL, "queue file write error: %s", strerror(queue_writer_error(*w)));
    }
    str_free(&in.buf);
}

static void drop(void)
{
    struct queue_writer *w = queue_writer_new(QUEUE_MAILDROP, false, 0044);
    char text[400];
    int64_t usec;

    if (w == NULL)
        tool_fatal(EX_TEMPFAIL, "uid=%ld: create file in %s: %s", (long) getuid(), QUEUE_MAILDROP, strerror(errno));
    queue_path(unfinished, QUEUE_MAILDROP, queue_writer_id(w));
    usec = queue_writer_created_usec(w);
    int n = snprintf(text, sizeof text, "protocol%cpostdrop_protocol%cqueue_id%c%s%c", 0, 0, 0, queue_writer_id(w),
                     0);
    answer(text, (size_t) n + 1); /* and the empty name that ends the list */
    n = snprintf(text, sizeof text, "%ld %ld", (long) (usec / 1000000), (long) (usec % 1000000));
    queue_writer_record(w, REC_TIME, slice_make(text, (size_t) n));
    copy(&w);
    if (queue_writer_finish(&w, NULL) < 0)
        tool_fatal(EX_TEMPFAIL, "uid=%ld: queue file write error: %s", (long) getuid(), strerror(errno));
    unfinished[0] = 0;
    n = snprintf(text, sizeof text, "status%c0%creason%c%c", 0, 0, 0, 0);
    answer(text, (size_t) n + 1);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'H' },
                                           { "params", no_argument, NULL, 'P' },
                                           { NULL, 0, NULL, 0 } };
    const char *config = NULL;

    tool_start(argv[0]);
    for (int c; (c = getopt_long(argc, argv, "c:rv", longs, NULL)) != -1;) {
        switch (c) {
        case 'c': config = optarg; break;
        case 'r': break; /* the only form there is */
        case 'v': log_verbose(1); break;
        case 'H': tool_help(usage); break;
        case 'P': tool_print_params(); break;
        default: tool_fatal(EX_USAGE, "usage: %s [-c config_dir] [-v]", tool_name());
        }
    }
    tool_config(config, true);
    tool_log_too();
    tool_enter_queue();
    umask(022);
    if (!tool_user_may("authorized_submit_users"))
        tool_fatal(EX_NOPERM, "User %s(%ld) is not allowed to submit mail", tool_user(), (long) getuid());
    catch_signals();
    drop();
    (void) tool_trigger("public/pickup", "W"); /* else pickup finds it at its next wake-up */
    return EXIT_SUCCESS;
}
