/*
 * view - see internal.h: items, and the numbered view of an open mailbox
 *
 * Callers     lib/store
 * Invariants  the view is sorted by uid; an item is in it at most once; a ghost is freed when it leaves the view
 */
#include "base/mem.h"
#include "store/internal.h"

#include <fcntl.h>
#include <stdlib.h>

struct item *item_new(struct mailbox *box, struct slice base)
{
    struct item *it;

    if (base.len > FILE_NAME_BYTES)
        return NULL;
    it = mem_new(sizeof *it);
    it->name = mem_strndup(base.p, base.len);
    it->base_len = (uint16_t) base.len;
    it->physical = it->virtual = FILE_SIZE_UNKNOWN;
    it->date = DATE_UNKNOWN;
    if (!map_set(view_items(box), base, it)) {
        item_free(it);
        return NULL;
    }
    return it;
}

void item_free(void *p)
{
    struct item *it = p;

    if (!it->name_lent)
        free(it->name);
    if (!it->keys_lent)
        free(it->keys);
    if (!it->in_block)
        free(it);
    else
        it->name_lent = it->keys_lent = true;
}

void item_set_name(struct item *it, const char *name)
{
    struct file_name f;
    char *copy = mem_strdup(name);

    if (!it->name_lent)
        free(it->name);
    it->name = copy;
    it->name_lent = false;
    if (file_name_parse(copy, &f)) {
        it->base_len = (uint16_t) f.base.len;
        if (f.physical != FILE_SIZE_UNKNOWN && it->physical == FILE_SIZE_UNKNOWN) {
            it->physical = f.physical;
            it->unchecked = true;
        }
        if (f.virtual != FILE_SIZE_UNKNOWN && it->virtual == FILE_SIZE_UNKNOWN &&
            (it->unchecked || it->physical == FILE_SIZE_UNKNOWN))
            it->virtual = f.virtual;
    }
}

void item_learn(struct mailbox *box, struct item *it, const struct stat *st)
{
    if (it->physical != FILE_SIZE_UNKNOWN && it->physical != (uint64_t) st->st_size)
        it->virtual = FILE_SIZE_UNKNOWN; /* a rewritten or compressed file, or a wrong name */
    box->index_stale |= it->unchecked || it->physical != (uint64_t) st->st_size || it->date != st->st_mtime;
    it->physical = (uint64_t) st->st_size;
    it->date = st->st_mtime;
    it->unchecked = false;
}

void item_check(struct mailbox *box, struct item *it)
{
    struct stat st;

    if (it->unchecked && !it->ghost &&
        fstatat(it->in_new ? box->new_fd : box->cur_fd, it->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode))
        item_learn(box, it, &st);
}

void item_set_keys(struct item *it, struct slice keys)
{
    if (it->keys && slice_eq(keys, it->keys))
        return;
    if (!it->keys_lent)
        free(it->keys);
    it->keys = keys.len ? mem_strndup(keys.p, keys.len) : NULL;
    it->keys_lent = false;
}

struct map *view_items(struct mailbox *box)
{
    if (box->mapped || box->block == NULL)
        return box->items;
    box->mapped = true;
    map_reserve(box->items, map_count(box->items) + box->block_count);
    for (uint32_t i = 0; i < box->block_count; i++) {
        struct item *it = &box->block[i];
        if (map_get(box->items, item_base(it)) == NULL && map_set(box->items, item_base(it), it))
            continue;
        it->ghost = it->mail.gone = box->some_gone = true; /* two of one name: only a damaged index says so */
    }
    return box->items;
}

void item_place(struct mailbox *box, struct item *it, bool present, bool in_new)
{
    box->in_new -= it->present && it->in_new;
    box->in_new += present && in_new;
    it->present = present;
    it->in_new = in_new;
}

void item_gone(struct mailbox *box, struct item *it)
{
    item_place(box, it, false, it->in_new);
    it->mail.gone = true;
    box->some_gone = true;
}

void item_changed(struct mailbox *box, struct item *it)
{
    it->changed = true;
    box->some_changed = true;
}

void item_recent(struct mailbox *box, struct item *it)
{
    if (it->in_view && !(it->mail.flags & MAIL_RECENT))
        box->recent++;
    it->mail.flags |= MAIL_RECENT;
}

struct item *view_item(const struct mailbox *box, uint32_t seq)
{
    return seq && seq <= box->count ? box->view[seq - 1] : NULL;
}

void view_add(struct mailbox *box, struct item *it)
{
    if (box->count == box->room) {
        box->room = box->room ? box->room * 2 : 64;
        box->view = mem_grow(box->view, box->room, sizeof(void *));
    }
    it->in_view = true;
    it->mail.gone = false;
    it->changed = false;
    box->recent += (it->mail.flags & MAIL_RECENT) != 0;
    box->view[box->count++] = it;
}

static int by_uid(const void *a, const void *b)
{
    const struct item *x = *(struct item *const *) a, *y = *(struct item *const *) b;

    return x->mail.uid < y->mail.uid ? -1 : x->mail.uid > y->mail.uid;
}

void view_sort(struct mailbox *box, uint32_t from)
{
    for (uint32_t i = from ? from : 1; i < box->count; i++)
        if (box->view[i - 1]->mail.uid >= box->view[i]->mail.uid) {
            qsort(box->view, box->count, sizeof(void *), by_uid);
            return;
        }
}

void view_event(struct mailbox *box, enum mailbox_event_type type, uint32_t seq, uint32_t uid)
{
    if (box->changes.count == box->changes_room) {
        box->changes_room = box->changes_room ? box->changes_room * 2 : 16;
        box->changes.events = mem_grow(box->changes.events, box->changes_room, sizeof *box->changes.events);
    }
    box->changes.events[box->changes.count++] = (struct mailbox_event){ type, seq, uid };
}

static void drop_gone(struct mailbox *box)
{
    uint32_t kept = 0, told = box->told_count;

    if (!box->some_gone)
        return;
    box->some_gone = false;
    message_flush(box); /* of items that may go */
    for (uint32_t seq = box->count; seq > 0; seq--)
        if (box->view[seq - 1]->mail.gone && seq <= box->told_count)
            view_event(box, MAILBOX_EXPUNGE, seq, box->view[seq - 1]->mail.uid);
    for (uint32_t i = 0; i < box->count; i++) {
        struct item *it = box->view[i];
        if (!it->mail.gone) {
            box->view[kept++] = it;
            continue;
        }
        it->in_view = false;
        it->told_gone = true;
        box->recent -= (it->mail.flags & MAIL_RECENT) != 0;
        box->waste++;
        if (i < told)
            box->told_count--;
        if (it->ghost)
            item_free(it);
    }
    box->count = kept;
}

enum store_why mailbox_sync(struct mailbox *box, bool keep_expunged, const struct mailbox_changes **out)
{
    enum store_why why = scan_sync(box);

    box->changes.count = 0;
    *out = &box->changes;
    if (why)
        return why;
    if (box->keywords_changed)
        view_event(box, MAILBOX_KEYWORDS, 0, 0);
    box->keywords_changed = false;
    if (box->dormant)
        return STORE_OK;
    uint32_t told = box->told_count;
    if (!keep_expunged)
        drop_gone(box);
    uint32_t old = box->told_count; /* of those told before, still there */
    if (box->count != old)
        view_event(box, MAILBOX_EXISTS, box->count, 0);
    if (box->recent != box->told_recent || (told != box->count && box->recent))
        view_event(box, MAILBOX_RECENT_COUNT, box->recent, 0);
    for (uint32_t i = 0; box->some_changed && i < box->count; i++) {
        struct item *it = box->view[i];
        if (it->changed && !it->mail.gone && i < old)
            view_event(box, MAILBOX_FLAGS, i + 1, it->mail.uid);
        it->changed = false;
    }
    box->some_changed = false;
    box->told_count = box->count;
    box->told_recent = box->recent;
    return STORE_OK;
}

const struct mail *mailbox_mail(const struct mailbox *box, uint32_t seq)
{
    struct item *it = view_item(box, seq);

    return it ? &it->mail : NULL;
}

uint32_t mailbox_seq_from(const struct mailbox *box, uint32_t uid)
{
    uint32_t low = 0, high = box->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (box->view[mid]->mail.uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low + 1;
}

uint32_t mailbox_seq(const struct mailbox *box, uint32_t uid)
{
    uint32_t seq = mailbox_seq_from(box, uid);

    return seq <= box->count && box->view[seq - 1]->mail.uid == uid ? seq : 0;
}

uint32_t mailbox_count(const struct mailbox *box) { return box->count; }
uint32_t mailbox_recent(const struct mailbox *box) { return box->recent; }

void mailbox_summary(const struct mailbox *box, struct mailbox_summary *out)
{
    if (box->dormant) {
        *out = box->summary;
        return;
    }
    *out = (struct mailbox_summary){ .count = box->count };
    for (uint32_t i = 0; i < box->count; i++) {
        uint8_t flags = box->view[i]->mail.flags;
        out->recent += (flags & MAIL_RECENT) != 0;
        out->unseen += !(flags & MAIL_SEEN);
        if (!(flags & MAIL_SEEN) && out->first_unseen == 0)
            out->first_unseen = i + 1;
    }
}
