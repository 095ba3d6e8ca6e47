/*
 * commit - new messages get their names and UIDs, durably; and what COPY shares with that
 *
 * Callers     store/mailbox.h (imapd), store/copy.c
 * Invariants  all files and their UIDs are synced, or in the journal, before they are told; when one step fails nothing of
 *             the batch stays
 *             the target is not read: its uidlist's header and last line are enough, or what a view of it knows
 * Errors      enum store_why
 */
#include "base/mem.h"
#include "store/dotlock.h"
#include "store/internal.h"
#include "store/journal.h"
#include "store/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { JOINT_MAX = 64 };

enum store_why save_lock(struct mailbox *box)
{
    struct mailbox *whole;
    enum store_why why;

    for (int tries = 0; tries < 2; tries++) {
        if ((box->lock_fd = together_lock(box)) < 0)
            return store_fail_errno(box->store, "lock uidlist of", box->path);
        if (uidlist_read_end(&box->uids, box->control_fd) == 0)
            return STORE_OK;
        scan_unlock(box);
        /* None, an old one or a damaged one: opening the mailbox makes it good. */
        if ((why = mailbox_open_path(box->store, box->path, box->name, true, &whole)))
            return why;
        if (whole->uids.version != 3) {
            if ((why = mailbox_load(whole)) == STORE_OK && (why = scan_lock(whole)) == STORE_OK) {
                if (assign_rewrite(whole) < 0)
                    why = store_fail_errno(box->store, "write uidlist of", box->path);
                scan_unlock(whole);
            }
        }
        mailbox_close(&whole);
        if (why)
            return why;
    }
    return store_fail(box->store, STORE_FAILED, "%s: its uidlist cannot be read", box->path);
}

enum store_why save_lock_open(struct mailbox *box)
{
    enum store_why why = scan_lock(box);

    if (why)
        return why;
    (void) scan_before(box, false); /* files of other sessions of this process are known by that */
    scan_awaited(box);
    if (box->uids.version != 3 && assign_rewrite(box) < 0) {
        why = store_fail_errno(box->store, "write uidlist of", box->path);
        scan_unlock(box);
    }
    return why;
}

enum store_why save_assign(struct mailbox *box, struct arrival *a, size_t n, int with_fd)
{
    uint32_t uid = box->uids.next_uid;
    struct extra_change *extra;
    struct file_name f;
    struct str lines;
    size_t more = 0;
    int ret;

    if (n >= UINT32_MAX - uid)
        return store_fail(box->store, STORE_FAILED, "%s: out of UIDs", box->path);
    str_init(&lines, STR_UNLIMITED);
    extra = mem_array(n + 1, sizeof *extra);
    for (size_t i = 0; i < n; i++) {
        (void) file_name_parse(a[i].name, &f);
        a[i].uid = uid++;
        uidlist_line(&lines, a[i].uid, slice_of(a[i].keys ? a[i].keys : ""), f.base);
        if (a[i].extra)
            extra[more++] = (struct extra_change){ .uid = a[i].uid, .add = a[i].extra };
    }
    ret = uidlist_append(&box->uids, box->control_fd, str_slice(&lines), with_fd);
    str_free(&lines);
    enum store_why why = STORE_OK;
    if (ret < 0) {
        why = store_fail_errno(box->store, "write uidlist of", box->path);
    } else {
        box->uids.next_uid = uid;
        box->uids.last_uid = uid - 1;
        why = extra_changed(box, extra, more);
    }
    free(extra);
    return why;
}

void save_show(struct mailbox *box, const struct arrival *a, uint8_t flags, uint64_t keywords, struct slice record)
{
    struct file_name f;
    struct item *it;

    if (!file_name_parse(a->name, &f) || (it = item_new(box, f.base)) == NULL) {
        box->cur.mtime_ns = -1; /* no room: the next scan tries */
        return;
    }
    item_set_name(it, a->name);
    item_place(box, it, true, a->in_new);
    box->to_move |= a->in_new;
    it->mail.uid = a->uid;
    it->mail.flags = flags;
    it->mail.keywords = keywords;
    if (flags == 0 && keywords == 0)
        item_recent(box, it);
    it->listed = box->listing;
    it->scan = box->scan;
    if (record.len && box->index_fd >= 0)
        message_gather(box, it, record);
    scan_found(box, it);
}

/* leader: whose view, or handle, the work was done with; s may be another's save into the same mailbox. */
static void tell_index(struct mailbox_save *leader, struct mailbox_save *s)
{
    struct mailbox *box = leader->box;

    for (size_t i = 0; i < s->count; i++) {
        struct saved *m = &s->done[i];
        struct slice record = slice_make(m->record, m->record_len);
        if (leader->selected)
            save_show(box, &m->to, m->flags, m->keywords, record);
        else if (record.len)
            index_add_message(&box->index, box->index_fd, record);
    }
}

/* From tmp/ to where they are going; *moved: so many of to, which gets them all. */
static enum store_why move_all(struct mailbox_save *leader, struct list *batch, struct arrival *to, size_t *moved)
{
    struct mailbox *box = leader->box;
    bool quiet = leader->selected && scan_before(box, false);
    int64_t was = leader->selected ? -1 : scan_mtime(box->cur_fd);
    enum store_why why = STORE_OK;

    list_each(at, batch)
    {
        struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        for (size_t i = 0; i < s->count && why == STORE_OK; i++) {
            struct arrival *a = &s->done[i].to;
            if (renameat(box->fd, s->done[i].tmp, a->in_new ? box->new_fd : box->cur_fd, a->name) < 0) {
                why = store_fail_errno(box->store, "rename into", box->path);
                break;
            }
            scan_changed(box, a->in_new, NULL, a->name);
            free(s->done[i].tmp);
            s->done[i].tmp = NULL;
            to[(*moved)++] = *a;
        }
    }
    if (leader->selected)
        scan_after(box, false, quiet);
    else
        together_publish(box, was, scan_mtime(box->cur_fd), true);
    return why;
}

/* What is told by files alone, one of each save, may be told by the journal; not where to settle it would leave out the
 * uidlist, which is on another file system. */
static bool may_journal(const struct mailbox_save *leader, const struct list *batch)
{
    if (leader->box->apart)
        return false;
    list_each(at, batch)
    {
        const struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        if (s->count != 1 || (s->last_fd < 0 && !s->whole) || s->done[0].keywords)
            return false;
    }
    return true;
}

/* On their way into the journal while they are written, named and listed; NULL: not. */
static struct journal_batch *begin_journal(const struct mailbox_save *leader, const struct list *batch, size_t n,
                                           struct journal *journal)
{
    uint32_t uid = leader->box->uids.next_uid; /* that save_assign will give */
    struct journal_batch *begun = NULL;
    struct journal_message *m;
    size_t i = 0;

    if (journal == NULL || n >= UINT32_MAX - uid)
        return NULL;
    m = mem_array(n, sizeof *m);
    list_each(at, batch)
    {
        const struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        const struct arrival *a = &s->done[0].to;
        m[i] = (struct journal_message){
            .fd = s->last_fd, .name = a->name, .in_new = a->in_new, .uid = uid + (uint32_t) i, .keys = a->keys
        };
        if (s->whole)
            m[i].text = str_slice(&s->held);
        m[i].date = s->date == MAILBOX_SAVE_NOW ? NULL : &s->date;
        i++;
    }
    begun = journal_begin(journal, m, n);
    free(m);
    return begun;
}

/* Of several messages all but the last were synced in tmp/. Where one journal serves all, the last one's sync takes the
 * names of those before it along. */
static enum store_why sync_names(const struct mailbox_save *leader, const struct list *batch)
{
    bool several = false;

    list_each(at, batch) several |= list_entry(at, struct mailbox_save, node)->count > 1;
    if (!several || leader->box->local || store_syncfs(leader->box->fd) == 0)
        return STORE_OK;
    return store_fail_errno(leader->box->store, "sync the file system of", leader->box->path);
}

/* Each of the others syncs its own file in its own fiber, while the leader syncs its own and the UIDs: the file system
 * has one commit for all. */
static enum store_why sync_all(struct mailbox_save *leader, struct list *batch, struct arrival *to, size_t n,
                               bool listed)
{
    struct together_saves *all = together_saves(leader->box);
    enum store_why why = STORE_OK;

    list_each(at, batch)
    {
        struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        if (s == leader)
            continue;
        s->stage = SYNCING;
        all->syncing++;
    }
    if (all && all->syncing)
        event_cond_broadcast(&all->moved);
    if (!listed)
        why = save_assign(leader->box, to, n, leader->last_fd);
    else if (uidlist_sync(leader->box->control_fd, leader->last_fd) < 0)
        why = store_fail_errno(leader->box->store, "sync uidlist of", leader->box->path);
    while (all && all->syncing)
        (void) event_cond_wait(&all->moved, EVENT_NEVER);
    list_each(at, batch)
    {
        struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        if (why == STORE_OK && s->why)
            why = store_fail(leader->box->store, s->why, "%s", store_error(s->box->store));
    }
    return why ? why : sync_names(leader, batch);
}

static enum store_why write_all(const struct mailbox_save *leader, const struct list *batch)
{
    enum store_why why = STORE_OK;

    list_each(at, batch)
    {
        struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        if (why == STORE_OK && (why = save_write_out(s)) != STORE_OK && s != leader)
            why = store_fail(leader->box->store, why, "%s", store_error(s->box->store));
    }
    return why;
}

/* Written, named, listed and durable. *moved: so many of to have their names, also when it fails. */
static enum store_why make_durable(struct mailbox_save *leader, struct list *batch, struct arrival *to, size_t n,
                                   size_t *moved)
{
    struct journal *journal = may_journal(leader, batch) ? journal_for(leader->box->fd, true) : NULL;
    struct journal_batch *begun = begin_journal(leader, batch, n, journal);
    enum store_why why = write_all(leader, batch);
    bool listed = journal != NULL;

    *moved = 0;
    if (why == STORE_OK)
        why = move_all(leader, batch, to, moved);
    if (journal) {
        if (why == STORE_OK)
            why = save_assign(leader->box, to, n, UIDLIST_LATER);
        leader->in_journal = journal_end(&journal, begun, why == STORE_OK);
        if (leader->in_journal)
            return STORE_OK;
    }
    return why ? why : sync_all(leader, batch, to, n, listed);
}

/* Under the lock: all of the batch, or none. */
static enum store_why publish(struct mailbox_save *leader, struct list *batch)
{
    struct mailbox *box = leader->box;
    struct arrival *to;
    size_t total = 0, moved, n = 0;
    enum store_why why;

    list_each(at, batch) total += list_entry(at, struct mailbox_save, node)->count;
    to = mem_array(total, sizeof *to);
    why = make_durable(leader, batch, to, total, &moved);
    for (size_t i = 0; why && i < moved; i++)
        (void) unlinkat(to[i].in_new ? box->new_fd : box->cur_fd, to[i].name, 0);
    if (why)
        together_break(box);
    list_each(at, batch)
    {
        struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        for (size_t i = 0; i < s->count && why == STORE_OK; i++)
            s->done[i].to.uid = to[n++].uid;
        if (why == STORE_OK)
            tell_index(leader, s);
        s->validity = box->uids.uid_validity;
    }
    free(to);
    return why;
}

static enum store_why commit(struct mailbox_save *leader, struct list *batch)
{
    enum store_why why = leader->selected ? save_lock_open(leader->box) : save_lock(leader->box);
    struct together_saves *all = together_saves(leader->box);

    if (why)
        return why;
    for (size_t n = 1; leader->stage != ALONE && n < JOINT_MAX && !list_empty(&all->waiting); n++) {
        struct mailbox_save *s = list_first(&all->waiting, struct mailbox_save, node);
        list_del(&s->node);
        list_append(batch, &s->node);
    }
    why = publish(leader, batch);
    if (leader->in_journal)
        together_unlock_later(leader->box);
    else
        scan_unlock(leader->box);
    return why;
}

static void lead(struct mailbox_save *leader)
{
    struct together_saves *all = together_saves(leader->box);
    enum store_why why;
    struct list batch;

    all->led = true;
    list_init(&batch);
    list_del(&leader->node);
    list_append(&batch, &leader->node);
    why = commit(leader, &batch);
    list_each(at, &batch)
    {
        struct mailbox_save *s = list_entry(at, struct mailbox_save, node);
        list_del(&s->node);
        s->why = why && s != leader ? store_fail(s->box->store, why, "%s", store_error(leader->box->store)) : why;
        s->stage = DONE;
    }
    all->led = false;
    event_cond_broadcast(&all->moved);
}

/* Sessions that save into one mailbox at the same time: the first does it for those that came while it waited. */
static enum store_why commit_with_others(struct mailbox_save *s)
{
    struct together_saves *all = together_saves(s->box);

    s->stage = WAITING;
    list_append(&all->waiting, &s->node);
    fiber_shield(true); /* another may be at work on it */
    while (s->stage != DONE) {
        if (s->stage == SYNCING) {
            s->why = save_sync_last(s);
            s->stage = SYNCED;
            if (--all->syncing == 0)
                event_cond_broadcast(&all->moved);
        } else if (s->stage == WAITING && !all->led) {
            lead(s);
        } else {
            (void) event_cond_wait(&all->moved, EVENT_NEVER);
        }
    }
    fiber_shield(false);
    return s->why;
}

/* A keyword beyond the letters has a number in its own view only. */
static bool may_join(const struct mailbox_save *s)
{
    bool extra = false;

    for (size_t i = 0; i < s->count; i++)
        extra |= s->done[i].to.extra != 0;
    return fiber_self() && together_saves(s->box) && !extra;
}

static enum store_why commit_alone(struct mailbox_save *s)
{
    struct list batch;
    enum store_why why;

    list_init(&batch);
    list_append(&batch, &s->node);
    why = commit(s, &batch);
    list_del(&s->node);
    return why;
}

enum store_why mailbox_save_commit(struct mailbox_save **ps, struct arena *a, uint32_t *validity, uint32_t **uids,
                                   size_t *count)
{
    struct mailbox_save *s = *ps;
    enum store_why why = STORE_OK;

    *count = 0;
    *uids = NULL;
    s->validity = s->box->uids.uid_validity;
    if (s->count)
        why = may_join(s) ? commit_with_others(s) : commit_alone(s);
    if (why == STORE_OK) {
        *validity = s->validity;
        *uids = arena_alloc(a, (s->count + 1) * sizeof **uids);
        for (size_t i = 0; i < s->count; i++)
            (*uids)[(*count)++] = s->done[i].to.uid;
    }
    mailbox_save_cancel(ps);
    return why;
}
