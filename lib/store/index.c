/*
 * index - see index.h
 *
 * Callers     store/sync.c, store/message.c, lib/deliver
 * Invariants  lengths are checked against the type's limit and the file before a byte is allocated
 * Errors      -1 with errno; damage is EBADMSG and the file is cut there by the next writer
 */
#include "store/index.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD_BYTES = 40,
    RECORD_HEAD = 12,
    LOCK_WAIT_MS = 1000,
    LOCK_PAUSE_MS = 5,
    WINDOW_FIRST_BYTES = 4096,
    WINDOW_BYTES = 256 << 10,
    NOTE_BYTES = 8192, /* the head lags at most so far behind: a reader of the tail gets it by one read */
};
static const char magic[8] = "PHINDEX\1";

static uint64_t load(const unsigned char *p, unsigned bytes)
{
    uint64_t n = 0;

    for (unsigned i = bytes; i-- > 0;)
        n = n << 8 | p[i];
    return n;
}

static void save(unsigned char *p, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++, n >>= 8)
        p[i] = (unsigned char) n;
}

uint64_t index_get(struct index_reader *r, unsigned bytes)
{
    uint64_t n;

    if (r->bad || (size_t) (r->end - r->p) < bytes) {
        r->bad = true;
        return 0;
    }
    n = load(r->p, bytes);
    r->p += bytes;
    return n;
}

struct slice index_get_str(struct index_reader *r)
{
    uint64_t len = index_get(r, 4);
    struct slice s = { "", 0 };

    if (r->bad || (uint64_t) (r->end - r->p) < len) {
        r->bad = true;
        return s;
    }
    s = slice_make((const char *) r->p, (size_t) len);
    r->p += len;
    return s;
}

void index_put(struct str *out, uint64_t value, unsigned bytes)
{
    unsigned char b[8];

    save(b, value, bytes);
    str_add(out, b, bytes);
}

void index_put_str(struct str *out, struct slice s)
{
    index_put(out, s.len, 4);
    str_addslice(out, s);
}

static int read_at(int fd, void *p, size_t len, uint64_t offset)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = pread(fd, (char *) p + got, len - got, (off_t) (offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        got += (size_t) n;
    }
    return 0;
}

/* settled: all before it is whole records. */
static int write_head(int fd, uint64_t snapshot, uint64_t settled)
{
    unsigned char head[HEAD_BYTES] = { 0 };

    memcpy(head, magic, sizeof magic);
    save(head + 8, INDEX_VERSION, 4);
    save(head + 16, snapshot, 8);
    save(head + 24, settled, 8);
    save(head + 32, index_crc32c(head, 32), 4);
    return pwrite(fd, head, sizeof head, 0) == (ssize_t) sizeof head ? 0 : -1;
}

/* Offset of the last snapshot (0: none); -1: no head of ours. */
static int64_t read_head(int fd, uint64_t *settled)
{
    unsigned char head[HEAD_BYTES];

    if (read_at(fd, head, sizeof head, 0) < 0 || memcmp(head, magic, sizeof magic) != 0 ||
        load(head + 8, 4) != INDEX_VERSION || load(head + 32, 4) != index_crc32c(head, 32))
        return -1;
    uint64_t at = load(head + 16, 8);
    *settled = load(head + 24, 8);
    return at >= HEAD_BYTES && at < INT64_MAX ? (int64_t) at : 0;
}

/* The index is a cache: who keeps it locked for long makes the others go on without it. */
static int lock(int fd)
{
    int64_t until = time_mono_ms() + LOCK_WAIT_MS;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0)
        if ((errno != EWOULDBLOCK && errno != EINTR) || time_mono_ms() > until || store_pause(LOCK_PAUSE_MS) < 0)
            return -1;
    return 0;
}

int index_open(struct index *ix, int dir_fd, bool create)
{
    struct stat st;
    uint64_t settled;
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (create ? O_CREAT : 0);

    *ix = (struct index){ .fd = openat(dir_fd, INDEX_NAME, flags, 0600) };
    if (ix->fd < 0)
        return -1;
    if (fstat(ix->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        index_close(ix);
        return -1;
    }
    if (read_head(ix->fd, &settled) < 0) { /* new, or not ours: begin anew */
        if (!create || lock(ix->fd) < 0) {
            index_close(ix);
            return -1;
        }
        bool bad = read_head(ix->fd, &settled) < 0 &&
                   (ftruncate(ix->fd, 0) < 0 || write_head(ix->fd, 0, HEAD_BYTES) < 0);
        (void) flock(ix->fd, LOCK_UN);
        if (bad) {
            index_close(ix);
            return -1;
        }
    }
    ix->offset = HEAD_BYTES;
    ix->inode = (uint64_t) st.st_ino;
    return 0;
}

void index_close(struct index *ix)
{
    if (ix->fd >= 0)
        close(ix->fd);
    ix->fd = -1;
    index_trim(ix);
}

bool index_viewed(int dir_fd)
{
    uint64_t settled;
    int fd = openat(dir_fd, INDEX_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool viewed = fd >= 0 && read_head(fd, &settled) > 0;

    if (fd >= 0)
        close(fd);
    return viewed;
}

bool index_replaced(const struct index *ix, int dir_fd)
{
    struct stat st;

    return ix->fd < 0 || fstatat(dir_fd, INDEX_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
           (uint64_t) st.st_ino != ix->inode;
}

static size_t most_bytes(uint64_t type)
{
    return type == INDEX_ITEMS ? (size_t) INDEX_ITEMS_BYTES : (size_t) INDEX_RECORD_BYTES;
}

/* Of the record that begins with head, room bytes before the end of the file; -1: nothing whole. */
static int64_t payload_length(const unsigned char head[RECORD_HEAD], uint64_t room)
{
    uint64_t len = load(head, 4), type = load(head + 4, 4);

    if (type < INDEX_SNAPSHOT || type > INDEX_ITEMS || len > most_bytes(type) || len > room - RECORD_HEAD)
        return -1;
    return (int64_t) len;
}

/* Length of the payload at offset, checked against type and file; -1: nothing whole there. */
static int64_t record_length(int fd, uint64_t offset, uint64_t file, enum index_type *type, uint32_t *crc)
{
    unsigned char head[RECORD_HEAD];

    if (offset + RECORD_HEAD > file || read_at(fd, head, sizeof head, offset) < 0)
        return -1;
    *type = (enum index_type) load(head + 4, 4);
    *crc = (uint32_t) load(head + 8, 4);
    return payload_length(head, file - offset);
}

static int read_window(struct index *, uint64_t offset, size_t len);

/* The next record from the window, where it is there whole, as most are: they take no reading of their own. */
static bool hand_over_near(struct index *ix, uint64_t file, index_fn fn, void *ctx)
{
    uint64_t room = file - ix->offset, at = ix->offset - ix->window_at;
    const unsigned char *p;
    int64_t len = 0;

    for (int tries = 0; tries < 2; tries++, at = ix->offset - ix->window_at) {
        bool inside = ix->window_len && ix->offset >= ix->window_at && at + RECORD_HEAD <= ix->window_len;
        p = (const unsigned char *) ix->window + (inside ? at : 0);
        if (inside && ((len = payload_length(p, room)) < 0 || load(p + 4, 4) == INDEX_ITEMS))
            return false;
        if (inside && at + RECORD_HEAD + (uint64_t) len <= ix->window_len) {
            if (index_crc32c(p + RECORD_HEAD, (size_t) len) != (uint32_t) load(p + 8, 4))
                return false;
            uint64_t offset = ix->offset;
            ix->offset += RECORD_HEAD + (uint64_t) len;
            fn(ctx, (enum index_type) load(p + 4, 4), offset,
               slice_make((const char *) p + RECORD_HEAD, (size_t) len));
            return true;
        }
        if (tries == 0 && read_window(ix, ix->offset, room < WINDOW_BYTES ? (size_t) room : WINDOW_BYTES) < 0)
            return false;
    }
    return false;
}

static int hand_over(struct index *ix, uint64_t file, index_fn fn, void *ctx)
{
    enum index_type type;
    uint32_t crc;
    int64_t len = record_length(ix->fd, ix->offset, file, &type, &crc);
    char *p;

    if (len < 0)
        return -1;
    if (type == INDEX_ITEMS) { /* for whom a snapshot names it */
        ix->offset += RECORD_HEAD + (uint64_t) len;
        return 0;
    }
    p = mem_array((size_t) len + 1, 1);
    if (read_at(ix->fd, p, (size_t) len, ix->offset + RECORD_HEAD) < 0 || index_crc32c(p, (size_t) len) != crc) {
        free(p);
        return -1;
    }
    fn(ctx, type, ix->offset, slice_make(p, (size_t) len));
    free(p);
    ix->offset += RECORD_HEAD + (uint64_t) len;
    return 0;
}

int index_read_snapshot(struct index *ix, index_fn fn, void *ctx)
{
    struct stat st;
    uint64_t settled;
    int64_t snapshot;

    if (fstat(ix->fd, &st) < 0)
        return -1;
    if (ix->offset != HEAD_BYTES || (snapshot = read_head(ix->fd, &settled)) <= 0)
        return 0;
    ix->offset = (uint64_t) snapshot;
    if (hand_over(ix, (uint64_t) st.st_size, fn, ctx) < 0)
        ix->offset = HEAD_BYTES; /* a pointer into nothing: read all */
    return 0;
}

int index_read(struct index *ix, index_fn fn, void *ctx)
{
    struct stat st;
    int ret = 0;

    if (fstat(ix->fd, &st) < 0)
        return -1;
    uint64_t size = (uint64_t) st.st_size;
    if (ix->offset >= size)
        return 0;
    while (ret == 0 && ix->offset < size)
        if (!hand_over_near(ix, size, fn, ctx))
            ret = hand_over(ix, size, fn, ctx);
    index_trim(ix);
    if (ret < 0)
        errno = EBADMSG;
    return ret;
}

/* Records from ix->whole on that are whole; it moves behind them. Their heads come by one read where they are near. */
static void pass_whole(struct index *ix, uint64_t size)
{
    unsigned char near[NOTE_BYTES];
    uint64_t from = ix->whole, have = size - from < sizeof near ? size - from : sizeof near;

    if (read_at(ix->fd, near, (size_t) have, from) < 0)
        return;
    while (ix->whole < size) {
        unsigned char head[RECORD_HEAD];
        if (size - ix->whole < RECORD_HEAD)
            return;
        if (ix->whole - from + RECORD_HEAD <= have)
            memcpy(head, near + (ix->whole - from), sizeof head);
        else if (read_at(ix->fd, head, sizeof head, ix->whole) < 0)
            return;
        int64_t len = payload_length(head, size - ix->whole);
        if (len < 0)
            return;
        ix->whole += RECORD_HEAD + (uint64_t) len;
    }
}

static void put_record(struct str *out, enum index_type type, struct slice payload)
{
    index_put(out, payload.len, 4);
    index_put(out, (uint64_t) type, 4);
    index_put(out, index_crc32c(payload.p, payload.len), 4);
    str_addslice(out, payload);
}

/* With the lock: where the next record goes. A torn tail is cut, when the head, too, leads to it: what was known may be
 * of a file that had the same number. */
static int settle(struct index *ix, uint64_t size)
{
    if (ix->whole && ix->whole < size)
        pass_whole(ix, size);
    if (ix->whole == size)
        return 0;
    if (read_head(ix->fd, &ix->noted) < 0)
        return -1;
    if (ix->noted < HEAD_BYTES || ix->noted > size)
        ix->noted = HEAD_BYTES;
    ix->whole = ix->noted;
    pass_whole(ix, size);
    return ix->whole < size ? ftruncate(ix->fd, (off_t) ix->whole) : 0;
}

/* A snapshot is named by the head; other records only move what the head says is whole, once in a while. */
static int note(struct index *ix, enum index_type type, uint64_t at)
{
    uint64_t old;
    int64_t snapshot = (int64_t) at;

    if (type != INDEX_SNAPSHOT) {
        if (ix->whole - ix->noted < NOTE_BYTES)
            return 0;
        if ((snapshot = read_head(ix->fd, &old)) < 0)
            return -1;
    }
    ix->noted = ix->whole;
    return write_head(ix->fd, (uint64_t) snapshot, ix->whole);
}

/* With the lock; size: of the file; records: whole ones, the first of that type. */
static int append_records(struct index *ix, uint64_t size, enum index_type type, struct slice records,
                          uint64_t *offset)
{
    int ret = -1;

    if (settle(ix, size) < 0)
        return -1;
    uint64_t at = ix->whole;
    if (pwrite(ix->fd, records.p, records.len, (off_t) at) == (ssize_t) records.len) {
        ix->whole = at + records.len;
        ret = note(ix, type, at);
        *offset = at;
        if (ix->offset == at) /* nobody else's lies between: our own need no reading */
            ix->offset = ix->whole;
    } else if (ftruncate(ix->fd, (off_t) at) < 0) {
        ret = -1; /* the next writer cuts it */
    }
    return ret;
}

static int append(struct index *ix, uint64_t size, enum index_type type, struct slice payload, uint64_t *offset)
{
    struct str rec;
    int ret;

    str_init(&rec, STR_UNLIMITED);
    str_reserve(&rec, RECORD_HEAD + payload.len);
    put_record(&rec, type, payload);
    ret = append_records(ix, size, type, str_slice(&rec), offset);
    str_free(&rec);
    return ret;
}

void index_gather(struct str *batch, struct slice payload) { put_record(batch, INDEX_MESSAGE, payload); }

struct slice index_gathered(struct slice batch, size_t at)
{
    struct slice rest = slice_sub(batch, at, batch.len);

    return slice_sub(rest, RECORD_HEAD, (size_t) load((const unsigned char *) rest.p, 4));
}

int index_append_batch(struct index *ix, int dir_fd, struct slice batch, uint64_t *offset)
{
    struct file_look seen;
    int ret = -1;

    if (ix->fd < 0 || lock(ix->fd) < 0)
        return -1;
    if (file_look(dir_fd, INDEX_NAME, &seen) == 0 && seen.inode == ix->inode)
        ret = append_records(ix, seen.size, INDEX_MESSAGE, batch, offset);
    (void) flock(ix->fd, LOCK_UN);
    return ret;
}

int index_append(struct index *ix, int dir_fd, enum index_type type, struct slice payload, uint64_t *offset)
{
    struct file_look seen;
    int ret = -1;

    if (ix->fd < 0 || payload.len > most_bytes(type) || lock(ix->fd) < 0)
        return -1;
    if (file_look(dir_fd, INDEX_NAME, &seen) == 0 && seen.inode == ix->inode)
        ret = append(ix, seen.size, type, payload, offset);
    (void) flock(ix->fd, LOCK_UN);
    return ret;
}

/* The record at offset, if all of it is in the window. */
static int in_window(const struct index *ix, uint64_t offset, enum index_type want, struct slice *out)
{
    const unsigned char *p;
    uint64_t len;

    if (offset < ix->window_at || offset - ix->window_at + RECORD_HEAD > ix->window_len)
        return -1;
    p = (const unsigned char *) ix->window + (offset - ix->window_at);
    len = load(p, 4);
    if (len > ix->window_len - RECORD_HEAD - (offset - ix->window_at) || load(p + 4, 4) != want ||
        index_crc32c(p + RECORD_HEAD, (size_t) len) != (uint32_t) load(p + 8, 4))
        return -1;
    *out = slice_make((const char *) p + RECORD_HEAD, (size_t) len);
    return 0;
}

static int read_window(struct index *ix, uint64_t offset, size_t len)
{
    ssize_t n;

    ix->window = mem_grow(ix->window, len, 1);
    ix->window_at = offset;
    do
        n = pread(ix->fd, ix->window, len, (off_t) offset);
    while (n < 0 && errno == EINTR);
    ix->window_len = n > 0 ? (size_t) n : 0;
    return n > 0 ? 0 : -1;
}

int index_fetch(struct index *ix, uint64_t offset, enum index_type want, struct slice *out)
{
    bool follows = offset >= ix->window_at && offset <= ix->window_at + ix->window_len;
    uint64_t len;

    if (ix->fd < 0 || offset < HEAD_BYTES)
        return -1;
    if (in_window(ix, offset, want, out) == 0)
        return 0;
    /* Who goes from one to the next gets more at a time. */
    if (read_window(ix, offset, follows ? WINDOW_BYTES : WINDOW_FIRST_BYTES) < 0)
        return -1;
    if (in_window(ix, offset, want, out) == 0)
        return 0;
    if (ix->window_len < RECORD_HEAD || (len = load((const unsigned char *) ix->window, 4)) > INDEX_RECORD_BYTES ||
        len + RECORD_HEAD <= ix->window_len || read_window(ix, offset, (size_t) len + RECORD_HEAD) < 0)
        return -1;
    return in_window(ix, offset, want, out);
}

int index_fetch_items(struct index *ix, uint64_t offset, char **payload, size_t *out_len)
{
    struct stat st;
    enum index_type type;
    uint32_t crc;
    int64_t len;

    if (ix->fd < 0 || offset < HEAD_BYTES || fstat(ix->fd, &st) < 0 ||
        (len = record_length(ix->fd, offset, (uint64_t) st.st_size, &type, &crc)) < 0 || type != INDEX_ITEMS)
        return -1;
    *payload = mem_array((size_t) len + 1, 1);
    *out_len = (size_t) len;
    if (read_at(ix->fd, *payload, (size_t) len, offset + RECORD_HEAD) == 0 &&
        index_crc32c(*payload, (size_t) len) == crc)
        return 0;
    free(*payload);
    *payload = NULL;
    return -1;
}

void index_trim(struct index *ix)
{
    free(ix->window);
    ix->window = NULL;
    ix->window_len = 0;
}

/* Each gets its place in the new file, or 0. */
static void copy_records(struct index *from, struct index *to, uint64_t *const *offsets, size_t n, uint64_t *at)
{
    struct str out;

    str_init(&out, STR_UNLIMITED);
    for (size_t i = 0; i < n; i++) {
        struct slice rec;
        bool have = *offsets[i] && index_fetch(from, *offsets[i], INDEX_MESSAGE, &rec) == 0;

        *offsets[i] = 0;
        if (!have)
            continue;
        str_reset(&out);
        put_record(&out, INDEX_MESSAGE, rec);
        if (pwrite(to->fd, out.p, out.len, (off_t) *at) != (ssize_t) out.len)
            continue;
        *offsets[i] = *at;
        *at += out.len;
    }
    str_free(&out);
}

int index_compact(struct index *ix, int dir_fd, uint64_t *const *offsets, size_t n)
{
    static const char fresh[] = INDEX_NAME ".new";
    struct index to = { .offset = HEAD_BYTES };
    struct stat st;
    uint64_t at = HEAD_BYTES;
    int ret = -1;

    if (lock(ix->fd) < 0)
        return -1;
    (void) unlinkat(dir_fd, fresh, 0);
    to.fd = openat(dir_fd, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to.fd >= 0 && fstat(to.fd, &st) == 0 && !index_replaced(ix, dir_fd) &&
        write_head(to.fd, 0, HEAD_BYTES) == 0) {
        to.inode = (uint64_t) st.st_ino;
        copy_records(ix, &to, offsets, n, &at);
        ret = renameat(dir_fd, fresh, dir_fd, INDEX_NAME);
    }
    (void) flock(ix->fd, LOCK_UN);
    if (ret < 0) {
        if (to.fd >= 0)
            close(to.fd);
        (void) unlinkat(dir_fd, fresh, 0);
        for (size_t i = 0; i < n; i++) /* some point into the file that is not there */
            *offsets[i] = 0;
        return -1;
    }
    close(ix->fd);
    index_trim(ix);
    *ix = (struct index){ .fd = to.fd, .offset = at, .inode = to.inode };
    return 0;
}

/* The file that is open, and locked, is the one we know; -1: another one, or one that lost its name meanwhile. */
static int add_known(struct index *ix, struct slice payload)
{
    struct file_look seen;
    uint64_t at;

    if (file_look(ix->fd, "", &seen) < 0 || seen.links == 0 || seen.inode != ix->inode)
        return -1;
    (void) append(ix, seen.size, INDEX_MESSAGE, payload, &at);
    return 0;
}

static int open_known(struct index *own, int dir_fd)
{
    own->fd = own->whole ? openat(dir_fd, INDEX_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    return own->fd < 0 ? -1 : 0;
}

static void learn(struct index *ix, const struct index *own)
{
    ix->inode = own->inode;
    ix->whole = own->whole;
    ix->noted = own->noted;
}

void index_add_message(struct index *ix, int dir_fd, struct slice payload)
{
    struct index own = { .fd = -1, .inode = ix->inode, .whole = ix->whole, .noted = ix->noted };

    if (payload.len > INDEX_RECORD_BYTES)
        return;
    for (int tries = 0; tries < 3; tries++) {
        if (open_known(&own, dir_fd) < 0)
            own.whole = 0;
        if (own.whole == 0 && index_open(&own, dir_fd, true) < 0)
            return;
        /* Locked by another for long: the index goes without it. */
        int added = lock(own.fd) < 0 ? 0 : add_known(&own, payload);
        close(own.fd); /* and with it the lock goes */
        if (added == 0) {
            learn(ix, &own);
            return;
        }
        own.whole = 0;
    }
}

bool index_add_message_now(struct index *ix, int dir_fd, struct slice payload)
{
    struct index own = { .fd = -1, .inode = ix->inode, .whole = ix->whole, .noted = ix->noted };
    bool added;

    if (payload.len > INDEX_RECORD_BYTES)
        return true;
    if (open_known(&own, dir_fd) < 0)
        return false;
    added = flock(own.fd, LOCK_EX | LOCK_NB) == 0 && add_known(&own, payload) == 0;
    close(own.fd);
    if (added)
        learn(ix, &own);
    return added;
}
