/*
 * journal - see journal.h: writing
 *
 * Callers     see journal.h
 * Invariants  messages that come while a frame is being written share the next one
 *             of the two halves at most one is waiting for its syncfs, which waits for those that are not named yet
 * Errors      false: the caller syncs; a journal whose disk fails is left as it is, for journal_restore
 */
#include "store/journal.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "store/filename.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    ZEROS_BYTES = 1 << 18,
    FRAME_BYTES_MAX = JOURNAL_HALF_BYTES / 2,
    EARLY_BYTES_MAX = 1 << 17, /* a larger frame is written by a thread altogether */
    AGAIN_MS = 5
};

struct journal_batch { /* messages that become durable together */
    struct str frame;
    uint32_t count;
    unsigned users, unnamed; /* unnamed: of the users, those who are still at it */
    unsigned half;           /* in which it is; meaningful once it is written */
    bool begun, done, ok;
};
struct frame_write {
    int fd, error;
    const struct str *frame;
    off_t at;
    bool early; /* its data is on the way to the disk */
};
struct journal {
    struct list node; /* the one used last first */
    dev_t device;     /* of the mailbox's directory */
    ino_t inode;
    unsigned users;
    int64_t since; /* of the burst that is counted */
    unsigned saves;
    int64_t not_before;  /* no journal until then */
    int fd, dir_fd;      /* -1: there is none */
    int head_fd;         /* the same, opened again: an error that was told to one is told to the other */
    const char *name;    /* its own, of journal_name */
    bool failed;         /* no more is written to it */
    bool spoiled;        /* likewise: it holds what was not delivered, and is to be ended */
    bool ending;         /* likewise: somebody ends it */
    bool dirty[2];       /* the half holds what is not durable elsewhere */
    unsigned unnamed[2]; /* messages in the half whose files have not got their names yet */
    uint64_t generation[2];
    unsigned now;    /* the half that is being filled */
    uint64_t offset; /* in it */
    uint32_t turn;
    uint64_t heads;                  /* written so far */
    struct journal_batch *gathering; /* the next frame; NULL: nothing waits */
    struct journal_batch *flying;    /* the one that is being written */
    bool awaited;                    /* somebody waits for the disk on behalf of all */
    struct frame_write write;
    bool making, settling;
    struct event_cond moved;
    struct event_timer *timer;
    int64_t used_ms;
};

const char *const journal_name[JOURNAL_FILES] = { JOURNAL_NAME, JOURNAL_NAME ".1", JOURNAL_NAME ".2",
                                                  JOURNAL_NAME ".3" };
unsigned journal_burst = JOURNAL_BURST;
static struct list journals = { &journals, &journals };
static unsigned counted, open_now;

static void forget(struct journal *j)
{
    list_del(&j->node);
    counted--;
    free(j);
}

static struct journal *known(const struct file_look *seen, struct journal **spare)
{
    list_each(at, &journals)
    {
        struct journal *j = list_entry(at, struct journal, node);
        if (j->inode == seen->inode && j->device == seen->device)
            return j;
        if (j->users == 0 && j->fd < 0)
            *spare = j;
    }
    return NULL;
}

static struct journal *find(int mail_fd)
{
    struct journal *spare = NULL, *j;
    struct file_look seen;

    if (file_look(mail_fd, "", &seen) < 0)
        return NULL;
    if ((j = known(&seen, &spare)) != NULL)
        return j;
    if (counted >= JOURNAL_MAILBOXES_MAX) {
        if (spare == NULL)
            return NULL;
        forget(spare);
    }
    j = mem_new(sizeof *j);
    j->device = seen.device;
    j->inode = seen.inode;
    j->fd = j->dir_fd = j->head_fd = -1;
    list_prepend(&journals, &j->node);
    counted++;
    return j;
}

static bool takes(const struct journal *j) { return j->fd >= 0 && !j->failed && !j->ending && !j->spoiled; }

bool journal_ready(int mail_fd)
{
    struct journal *unused, *j;
    struct file_look seen;

    return !list_empty(&journals) && file_look(mail_fd, "", &seen) == 0 && (j = known(&seen, &unused)) != NULL &&
           takes(j);
}

bool journal_there(int mail_fd)
{
    for (size_t i = 0; i < JOURNAL_FILES; i++)
        if (faccessat(mail_fd, journal_name[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            return true;
    return false;
}

static bool due(struct journal *j)
{
    int64_t now = time_mono_ms();

    if (j->fd >= 0)
        return takes(j);
    if (now - j->since > JOURNAL_BURST_MS) {
        j->since = now;
        j->saves = 0;
    }
    return ++j->saves > journal_burst && now >= j->not_before && !j->making && open_now < JOURNALS_MAX;
}

/* Off the disk: no longer in use, its file left or gone. */
static void drop(struct journal *j)
{
    close(j->fd); /* and with it the lock */
    close(j->head_fd);
    close(j->dir_fd);
    j->fd = j->dir_fd = j->head_fd = -1;
    open_now--;
    j->saves = 0;
    j->failed = j->ending = j->spoiled = j->dirty[0] = j->dirty[1] = false;
    event_timer_free(&j->timer);
}

void journal_seal_head(unsigned char block[JOURNAL_BLOCK], uint64_t number, uint64_t settled, bool failed)
{
    struct journal_head head = {
        .magic = JOURNAL_MAGIC, .half_bytes = JOURNAL_HALF_BYTES, .number = number, .settled = settled
    };
    const size_t behind = offsetof(struct journal_head, half_bytes);

    snprintf(head.boot, sizeof head.boot, "%s", failed ? "" : boot_id());
    head.crc = index_crc32c((const char *) &head + behind, sizeof head - behind);
    memset(block, 0, JOURNAL_BLOCK);
    memcpy(block, &head, sizeof head);
}

/* Making one: a file in tmp/, its blocks written, its head durable, locked; only then it gets its name. */
struct making {
    struct journal *j;
    int dir_fd, fd, head_fd;
    struct str tmp;
    const char *name;
    int error;
};

static int write_whole(int fd, const void *p, size_t len, off_t at)
{
    errno = ENOSPC; /* a short write sets none */
    return pwrite(fd, p, len, at) == (ssize_t) len ? 0 : -1;
}

/* On no file system that another machine may have mounted too: that one's boot is another. */
static bool suits(int fd)
{
    errno = EOPNOTSUPP;
    return file_one_journal(fd);
}

static int fill(int fd)
{
    char *zeros = mem_array(ZEROS_BYTES, 1);
    int ret = 0;

    for (off_t at = 0; ret == 0 && at < JOURNAL_BYTES; at += ZEROS_BYTES)
        ret = write_whole(fd, zeros, at + ZEROS_BYTES > JOURNAL_BYTES ? (size_t) (JOURNAL_BYTES - at) : ZEROS_BYTES,
                          at);
    free(zeros);
    return ret;
}

static bool any_free(int mail_fd)
{
    for (size_t i = 0; i < JOURNAL_FILES; i++)
        if (faccessat(mail_fd, journal_name[i], F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            return true;
    return false;
}

/* The first name that is free. */
static int name_it(struct making *m)
{
    for (size_t i = 0; i < JOURNAL_FILES; i++) {
        m->name = journal_name[i];
        if (renameat2(m->dir_fd, m->tmp.p, m->dir_fd, m->name, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    return -1;
}

static void make_file(void *arg)
{
    struct making *m = arg;
    unsigned char head[JOURNAL_BLOCK];
    uint64_t hint = JOURNAL_HINT;

    if (!any_free(m->dir_fd)) { /* before 8 MiB are written in vain */
        m->error = EEXIST;
        return;
    }
    journal_seal_head(head, 1, 0, false);
    m->fd = openat(m->dir_fd, m->tmp.p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (m->fd < 0 || !suits(m->fd) || fill(m->fd) < 0 || write_whole(m->fd, head, sizeof head, 0) < 0 ||
        flock(m->fd, LOCK_EX | LOCK_NB) < 0 || fsync(m->fd) < 0 ||
        (m->head_fd = openat(m->dir_fd, m->tmp.p, O_RDWR | O_CLOEXEC | O_NOFOLLOW)) < 0 || name_it(m) < 0)
        m->error = errno;
    else if (fsync(m->dir_fd) < 0) {
        m->error = errno;
        (void) unlinkat(m->dir_fd, m->name, 0);
    } else {
        (void) fcntl(m->fd, F_SET_RW_HINT, &hint); /* without it more is written again than need be */
    }
}

static void tick(void *arg);

static void made(struct journal *j, const struct making *m)
{
    j->fd = m->fd;
    j->dir_fd = m->dir_fd;
    j->head_fd = m->head_fd;
    j->name = m->name;
    j->now = 0;
    j->offset = 0;
    j->turn = 0;
    j->generation[0] = 1;
    j->generation[1] = 0;
    j->heads = 1;
    j->used_ms = time_mono_ms();
    j->timer = event_timer_new(JOURNAL_SETTLE_MS, tick, j);
}

static void not_made(struct journal *j, const struct making *m)
{
    if (m->head_fd >= 0)
        close(m->head_fd);
    if (m->fd >= 0) {
        close(m->fd);
        (void) unlinkat(m->dir_fd, m->tmp.p, 0);
    }
    if (m->error == EEXIST)
        (void) journal_restore(m->dir_fd, -1, "."); /* of a process that ended, perhaps */
    close(m->dir_fd);
    open_now--;
    j->not_before = time_mono_ms() + (m->error == EEXIST ? JOURNAL_BUSY_MS : JOURNAL_RETRY_MS);
}

/* A fiber of its own: those who come meanwhile sync their files. */
static void make(void *arg)
{
    struct making *m = arg;
    struct journal *j = m->j;

    fiber_shield(true);
    str_init(&m->tmp, 1024);
    str_adds(&m->tmp, "tmp/");
    file_name_new(&m->tmp, FILE_SIZE_UNKNOWN, FILE_SIZE_UNKNOWN);
    event_offload(make_file, m);
    if (m->error)
        not_made(j, m);
    else
        made(j, m);
    j->making = false;
    j->users--;
    str_free(&m->tmp);
    free(m);
    event_cond_broadcast(&j->moved);
    fiber_shield(false);
}

static void begin_making(struct journal *j, int mail_fd, bool ours)
{
    struct making *m;
    int dir_fd = ours || index_viewed(mail_fd) ? fcntl(mail_fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (dir_fd < 0) {
        j->not_before = time_mono_ms() + JOURNAL_RETRY_MS;
        return;
    }
    m = mem_new(sizeof *m);
    *m = (struct making){ .j = j, .dir_fd = dir_fd, .fd = -1, .head_fd = -1 };
    j->making = true;
    j->users++;
    open_now++;
    fiber_go("journal", make, m);
}

struct journal *journal_for(int mail_fd, bool ours)
{
    struct journal *j;

    if (!conf_mail_journal || fiber_self() == NULL || boot_id()[0] == '\0' || (j = find(mail_fd)) == NULL || !due(j))
        return NULL;
    list_del(&j->node);
    list_prepend(&journals, &j->node);
    if (j->fd < 0) {
        begin_making(j, mail_fd, ours);
        return NULL;
    }
    j->users++;
    return j;
}

/* Settling: what a half holds becomes durable where it belongs. */
struct settling {
    int fd, dir_fd;
    uint64_t number, generation; /* of the head; of the half */
    int error;
};

static int write_head(const struct settling *s, uint64_t settled, bool failed)
{
    unsigned char head[JOURNAL_BLOCK];

    journal_seal_head(head, s->number, settled, failed);
    if (write_whole(s->fd, head, sizeof head, (off_t) ((s->number - 1) % JOURNAL_HEADS) * JOURNAL_BLOCK) < 0)
        return -1;
    return fdatasync(s->fd);
}

static void settle_files(void *arg)
{
    struct settling *s = arg;

    if (syncfs(s->dir_fd) < 0) {
        s->error = errno;
        (void) write_head(s, s->generation - 1, true);
    } else if (write_head(s, s->generation, false) < 0) {
        s->error = errno;
    }
}

static void fail(struct journal *j, const char *what, int error)
{
    if (!j->failed)
        log_error("%s: %s: %s: messages are synced one by one; those that are in the journal stay there until the "
                  "mailbox is opened again",
                  j->name, what, strerror(error));
    j->failed = true;
}

static void settle(void *arg)
{
    struct journal *j = arg;
    unsigned half = 1 - j->now;
    struct settling *s = mem_new(sizeof *s);

    fiber_shield(true);
    while (j->unnamed[half])
        (void) event_cond_wait(&j->moved, EVENT_NEVER);
    s->fd = j->head_fd;
    s->dir_fd = j->dir_fd;
    s->number = ++j->heads;
    s->generation = j->generation[half];
    event_offload(settle_files, s);
    if (s->error)
        fail(j, "syncfs", s->error);
    else
        j->dirty[half] = false;
    free(s);
    j->settling = false;
    j->users--;
    event_cond_broadcast(&j->moved);
    fiber_shield(false);
}

/* The other half is filled from now on, while this one is settled. false: the other one is not ready yet. */
static bool change_halves(struct journal *j)
{
    unsigned other = 1 - j->now;

    if (j->dirty[other] || j->settling)
        return false;
    j->generation[other] = j->generation[j->now] + 1;
    j->now = other;
    j->offset = 0;
    j->turn = 0;
    j->settling = true;
    j->users++;
    fiber_go("journal", settle, j);
    return true;
}

static bool is_named(const struct journal *j)
{
    struct file_look seen;

    return file_look(j->fd, "", &seen) == 0 && seen.links == 1;
}

static void end(struct journal *j);

/* What nobody needs any more goes, or what is filled is settled. */
static void tick(void *arg)
{
    struct journal *j = arg;

    fiber_shield(true);
    bool wait = j->spoiled || (j->offset && j->flying); /* for the frame that is on its way into this half */
    if (j->offset && !j->flying && !j->failed && !j->ending)
        (void) change_halves(j);
    bool rests = !j->offset && !j->dirty[0] && !j->dirty[1] && !j->gathering && !j->flying && !j->settling;
    if (j->users == 0 && j->spoiled && !j->failed) {
        end(j);
    } else if (j->users == 0 && (j->failed || (rests && time_mono_ms() - j->used_ms >= JOURNAL_IDLE_MS))) {
        if (!j->failed && is_named(j))
            (void) unlinkat(j->dir_fd, j->name, 0);
        else if (is_named(j))
            j->not_before = time_mono_ms() + JOURNAL_RETRY_MS;
        drop(j);
    } else {
        event_timer_reset(j->timer, wait ? AGAIN_MS : JOURNAL_SETTLE_MS);
    }
    fiber_shield(false);
}

static void free_batch(struct journal_batch *b)
{
    str_free(&b->frame);
    free(b);
}

static struct journal_batch *batch_of(struct journal *j)
{
    if (j->gathering == NULL) {
        j->gathering = mem_new(sizeof *j->gathering);
        str_init(&j->gathering->frame, STR_UNLIMITED);
        str_reserve(&j->gathering->frame, 4 * JOURNAL_BLOCK);
        str_add(&j->gathering->frame, &(struct journal_frame){ 0 }, sizeof(struct journal_frame));
    }
    return j->gathering;
}

/* Size and date. */
static bool measure(const struct journal_message *m, struct journal_entry *e)
{
    struct timespec date = { 0 };
    struct stat st;

    if (m->text.p) {
        e->bytes = m->text.len;
        if (m->date)
            date.tv_sec = (time_t) *m->date;
        else
            clock_gettime(CLOCK_REALTIME, &date);
    } else if (fstat(m->fd, &st) == 0) {
        e->bytes = (uint64_t) st.st_size;
        date = st.st_mtim;
    } else {
        return false;
    }
    e->seconds = date.tv_sec;
    e->nanoseconds = (uint32_t) date.tv_nsec;
    return e->bytes <= JOURNAL_MESSAGE_BYTES;
}

static bool add(struct str *frame, const struct journal_message *m)
{
    struct slice name = slice_of(m->name), keys = slice_of(m->keys);
    struct journal_entry e = { .uid = m->uid, .in_new = m->in_new };

    if (!measure(m, &e) || name.len > FILE_NAME_BYTES || keys.len > UINT16_MAX)
        return false;
    e.name_len = (uint16_t) name.len;
    e.keys_len = (uint16_t) keys.len;
    str_add(frame, &e, sizeof e);
    str_addslice(frame, name);
    str_addslice(frame, keys);
    if (m->text.p) {
        str_addslice(frame, m->text);
        return true;
    }
    str_reserve(frame, e.bytes);
    if (pread(m->fd, frame->p + frame->len, e.bytes, 0) != (ssize_t) e.bytes)
        return false;
    frame->len += e.bytes;
    return true;
}

static struct journal_batch *gather(struct journal *j, const struct journal_message *m, size_t n)
{
    struct journal_batch *b = batch_of(j);
    size_t was = b->frame.len;

    for (size_t i = 0; i < n; i++) {
        if (add(&b->frame, &m[i]) && b->frame.len <= FRAME_BYTES_MAX)
            continue;
        str_cut(&b->frame, was);
        if (b->users == 0) {
            j->gathering = NULL;
            free_batch(b);
        }
        return NULL;
    }
    b->count += (uint32_t) n;
    b->users++;
    b->unnamed++;
    return b;
}

static void seal_frame(const struct journal *j, struct journal_batch *b)
{
    static const char zeros[JOURNAL_BLOCK];
    struct journal_frame f = { .magic = JOURNAL_FRAME_MAGIC,
                               .generation = j->generation[j->now],
                               .turn = j->turn,
                               .length = (uint32_t) b->frame.len,
                               .count = b->count };
    const size_t behind = offsetof(struct journal_frame, generation);

    memcpy(b->frame.p, &f, sizeof f);
    f.crc = index_crc32c(b->frame.p + behind, b->frame.len - behind);
    memcpy(b->frame.p, &f, sizeof f);
    str_add(&b->frame, zeros, (JOURNAL_BLOCK - b->frame.len % JOURNAL_BLOCK) % JOURNAL_BLOCK);
}

/* The data of a small frame begins its way to the disk at once. It is durable after the flush, which waits for it. */
static void write_early(struct frame_write *w)
{
    errno = ENOSPC; /* a short write sets none */
    if (pwrite(w->fd, w->frame->p, w->frame->len, w->at) != (ssize_t) w->frame->len)
        w->error = errno;
    else
        w->early = sync_file_range(w->fd, w->at, (off_t) w->frame->len, SYNC_FILE_RANGE_WRITE) == 0;
}

static void write_synced(void *arg)
{
    struct frame_write *w = arg;
    struct iovec whole = { w->frame->p, w->frame->len };

    errno = ENOSPC;
    if (w->early ? fdatasync(w->fd) < 0 : pwritev2(w->fd, &whole, 1, w->at, RWF_DSYNC) != (ssize_t) w->frame->len)
        w->error = errno;
}

static bool put(struct journal *j, struct journal_batch *b)
{
    if (j->failed || j->spoiled)
        return false;
    if (!is_named(j)) { /* somebody has removed it, with or without the mailbox: nobody would restore from it */
        j->failed = true;
        return false;
    }
    if (j->offset + b->frame.len + JOURNAL_BLOCK > JOURNAL_HALF_BYTES && !change_halves(j))
        return false;
    seal_frame(j, b);
    j->dirty[j->now] = true;
    b->half = j->now;
    b->begun = true;
    j->unnamed[b->half] += b->unnamed;
    j->write = (struct frame_write){
        .fd = j->fd,
        .frame = &b->frame,
        .at = (off_t) (JOURNAL_DATA + (uint64_t) j->now * JOURNAL_HALF_BYTES + j->offset),
    };
    if (b->frame.len <= EARLY_BYTES_MAX)
        write_early(&j->write);
    return true;
}

static void begin_frame(struct journal *j)
{
    struct journal_batch *b = j->gathering;

    j->gathering = NULL;
    if (put(j, b)) {
        j->flying = b;
        return;
    }
    b->done = true;
    event_cond_broadcast(&j->moved);
}

/* For all of the frame; those who have gathered meanwhile are next. */
static void await_frame(struct journal *j)
{
    struct journal_batch *b = j->flying;

    j->awaited = true;
    if (j->write.error == 0 && event_here())
        write_synced(&j->write);
    else if (j->write.error == 0)
        event_offload(write_synced, &j->write);
    b->ok = j->write.error == 0;
    if (!b->ok)
        fail(j, "write", j->write.error);
    j->offset += b->ok ? b->frame.len : 0;
    j->turn += b->ok;
    b->done = true;
    j->awaited = false;
    j->flying = NULL;
    j->used_ms = time_mono_ms();
    if (j->gathering)
        begin_frame(j);
    event_cond_broadcast(&j->moved);
}

struct journal_batch *journal_begin(struct journal *j, const struct journal_message *m, size_t n)
{
    struct journal_batch *b = n && j->fd >= 0 && !j->failed && !j->spoiled ? gather(j, m, n) : NULL;

    if (b && j->flying == NULL)
        begin_frame(j);
    return b;
}

static void named(struct journal *j, struct journal_batch *b, bool made)
{
    b->unnamed--;
    if (b->begun)
        j->unnamed[b->half]--;
    if (made)
        return;
    j->spoiled = true;
    if (j->timer)
        event_timer_reset(j->timer, AGAIN_MS);
}

bool journal_end(struct journal **pj, struct journal_batch *b, bool made)
{
    struct journal *j = *pj;
    bool ok = false;

    *pj = NULL;
    fiber_shield(true);
    if (b) {
        named(j, b, made);
        event_cond_broadcast(&j->moved); /* a half may wait for the name to be settled */
    }
    while (b && !b->done)
        if (j->flying && !j->awaited)
            await_frame(j);
        else
            (void) event_cond_wait(&j->moved, EVENT_NEVER);
    if (b) {
        ok = b->ok && made;
        if (--b->users == 0)
            free_batch(b);
    }
    j->users--;
    event_cond_broadcast(&j->moved);
    fiber_shield(false);
    return ok;
}

static struct journal *unfinished(void)
{
    list_each(at, &journals)
    {
        struct journal *j = list_entry(at, struct journal, node);
        if ((j->fd >= 0 || (j->making && fiber_self())) && !j->ending)
            return j;
    }
    return NULL;
}

/* Nobody uses it. */
static void end(struct journal *j)
{
    struct settling s = {
        .fd = j->head_fd, .dir_fd = j->dir_fd, .number = ++j->heads, .generation = j->generation[j->now]
    };

    j->ending = true;
    if (!j->failed) {
        event_offload(settle_files, &s);
        if (s.error == 0 && is_named(j))
            (void) unlinkat(j->dir_fd, j->name, 0);
    }
    drop(j);
}

void journal_finish(void)
{
    for (struct journal *j; (j = unfinished()) != NULL;) {
        bool in_fiber = fiber_self() != NULL;

        j->ending = true;
        if (in_fiber)
            fiber_shield(true);
        while (j->users && in_fiber)
            (void) event_cond_wait(&j->moved, EVENT_NEVER);
        if (j->fd >= 0)
            end(j);
        j->ending = false;
        if (in_fiber)
            fiber_shield(false);
    }
}
