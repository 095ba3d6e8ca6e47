/*
 * times - what the times of cur/ and new/ tell: is there anything to read?
 *
 * A directory whose mtime did not change is not read. Our own renames move the mtime we know along (scan_before,
 * scan_after), so that they cost no scan; a directory changed a moment before it was read is read once more later,
 * since a second change may carry the same time. Of a row of our own changes under a lock that is kept the times are
 * asked when the lock is given back: see file_look for what asking costs.
 *
 * Callers     lib/store
 * Invariants  what others do under the lock is seen at the next look; what they do without it while we change one thing
 *             after the other, when that is over, ROW_LOOK_MS later at most
 */
#include "base/time.h"
#include "store/internal.h"

enum { ROW_LOOK_MS = 5000 };
static const int64_t SECOND_NS = 1000000000, FRESH_NS = 2000000000, FRESH_FINE_NS = 300000000;

int64_t scan_mtime(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? store_mtime_ns(&st) : -1;
}

/* May a change that comes now carry the same time? Not once the clock that stamps has moved on. A time with a fraction is
 * of a file system whose clock ticks in milliseconds: 10 at most; the rest is for a server's clock that is not quite
 * ours. Others count in seconds, FAT in two. */
static bool is_fresh(const struct mailbox *box, int64_t mtime_ns)
{
    if (mtime_ns % SECOND_NS == 0)
        return time_now_us() * 1000 - mtime_ns < FRESH_NS;
    return box->local ? time_stamp_ns() <= mtime_ns : time_now_us() * 1000 - mtime_ns < FRESH_FINE_NS;
}

/* Who changes one thing after the other does not read all names after each, but after the last, and now and then. */
static bool is_in_row(const struct dir_state *d)
{
    return d->ours && time_now_us() * 1000 - d->mtime_ns < FRESH_FINE_NS &&
           time_mono_ms() - d->looked_ms < ROW_LOOK_MS;
}

/* Nobody has had the lock since our last change: the time of cur/ would tell at most of what was done without it, as the
 * names do in the end. */
static bool in_row(const struct mailbox *box, bool in_new)
{
    return !in_new && box->cur.ours && (box->in_row || together_keeps(box));
}

void scan_ask(struct mailbox *box)
{
    uidlist_ask(&box->uids, box->control_fd);
    if (box->cur.unasked && box->cur.mtime_ns >= 0)
        box->cur.mtime_ns = scan_mtime(box->cur_fd);
    box->cur.unasked = false;
}

void scan_lost(struct mailbox *box)
{
    if (box->uids.unasked)
        box->uids.mtime_ns = -1;
    if (box->cur.unasked)
        box->cur.mtime_ns = -1;
    box->uids.unasked = box->cur.unasked = false;
}

bool scan_before(struct mailbox *box, bool in_new)
{
    if (box->in_row && in_row(box, in_new)) /* held, not only kept */
        return box->cur.mtime_ns >= 0;
    if (!in_new)
        scan_ask(box);
    int64_t now = scan_mtime(in_new ? box->new_fd : box->cur_fd);
    if (!in_new && together_behind(box) && !together_follow(box, now))
        return false;
    return now == (in_new ? &box->new : &box->cur)->mtime_ns;
}

void scan_after(struct mailbox *box, bool in_new, bool undisturbed)
{
    struct dir_state *d = in_new ? &box->new : &box->cur;
    int64_t from = d->mtime_ns;

    box->index_stale = true;
    if (undisturbed && box->in_row && in_row(box, in_new)) {
        d->unasked = d->dirty = true;
        return; /* alone: nobody to tell */
    }
    if (undisturbed) {
        d->mtime_ns = scan_mtime(in_new ? box->new_fd : box->cur_fd);
        d->dirty = d->ours = true;
    }
    if (!in_new)
        together_publish(box, from, d->mtime_ns, undisturbed);
}

void scan_changed(struct mailbox *box, bool in_new, const char *was, const char *is)
{
    sum_changed(box, in_new, was, is);
    if (!in_new)
        together_note(box, was, is);
}

void scan_begin(struct mailbox *box, bool in_new, int fd)
{
    struct dir_state *state = in_new ? &box->new : &box->cur, was = *state;

    if (!in_new)
        together_read(box);
    state->mtime_ns = scan_mtime(fd);
    state->dirty = is_fresh(box, state->mtime_ns);
    state->ours = state->unasked = false;
    state->looked_ms = time_mono_ms();
    state->summed = true;
    state->sum = 0;
    box->index_stale |= was.mtime_ns != state->mtime_ns || was.dirty != state->dirty;
}

/* The names of a directory in doubt are those that are known. in_time: its time tells of any change from now on. */
static bool settled(struct mailbox *box, bool in_new, bool in_time)
{
    struct dir_state *d = in_new ? &box->new : &box->cur;

    if (!sum_same(box, in_new))
        return false;
    d->looked_ms = time_mono_ms();
    if (in_time) {
        d->dirty = false;
        box->index_stale = true;
    }
    return true;
}

bool scan_wanted(struct mailbox *box, bool in_new)
{
    struct dir_state *d = in_new ? &box->new : &box->cur;
    int64_t now;

    if (in_row(box, in_new) && d->mtime_ns >= 0 && is_in_row(d))
        return false;
    if (!in_new)
        scan_ask(box);
    now = scan_mtime(in_new ? box->new_fd : box->cur_fd);
    if (now != d->mtime_ns)
        return true;
    if (!d->dirty || is_fresh(box, now) || is_in_row(d))
        return false;
    return !settled(box, in_new, true);
}

void scan_doubt(struct mailbox *box, bool in_new)
{
    struct dir_state *d = in_new ? &box->new : &box->cur;

    if (!d->dirty)
        return;
    scan_ask(box);
    int64_t now = scan_mtime(in_new ? box->new_fd : box->cur_fd);
    bool in_time = !is_fresh(box, now); /* before the names are read */
    if (now != d->mtime_ns || !settled(box, in_new, in_time))
        d->mtime_ns = -1;
}
