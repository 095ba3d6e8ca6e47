/*
 * uidlist - see uidlist.h
 *
 * Callers     store/sync.c, store/save.c
 * Invariants  a name gets the UID of its last record; a UID that does not rise above those before is no UID: its file
 *             gets a fresh one, so that no message ever shows under another's
 * Errors      -1 with errno
 * Source      see uidlist.h
 */
#include "store/uidlist.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

static bool parse_header(struct uidlist *u, struct slice line)
{
    struct slice word;
    uint64_t n, v = 0, next = 0;
    size_t used = 0;

    if (!slice_word(&line, " ", &word) || slice_u64(word, 3, &n) < 0 || (n != 1 && n != 3))
        return false;
    u->version = (int) n;
    u->header[0] = '\0';
    if (n == 1) {
        if (!slice_word(&line, " ", &word) || slice_u64(word, UINT32_MAX, &v) < 0 || !slice_word(&line, " ", &word) ||
            slice_u64(word, UINT32_MAX, &next) < 0)
            return false;
    }
    while (n == 3 && slice_word(&line, " ", &word)) {
        struct slice value = slice_sub(word, 1, word.len);
        if (*word.p == 'V' && slice_u64(value, UINT32_MAX, &v) == 0)
            continue;
        if (*word.p == 'N' && slice_u64(value, UINT32_MAX, &next) == 0)
            continue;
        if (used + word.len + 2 < sizeof u->header)
            used += (size_t) snprintf(u->header + used, sizeof u->header - used, " %.*s", (int) word.len, word.p);
    }
    if (v == 0)
        return false;
    u->uid_validity = (uint32_t) v;
    u->next_uid = next ? (uint32_t) next : 1;
    u->last_uid = 0;
    return true;
}

/* "12 W345 :name" or, in version 1, "12 name". */
static void parse_record(struct uidlist *u, struct slice line, uidlist_fn fn, void *ctx)
{
    struct slice rest = line, word, keys = { "", 0 }, name;
    uint64_t uid;

    if (!slice_split(&rest, ' ', &word) || rest.p == NULL || slice_u64(word, UINT32_MAX - 1, &uid) < 0 || uid == 0 ||
        uid <= u->last_uid)
        return;
    if (u->version == 1) {
        name = rest;
    } else {
        const char *colon = rest.len && *rest.p == ':' ? rest.p : NULL;
        for (size_t i = 0; colon == NULL && i + 1 < rest.len; i++)
            if (rest.p[i] == ' ' && rest.p[i + 1] == ':')
                colon = rest.p + i + 1;
        if (colon == NULL)
            return;
        keys = slice_trim(slice_make(rest.p, (size_t) (colon - rest.p)));
        name = slice_make(colon + 1, (size_t) (rest.p + rest.len - colon - 1));
    }
    ptrdiff_t info = slice_find(name, ':'); /* older writers left ":2," in the name */
    if (info >= 0)
        name.len = (size_t) info;
    if (name.len == 0 || name.len > 255 || memchr(name.p, '/', name.len) || memchr(name.p, '\0', name.len))
        return;
    u->last_uid = (uint32_t) uid;
    if (u->next_uid <= u->last_uid)
        u->next_uid = u->last_uid + 1;
    fn(ctx, (uint32_t) uid, keys, name);
}

/* Half a line stood for a message whose UID a client may have seen: nobody else gets it. Its number may be cut, too;
 * it was the one behind the last then. */
static void skip_torn(struct uidlist *u, struct slice tail)
{
    struct slice rest = tail, word;
    uint64_t uid;

    if (tail.len == 0 || u->version == 0 || u->torn_at == u->offset)
        return;
    u->torn_at = u->offset;
    if (slice_split(&rest, ' ', &word) && rest.p && slice_u64(word, UINT32_MAX - 2, &uid) == 0 && uid >= u->next_uid)
        u->next_uid = (uint32_t) uid + 1;
    else if (u->next_uid < UINT32_MAX - 1)
        u->next_uid++;
}

ssize_t uidlist_parse(struct uidlist *u, struct slice bytes, uidlist_fn fn, void *ctx)
{
    const char *p = bytes.p, *end = bytes.p + bytes.len, *lf;

    while (p < end && (lf = memchr(p, '\n', (size_t) (end - p))) != NULL) {
        struct slice line = slice_make(p, (size_t) (lf - p));
        p = lf + 1;
        if (u->version == 0) {
            if (!parse_header(u, line)) {
                u->version = 0;
                return -1;
            }
        } else if (line.len < UIDLIST_LINE_BYTES) {
            parse_record(u, line, fn, ctx);
        }
    }
    return p - bytes.p;
}

static void remember(struct uidlist *u, const struct stat *st)
{
    u->inode = (uint64_t) st->st_ino;
    u->size = (uint64_t) st->st_size;
    u->mtime_ns = store_mtime_ns(st);
    u->unasked = false;
}

bool uidlist_unchanged(const struct uidlist *u, int dir_fd)
{
    struct stat st;

    if (fstatat(dir_fd, UIDLIST_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return u->version && !u->unasked && u->inode == (uint64_t) st.st_ino && u->size == (uint64_t) st.st_size &&
           u->mtime_ns == store_mtime_ns(&st);
}

void uidlist_ask(struct uidlist *u, int dir_fd)
{
    struct stat st;

    if (!u->unasked)
        return;
    u->unasked = false;
    u->mtime_ns = -1;
    if (fstatat(dir_fd, UIDLIST_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && u->inode == (uint64_t) st.st_ino &&
        u->size == (uint64_t) st.st_size)
        u->mtime_ns = store_mtime_ns(&st);
}

/* size: of the file when it was looked at; what grew since then is read, too, where it comes with the rest. */
static int read_from(struct uidlist *u, int fd, uint64_t size, uidlist_fn fn, void *ctx)
{
    char *buf = mem_array(READ_BYTES, 1);
    size_t held = 0;
    bool skipping = false; /* inside a line longer than any of ours */
    int ret = 0;

    while (u->offset + held < size) {
        ssize_t n = pread(fd, buf + held, READ_BYTES - held, (off_t) (u->offset + held)), used;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ret = (int) n;
            break;
        }
        held += (size_t) n;
        const char *lf = memchr(buf, '\n', held);
        if (lf == NULL && held == READ_BYTES) {
            u->offset += held;
            held = 0;
            skipping = true;
            continue;
        }
        if (lf == NULL)
            continue;
        if (skipping) {
            used = lf + 1 - buf;
            skipping = false;
        } else if ((used = uidlist_parse(u, slice_make(buf, held), fn, ctx)) < 0) {
            errno = EBADMSG;
            ret = -1;
            break;
        }
        memmove(buf, buf + used, held - (size_t) used);
        held -= (size_t) used;
        u->offset += (uint64_t) used;
    }
    if (ret == 0 && !skipping)
        skip_torn(u, slice_make(buf, held));
    free(buf);
    return ret;
}

/* Is what was read still there, up to its last line? Inode numbers are used again at once: a file replaced twice may
 * have the number of the one we read. */
static bool goes_on(const struct uidlist *u, int fd)
{
    char tail[2 * UIDLIST_LINE_BYTES];
    uint64_t from = u->offset > sizeof tail ? u->offset - sizeof tail : 0, uid;
    ssize_t n = pread(fd, tail, (size_t) (u->offset - from), (off_t) from);
    const char *line;
    struct slice word, rest;

    if (n <= 0 || (uint64_t) n != u->offset - from || tail[n - 1] != '\n')
        return false;
    for (line = tail + n - 1; line > tail && line[-1] != '\n'; line--)
        ;
    if (line == tail && from == 0) { /* the header */
        struct uidlist head = { 0 };
        return u->last_uid == 0 && parse_header(&head, slice_make(line, (size_t) (tail + n - 1 - line))) &&
               head.uid_validity == u->uid_validity;
    }
    rest = slice_make(line, (size_t) (tail + n - 1 - line));
    return slice_split(&rest, ' ', &word) && slice_u64(word, UINT32_MAX, &uid) == 0 && uid == u->last_uid;
}

int uidlist_read(struct uidlist *u, int dir_fd, bool *again, uidlist_fn fn, void *ctx)
{
    struct stat st;
    int ret, keep, fd = openat(dir_fd, UIDLIST_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    *again = false;
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    if (u->version == 0 || u->inode != (uint64_t) st.st_ino || (uint64_t) st.st_size < u->offset ||
        ((uint64_t) st.st_size == u->size && u->mtime_ns != store_mtime_ns(&st)) || !goes_on(u, fd)) {
        memset(u, 0, sizeof *u);
        *again = true;
    }
    ret = read_from(u, fd, (uint64_t) st.st_size, fn, ctx);
    if (ret == 0 && u->version == 0) {
        errno = EBADMSG;
        ret = -1;
    }
    remember(u, &st);
    keep = errno;
    close(fd);
    errno = keep;
    return ret;
}

static void ignore_record(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    (void) ctx, (void) uid, (void) keys, (void) name;
}

static int read_end(struct uidlist *u, int fd, const struct stat *st)
{
    char head[UIDLIST_HEADER_BYTES], tail[2 * UIDLIST_LINE_BYTES];
    uint64_t size = (uint64_t) st->st_size, from = size > sizeof tail ? size - sizeof tail : 0, header_end;
    ssize_t n = pread(fd, head, sizeof head, 0), m = pread(fd, tail, sizeof tail, (off_t) from);
    const char *lf = n > 0 ? memchr(head, '\n', (size_t) n) : NULL, *p, *end;

    errno = EBADMSG;
    if (lf == NULL || m <= 0 || (uint64_t) m != size - from ||
        !parse_header(u, slice_make(head, (size_t) (lf - head))) || u->version != 3)
        return -1;
    header_end = (uint64_t) (lf - head) + 1;
    for (end = tail + m; end > tail && end[-1] != '\n'; end--) /* a torn line is cut by the append */
        ;
    u->offset = from + (uint64_t) (end - tail);
    if (end == tail || u->offset < header_end)
        return -1;
    if (u->offset == header_end) {
        skip_torn(u, slice_make(end, (size_t) (tail + m - end)));
        return 0;
    }
    for (p = end - 1; p > tail && p[-1] != '\n'; p--)
        ;
    if (p == tail && from > 0)
        return -1;
    parse_record(u, slice_make(p, (size_t) (end - 1 - p)), ignore_record, NULL);
    skip_torn(u, slice_make(end, (size_t) (tail + m - end)));
    return u->last_uid ? 0 : -1;
}

int uidlist_read_end(struct uidlist *u, int dir_fd)
{
    struct stat st;
    int ret = -1, keep, fd = openat(dir_fd, UIDLIST_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    memset(u, 0, sizeof *u);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (ret = read_end(u, fd, &st)) == 0)
        remember(u, &st);
    keep = errno;
    close(fd);
    errno = keep;
    return ret;
}

/* Is there a line end behind the offset, or what cannot be read? */
static bool holds_line(int fd, uint64_t offset)
{
    char tail[UIDLIST_LINE_BYTES];
    ssize_t n;

    do {
        n = pread(fd, tail, sizeof tail, (off_t) offset);
        offset += n > 0 ? (uint64_t) n : 0;
    } while (n > 0 && memchr(tail, '\n', (size_t) n) == NULL);
    return n != 0;
}

/* Half a line at the end: the next line behind it would give its file that line's UID. The file is made anew without
 * it: cut in place, it could grow to the length at which somebody's snapshot stopped reading, with other lines
 * before. */
static int append_anew(struct uidlist *u, int dir_fd, int fd, struct slice lines)
{
    struct str all;
    struct stat st;
    ssize_t n;
    int ret = -1;

    str_init(&all, STR_UNLIMITED);
    str_reserve(&all, (size_t) u->offset + lines.len);
    while (all.len < u->offset && (n = pread(fd, all.p + all.len, (size_t) u->offset - all.len, (off_t) all.len)) > 0)
        all.len += (size_t) n;
    if (all.len == u->offset) {
        str_addslice(&all, lines);
        ret = file_replace(dir_fd, UIDLIST_NAME, str_slice(&all), 0600, true);
    }
    if (ret == 0 && (ret = fstatat(dir_fd, UIDLIST_NAME, &st, AT_SYMLINK_NOFOLLOW)) == 0) {
        u->offset = all.len;
        remember(u, &st);
    }
    str_free(&all);
    return ret;
}

/* fd: of the uidlist. */
static int sync_with(int fd, int with_fd)
{
    struct event_sync both[] = { { .fd = with_fd }, { .fd = fd, .data_only = true } };

    if (with_fd == UIDLIST_LATER)
        return 0;
    return event_sync(with_fd >= 0 ? both : both + 1, with_fd >= 0 ? 2 : 1);
}

int uidlist_sync(int dir_fd, int with_fd)
{
    int keep, ret, fd = openat(dir_fd, UIDLIST_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return -1;
    ret = sync_with(fd, with_fd);
    keep = errno;
    close(fd);
    errno = keep;
    return ret;
}

int uidlist_append(struct uidlist *u, int dir_fd, struct slice lines, int with_fd)
{
    struct file_look seen;
    struct stat st;
    int keep, fd = openat(dir_fd, UIDLIST_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return -1;
    if (file_look(fd, "", &seen) < 0)
        goto fail;
    if (seen.inode != u->inode || seen.size < u->offset) {
        errno = ESTALE;
        goto fail;
    }
    if (seen.size > u->offset) {
        if (holds_line(fd, u->offset)) { /* our lock was taken away while we slept: those UIDs are given */
            errno = ESTALE;
            goto fail;
        }
        if (append_anew(u, dir_fd, fd, lines) < 0 || (with_fd >= 0 && store_sync_fd(with_fd, false) < 0))
            goto fail;
        close(fd);
        return 0;
    }
    errno = 0; /* a short write sets none */
    if (pwrite(fd, lines.p, lines.len, (off_t) u->offset) != (ssize_t) lines.len) {
        if (errno == 0)
            errno = ENOSPC;
        keep = errno;
        if (ftruncate(fd, (off_t) u->offset) < 0)
            log_warn("%s: cannot cut a torn line: %s", UIDLIST_NAME, strerror(errno));
        errno = keep;
        goto fail;
    }
    if (with_fd == UIDLIST_LATER) {
        u->size = u->offset + lines.len;
        u->unasked = true;
    } else if (sync_with(fd, with_fd) < 0 || fstat(fd, &st) < 0) {
        goto fail;
    } else {
        remember(u, &st);
    }
    u->offset += lines.len;
    close(fd);
    return 0;
fail:
    keep = errno;
    close(fd);
    errno = keep;
    return -1;
}

int uidlist_rewrite(struct uidlist *u, int dir_fd, struct slice lines)
{
    struct str all;
    struct stat st;
    unsigned char guid[16];
    int ret;

    str_init(&all, STR_UNLIMITED);
    str_printf(&all, "3 V%u N%u", u->uid_validity, u->next_uid);
    str_adds(&all, u->header);
    if (strstr(u->header, " G") == NULL) {
        if (getrandom(guid, sizeof guid, 0) != sizeof guid) {
            str_free(&all);
            return -1;
        }
        str_adds(&all, " G");
        hex_encode(&all, slice_make((const char *) guid, sizeof guid));
    }
    str_addc(&all, '\n');
    snprintf(u->header, sizeof u->header, "%s", strchr(strstr(all.p, " N") + 1, ' '));
    if (strchr(u->header, '\n'))
        *strchr(u->header, '\n') = '\0';
    str_addslice(&all, lines);
    ret = file_replace(dir_fd, UIDLIST_NAME, str_slice(&all), 0600, true);
    if (ret == 0 && (ret = fstatat(dir_fd, UIDLIST_NAME, &st, AT_SYMLINK_NOFOLLOW)) == 0) {
        u->version = 3;
        u->offset = all.len;
        remember(u, &st);
    }
    str_free(&all);
    return ret;
}

void uidlist_line(struct str *out, uint32_t uid, struct slice keys, struct slice name)
{
    str_addu(out, uid);
    str_addc(out, ' ');
    if (keys.len) {
        str_addslice(out, keys);
        str_addc(out, ' ');
    }
    str_addc(out, ':');
    str_addslice(out, name);
    str_addc(out, '\n');
}

uint32_t uidlist_new_validity(int root_fd)
{
    char text[16] = "", marker[48];
    uint64_t last = 0, next;
    int fd = openat(root_fd, "dovecot-uidvalidity", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd >= 0) {
        if (file_read_all(fd, text, 8) == 8)
            last = strtoull(text, NULL, 16);
        close(fd);
    }
    next = (uint64_t) time_now();
    if (next <= last)
        next = last + 1;
    for (int tries = 0; tries < 1000; tries++, next++) {
        if (next > UINT32_MAX)
            break;
        snprintf(marker, sizeof marker, "dovecot-uidvalidity.%08x", (unsigned) next);
        fd = openat(root_fd, marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return 0;
        close(fd);
        snprintf(text, sizeof text, "%08x", (unsigned) next);
        if (file_replace(root_fd, "dovecot-uidvalidity", slice_of(text), 0644, true) < 0)
            return 0;
        if (last) {
            snprintf(marker, sizeof marker, "dovecot-uidvalidity.%08x", (unsigned) last);
            (void) unlinkat(root_fd, marker, 0);
        }
        return (uint32_t) next;
    }
    errno = EOVERFLOW;
    return 0;
}
