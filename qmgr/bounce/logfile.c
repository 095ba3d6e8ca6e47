/*
 * logfile - the log of one message: a block of lines for each recipient, as Postfix writes them
 *
 *   (blank line)
 *   <user@dom>: reason
 *   recipient=user@dom
 *   original_recipient=alias@dom         when it differs
 *   offset=523
 *   dsn_orig_rcpt=rfc822;alias@dom       when known
 *   notify_flags=4                       when not 0
 *   status=5.1.1
 *   action=failed
 *   diag_type= diag_text= mta_type= mta_mname=   when known
 *   reason=words
 *   (blank line)
 *
 * Callers     bounce.c, notify.c; showq reads the same files
 * Invariants  a block is written by one write() under an exclusive lock, or taken back: a reader sees whole blocks
 *             values hold no control characters: they are replaced by "?"
 *             the file work runs in a thread: disks may be slow, and flock may wait for another process
 * Errors      -1 with errno
 */
#include "bounce_internal.h"
#include "base/file.h"
#include "base/mem.h"
#include "event/event.h"
#include "proto/addr/addr.h"
#include "queue/dir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static void add_value(struct str *out, const char *name, const char *value)
{
    if (value == NULL || *value == '\0')
        return;
    str_adds(out, name);
    for (; *value != '\0'; value++)
        str_addc(out, (unsigned char) *value < ' ' || *value == 127 ? '?' : *value);
    str_addc(out, '\n');
}

static void add_address(struct str *out, const char *name, const char *address)
{
    struct str quoted;

    str_init(&quoted, 0);
    addr_quote(&quoted, slice_of(address));
    add_value(out, name, quoted.len ? quoted.p : "<>");
    str_free(&quoted);
}

void logfile_format(const struct bounce_rcpt *r, struct str *out)
{
    struct str head;

    str_init(&head, 0);
    str_addc(&head, '<');
    addr_quote(&head, slice_of(r->recipient));
    str_adds(&head, ">: ");
    str_addc(out, '\n');
    str_adds(&head, r->reason ? r->reason : "");
    add_value(out, "", head.p);
    str_free(&head);
    add_address(out, "recipient=", r->recipient);
    if (r->original != NULL && *r->original != '\0' && strcasecmp(r->original, r->recipient) != 0)
        add_address(out, "original_recipient=", r->original);
    if (r->offset > 0)
        str_printf(out, "offset=%lld\n", (long long) r->offset);
    add_value(out, "dsn_orig_rcpt=", r->orcpt);
    if (r->notify != 0)
        str_printf(out, "notify_flags=%d\n", r->notify);
    add_value(out, "status=", r->dsn);
    add_value(out, "action=", r->action);
    add_value(out, "diag_type=", r->diag_type);
    add_value(out, "diag_text=", r->diag_text);
    add_value(out, "mta_type=", r->mta_type);
    add_value(out, "mta_mname=", r->mta_name);
    add_value(out, "reason=", r->reason);
    str_addc(out, '\n');
}

/* Offsets into buf while it may still move; 0 is the empty string at its start. */
struct found {
    size_t recipient, original, orcpt, dsn, action, reason, diag_type, diag_text, mta_type, mta_name;
};

static size_t keep(struct str *buf, struct slice value)
{
    size_t at = buf->len;

    str_addslice(buf, value);
    str_addc(buf, '\0');
    return at;
}

static size_t keep_address(struct str *buf, struct slice external)
{
    size_t at = buf->len;

    if (slice_eq(external, "<>"))
        return keep(buf, SLICE(""));
    if (addr_unquote(buf, external) < 0)
        return keep(buf, external);
    str_addc(buf, '\0');
    return at;
}

/* Old logs have this line only; new ones have it first. */
static void read_old_line(struct slice line, struct str *buf, struct found *f)
{
    for (size_t i = line.len; i-- > 1;) {
        if (line.p[i] != ':' || line.p[i - 1] != '>')
            continue;
        f->recipient = keep_address(buf, slice_sub(line, 1, i - 2));
        f->reason = keep(buf, slice_trim(slice_sub(line, i + 1, line.len)));
        return;
    }
}

static void read_line(struct slice line, struct str *buf, struct found *f, struct bounce_rcpt *out)
{
    struct {
        const char *name;
        size_t *at;
        bool address;
    } const names[] = {
        { "recipient=", &f->recipient, true },  { "original_recipient=", &f->original, true },
        { "dsn_orig_rcpt=", &f->orcpt, false }, { "status=", &f->dsn, false },
        { "action=", &f->action, false },       { "diag_type=", &f->diag_type, false },
        { "diag_text=", &f->diag_text, false }, { "mta_type=", &f->mta_type, false },
        { "mta_mname=", &f->mta_name, false },  { "reason=", &f->reason, false },
    };
    uint64_t n;

    if (slice_starts(line, "<")) {
        read_old_line(line, buf, f);
        return;
    }
    if (slice_starts(line, "offset=") && slice_u64(slice_sub(line, 7, line.len), INT64_MAX, &n) == 0)
        out->offset = (int64_t) n;
    if (slice_starts(line, "notify_flags=") && slice_u64(slice_sub(line, 13, line.len), 15, &n) == 0)
        out->notify = (int) n;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!slice_starts(line, names[i].name))
            continue;
        struct slice value = slice_sub(line, strlen(names[i].name), line.len);
        *names[i].at = names[i].address ? keep_address(buf, value) : keep(buf, value);
    }
}

bool logfile_next(struct slice *rest, struct str *buf, struct bounce_rcpt *out)
{
    struct found f = { 0 };
    struct slice line;
    bool inside = false;

    str_reset(buf);
    str_addc(buf, '\0');
    *out = (struct bounce_rcpt){ 0 };
    while (rest->len > 0 && slice_split(rest, '\n', &line)) {
        if (line.len == 0) {
            if (inside)
                break;
            continue;
        }
        inside = true;
        read_line(slice_sub(line, 0, LOGFILE_LINE_BYTES), buf, &f, out);
    }
    if (!inside)
        return false;
    out->recipient = buf->p + f.recipient;
    out->original = buf->p + f.original;
    out->orcpt = buf->p + f.orcpt;
    out->dsn = buf->p + f.dsn;
    out->action = buf->p + f.action;
    out->reason = buf->p + f.reason;
    out->diag_type = buf->p + f.diag_type;
    out->diag_text = buf->p + f.diag_text;
    out->mta_type = buf->p + f.mta_type;
    out->mta_name = buf->p + f.mta_name;
    return true;
}

struct job {
    const char *queue, *id;
    struct slice record;
    bool durable;
    int status, error;
};

static int write_block(int fd, const struct job *j)
{
    off_t end;

    if (queue_lock(fd, true, true) < 0 || (end = lseek(fd, 0, SEEK_END)) < 0)
        return -1;
    if (file_write_all(fd, j->record.p, j->record.len) == 0 && (!j->durable || fsync(fd) == 0))
        return 0;
    int error = errno;
    if (ftruncate(fd, end) < 0) /* the reader skips what is no block; the caller hears of the first error */
        errno = error;
    errno = error;
    return -1;
}

static void append(void *arg)
{
    struct job *j = arg;
    char path[QUEUE_PATH_BYTES];
    int fd;

    queue_path(path, j->queue, j->id);
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT && queue_mkdirs(j->queue, j->id) == 0)
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    j->status = fd < 0 ? -1 : write_block(fd, j);
    j->error = errno;
    if (fd >= 0 && close(fd) < 0 && j->status == 0) {
        j->status = -1;
        j->error = errno;
    }
}

int logfile_append(const char *queue, const char *id, struct slice record, bool durable)
{
    struct job j = { .queue = queue, .id = id, .record = record, .durable = durable };

    event_offload(append, &j);
    errno = j.error;
    return j.status;
}

int logfile_read(const char *queue, const char *id, struct str *out)
{
    char path[QUEUE_PATH_BYTES];

    queue_path(path, queue, id);
    return file_read(path, out);
}

int logfile_remove(const char *queue, const char *id)
{
    char path[QUEUE_PATH_BYTES];

    queue_path(path, queue, id);
    return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}
