/*
 * dovecot_index - see dovecot_index.h
 *
 * Callers     store/extra.c
 * Invariants  see dovecot_index.h
 * Errors      -1 with errno
 * Source      see dovecot_index.h
 */
#include "store/dovecot_index.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX     "dovecot.index"
#define LOG       "dovecot.index.log"
#define LOG_OLDER "dovecot.index.log.2"

enum {
    INDEX_MAJOR = 7,
    INDEX_BASE_BYTES = 76, /* up to the log's offsets; the header says how long it is */
    EXTENSION_BYTES = 16,
    LOG_MAJOR = 1,
    LOG_MINOR = 3,
    LOG_HEAD_BYTES = 40,
    LOG_HEAD_LEAST = 24,
    RECORD_BYTES = 8,
    LITTLE_ENDIAN_FILE = 1,
    HEADER_UID_VALIDITY = 24, /* offsets in the index's header, which the log's header updates name too */
    HEADER_NEXT_UID = 28,
    LOCK_PAUSE_MS = 10,
};
enum { /* record types */
       TYPE_APPEND = 0x2,
       TYPE_HEADER_UPDATE = 0x20,
       TYPE_KEYWORD_UPDATE = 0x400,
       TYPE_KEYWORD_RESET = 0x800,
       TYPE_MASK = 0x0fffffff,
       TYPE_EXTERNAL = 0x10000000,
};

static uint32_t get16(struct slice s, size_t at)
{
    const unsigned char *p = (const unsigned char *) s.p + at;

    return (uint32_t) (p[0] | p[1] << 8);
}

static uint32_t get32(struct slice s, size_t at) { return get16(s, at) | get16(s, at + 2) << 16; }

static void put16(struct str *out, uint32_t n)
{
    str_addc(out, (char) (n & 0xff));
    str_addc(out, (char) (n >> 8 & 0xff));
}

static void put32(struct str *out, uint32_t n)
{
    put16(out, n & 0xffff);
    put16(out, n >> 16);
}

static size_t align(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Names of the extension "keywords": count, then for each 4 unused bytes and the offset of its name, then names. */
struct names {
    struct slice header;
    uint32_t count, offset, bytes; /* of the bits in each record */
};

static struct slice name_at(const struct names *k, uint32_t n)
{
    size_t all = 4 + 8 * (size_t) k->count, at = all + get32(k->header, 8 + 8 * (size_t) n);
    const char *end = at < k->header.len ? memchr(k->header.p + at, '\0', k->header.len - at) : NULL;

    return end ? slice_make(k->header.p + at, (size_t) (end - k->header.p) - at) : (struct slice){ NULL, 0 };
}

static bool find_names(struct slice headers, size_t base, uint32_t record_size, struct names *out)
{
    size_t at = align(base, 8);

    *out = (struct names){ .count = 0 };
    while (at + EXTENSION_BYTES <= headers.len) {
        size_t size = get32(headers, at), name_len = get16(headers, at + 14),
               data = align(at + EXTENSION_BYTES + name_len, 8);
        uint32_t offset = get16(headers, at + 8), bytes = get16(headers, at + 10);
        if (data > headers.len || size > headers.len - data)
            return false;
        if (slice_eq(slice_make(headers.p + at + EXTENSION_BYTES, name_len), "keywords")) {
            out->header = slice_make(headers.p + data, size);
            out->count = size >= 4 ? get32(out->header, 0) : 0;
            out->offset = offset;
            out->bytes = bytes;
            return out->count <= (size - (size >= 4 ? 4 : 0)) / 8 && offset + bytes <= record_size;
        }
        at = align(data + size, 8);
    }
    return true;
}

int dovecot_index_parse(struct dovecot_index *x, struct slice file, dovecot_index_fn fn, void *ctx)
{
    struct names k;

    errno = EBADMSG;
    if (file.len < INDEX_BASE_BYTES || file.p[0] != INDEX_MAJOR || file.p[12] != LITTLE_ENDIAN_FILE)
        return -1;
    size_t base = get16(file, 2), header = get32(file, 4), record = get32(file, 8), count = get32(file, 32);
    if (base < INDEX_BASE_BYTES || header < base || header > file.len || record < 5 ||
        count > (file.len - header) / record || !find_names(slice_sub(file, 0, header), base, (uint32_t) record, &k))
        return -1;
    *x = (struct dovecot_index){ .index_id = get32(file, 16),
                                 .uid_validity = get32(file, HEADER_UID_VALIDITY),
                                 .next_uid = get32(file, HEADER_NEXT_UID),
                                 .file_seq = get32(file, 60),
                                 .offset = get32(file, 68) };
    for (uint32_t n = 0; n < k.count; n++)
        fn(ctx, DOVECOT_NAME, name_at(&k, n), 0, 0);
    for (size_t i = 0; i < count; i++) {
        struct slice r = slice_sub(file, header + i * record, record);
        for (uint32_t n = 0; n < k.count && n / 8 < k.bytes; n++)
            if (r.p[k.offset + n / 8] & 1 << n % 8)
                fn(ctx, DOVECOT_ADD, name_at(&k, n), get32(r, 0), get32(r, 0));
    }
    return 0;
}

/* A length in the log has the top bit of each byte set, so that one half written is seen. */
static size_t record_size(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < 4; i++) {
        if (!(s.p[i] & 0x80))
            return 0;
        n = n << 7 | (s.p[i] & 0x7f);
    }
    return n << 2;
}

static void put_record_head(struct str *out, size_t size, uint32_t type)
{
    for (int shift = 21; shift >= 0; shift -= 7)
        str_addc(out, (char) (0x80 | (size >> 2 >> shift & 0x7f)));
    put32(out, type);
}

static void take_header(struct dovecot_index *x, struct slice body)
{
    for (size_t at = 0; at + 4 <= body.len;) {
        size_t offset = get16(body, at), size = get16(body, at + 2);
        if (size > body.len - at - 4)
            return;
        for (size_t i = 0; i + 4 <= size; i += 4) {
            if (offset + i == HEADER_UID_VALIDITY)
                x->uid_validity = get32(body, at + 4 + i);
            if (offset + i == HEADER_NEXT_UID && get32(body, at + 4 + i) > x->next_uid)
                x->next_uid = get32(body, at + 4 + i);
        }
        at += align(4 + size, 4);
    }
}

/* Ranges of UIDs; false: one is not below the limit. */
static bool ranges_below(struct slice ranges, uint32_t limit)
{
    for (size_t at = 0; at + 8 <= ranges.len; at += 8)
        if (get32(ranges, at + 4) >= limit)
            return false;
    return true;
}

static void hand_over(struct slice ranges, enum dovecot_event event, struct slice keyword, dovecot_index_fn fn,
                      void *ctx)
{
    for (size_t at = 0; at + 8 <= ranges.len; at += 8)
        if (get32(ranges, at) && get32(ranges, at) <= get32(ranges, at + 4))
            fn(ctx, event, keyword, get32(ranges, at), get32(ranges, at + 4));
}

/* False: not now. */
static bool take_record(struct dovecot_index *x, uint32_t type, struct slice body, uint32_t limit,
                        dovecot_index_fn fn, void *ctx)
{
    struct slice ranges = body, name = { "", 0 };

    switch (type & TYPE_MASK) {
    case TYPE_APPEND:
        for (size_t at = 0; at + 8 <= body.len; at += 8)
            if (get32(body, at) >= x->next_uid && get32(body, at) < UINT32_MAX)
                x->next_uid = get32(body, at) + 1;
        return true;
    case TYPE_HEADER_UPDATE: take_header(x, body); return true;
    case TYPE_KEYWORD_UPDATE: {
        size_t len = body.len >= 4 ? get16(body, 2) : 0, from = align(4 + len, 4);
        if (len == 0 || from > body.len)
            return true;
        name = slice_sub(body, 4, len);
        ranges = slice_sub(body, from, body.len);
        if (!ranges_below(ranges, limit))
            return false;
        hand_over(ranges, body.p[0] == 0 ? DOVECOT_ADD : DOVECOT_REMOVE, name, fn, ctx);
        return true;
    }
    case TYPE_KEYWORD_RESET:
        if (!ranges_below(ranges, limit))
            return false;
        hand_over(ranges, DOVECOT_RESET, name, fn, ctx);
        return true;
    default: return true;
    }
}

size_t dovecot_index_parse_log(struct dovecot_index *x, struct slice all, uint32_t limit, dovecot_index_fn fn,
                               void *ctx)
{
    size_t at = 0, size;

    while (at + RECORD_BYTES <= all.len && (size = record_size(slice_sub(all, at, 4))) >= RECORD_BYTES &&
           size <= all.len - at) {
        if (!take_record(x, get32(all, at + 4), slice_sub(all, at + RECORD_BYTES, size - RECORD_BYTES), limit, fn,
                         ctx))
            break;
        at += size;
    }
    return at;
}

/* The file from an offset to its end. -1: errno; EFBIG when that is more than most. */
static int read_from(int fd, uint64_t offset, uint64_t most, struct str *out)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size < offset || (uint64_t) st.st_size - offset > most) {
        errno = EFBIG;
        return -1;
    }
    str_init(out, STR_UNLIMITED);
    str_reserve(out, (size_t) ((uint64_t) st.st_size - offset) + 1);
    while (out->len < (uint64_t) st.st_size - offset &&
           (n = pread(fd, out->p + out->len, (size_t) ((uint64_t) st.st_size - offset) - out->len,
                      (off_t) (offset + out->len))) > 0)
        out->len += (size_t) n;
    return 0;
}

struct log {
    int fd;
    uint32_t index_id, file_seq, older_seq;
    uint64_t head_bytes, inode;
};

static void close_log(struct log *l)
{
    int keep = errno;

    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    errno = keep;
}

static int open_log(int dir_fd, const char *name, struct log *l)
{
    char bytes[LOG_HEAD_BYTES];
    struct slice head = { bytes, sizeof bytes };
    struct stat st;

    *l = (struct log){ .fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) };
    if (l->fd < 0)
        return -1;
    if (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        pread(l->fd, bytes, sizeof bytes, 0) < (ssize_t) sizeof bytes || bytes[0] != LOG_MAJOR ||
        get16(head, 2) < LOG_HEAD_LEAST || get16(head, 2) % 4 != 0 ||
        (get16(head, 2) >= LOG_HEAD_BYTES && bytes[32] != LITTLE_ENDIAN_FILE)) {
        errno = EBADMSG;
        close_log(l);
        return -1;
    }
    l->head_bytes = get16(head, 2);
    l->index_id = get32(head, 4);
    l->file_seq = get32(head, 8);
    l->older_seq = get32(head, 12);
    l->inode = (uint64_t) st.st_ino;
    return 0;
}

/* From x->offset on, or from the log's beginning when x stands in the one before. False: not to its end. */
static bool read_log(struct dovecot_index *x, struct log *l, uint32_t limit, dovecot_index_fn fn, void *ctx)
{
    struct str bytes;
    size_t used;

    if (x->file_seq != l->file_seq || x->offset < l->head_bytes)
        x->offset = l->head_bytes;
    x->file_seq = l->file_seq;
    x->inode = l->inode;
    if (read_from(l->fd, x->offset, DOVECOT_LOG_BYTES, &bytes) < 0)
        return false;
    used = dovecot_index_parse_log(x, str_slice(&bytes), limit, fn, ctx);
    x->offset += used;
    bool whole = used == bytes.len;
    str_free(&bytes);
    return whole;
}

/* From the beginning: the index, as far as it goes, then the logs behind it. */
static void read_all(struct dovecot_index *x, int dir_fd, struct log *l, dovecot_index_fn fn, void *ctx)
{
    struct log older;
    struct str bytes;
    int fd = openat(dir_fd, INDEX, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    *x = (struct dovecot_index){ .index_id = l->index_id, .next_uid = 1 };
    fn(ctx, DOVECOT_START, (struct slice){ "", 0 }, 0, 0);
    if (fd >= 0 && read_from(fd, 0, DOVECOT_INDEX_BYTES, &bytes) == 0) {
        if (dovecot_index_parse(x, str_slice(&bytes), fn, ctx) < 0 || x->index_id != l->index_id) {
            *x = (struct dovecot_index){ .index_id = l->index_id, .next_uid = 1 };
            fn(ctx, DOVECOT_START, (struct slice){ "", 0 }, 0, 0);
        }
        str_free(&bytes);
    }
    if (fd >= 0)
        close(fd);
    if (x->file_seq == l->file_seq || l->older_seq == 0)
        return;
    if (open_log(dir_fd, LOG_OLDER, &older) == 0) {
        if (older.index_id == l->index_id && older.file_seq == l->older_seq &&
            (x->file_seq == 0 || x->file_seq == older.file_seq))
            (void) read_log(x, &older, UINT32_MAX, fn, ctx);
        close_log(&older);
    }
}

int dovecot_index_read(struct dovecot_index *x, int dir_fd, uint32_t limit, dovecot_index_fn fn, void *ctx)
{
    struct log l, older;
    struct stat st;
    bool behind = false;

    if (fstatat(dir_fd, LOG, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (x->index_id && x->inode == (uint64_t) st.st_ino && x->offset == (uint64_t) st.st_size)
        return 0;
    if (open_log(dir_fd, LOG, &l) < 0)
        return -1;
    if (x->index_id == l.index_id && x->file_seq == l.older_seq && open_log(dir_fd, LOG_OLDER, &older) == 0) {
        behind = older.index_id == x->index_id && older.file_seq == x->file_seq; /* rotated since */
        if (behind && !read_log(x, &older, limit, fn, ctx)) {
            close_log(&older);
            close_log(&l);
            return 0;
        }
        close_log(&older);
    }
    if (x->index_id != l.index_id || (x->file_seq != l.file_seq && !behind) ||
        (x->file_seq == l.file_seq && x->offset > (uint64_t) st.st_size))
        read_all(x, dir_fd, &l, fn, ctx);
    (void) read_log(x, &l, limit, fn, ctx);
    close_log(&l);
    return 0;
}

/* A log as Dovecot begins one; it takes what is missing from the Maildir. */
static int make_log(int dir_fd, uint32_t uid_validity)
{
    char fresh[64];
    struct str out;
    int ret, fd, keep;

    str_init(&out, 256);
    str_addc(&out, LOG_MAJOR);
    str_addc(&out, LOG_MINOR);
    put16(&out, LOG_HEAD_BYTES);
    put32(&out, (uint32_t) time_now()); /* index id */
    put32(&out, 1);                     /* number of the log */
    put32(&out, 0);
    put32(&out, 0);
    put32(&out, (uint32_t) time_now());
    put32(&out, 1); /* first modseq, 64 bits */
    put32(&out, 0);
    put32(&out, LITTLE_ENDIAN_FILE);
    put32(&out, 0);
    put_record_head(&out, RECORD_BYTES + 8, TYPE_HEADER_UPDATE | TYPE_EXTERNAL);
    put16(&out, HEADER_UID_VALIDITY);
    put16(&out, 4);
    put32(&out, uid_validity);
    snprintf(fresh, sizeof fresh, "%s.new.%ld", LOG, (long) getpid());
    (void) unlinkat(dir_fd, fresh, 0);
    fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    ret = fd < 0 ? -1 : file_write_all(fd, out.p, out.len);
    if (fd >= 0)
        close(fd);
    if (ret == 0 && (ret = linkat(dir_fd, fresh, dir_fd, LOG, 0)) < 0 && errno == EEXIST)
        ret = 0; /* Dovecot was quicker */
    keep = errno;
    (void) unlinkat(dir_fd, fresh, 0);
    str_free(&out);
    errno = keep;
    return ret;
}

/* Locks of the open file, not of the process: two fibers exclude each other too. */
static int lock_file(int fd)
{
    int64_t until = time_mono_ms() + DOVECOT_LOCK_SECONDS * 1000;
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return -1;
        if (time_mono_ms() > until) {
            errno = EAGAIN;
            return -1;
        }
        if (store_pause(LOCK_PAUSE_MS) < 0)
            return -1;
    }
    return 0;
}

int dovecot_index_lock(int dir_fd, uint32_t uid_validity)
{
    struct stat mine, now;

    for (int tries = 0; tries < 10; tries++) {
        int keep, fd = openat(dir_fd, LOG, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && errno == ENOENT && make_log(dir_fd, uid_validity) == 0)
            continue;
        if (fd < 0)
            return -1;
        if (lock_file(fd) < 0) {
            keep = errno;
            close(fd);
            errno = keep;
            return -1;
        }
        if (fstat(fd, &mine) == 0 && fstatat(dir_fd, LOG, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
            mine.st_ino == now.st_ino)
            return fd;
        close(fd);
    }
    errno = EAGAIN; /* rotated again and again */
    return -1;
}

int dovecot_index_append(struct dovecot_index *x, int fd, struct slice records)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    if (x->inode != (uint64_t) st.st_ino || x->offset != (uint64_t) st.st_size) {
        errno = EBADMSG;
        return -1;
    }
    errno = 0; /* a short write sets none */
    if (pwrite(fd, records.p, records.len, st.st_size) != (ssize_t) records.len) {
        int keep = errno ? errno : ENOSPC;
        (void) !ftruncate(fd, st.st_size); /* half a record is one that Dovecot does not see */
        errno = keep;
        return -1;
    }
    x->offset += records.len;
    return 0;
}

void dovecot_index_put_messages(struct str *out, const uint32_t *uids, size_t n)
{
    if (n == 0)
        return;
    put_record_head(out, RECORD_BYTES + 8 * n, TYPE_APPEND | TYPE_EXTERNAL);
    for (size_t i = 0; i < n; i++) {
        put32(out, uids[i]);
        put32(out, 0); /* flags: Dovecot takes them from the file's name */
    }
}

void dovecot_index_put_keyword(struct str *out, bool add, const char *keyword, const struct uid_range *r, size_t n)
{
    size_t len = strlen(keyword), named = align(4 + len, 4);

    put_record_head(out, RECORD_BYTES + named + 8 * n, TYPE_KEYWORD_UPDATE | TYPE_EXTERNAL);
    str_addc(out, add ? 0 : 1);
    str_addc(out, 0);
    put16(out, (uint32_t) len);
    str_adds(out, keyword);
    for (size_t i = 4 + len; i < named; i++)
        str_addc(out, '\0');
    for (size_t i = 0; i < n; i++) {
        put32(out, r[i].first);
        put32(out, r[i].last);
    }
}
