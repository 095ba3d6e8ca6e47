/* copy - checks and passes on one maildrop file; contract in copy.h */
#include "copy.h"
#include "base/log.h"
#include "base/time.h"
#include "client/cleanup.h"
#include "conf/param.h"
#include "event/event.h"

#include <errno.h>
#include <unistd.h>

enum { COPY_DEADLINE_MS = 3600 * 1000 };

enum segment { ENVELOPE, CONTENT, EXTRACTED };
/* What a maildrop file may hold, by who owns it. */
static const struct {
    const char *user, *requeued;
} allowed[] = {
    [ENVELOPE] = { "CTcFSVARin<oM", "CTcFSVARin<oODLIW>fPM/" },
    [CONTENT] = { "NLX", "NLX" },
    [EXTRACTED] = { "ARnoE", "ARnoODL>IPre/E" },
};
/* Records of an old queue file that do not come along: cleanup makes them anew, or they are finished. */
static const char skipped[] = { REC_CTIME, REC_DONE, REC_DRCP, REC_WARN, REC_FLGS, REC_INSPECT, REC_PRIO, 0 };

struct copy {
    struct cleanup *cleanup;
    const struct stat *st;
    const char *id;
    bool requeued;
};

bool copy_is_requeued(int fd, const struct stat *st)
{
    char first = 0;

    return st->st_uid == geteuid() && pread(fd, &first, 1, 0) == 1 && first == REC_SIZE;
}

static bool may_have(const char *types, int type) { return type && strchr(types, type); }

static bool attribute_ok(const struct copy *c, struct slice data)
{
    struct slice name, value;

    if (record_split_attr(data, &name, &value) < 0)
        return false;
    if (slice_eq(name, "create_time"))
        return false; /* the new queue file has its own */
    if (c->requeued || queue_user_attribute(name, value))
        return true;
    log_warn("%s: uid=%ld: attribute \"%.*s\" is not for users", c->id, (long) c->st->st_uid,
             (int) (name.len > 60 ? 60 : name.len), name.p);
    return false;
}

static void log_sender(const struct copy *c, struct slice sender)
{
    int len = (int) (sender.len > 500 ? 500 : sender.len);

    if (c->requeued)
        log_info("%s: uid=%ld from=<%.*s> orig_id=%s", cleanup_id(c->cleanup), (long) c->st->st_uid, len, sender.p,
                 c->id);
    else
        log_info("%s: uid=%ld from=<%.*s>", cleanup_id(c->cleanup), (long) c->st->st_uid, len, sender.p);
}

static void put_received(const struct copy *c)
{
    char date[TIME_TEXT_BYTES];

    time_rfc5322(c->st->st_mtime, date);
    cleanup_printf(c->cleanup, REC_NORM, "Received: by %s (%s, from userid %ld)", conf_myhostname, conf_mail_name,
                   (long) c->st->st_uid);
    cleanup_printf(c->cleanup, REC_NORM, "\tid %s; %s", cleanup_id(c->cleanup), date);
}

static void pass_on(const struct copy *c, const struct record *rec)
{
    if (memchr(skipped, rec->type, sizeof skipped))
        return;
    if (rec->type == REC_SIZE && !c->requeued)
        return;
    if (rec->type == REC_ATTR && !attribute_ok(c, rec->data))
        return;
    if (rec->type == REC_FROM)
        log_sender(c, rec->data);
    cleanup_record(c->cleanup, rec->type, rec->data);
}

/* Everything up to the record that ends the segment, or up to where cleanup failed: 1; else -1 with errno. */
static int copy_segment(const struct copy *c, struct queue_reader *r, enum segment segment)
{
    const char *types = c->requeued ? allowed[segment].requeued : allowed[segment].user;
    static const char ends[] = { [ENVELOPE] = REC_MESG, [CONTENT] = REC_XTRA, [EXTRACTED] = REC_END };
    struct record rec;
    bool first = true;
    int rc;

    while ((rc = queue_reader_next(r, &rec, NULL)) == 1) {
        if (!may_have(segment == CONTENT ? allowed[CONTENT].user : types, rec.type)) {
            log_warn("%s: uid=%ld: unexpected or malformed record type %d", c->id, (long) c->st->st_uid, rec.type);
            break;
        }
        if (segment != CONTENT && !record_is_line(rec.data)) {
            log_warn("%s: uid=%ld: NUL, CR or LF in record type %d", c->id, (long) c->st->st_uid, rec.type);
            break;
        }
        /* A message whose first line is white space must not become a part of our Received: header. */
        if (segment == CONTENT && first && rec.type != REC_XTRA && rec.data.len &&
            (rec.data.p[0] == ' ' || rec.data.p[0] == '\t'))
            cleanup_record(c->cleanup, REC_NORM, SLICE(""));
        first = false;
        pass_on(c, &rec);
        if (rec.type == ends[segment] || cleanup_failed(c->cleanup))
            return 1;
    }
    if (rc >= 0)
        errno = EBADMSG;
    return -1;
}

/* A cleanup that failed gives its reason with its answer: no need to read on, and what was not read is no fault. */
static int copy_segments(const struct copy *c, struct queue_reader *r)
{
    for (enum segment s = ENVELOPE; s <= EXTRACTED && !cleanup_failed(c->cleanup); s++) {
        if (s == CONTENT)
            put_received(c);
        if (copy_segment(c, r, s) < 0)
            return -1;
    }
    return 0;
}

enum copy_result copy_message(int fd, const struct stat *st, const char *id, unsigned flags,
                              const char *content_filter, struct err *err)
{
    struct copy c = { .st = st, .id = id, .requeued = copy_is_requeued(fd, st) };
    int64_t deadline = time_mono_ms() + COPY_DEADLINE_MS;
    struct queue_reader *r;
    int rc;

    if (c.requeued) /* it has been through these once */
        flags &= ~(unsigned) (CLEANUP_FILTER | CLEANUP_MILTER);
    c.cleanup = cleanup_open(flags, deadline, err);
    if (c.cleanup == NULL)
        return COPY_LATER;
    r = queue_reader_new(fd);
    if (*content_filter && !c.requeued)
        cleanup_printf(c.cleanup, REC_FILT, "%s", content_filter);
    rc = copy_segments(&c, r);
    int error = errno;
    queue_reader_free(&r);
    if (rc < 0) {
        cleanup_cancel(&c.cleanup);
        if (error == EBADMSG)
            return COPY_CORRUPT;
        log_warn("%s: read %s: %s", id, QUEUE_MAILDROP, strerror(error));
        return COPY_LATER;
    }
    if (cleanup_end(&c.cleanup, deadline, err) == 0)
        return COPY_DONE;
    return err->code >= 500 ? COPY_REFUSED : COPY_LATER;
}
