/*
 * restore - see journal.h: what a journal holds comes back
 *
 * Callers     see journal.h
 * Invariants  nothing is taken away: a file that is there with the journal's text stays as it is, one that is there with
 *             another is replaced under its present name, one that is not there is written
 *             a line goes into the uidlist only where neither its UID nor its name stands in it
 *             a UID that another session was shown, and whose line is lost, does not become another message's
 *             doing it twice does nothing: the journal goes when all of it is durable
 * Errors      -1 with errno; what cannot be read of the journal is not there
 */
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "store/dotlock.h"
#include "store/filename.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/journal_file.h"
#include "store/uidlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RESTORE_PAUSE_MS = 20 };

struct lost { /* a message of the journal; texts are in restore.bytes */
    char *base;
    struct slice name, keys, text;
    struct timespec date;
    uint32_t uid;
    bool in_new, found;
    bool found_new; /* where, and as what */
    char *found_as;
};
struct restore {
    int mail_fd, control_fd;
    char *bytes;
    size_t len;
    uint64_t settled;
    bool failed; /* the disk did: files that are there whole are so in memory, perhaps */
    struct lost *lost;
    size_t count, room;
    struct map *by_base;
    size_t written, lines;
};

static int head_of(int fd, struct journal_head *best)
{
    const size_t behind = offsetof(struct journal_head, half_bytes);
    int found = -1;

    *best = (struct journal_head){ 0 };
    for (int i = 0; i < JOURNAL_HEADS; i++) {
        struct journal_head h;
        if (pread(fd, &h, sizeof h, (off_t) i * JOURNAL_BLOCK) != sizeof h || h.magic != JOURNAL_MAGIC ||
            h.half_bytes != JOURNAL_HALF_BYTES ||
            h.crc != index_crc32c((const char *) &h + behind, sizeof h - behind) ||
            memchr(h.boot, '\0', sizeof h.boot) == NULL || h.number < best->number)
            continue;
        *best = h;
        found = 0;
    }
    return found;
}

static bool of_this_boot(const struct journal_head *h) { return boot_id()[0] && strcmp(h->boot, boot_id()) == 0; }

static bool of_this_mount(int fd)
{
    uint64_t hint;

    return fcntl(fd, F_GET_RW_HINT, &hint) == 0 && hint == JOURNAL_HINT;
}

/* Entries of one frame. What is not as it should be ends it: its checksum was right, so nobody of ours wrote that. */
static void read_entries(struct restore *r, struct slice frame, uint32_t count)
{
    while (count-- && r->count < JOURNAL_MESSAGES_MAX) {
        struct journal_entry e;
        struct file_name f;
        struct lost *m;

        if (frame.len < sizeof e)
            return;
        memcpy(&e, frame.p, sizeof e);
        frame = slice_sub(frame, sizeof e, frame.len);
        if (e.bytes > JOURNAL_MESSAGE_BYTES || frame.len < e.name_len + e.keys_len + e.bytes)
            return;
        char *name = mem_strndup(frame.p, e.name_len);
        bool good = strlen(name) == e.name_len && strpbrk(name, "/\n") == NULL && file_name_parse(name, &f) &&
                    memchr(frame.p + e.name_len, '\n', e.keys_len) == NULL;
        if (good) {
            if (r->count == r->room)
                r->lost = mem_grow(r->lost, r->room = r->room ? 2 * r->room : 64, sizeof *r->lost);
            m = &r->lost[r->count++];
            *m = (struct lost){ .base = mem_strndup(f.base.p, f.base.len),
                                .name = slice_sub(frame, 0, e.name_len),
                                .keys = slice_sub(frame, e.name_len, e.keys_len),
                                .text = slice_sub(frame, (size_t) e.name_len + e.keys_len, e.bytes),
                                .date = { .tv_sec = (time_t) e.seconds, .tv_nsec = e.nanoseconds % 1000000000 },
                                .uid = e.uid,
                                .in_new = e.in_new != 0 };
        }
        free(name);
        frame = slice_sub(frame, (size_t) e.name_len + e.keys_len + e.bytes, frame.len);
    }
}

static void read_half(struct restore *r, unsigned half)
{
    struct slice at = { r->bytes + JOURNAL_DATA + (size_t) half * JOURNAL_HALF_BYTES, JOURNAL_HALF_BYTES };
    const size_t behind = offsetof(struct journal_frame, generation);
    struct journal_frame f;
    uint64_t generation = 0;

    for (uint32_t turn = 0; at.len >= sizeof f; turn++) {
        memcpy(&f, at.p, sizeof f);
        if (f.magic != JOURNAL_FRAME_MAGIC || f.turn != turn || f.length < sizeof f || f.length > at.len ||
            f.generation <= r->settled || (turn && f.generation != generation) ||
            f.crc != index_crc32c(at.p + behind, f.length - behind))
            return;
        generation = f.generation;
        read_entries(r, slice_sub(at, sizeof f, f.length - sizeof f), f.count);
        at = slice_sub(at, (f.length + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK * JOURNAL_BLOCK, at.len);
    }
}

static int open_sub(const struct restore *r, bool in_new)
{
    return openat(r->mail_fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* Where its messages are now. */
static int look(struct restore *r, bool in_new)
{
    int fd = open_sub(r, in_new), keep;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    struct file_name f;

    if (dir == NULL) {
        keep = errno;
        if (fd >= 0)
            close(fd);
        errno = keep;
        return -1;
    }
    while (errno = 0, (e = readdir(dir)) != NULL) {
        struct lost *m = file_name_parse(e->d_name, &f) ? map_get(r->by_base, f.base) : NULL;
        if (m == NULL || m->found)
            continue;
        m->found = true;
        m->found_new = in_new;
        m->found_as = mem_strdup(e->d_name);
    }
    keep = errno;
    closedir(dir);
    errno = keep;
    return keep ? -1 : 0;
}

static bool is_whole(int dir_fd, const struct lost *m)
{
    int fd = openat(dir_fd, m->found_as, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    bool same = false;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t) st.st_size == m->text.len) {
        char *text = mem_array(m->text.len + 1, 1);
        same = file_read_all(fd, text, m->text.len) == (ssize_t) m->text.len &&
               memcmp(text, m->text.p, m->text.len) == 0;
        free(text);
    }
    if (fd >= 0)
        close(fd);
    return same;
}

static int write_again(struct restore *r, const struct lost *m, int dir_fd, const char *name)
{
    struct timespec times[2] = { m->date, m->date };
    struct str tmp;
    int fd, ret = -1;

    str_init(&tmp, 1024);
    str_adds(&tmp, "tmp/");
    file_name_new(&tmp, FILE_SIZE_UNKNOWN, FILE_SIZE_UNKNOWN);
    fd = openat(r->mail_fd, tmp.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        if (file_write_all(fd, m->text.p, m->text.len) == 0 && futimens(fd, times) == 0 && fsync(fd) == 0 &&
            renameat(r->mail_fd, tmp.p, dir_fd, name) == 0)
            ret = 0;
        int keep = errno;
        close(fd);
        if (ret < 0)
            (void) unlinkat(r->mail_fd, tmp.p, 0);
        errno = keep;
    }
    str_free(&tmp);
    r->written += ret == 0;
    return ret;
}

static int put_files(struct restore *r)
{
    int cur_fd = open_sub(r, false), new_fd = open_sub(r, true), ret = cur_fd < 0 || new_fd < 0 ? -1 : 0, keep;

    for (size_t i = 0; ret == 0 && i < r->count; i++) {
        struct lost *m = map_get(r->by_base, slice_of(r->lost[i].base));
        if (m != &r->lost[i]) /* it is in the journal twice */
            continue;
        bool in_new = m->found ? m->found_new : m->in_new;
        char *name = m->found ? mem_strdup(m->found_as) : mem_strndup(m->name.p, m->name.len);
        if (!m->found || r->failed || !is_whole(in_new ? new_fd : cur_fd, m))
            ret = write_again(r, m, in_new ? new_fd : cur_fd, name);
        free(name);
    }
    keep = errno;
    if (cur_fd >= 0)
        close(cur_fd);
    if (new_fd >= 0)
        close(new_fd);
    errno = keep;
    return ret;
}

/* The uidlist. */
struct line {
    uint32_t uid;
    char *keys, *name;
};
struct lines {
    struct line *all;
    size_t count, room;
    struct map *names;
};

static void add_line(struct lines *l, uint32_t uid, struct slice keys, struct slice name)
{
    if (l->count == l->room)
        l->all = mem_grow(l->all, l->room = l->room ? 2 * l->room : 256, sizeof *l->all);
    l->all[l->count++] = (struct line){ uid, mem_strndup(keys.p, keys.len), mem_strndup(name.p, name.len) };
    map_set(l->names, name, l);
}

static void take_line(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    add_line(ctx, uid, keys, name);
}

static int by_uid(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static bool has_uid(const struct lines *l, size_t sorted, uint32_t uid)
{
    struct line key = { .uid = uid };

    return sorted && bsearch(&key, l->all, sorted, sizeof *l->all, by_uid) != NULL;
}

/* Lines that the file lost: UIDs that were told keep their messages. */
static int write_lines(struct restore *r, struct uidlist *u, struct lines *l)
{
    size_t sorted = l->count;
    struct str text;
    int ret;

    for (size_t i = 0; i < r->count; i++) {
        const struct lost *m = &r->lost[i];
        if (m->uid == 0 || map_get(l->names, slice_of(m->base)) || has_uid(l, sorted, m->uid))
            continue;
        add_line(l, m->uid, m->keys, slice_of(m->base));
        r->lines++;
        if (m->uid >= u->next_uid)
            u->next_uid = m->uid + 1;
    }
    if (u->next_uid < UINT32_MAX - 1 - JOURNAL_UID_GAP)
        u->next_uid += JOURNAL_UID_GAP;
    qsort(l->all, l->count, sizeof *l->all, by_uid);
    str_init(&text, STR_UNLIMITED);
    for (size_t i = 0; i < l->count; i++)
        if (i == 0 || l->all[i].uid != l->all[i - 1].uid)
            uidlist_line(&text, l->all[i].uid, slice_of(l->all[i].keys), slice_of(l->all[i].name));
    ret = uidlist_rewrite(u, r->control_fd, str_slice(&text));
    str_free(&text);
    return ret;
}

static int put_lines(struct restore *r)
{
    struct lines l = { .names = map_new(SIZE_MAX, NULL) };
    struct uidlist u = { 0 };
    bool again = false;
    int lock_fd = dotlock_take(r->control_fd, UIDLIST_LOCK), ret = -1, keep;

    if (lock_fd >= 0) {
        ret = uidlist_read(&u, r->control_fd, &again, take_line, &l);
        if (ret < 0 && (errno == ENOENT || errno == EBADMSG))
            ret = 0; /* opening the mailbox makes a new one, with a new UIDVALIDITY */
        else if (ret == 0 && u.version == 3)
            ret = write_lines(r, &u, &l);
        keep = errno;
        dotlock_release(r->control_fd, UIDLIST_LOCK, lock_fd);
        errno = keep;
    }
    for (size_t i = 0; i < l.count; i++) {
        free(l.all[i].keys);
        free(l.all[i].name);
    }
    free(l.all);
    map_free(&l.names);
    return ret;
}

static bool has_uids(const struct restore *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->lost[i].uid)
            return true;
    return false;
}

/* 1: done, but for the UIDs, which a process that knows where the uidlist is will see to. */
static int restore_all(struct restore *r, int fd)
{
    r->bytes = mem_array(JOURNAL_BYTES, 1);
    if (lseek(fd, 0, SEEK_SET) < 0 || file_read_all(fd, r->bytes, JOURNAL_BYTES) < 0) /* half a read is no journal */
        return -1;
    read_half(r, 0);
    read_half(r, 1);
    for (size_t i = 0; i < r->count; i++)
        map_set(r->by_base, slice_of(r->lost[i].base), &r->lost[i]);
    if (r->count && (look(r, true) < 0 || look(r, false) < 0 || put_files(r) < 0))
        return -1;
    bool later = r->control_fd < 0 && has_uids(r);
    if (r->control_fd >= 0 && has_uids(r) && put_lines(r) < 0)
        return -1;
    return store_syncfs(r->mail_fd) < 0 ? -1 : later;
}

struct place { /* which journal */
    int mail_fd, control_fd;
    const char *path, *name;
};

static int after_power_cut(int fd, const struct journal_head *head, const struct place *p)
{
    struct restore r = { .mail_fd = p->mail_fd,
                         .control_fd = p->control_fd,
                         .settled = head ? head->settled : 0,
                         .failed = head && head->boot[0] == '\0',
                         .by_base = map_new(SIZE_MAX, NULL) };
    int ret = restore_all(&r, fd), keep = errno;

    if (ret < 0)
        log_error("%s/%s: cannot write its messages again: %s: the mailbox stays closed until that is possible",
                  p->path, p->name, strerror(keep));
    else if (r.written || r.lines)
        log_warn("%s/%s: of %zu messages, %zu files and %zu UIDs were lost %s and are written again", p->path,
                 p->name, r.count, r.written, r.lines, r.failed ? "by a failing disk, perhaps," : "in a power cut");
    for (size_t i = 0; i < r.count; i++) {
        free(r.lost[i].base);
        free(r.lost[i].found_as);
    }
    free(r.lost);
    free(r.bytes);
    map_free(&r.by_base);
    errno = keep;
    return ret;
}

static bool still_named(const struct place *p, int fd)
{
    struct stat mine, named;

    return fstat(fd, &mine) == 0 && fstatat(p->mail_fd, p->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

/* A process ended: what it wrote is there, only not synced. Where the disk fails, who opens the mailbox next must know:
 * see journal_file.h. */
static int sync_left(int fd, struct journal_head *head, const struct place *p)
{
    unsigned char block[JOURNAL_BLOCK];
    int keep;

    if (store_syncfs(p->mail_fd) == 0)
        return 0;
    keep = errno;
    journal_seal_head(block, head->number + 1, head->settled, true);
    if (pwrite(fd, block, sizeof block, (off_t) (head->number % JOURNAL_HEADS) * JOURNAL_BLOCK) != sizeof block ||
        fdatasync(fd) < 0)
        return -1;
    log_warn("%s/%s: cannot sync the file system: %s", p->path, p->name, strerror(keep));
    head->boot[0] = '\0';
    return after_power_cut(fd, head, p);
}

/* Under its lock. */
static int settle_left(int fd, const struct place *p)
{
    struct journal_head head;
    int known = head_of(fd, &head), ret;

    if (known == 0 && of_this_boot(&head) && of_this_mount(fd))
        ret = sync_left(fd, &head, p);
    else
        ret = after_power_cut(fd, known == 0 ? &head : NULL, p);
    if (ret)
        return ret < 0 ? -1 : 0;
    if (unlinkat(p->mail_fd, p->name, 0) < 0 && errno != ENOENT)
        return -1;
    return fsync(p->mail_fd);
}

/* 0: it is another process's journal, and alive; 1: ours to settle; -1. */
static int await_lock(int fd, int64_t until)
{
    struct journal_head head;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -1;
        if (head_of(fd, &head) == 0 && of_this_boot(&head))
            return 0;
        if (time_mono_ms() > until) {
            errno = EAGAIN;
            return -1;
        }
        if (store_pause(RESTORE_PAUSE_MS) < 0)
            return -1;
    }
    return 1;
}

/* No journal, none of ours (a link, a directory, a socket), or one that only others may settle: 0. What could not be asked
 * is -1. */
static int not_there(const struct place *p)
{
    int why = errno;

    if (why == ENOENT || why == EACCES || why == EROFS)
        return 0;
    log_warn("%s/%s: cannot be read: %s", p->path, p->name, strerror(why));
    errno = why;
    return why == ELOOP || why == EISDIR || why == ENXIO ? 0 : -1;
}

static int restore_one(const struct place *p, int64_t until)
{
    for (;;) {
        struct stat st;
        int keep, ret, fd = openat(p->mail_fd, p->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
            return not_there(p);
        if ((ret = fstat(fd, &st)) == 0 && S_ISREG(st.st_mode))
            ret = await_lock(fd, until);
        bool gone = ret == 1 && !still_named(p, fd);
        if (ret == 1 && !gone)
            ret = settle_left(fd, p);
        keep = errno;
        close(fd);
        errno = keep;
        if (!gone)
            return ret;
        if (time_mono_ms() > until) {
            errno = EAGAIN;
            return -1;
        }
    }
}

int journal_restore(int mail_fd, int control_fd, const char *path)
{
    struct place p = { .mail_fd = mail_fd, .control_fd = control_fd, .path = path };
    int64_t until = time_mono_ms() + JOURNAL_RESTORE_MS;

    for (size_t i = 0; i < JOURNAL_FILES; i++) {
        p.name = journal_name[i];
        if (restore_one(&p, until) < 0)
            return -1;
    }
    return 0;
}
