/*
 * snapshot - the state of a mailbox as the index keeps it, so that opening one that did not change reads no directory
 *
 * Callers     store/mailbox.c, store/scan.c, store/message.c
 * Invariants  a snapshot is believed only for the UIDVALIDITY it names, and each part only while file or directory
 *             have the mtime noted in it; every length is checked
 * Errors      none: without a snapshot the directories are read
 */
#include "base/mem.h"
#include "store/internal.h"

#include <fcntl.h>
#include <stdlib.h>

enum {
    SNAPSHOT_VERSION = 4,
    PRESENT = 1,
    IN_NEW = 2,
    COMPACT_BYTES = 1 << 20,
    ITEM_BYTES = 61 /* of an item, at least */
};

static void put_dir(struct str *out, const struct dir_state *d)
{
    index_put(out, (uint64_t) d->mtime_ns, 8);
    index_put(out, d->dirty, 1);
}

static void get_dir(struct index_reader *r, struct dir_state *d)
{
    d->mtime_ns = (int64_t) index_get(r, 8);
    d->dirty = index_get(r, 1) != 0;
}

static void put_dovecot(struct str *out, const struct dovecot_index *x)
{
    index_put(out, x->index_id, 4);
    index_put(out, x->file_seq, 4);
    index_put(out, x->offset, 8);
    index_put(out, x->uid_validity, 4);
    index_put(out, x->next_uid, 4);
    index_put(out, x->inode, 8);
}

static void get_dovecot(struct index_reader *r, struct dovecot_index *x)
{
    x->index_id = (uint32_t) index_get(r, 4);
    x->file_seq = (uint32_t) index_get(r, 4);
    x->offset = index_get(r, 8);
    x->uid_validity = (uint32_t) index_get(r, 4);
    x->next_uid = (uint32_t) index_get(r, 4);
    x->inode = index_get(r, 8);
}

static void put_item(struct str *out, const struct item *it)
{
    index_put(out, it->mail.uid, 4);
    index_put(out, (it->present ? PRESENT : 0u) | (it->in_new ? IN_NEW : 0u), 1);
    index_put(out, it->mail.keywords, 8);
    index_put(out, it->mail.modseq, 8);
    index_put(out, it->physical, 8);
    index_put(out, it->virtual, 8);
    index_put(out, (uint64_t) it->date, 8);
    index_put(out, it->cache, 8);
    index_put_str(out, slice_of(it->name));
    index_put_str(out, slice_of(it->keys ? it->keys : ""));
}

static void put_extra_keywords(struct mailbox *box, struct str *out)
{
    for (size_t k = FILE_KEYWORDS; k < STORE_KEYWORDS_MAX; k++)
        index_put_str(out, slice_of(box->keywords[k] ? box->keywords[k] : ""));
}

static void get_extra_keywords(struct mailbox *box, struct index_reader *r)
{
    for (size_t k = FILE_KEYWORDS; k < STORE_KEYWORDS_MAX; k++) {
        struct slice s = index_get_str(r);
        free(box->keywords[k]);
        box->keywords[k] = s.len && s.len <= STORE_KEYWORD_BYTES ? mem_strndup(s.p, s.len) : NULL;
        if (box->keywords[k] && !mailbox_keyword_valid(box->keywords[k])) {
            free(box->keywords[k]);
            box->keywords[k] = NULL;
        }
    }
}

static void save_offsets(struct mailbox *box)
{
    uint64_t **offsets;
    struct slice key;
    void *value;
    size_t n = 0;

    offsets = mem_array(map_count(box->items) + 1, sizeof *offsets);
    for (size_t at = 0; map_next(box->items, &at, &key, &value);)
        offsets[n++] = &((struct item *) value)->cache;
    (void) index_compact(&box->index, box->index_fd, offsets, n);
    free(offsets);
}

void snapshot_save(struct mailbox *box)
{
    struct stat st;
    struct str out;
    struct slice key;
    void *value;
    uint64_t at_offset;
    size_t count = 0;

    if (box->uids.version == 0)
        return;
    if (box->index.fd < 0 && index_open(&box->index, box->index_fd, true) < 0)
        return;
    snapshot_tail(box);
    str_init(&out, INDEX_SNAPSHOT_BYTES);
    for (size_t at = 0; map_next(box->items, &at, &key, &value);)
        count += ((struct item *) value)->mail.uid != 0;
    /* Snapshots of the past and records of the expunged: start a new file when they are most of it. */
    if (fstat(box->index.fd, &st) == 0 && st.st_size > COMPACT_BYTES &&
        (uint64_t) st.st_size > 4096 * (uint64_t) count)
        save_offsets(box);
    if (box->index.fd < 0)
        return;
    index_put(&out, SNAPSHOT_VERSION, 4);
    index_put(&out, box->uids.uid_validity, 4);
    index_put(&out, box->uids.next_uid, 4);
    index_put(&out, box->uids.last_uid, 4);
    index_put(&out, (uint64_t) box->uids.version, 1);
    index_put_str(&out, slice_of(box->uids.header));
    index_put(&out, box->uids.offset, 8);
    index_put(&out, box->uids.inode, 8);
    index_put(&out, box->uids.size, 8);
    index_put(&out, (uint64_t) box->uids.mtime_ns, 8);
    put_dir(&out, &box->cur);
    put_dir(&out, &box->new);
    index_put(&out, box->modseq, 8);
    index_put(&out, (uint64_t) box->tmp_checked, 8);
    put_dovecot(&out, &box->dovecot);
    put_extra_keywords(box, &out);
    index_put(&out, count, 4);
    for (uint32_t i = 0; i < box->count; i++) /* by uid: reading it back then sorts nothing */
        if (!box->view[i]->ghost && box->view[i]->mail.uid)
            put_item(&out, box->view[i]);
    for (size_t at = 0; map_next(box->items, &at, &key, &value);)
        if (((struct item *) value)->mail.uid && !((struct item *) value)->in_view)
            put_item(&out, value);
    if (!str_over(&out) && index_append(&box->index, box->index_fd, INDEX_SNAPSHOT, str_slice(&out), &at_offset) == 0)
        box->index_stale = false;
    str_free(&out);
}

static void get_item(struct mailbox *box, struct index_reader *r)
{
    uint32_t uid = (uint32_t) index_get(r, 4);
    unsigned state = (unsigned) index_get(r, 1);
    uint64_t keywords = index_get(r, 8), modseq = index_get(r, 8), physical = index_get(r, 8),
             virtual = index_get(r, 8);
    int64_t date = (int64_t) index_get(r, 8);
    uint64_t cache = index_get(r, 8);
    struct slice name = index_get_str(r), keys = index_get_str(r);
    char text[FILE_NAME_BYTES + 1];
    struct file_name f;
    struct item *it;

    if (r->bad || name.len > FILE_NAME_BYTES || uid == 0 || memchr(name.p, '\0', name.len) ||
        memchr(name.p, '/', name.len) || keys.len > UIDLIST_LINE_BYTES || memchr(keys.p, '\n', keys.len)) {
        r->bad = true;
        return;
    }
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    if (!file_name_parse(text, &f) || map_get(box->items, f.base) || (it = item_new(box, f.base)) == NULL) {
        r->bad = true;
        return;
    }
    item_set_name(it, text);
    item_set_keys(it, keys);
    it->mail = (struct mail){ .uid = uid,
                              .flags = f.flags,
                              .modseq = modseq,
                              .keywords = (keywords & ~((1ull << FILE_KEYWORDS) - 1)) | f.keywords };
    item_place(box, it, state & PRESENT, state & IN_NEW);
    if (it->in_new)
        it->mail.flags |= MAIL_RECENT;
    it->physical = physical;
    it->virtual = virtual;
    it->date = date;
    it->cache = cache;
    box->waste += !it->present;
    if (it->present)
        view_add(box, it);
}

/* All or nothing. */
static bool load(struct mailbox *box, struct slice payload)
{
    struct index_reader r = { (const unsigned char *) payload.p, (const unsigned char *) payload.p + payload.len,
                              false };
    struct slice header;

    if (index_get(&r, 4) != SNAPSHOT_VERSION)
        return false;
    box->uids.uid_validity = (uint32_t) index_get(&r, 4);
    box->uids.next_uid = (uint32_t) index_get(&r, 4);
    box->uids.last_uid = (uint32_t) index_get(&r, 4);
    box->uids.version = (int) index_get(&r, 1);
    header = index_get_str(&r);
    box->uids.offset = index_get(&r, 8);
    box->uids.inode = index_get(&r, 8);
    box->uids.size = index_get(&r, 8);
    box->uids.mtime_ns = (int64_t) index_get(&r, 8);
    get_dir(&r, &box->cur);
    get_dir(&r, &box->new);
    box->modseq = index_get(&r, 8);
    box->tmp_checked = (int64_t) index_get(&r, 8);
    get_dovecot(&r, &box->dovecot);
    get_extra_keywords(box, &r);
    if (header.len >= sizeof box->uids.header || memchr(header.p, '\n', header.len))
        return false;
    memcpy(box->uids.header, header.p, header.len);
    box->uids.header[header.len] = '\0';
    uint64_t n = index_get(&r, 4);
    map_reserve(box->items, n < payload.len / ITEM_BYTES ? (size_t) n : payload.len / ITEM_BYTES);
    for (; n && !r.bad; n--)
        get_item(box, &r);
    view_sort(box, 0);
    for (uint32_t i = 1; i < box->count; i++)
        r.bad |= box->view[i - 1]->mail.uid == box->view[i]->mail.uid;
    r.bad |= box->uids.uid_validity == 0 || (box->uids.version != 1 && box->uids.version != 3) ||
             box->uids.last_uid >= box->uids.next_uid ||
             (box->count && box->view[box->count - 1]->mail.uid >= box->uids.next_uid);
    return !r.bad && r.p == r.end;
}

static void forget_all(struct mailbox *box)
{
    map_clear(box->items);
    box->count = box->recent = box->in_new = 0;
    memset(&box->uids, 0, sizeof box->uids);
    memset(&box->dovecot, 0, sizeof box->dovecot);
    box->cur = box->new = (struct dir_state){ .mtime_ns = -1 };
    for (size_t k = FILE_KEYWORDS; k < STORE_KEYWORDS_MAX; k++) {
        free(box->keywords[k]);
        box->keywords[k] = NULL;
    }
}

/* Is the uidlist still the one the snapshot was made with, or the same with lines added? */
static bool uidlist_matches(const struct mailbox *box)
{
    struct stat st;

    return fstatat(box->control_fd, UIDLIST_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           (uint64_t) st.st_ino == box->uids.inode && (uint64_t) st.st_size >= box->uids.size &&
           box->uids.offset <= box->uids.size &&
           ((uint64_t) st.st_size > box->uids.size || store_mtime_ns(&st) == box->uids.mtime_ns);
}

static void on_message(struct mailbox *box, uint64_t offset, struct slice payload)
{
    struct index_message m;
    struct item *it;

    if (!index_message_get(payload, &m) || m.base.len == 0)
        return;
    if ((it = map_get(box->items, m.base)) == NULL && (it = item_new(box, m.base)) == NULL)
        return;
    it->cache = offset;
    if (it->virtual == FILE_SIZE_UNKNOWN && (it->physical == FILE_SIZE_UNKNOWN || it->physical == m.physical))
        it->virtual = m.virtual;
}

static void on_record(void *ctx, enum index_type type, uint64_t offset, struct slice payload)
{
    struct mailbox *box = ctx;

    if (type == INDEX_MESSAGE) {
        on_message(box, offset, payload);
    } else if (map_count(box->items) == 0 && box->uids.version == 0) {
        if (!load(box, payload) || !uidlist_matches(box))
            forget_all(box);
    }
}

void snapshot_load(struct mailbox *box)
{
    if (index_open(&box->index, box->index_fd, false) < 0)
        return;
    snapshot_tail(box);
}

void snapshot_tail(struct mailbox *box)
{
    if (box->index.fd >= 0 && index_replaced(&box->index, box->index_fd)) {
        index_close(&box->index);
        if (index_open(&box->index, box->index_fd, false) < 0)
            return;
    }
    if (box->index.fd >= 0)
        (void) index_read(&box->index, on_record, box);
}
