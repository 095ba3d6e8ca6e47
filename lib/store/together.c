/*
 * together - what the sessions of one process that have the same mailbox open do for each other
 *
 * A user's sessions share a process, and often a mailbox. Without this each would read all of cur/ again after each
 * flag, copy or APPEND of another, and poll for the uidlist's lock. So the renames of one are written down for the
 * others, who follow them instead of reading the directory, and they take the lock by turns.
 *
 * Callers     lib/store
 * Invariants  a change tells from which mtime of cur/ to which it led; who does not find an unbroken chain from what it
 *             knows to what is there reads the directory
 *             noting and publishing go without a wait between them
 * Errors      none: at worst the directory is read
 */
#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"
#include "store/dotlock.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* While message after message is saved, the uidlist stays locked for some milliseconds from one to the next; then, for a
 * while, it is given back as often as it is taken. Who waits for it in another process gets it then: Dovecot is told by
 * inotify that a lock has gone, ours tries every DOTLOCK_PAUSE_MS. */
enum { CHANGES_MAX = 1024, LOCK_KEPT_MS = 3, LOCK_ROW_MS = 100, LOCK_FREE_MS = 5 };

struct change {
    int64_t from, to; /* mtimes of cur/ */
    char *was, *is;   /* names in it; NULL: none */
    bool more;        /* the next one belongs to the same step */
};
struct together {
    struct list node;
    dev_t device; /* of cur/ */
    ino_t inode;
    unsigned users;
    struct change *changes; /* CHANGES_MAX, number n is at n % CHANGES_MAX; NULL: none yet */
    uint64_t first, next;   /* numbers of the oldest that is kept, and of the next one */
    size_t noted;           /* from next on: not published yet; more than CHANGES_MAX: too many */
    bool locked;
    struct event_cond freed;
    int kept_fd, kept_dir_fd;       /* the lock, kept while nobody here has it, and the directory it is in; -1: not */
    struct mailbox *keeper;         /* the view that had it last; NULL: closed */
    int64_t row_since;              /* when a row of saves began to keep it */
    struct event_timer *kept_timer; /* gives it back */
    struct together_saves saves;
};

static struct list mailboxes = { &mailboxes, &mailboxes };

static struct change *number(struct together *t, uint64_t n) { return &t->changes[n % CHANGES_MAX]; }

static void empty(struct change *c)
{
    free(c->was);
    free(c->is);
    *c = (struct change){ 0 };
}

/* Nobody can follow from what was before. */
static void forget(struct together *t)
{
    for (size_t i = 0; t->changes && i < CHANGES_MAX; i++)
        empty(&t->changes[i]);
    t->first = t->next = t->next + 1;
    t->noted = 0;
}

void together_join(struct mailbox *box)
{
    struct stat st;

    if (fstat(box->cur_fd, &st) < 0)
        return;
    list_each(at, &mailboxes)
    {
        struct together *t = list_entry(at, struct together, node);
        if (t->inode == st.st_ino && t->device == st.st_dev)
            box->with = t;
    }
    if (box->with == NULL) {
        box->with = mem_new(sizeof *box->with);
        box->with->kept_fd = box->with->kept_dir_fd = -1;
        box->with->inode = st.st_ino;
        box->with->device = st.st_dev;
        list_init(&box->with->saves.waiting);
        list_append(&mailboxes, &box->with->node);
    }
    box->with->users++;
    box->followed = box->with->next;
}

/* The lock is kept no longer: taken over, or given back. held: it was not taken away meanwhile. */
static struct mailbox *end_keeping(struct together *t, bool held)
{
    struct mailbox *keeper = t->keeper;

    t->kept_fd = -1;
    t->keeper = NULL;
    if (keeper && !held)
        scan_lost(keeper);
    return keeper;
}

static void give_back(void *arg)
{
    struct together *t = arg;
    int fd = t->kept_fd;

    if (fd < 0)
        return;
    struct mailbox *keeper = end_keeping(t, dotlock_held(fd));
    if (keeper)
        scan_ask(keeper);
    dotlock_release(t->kept_dir_fd, UIDLIST_LOCK, fd);
}

void together_leave(struct mailbox *box)
{
    struct together *t = box->with;

    if (t && t->keeper == box) {
        scan_ask(box);
        t->keeper = NULL;
    }
    box->with = NULL;
    if (t == NULL || --t->users)
        return;
    event_timer_free(&t->kept_timer);
    give_back(t);
    if (t->kept_dir_fd >= 0)
        close(t->kept_dir_fd);
    forget(t);
    free(t->changes);
    list_del(&t->node);
    free(t);
}

/* Times are not asked from message to message while one view does it all. */
static int kept_lock(struct together *t, struct mailbox *box)
{
    int fd = t->kept_fd;

    if (fd < 0)
        return fd;
    bool held = dotlock_held(fd);
    struct mailbox *keeper = end_keeping(t, held);
    if (!held) { /* this process was stopped for long, and another took it away */
        close(fd);
        return -1;
    }
    box->in_row = keeper == box && t->users == 1;
    if (keeper && !box->in_row)
        scan_ask(keeper);
    return fd;
}

int together_lock(struct mailbox *box)
{
    struct together *t = box->with;
    int fd;

    while (t && t->locked && fiber_self())
        if (event_cond_wait(&t->freed, EVENT_NEVER) < 0)
            return -1;
    if (t && fiber_self())
        t->locked = true;
    fd = t ? kept_lock(t, box) : -1;
    if (fd < 0)
        fd = dotlock_take(box->control_fd, UIDLIST_LOCK);
    if (fd < 0)
        together_freed(box);
    return fd;
}

void together_unlock_later(struct mailbox *box)
{
    struct together *t = box->with;
    int64_t now = time_mono_ms();

    if (t && now - t->row_since >= LOCK_ROW_MS + LOCK_FREE_MS)
        t->row_since = now;
    if (t == NULL || fiber_self() == NULL || now - t->row_since >= LOCK_ROW_MS ||
        (t->kept_dir_fd < 0 && (t->kept_dir_fd = fcntl(box->control_fd, F_DUPFD_CLOEXEC, 0)) < 0)) {
        scan_unlock(box);
        return;
    }
    t->kept_fd = box->lock_fd;
    t->keeper = box;
    box->in_row = false;
    if (t->kept_timer)
        event_timer_reset(t->kept_timer, LOCK_KEPT_MS);
    else
        t->kept_timer = event_timer_new(LOCK_KEPT_MS, give_back, t);
    together_freed(box);
}

bool together_keeps(const struct mailbox *box)
{
    return box->with && box->with->kept_fd >= 0 && box->with->keeper == box;
}

void together_freed(struct mailbox *box)
{
    int keep = errno;

    if (box->with && fiber_self()) {
        box->with->locked = false;
        event_cond_signal(&box->with->freed);
    }
    errno = keep;
}

void together_note(struct mailbox *box, const char *was, const char *is)
{
    struct together *t = box->with;

    if (t == NULL || t->users < 2 || ++t->noted > CHANGES_MAX)
        return;
    if (t->changes == NULL)
        t->changes = mem_array(CHANGES_MAX, sizeof *t->changes);
    struct change *c = number(t, t->next + t->noted - 1);
    empty(c);
    *c = (struct change){ .was = was ? mem_strdup(was) : NULL, .is = is ? mem_strdup(is) : NULL, .more = true };
}

void together_publish(struct mailbox *box, int64_t from, int64_t to, bool undisturbed)
{
    struct together *t = box->with;

    if (t == NULL || t->noted == 0)
        return;
    bool told = box->followed == t->next;
    if (!undisturbed || t->noted > CHANGES_MAX) {
        forget(t);
        return;
    }
    for (size_t i = 0; i < t->noted; i++) {
        struct change *c = number(t, t->next + i);
        c->from = from;
        c->to = to;
        c->more = i + 1 < t->noted;
    }
    t->next += t->noted;
    t->noted = 0;
    if (t->next - t->first > CHANGES_MAX)
        t->first = t->next - CHANGES_MAX;
    if (told)
        box->followed = t->next;
}

void together_break(struct mailbox *box)
{
    if (box->with)
        forget(box->with);
}

struct together_saves *together_saves(struct mailbox *box) { return box->with ? &box->with->saves : NULL; }
bool together_behind(const struct mailbox *box) { return box->with && box->followed != box->with->next; }
void together_read(struct mailbox *box) { box->followed = box->with ? box->with->next : 0; }

/* A name that became another meanwhile is passed over: a flag that came and went is no news. */
static void follow_names(struct mailbox *box, struct together *t)
{
    struct map *renamed = map_new(SIZE_MAX, NULL); /* name -> number of the last change that made it another */

    for (uint64_t n = box->followed; n < t->next; n++) {
        const struct change *c = number(t, n);
        if (c->was && c->is)
            map_set(renamed, slice_of(c->was), (void *) (uintptr_t) n);
    }
    for (; box->followed < t->next; box->followed++) {
        const struct change *c = number(t, box->followed);
        if (c->is == NULL || (uint64_t) (uintptr_t) map_get(renamed, slice_of(c->is)) <= box->followed)
            scan_follow(box, c->was, c->is);
        else
            sum_changed(box, false, c->was, c->is);
    }
    map_free(&renamed);
}

bool together_follow(struct mailbox *box, int64_t now)
{
    struct together *t = box->with;
    int64_t at = box->cur.mtime_ns;
    bool inside = false;

    if (!together_behind(box) || box->followed < t->first || at < 0)
        return false;
    for (uint64_t n = box->followed; n < t->next; n++) {
        const struct change *c = number(t, n);
        if (!inside && c->from != at)
            return false;
        at = c->to;
        inside = c->more;
    }
    if (at != now)
        return false;
    follow_names(box, t);
    box->cur.mtime_ns = now;
    box->cur.dirty = box->index_stale = true;
    return true;
}
