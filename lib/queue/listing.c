/* listing - reads the queue file by file for showq and postqueue; contract in listing.h */
#include "queue/listing.h"
#include "base/file.h"
#include "base/map.h"
#include "queue/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { LOG_BYTES = 16 << 20 };

static void put_attr(struct str *out, const char *name, struct slice value)
{
    str_add(out, name, strlen(name) + 1);
    for (size_t i = 0; i < value.len; i++) /* a NUL would end the value */
        str_addc(out, value.p[i] ? value.p[i] : '?');
    str_addc(out, 0);
}

static void put_number(struct str *out, const char *name, int64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%ld", (long) n);
    put_attr(out, name, slice_of(text));
}

struct reason {
    struct slice recipient, text;
};

static void put_reason(struct str *out, struct reason *r, struct map *seen)
{
    if (r->recipient.len) {
        put_attr(out, "recipient", r->recipient);
        put_attr(out, "reason", r->text);
        map_set(seen, r->recipient, seen);
    }
    *r = (struct reason){ { NULL, 0 }, { NULL, 0 } };
}

/* One line of a log; old logs have only "<address>: reason". */
static void read_reason(struct slice line, struct reason *r)
{
    static const char gap[] = ">: ";

    if (slice_starts(line, "recipient=")) {
        r->recipient = slice_sub(line, strlen("recipient="), line.len);
    } else if (slice_starts(line, "reason=")) {
        r->text = slice_sub(line, strlen("reason="), line.len);
    } else if (line.len && line.p[0] == '<') {
        const char *end = memmem(line.p, line.len, gap, strlen(gap));
        if (end) {
            size_t at = (size_t) (end - line.p);
            r->recipient = slice_sub(line, 1, at - 1);
            r->text = slice_sub(line, at + strlen(gap), line.len);
        }
    }
}

/* What the log of that message says; the recipients it names are remembered. */
static void put_log(struct str *out, const char *queue, const char *id, struct map *seen)
{
    struct reason r = { { NULL, 0 }, { NULL, 0 } };
    char path[QUEUE_PATH_BYTES];
    struct str text;
    struct slice rest, line;

    queue_path(path, queue, id);
    str_init(&text, LOG_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        str_free(&text);
        return;
    }
    (void) file_read_str(fd, &text); /* of a log past its limit the first part is told */
    close(fd);
    rest = str_slice(&text);
    while (slice_split(&rest, '\n', &line)) {
        if (line.len == 0)
            put_reason(out, &r, seen);
        else
            read_reason(line, &r);
    }
    put_reason(out, &r, seen);
    str_free(&text);
}

static void put_message(struct str *out, const char *queue, const char *id, const struct stat *st,
                        const struct queue_envelope *e)
{
    struct map *seen = map_new(QUEUE_LISTING_RECIPIENTS, NULL);

    put_attr(out, "queue_name", slice_of(queue));
    put_attr(out, "queue_id", slice_of(id));
    put_number(out, "time", e->arrival_usec / 1000000);
    put_number(out, "size", e->sized && e->size.data_bytes > 0 ? e->size.data_bytes : (int64_t) st->st_size);
    put_number(out, "forced_expire", (st->st_mode & QUEUE_MODE_EXPIRE));
    put_attr(out, "sender", slice_of(*e->sender ? e->sender : "MAILER-DAEMON"));
    put_log(out, QUEUE_DEFER, id, seen);
    for (size_t i = 0; i < e->recipient_count; i++)
        if (map_get(seen, slice_of(e->recipients[i].address)) == NULL)
            put_attr(out, "recipient", slice_of(e->recipients[i].address));
    str_addc(out, 0);
    map_free(&seen);
}

static int list_file(const char *queue, const char *path, const char *id, int (*put)(void *, struct slice), void *ctx)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct queue_envelope e;
    struct stat st;
    struct str out;
    int rc = 0;

    if (fd < 0)
        return 0;
    /* Only a file in maildrop or incoming may be unfinished; one without its E record is left out. */
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        queue_envelope_read(fd, QUEUE_LISTING_RECIPIENTS, &e, NULL) == 0) {
        str_init(&out, STR_UNLIMITED);
        put_message(&out, queue, id, &st, &e);
        rc = put(ctx, str_slice(&out));
        str_free(&out);
        queue_envelope_free(&e);
    }
    close(fd);
    return rc;
}

int queue_listing(int (*put)(void *ctx, struct slice bytes), void *ctx)
{
    static const char *const queues[] = { QUEUE_MAILDROP, QUEUE_ACTIVE, QUEUE_INCOMING, QUEUE_DEFERRED, QUEUE_HOLD };
    struct str head;
    int rc;

    str_init(&head, STR_UNLIMITED);
    put_attr(&head, "protocol", SLICE(QUEUE_LISTING_PROTOCOL));
    str_addc(&head, 0);
    rc = put(ctx, str_slice(&head));
    str_free(&head);
    for (size_t i = 0; rc == 0 && i < sizeof queues / sizeof *queues; i++) {
        struct queue_scan *scan = queue_scan_open(queues[i]);
        const char *id, *path;
        while (scan && rc == 0 && (id = queue_scan_next(scan, &path)) != NULL)
            rc = list_file(queues[i], path, id, put, ctx);
        queue_scan_free(&scan);
    }
    return rc < 0 ? -1 : put(ctx, SLICE("\0"));
}
