/*
 * scan - brings an open mailbox up to date with its directories and its uidlist
 *
 * Callers     store/view.c (mailbox_sync), store/mailbox.c, store/save.c, store/copy.c
 * Invariants  files are renamed under the uidlist's lock, as Dovecot does, and a file counts as expunged only when a
 *             scan under that lock does not find it: readdir misses files that are being renamed
 *             a UID once shown is never shown again for something else: a file that comes back gets a new one
 * Errors      enum store_why
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/dotlock.h"
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { AWAIT_SECONDS = 2 };

uint64_t mailbox_next_modseq(struct mailbox *box)
{
    uint64_t seed = (uint64_t) time_now() * 1000;

    box->modseq = box->modseq < seed ? seed : box->modseq + 1;
    return box->modseq;
}

static void push(struct item ***list, size_t *count, size_t *room, struct item *it)
{
    if (*count == *room) {
        *room = *room ? *room * 2 : 64;
        *list = mem_grow(*list, *room, sizeof(void *));
    }
    (*list)[(*count)++] = it;
}

static void pend(struct mailbox *box, struct item *it)
{
    if (it->pending)
        return;
    it->pending = true;
    push(&box->pending, &box->pending_count, &box->pending_room, it);
}

/* Another process gave a UID to a file that the scan did not show: it was being renamed then, or is gone. */
static bool awaits_files(const struct mailbox *box)
{
    for (size_t i = 0; i < box->awaited_count; i++)
        if (!box->awaited[i]->present)
            return true;
    return false;
}

/* Some should have come by now. */
static bool awaits_for_long(const struct mailbox *box)
{
    for (size_t i = 0; i < box->awaited_count; i++)
        if (!box->awaited[i]->present && time_now() - box->awaited[i]->born > AWAIT_SECONDS)
            return true;
    return false;
}

static void drop_arrived(struct mailbox *box)
{
    size_t kept = 0;

    for (size_t i = 0; i < box->awaited_count; i++)
        if (!box->awaited[i]->present)
            box->awaited[kept++] = box->awaited[i];
    box->awaited_count = kept;
}

uint32_t scan_uid_limit(const struct mailbox *box)
{
    uint32_t limit = box->uids.next_uid;

    for (size_t i = 0; i < box->awaited_count; i++)
        if (!box->awaited[i]->present && box->awaited[i]->mail.uid && box->awaited[i]->mail.uid < limit)
            limit = box->awaited[i]->mail.uid;
    return limit;
}

void scan_found(struct mailbox *box, struct item *it) { pend(box, it); }

/* The next sync reads both directories, whatever their times say. */
static void unread(struct mailbox *box) { box->cur.mtime_ns = box->new.mtime_ns = -1; }

void scan_awaited(struct mailbox *box)
{
    if (awaits_files(box))
        unread(box);
}

/* What the file's name says about flags. */
static void take_flags(struct mailbox *box, struct item *it, const struct file_name *f)
{
    uint64_t keywords = (it->mail.keywords & ~((1ull << FILE_KEYWORDS) - 1)) | f->keywords;

    if ((it->mail.flags & MAIL_SETTABLE) == f->flags && it->mail.keywords == keywords)
        return;
    it->mail.flags = (uint8_t) ((it->mail.flags & MAIL_RECENT) | f->flags);
    it->mail.keywords = keywords;
    if (it->in_view) {
        item_changed(box, it);
        it->mail.modseq = mailbox_next_modseq(box);
    }
}

static void on_file(struct mailbox *box, const char *name, bool in_new, bool odd)
{
    struct file_name f;
    struct item *it;

    if (!file_name_parse(name, &f))
        return;
    it = map_get(view_items(box), f.base);
    if (it == NULL && (it = item_new(box, f.base)) == NULL)
        return;
    if (strcmp(it->name, name) != 0) {
        item_set_name(it, name);
        box->index_stale = true;
    } else if (!it->present) {
        item_set_name(it, name); /* sizes */
    }
    if (!it->in_view) /* whichever scan it is: before the first one a session follows others too */
        pend(box, it);
    item_place(box, it, true, in_new);
    it->odd = odd;
    it->mail.gone = it->in_view && it->ghost;
    box->seen_in_new += in_new && it->scan != box->scan;
    it->scan = box->scan;
    if (in_new)
        item_recent(box, it);
    box->to_move |= in_new;
    take_flags(box, it, &f);
}

void scan_follow(struct mailbox *box, const char *was, const char *is)
{
    struct file_name f;
    struct item *it;

    sum_changed(box, false, was, is);
    if (is)
        on_file(box, is, false, false);
    else if (file_name_parse(was, &f) && (it = map_get(view_items(box), f.base)) != NULL && it->present &&
             strcmp(it->name, was) == 0) {
        item_gone(box, it);
        (void) mailbox_next_modseq(box);
    }
}

static enum store_why read_dir(struct mailbox *box, bool in_new)
{
    int fd = openat(box->fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return errno == ENOENT ? STORE_DAMAGED
                               : store_fail_errno(box->store, in_new ? "read new" : "read cur", box->path);
    }
    scan_begin(box, in_new, fd);
    while ((errno = 0, e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.') {
            sum_add(box, in_new, e->d_name);
            on_file(box, e->d_name, in_new, e->d_type != DT_REG);
        }
    int failed = errno;
    closedir(dir);
    errno = failed;
    return failed ? store_fail_errno(box->store, "read directory", box->path) : STORE_OK;
}

/* A file that this scan should have seen and did not. */
static bool missed(const struct mailbox *box, const struct item *it, bool scanned_new, bool scanned_cur)
{
    return !it->ghost && it->present && it->scan != box->scan && (it->in_new ? scanned_new : scanned_cur);
}

static bool any_missed(const struct mailbox *box, bool scanned_new, bool scanned_cur)
{
    bool look = scanned_cur || (scanned_new && box->seen_in_new != box->in_new);

    for (uint32_t i = 0; look && i < box->count; i++)
        if (missed(box, box->view[i], scanned_new, scanned_cur))
            return true;
    for (size_t i = 0; look && i < box->pending_count; i++) /* what was saved, or followed, before this scan */
        if (missed(box, box->pending[i], scanned_new, scanned_cur))
            return true;
    return awaits_files(box);
}

/* A file that gets no UID: nobody has heard of it. */
static void forget_pending(struct mailbox *box, size_t i)
{
    struct item *it = box->pending[i];
    char base[FILE_NAME_BYTES + 1];
    size_t len = it->base_len;

    message_flush(box);
    memcpy(base, it->name, len);
    box->pending[i] = box->pending[--box->pending_count];
    for (size_t k = 0; k < box->awaited_count; k++)
        if (box->awaited[k] == it)
            box->awaited[k--] = box->awaited[--box->awaited_count];
    item_place(box, it, false, false);
    (void) map_del(view_items(box), slice_make(base, len));
}

/* Under the uidlist's lock nobody who obeys it renames a file, so what is not found now is gone, also where the look
 * before it, without the lock, had found it. */
static enum store_why look_again(struct mailbox *box)
{
    enum store_why why;

    box->scan++;
    box->seen_in_new = 0;
    if ((why = read_dir(box, true)) || (why = read_dir(box, false)))
        return why;
    for (uint32_t i = 0; i < box->count; i++) {
        struct item *it = box->view[i];
        if (missed(box, it, true, true)) {
            item_gone(box, it);
            box->index_stale = true;
            (void) mailbox_next_modseq(box);
        }
    }
    for (size_t i = 0; i < box->pending_count; i++) {
        struct item *it = box->pending[i];
        if (!missed(box, it, true, true))
            continue;
        if (it->mail.uid)
            item_place(box, it, false, false);
        else
            forget_pending(box, i--);
    }
    box->awaited_count = 0;
    return STORE_OK;
}

/* An item of the view loses its UID: the view keeps it under the old one, as gone. */
static void leave_ghost(struct mailbox *box, struct item *it)
{
    struct item *ghost = mem_new(sizeof *ghost);
    uint32_t seq = mailbox_seq(box, it->mail.uid);

    if (seq == 0) {
        free(ghost);
        return;
    }
    ghost->mail = it->mail;
    ghost->mail.gone = true;
    ghost->name = mem_strndup(it->name, it->base_len);
    ghost->base_len = it->base_len;
    ghost->ghost = ghost->in_view = true;
    box->view[seq - 1] = ghost;
    box->some_gone = true;
    it->in_view = false;
}

static void on_record(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    struct mailbox *box = ctx;
    struct item *it = map_get(view_items(box), name);

    if (it == NULL && (it = item_new(box, name)) == NULL)
        return;
    it->listed = box->listing;
    item_set_keys(it, keys);
    if (it->mail.uid == uid)
        return;
    if (it->in_view) {
        leave_ghost(box, it);
        pend(box, it);
    }
    it->mail.uid = uid;
    it->told_gone = false;
    it->born = time_now();
    if (!it->present)
        push(&box->awaited, &box->awaited_count, &box->awaited_room, it);
    box->waste += !it->present;
    box->index_stale = true;
}

bool scan_list_unchanged(struct mailbox *box)
{
    return box->in_row || together_keeps(box) || uidlist_unchanged(&box->uids, box->control_fd);
}

/* Reads what is new in the uidlist. A file made anew must list what the view shows, or that is gone. */
static enum store_why catch_up(struct mailbox *box)
{
    uint32_t validity = box->uids.uid_validity;
    struct slice key;
    void *value;
    bool again;

    if (scan_list_unchanged(box))
        return STORE_OK;
    box->listing++;
    if (uidlist_read(&box->uids, box->control_fd, &again, on_record, box) < 0)
        return STORE_FAILED;
    if (validity && validity != box->uids.uid_validity)
        return store_fail(box->store, STORE_DAMAGED, "%s: UIDVALIDITY changed", box->path);
    if (!again)
        return STORE_OK;
    message_flush(box); /* of items that may go */
    size_t kept = 0;
    for (size_t i = 0; i < box->awaited_count; i++)
        if (box->awaited[i]->listed == box->listing)
            box->awaited[kept++] = box->awaited[i];
    box->awaited_count = kept;
    for (size_t at = 0; map_next(view_items(box), &at, &key, &value);) {
        struct item *it = value;
        if (it->listed == box->listing || it->mail.uid == 0)
            continue;
        if (it->in_view) {
            leave_ghost(box, it);
            if (it->present) /* one that is gone is freed here: nothing may wait for it */
                pend(box, it);
        }
        it->mail.uid = 0;
        if (!it->present && !it->pending)
            map_del(view_items(box), key);
    }
    return STORE_OK;
}

enum store_why scan_lock(struct mailbox *box)
{
    struct uidlist saved = box->uids;
    enum store_why why;

    if ((box->lock_fd = together_lock(box)) < 0)
        return store_fail_errno(box->store, "lock uidlist of", box->path);
    if ((why = catch_up(box)) == STORE_OK)
        return STORE_OK;
    if (why == STORE_FAILED && (errno == ENOENT || errno == EBADMSG)) { /* none, or none that can be read */
        if (errno == EBADMSG)
            log_warn("%s: %s cannot be read: made anew", box->path, UIDLIST_NAME);
        box->uids = saved;
        if (saved.version == 0 && !extra_validity(box)) {
            box->uids.uid_validity = uidlist_new_validity(box->store->control_fd);
            box->uids.next_uid = 1;
        }
        if (box->uids.uid_validity && assign_rewrite(box) == 0)
            return STORE_OK;
        why = store_fail_errno(box->store, "write uidlist of", box->path);
        box->uids = saved;
    } else if (why == STORE_FAILED) {
        why = store_fail_errno(box->store, "read uidlist of", box->path);
    }
    scan_unlock(box);
    return why;
}

void scan_unlock(struct mailbox *box)
{
    scan_ask(box);
    box->in_row = false;
    dotlock_release(box->control_fd, UIDLIST_LOCK, box->lock_fd);
    together_freed(box);
}

struct arriving { /* when, as the name tells it */
    uint64_t seconds, micros;
    struct item *item;
};

static int by_arrival(const void *a, const void *b)
{
    const struct arriving *x = a, *y = b;

    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? -1 : 1;
    if (x->micros != y->micros)
        return x->micros < y->micros ? -1 : 1;
    return strcmp(x->item->name, y->item->name);
}

/* A new file shorter or longer than its name says was torn by a crash: no UID for it, and out of the way. Those that
 * lie in cur/ long since are not looked at: to ask each of 50,000 costs as much as to read the directory. */
static bool set_aside(struct mailbox *box, struct item *it)
{
    struct file_name f;
    struct stat st;
    char to[600];

    if (!(it->mail.flags & MAIL_RECENT) && !it->odd)
        return false;
    if (!file_name_parse(it->name, &f) ||
        fstatat(it->in_new ? box->new_fd : box->cur_fd, it->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return true;
    it->odd = false;
    item_learn(box, it, &st);
    if (f.physical == FILE_SIZE_UNKNOWN || f.physical == (uint64_t) st.st_size || !(it->mail.flags & MAIL_RECENT))
        return false;
    log_warn("%s: %s has %lld bytes: set aside in posthorn-damaged", box->path, it->name, (long long) st.st_size);
    if (!box->read_only) {
        (void) mkdirat(box->fd, "posthorn-damaged", 0700);
        snprintf(to, sizeof to, "posthorn-damaged/%s", it->name);
        if (renameat(it->in_new ? box->new_fd : box->cur_fd, it->name, box->fd, to) < 0)
            log_warn("%s: cannot set %s aside: %s", box->path, it->name, strerror(errno));
    }
    return true;
}

/* A message that cannot be shown under the UID it has: one with a higher UID was, or this one was told as expunged. */
static bool too_late(const struct item *it, uint32_t highest)
{
    return it->mail.uid && (it->told_gone || it->mail.uid <= highest);
}

/* Under the lock: gives UIDs to those that have none. */
static enum store_why give_uids(struct mailbox *box, uint32_t highest)
{
    struct arriving *need = mem_array(box->pending_count + 1, sizeof *need);
    struct item **in_order;
    enum store_why why;
    size_t n = 0;

    for (size_t i = 0; i < box->pending_count; i++) {
        struct item *it = box->pending[i];
        if (!it->present)
            continue;
        if (too_late(it, highest)) {
            log_warn("%s: %.*s appeared late or again: it gets a new UID", box->path, (int) it->base_len, it->name);
            it->mail.uid = 0;
        }
        if (it->mail.uid)
            continue;
        if (!set_aside(box, it)) {
            need[n].item = it;
            file_name_arrival(it->name, &need[n].seconds, &need[n].micros);
            n++;
        } else {
            forget_pending(box, i--);
        }
    }
    qsort(need, n, sizeof *need, by_arrival);
    if (n)
        extra_skip_given(box);
    in_order = mem_array(n + 1, sizeof(void *));
    for (size_t i = 0; i < n; i++)
        in_order[i] = need[i].item;
    free(need);
    why = assign_uids(box, in_order, n);
    free(in_order);
    return why;
}

/* Under the lock: new/ to cur/, this session has seen them. */
static void move_to_cur(struct mailbox *box, struct item *it, struct str *name)
{
    str_set(name, it->name);
    if (strchr(it->name, ':') == NULL)
        str_adds(name, ":2,");
    if (renameat(box->new_fd, it->name, box->cur_fd, name->p) == 0) {
        scan_changed(box, true, it->name, NULL);
        scan_changed(box, false, NULL, name->p);
        item_set_name(it, name->p);
        item_place(box, it, true, false);
    }
}

static void move_all(struct mailbox *box)
{
    bool quiet_new = scan_before(box, true), quiet_cur = scan_before(box, false);
    struct str name;

    str_init(&name, 1024);
    for (size_t i = 0; i < box->pending_count; i++)
        if (box->pending[i]->in_new && box->pending[i]->present)
            move_to_cur(box, box->pending[i], &name);
    for (uint32_t i = 0; box->in_new && i < box->count; i++)
        if (box->view[i]->in_new && box->view[i]->present)
            move_to_cur(box, box->view[i], &name);
    str_free(&name);
    scan_after(box, true, quiet_new);
    scan_after(box, false, quiet_cur);
    box->new.ours = box->cur.ours = false; /* no row: the client did nothing */
    box->to_move = false;
}

/* Do the directories' files need anything that only who has the lock may do? */
static bool needs_lock(const struct mailbox *box, uint32_t highest, bool doubt)
{
    bool any = doubt || (box->to_move && !box->read_only);

    for (size_t i = 0; i < box->pending_count && !any; i++)
        any = box->pending[i]->mail.uid == 0 || too_late(box->pending[i], highest);
    return any;
}

static enum store_why under_lock(struct mailbox *box, uint32_t highest, bool doubt)
{
    enum store_why why = scan_lock(box);

    if (why)
        return why;
    if (doubt || awaits_files(box)) /* the lock has brought what others named meanwhile */
        why = look_again(box);
    if (why == STORE_OK)
        why = give_uids(box, highest);
    if (why == STORE_OK && box->to_move && !box->read_only)
        move_all(box);
    scan_unlock(box);
    return why;
}

/* All that a scan found gets a UID and its place in the view. What others named meanwhile is looked for before
 * anything with a higher UID is shown: it could not be shown afterwards under the UID it has. */
static enum store_why settle(struct mailbox *box, bool doubt)
{
    uint32_t had = box->count, highest = had ? box->view[had - 1]->mail.uid : 0;
    enum store_why why = needs_lock(box, highest, doubt) ? under_lock(box, highest, doubt) : STORE_OK;

    for (size_t i = 0; i < box->pending_count; i++) {
        struct item *it = box->pending[i];
        it->pending = false;
        if (it->mail.uid && it->present && !it->in_view) {
            it->mail.modseq = it->mail.modseq ? it->mail.modseq : mailbox_next_modseq(box);
            view_add(box, it);
            box->index_stale = true;
        } else if (it->mail.uid == 0) { /* no UID could be written: the next sync tries again */
            unread(box);
        }
    }
    box->pending_count = 0;
    view_sort(box, had);
    return why;
}

static enum store_why look(struct mailbox *box)
{
    enum store_why why = catch_up(box);

    if (why && (why != STORE_FAILED || (errno != ENOENT && errno != EBADMSG)))
        return why == STORE_FAILED ? store_fail_errno(box->store, "read uidlist of", box->path) : why;
    if (why || box->uids.version == 0) { /* no list: made under the lock, with what the scan finds */
        if ((why = scan_lock(box)))
            return why;
        why = first_look(box);
        scan_unlock(box);
        if (why)
            return why;
    }
    bool scan_new = scan_wanted(box, true), scan_cur = scan_wanted(box, false);
    if (keywords_read(box) < 0)
        return store_fail_errno(box->store, "read dovecot-keywords of", box->path);
    box->scan++;
    box->seen_in_new = 0;
    if (scan_cur && together_follow(box, scan_mtime(box->cur_fd)))
        scan_cur = false;
    if (scan_new && (why = read_dir(box, true)))
        return why;
    if (scan_cur && (why = read_dir(box, false)))
        return why;
    /* Directories that did not change hold no file we have not seen: what is awaited is on its way. */
    bool doubt = scan_new || scan_cur || !box->shown ? any_missed(box, scan_new, scan_cur) : awaits_for_long(box);
    why = settle(box, doubt);
    drop_arrived(box);
    if (why == STORE_OK)
        extra_sync(box);
    return why;
}

static enum store_why scan_directories(struct mailbox *box)
{
    enum store_why why = look(box);

    if (why) /* the view does not say all that was read */
        unread(box);
    return why;
}

/* Nothing that a snapshot says can have changed. */
static bool undisturbed(struct mailbox *box)
{
    return !scan_wanted(box, true) && !scan_wanted(box, false) && scan_list_unchanged(box) &&
           (!box->to_move || box->read_only);
}

static enum store_why sync_dormant(struct mailbox *box)
{
    if (keywords_read(box) < 0)
        return store_fail_errno(box->store, "read dovecot-keywords of", box->path);
    extra_sync(box); /* loads it where there is something to learn */
    return STORE_OK;
}

enum store_why scan_sync(struct mailbox *box)
{
    enum store_why loaded;

    if (box->dormant && undisturbed(box))
        return sync_dormant(box);
    if ((loaded = mailbox_load(box)) && box->shown)
        return loaded;
    return scan_directories(box); /* if need be without the index, which was damaged */
}

/* 1: found; 0: not there; -1. */
static int find_in(struct mailbox *box, struct item *it, bool in_new)
{
    int fd = openat(box->fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    struct file_name f;
    bool found = false;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (!found && (e = readdir(dir)) != NULL) {
        if (!file_name_parse(e->d_name, &f) || !slice_same(f.base, item_base(it)))
            continue;
        found = true;
        item_place(box, it, true, in_new);
        item_set_name(it, e->d_name);
        take_flags(box, it, &f);
    }
    closedir(dir);
    return found;
}

int scan_refind(struct mailbox *box, struct item *it)
{
    int found = 0;

    /* Files go from new/ to cur/, so new/ is read first; twice, since readdir misses what is renamed meanwhile. */
    for (int round = 0; found == 0 && round < 4; round++)
        found = find_in(box, it, round % 2 == 0);
    if (found == 0)
        errno = ENOENT;
    return found > 0 ? 0 : -1;
}

int scan_rename(struct mailbox *box, struct item *it, const char *name)
{
    if (renameat(it->in_new ? box->new_fd : box->cur_fd, it->name, box->cur_fd, name) < 0)
        return -1;
    if (it->in_new)
        scan_changed(box, true, it->name, NULL);
    scan_changed(box, false, it->in_new ? NULL : it->name, name);
    item_set_name(it, name);
    item_place(box, it, it->present, false);
    return 0;
}
