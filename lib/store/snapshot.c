/*
 * snapshot - the state of a mailbox as the index keeps it, so that opening one that did not change reads no directory
 *
 * It is two records: the items, and behind them a head of some hundred bytes with their number and place. To select a
 * mailbox the head is enough; the items are read when somebody asks for a message.
 *
 * Callers     store/mailbox.c, store/scan.c, store/message.c
 * Invariants  a snapshot is believed only for the UIDVALIDITY it names, and each part only while file or directory
 *             have the mtime noted in it; every length is checked
 * Errors      none: without a snapshot the directories are read
 */
#include "base/log.h"
#include "base/mem.h"
#include "store/internal.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { DIRTY = 1, SUMMED = 2 };
enum { SNAPSHOT_VERSION = 6, PRESENT = 1, IN_NEW = 2, UNCHECKED = 4, COMPACT_BYTES = 1 << 20 };

/* What will be in the view of who reads the items back: recent is then what lies in new/. */
static void summarize(const struct mailbox *box, struct mailbox_summary *out)
{
    *out = (struct mailbox_summary){ 0 };
    for (uint32_t i = 0; i < box->count; i++) {
        const struct item *it = box->view[i];
        if (it->ghost || it->mail.uid == 0 || !it->present)
            continue;
        out->count++;
        out->recent += it->in_new;
        out->unseen += !(it->mail.flags & MAIL_SEEN);
        if (!(it->mail.flags & MAIL_SEEN) && out->first_unseen == 0)
            out->first_unseen = out->count;
    }
}

static void put_dir(struct str *out, const struct dir_state *d)
{
    index_put(out, (uint64_t) d->mtime_ns, 8);
    index_put(out, (d->dirty ? DIRTY : 0u) | (d->summed ? SUMMED : 0u), 1);
    index_put(out, d->sum, 8);
}

static void get_dir(struct index_reader *r, struct dir_state *d)
{
    d->mtime_ns = (int64_t) index_get(r, 8);
    uint64_t bits = index_get(r, 1);
    d->dirty = bits & DIRTY;
    d->summed = bits & SUMMED;
    d->sum = index_get(r, 8);
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

/* Of fixed size, so that 50,000 of them are read in a few milliseconds; the texts follow, each with its NUL. */
struct packed_item {
    uint64_t keywords, modseq, physical, virtual, cache;
    int64_t date;
    uint32_t uid;
    uint16_t name_bytes, keys_bytes, base_len; /* bytes: with the NUL; 0: no text */
    uint8_t state, flags;
} __attribute__((packed));

static void put_item(struct str *out, const struct item *it)
{
    size_t name = strlen(it->name) + 1, keys = it->keys ? strlen(it->keys) + 1 : 0;
    struct packed_item p = {
        .keywords = htole64(it->mail.keywords),
        .modseq = htole64(it->mail.modseq),
        .physical = htole64(it->physical),
        .virtual = htole64(it->virtual),
        .cache = htole64(it->cache),
        .date = (int64_t) htole64((uint64_t) it->date),
        .uid = htole32(it->mail.uid),
        .name_bytes = htole16((uint16_t) name),
        .keys_bytes = htole16((uint16_t) keys),
        .base_len = htole16(it->base_len),
        .state = (uint8_t) ((it->present ? PRESENT : 0u) | (it->in_new ? IN_NEW : 0u) |
                            (it->unchecked ? UNCHECKED : 0u)),
        .flags = it->mail.flags & MAIL_SETTABLE,
    };

    str_add(out, (const char *) &p, sizeof p);
    str_add(out, it->name, name);
    str_add(out, it->keys, keys);
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

/* All items are in the block, and those that are not in the view, too. */
static bool unmapped(const struct mailbox *box) { return box->block && !box->mapped; }

static void save_offsets(struct mailbox *box)
{
    uint64_t **offsets;
    struct slice key;
    void *value;
    size_t n = 0;

    offsets = mem_array(map_count(view_items(box)) + 1, sizeof *offsets);
    for (uint32_t i = 0; i < box->count; i++) /* in this order they will be asked for again */
        if (!box->view[i]->ghost)
            offsets[n++] = &box->view[i]->cache;
    for (size_t at = 0; map_next(box->items, &at, &key, &value);)
        if (!((struct item *) value)->in_view)
            offsets[n++] = &((struct item *) value)->cache;
    (void) index_compact(&box->index, box->index_fd, offsets, n);
    free(offsets);
}

static void put_head(struct mailbox *box, struct str *out, uint32_t count, uint64_t items_at)
{
    struct mailbox_summary sum;

    summarize(box, &sum);
    index_put(out, SNAPSHOT_VERSION, 4);
    index_put(out, box->uids.uid_validity, 4);
    index_put(out, box->uids.next_uid, 4);
    index_put(out, box->uids.last_uid, 4);
    index_put(out, (uint64_t) box->uids.version, 1);
    index_put_str(out, slice_of(box->uids.header));
    index_put(out, box->uids.offset, 8);
    index_put(out, box->uids.inode, 8);
    index_put(out, box->uids.size, 8);
    index_put(out, (uint64_t) box->uids.mtime_ns, 8);
    put_dir(out, &box->cur);
    put_dir(out, &box->new);
    index_put(out, box->modseq, 8);
    index_put(out, (uint64_t) box->tmp_checked, 8);
    put_dovecot(out, &box->dovecot);
    put_extra_keywords(box, out);
    index_put(out, sum.count, 4);
    index_put(out, sum.recent, 4);
    index_put(out, sum.unseen, 4);
    index_put(out, sum.first_unseen, 4);
    index_put(out, count, 4);
    index_put(out, items_at, 8);
}

void snapshot_save(struct mailbox *box)
{
    struct stat st;
    struct str out;
    struct slice key;
    void *value;
    uint64_t at_offset, items_at = 0;
    uint32_t count = 0;
    bool good;

    /* Files that were found and not shown yet have no UID, or no place in the view: to a snapshot with the directories'
     * times they would be missing. Of those on their way nobody would know what Dovecot's log says. The one of before is
     * good, and has the directories read. */
    if (box->uids.version == 0 || box->dormant || box->pending_count || scan_uid_limit(box) < box->uids.next_uid)
        return;
    if (box->index.fd < 0 && index_open(&box->index, box->index_fd, true) < 0)
        return;
    scan_ask(box);
    message_flush(box);
    snapshot_tail(box);
    /* Snapshots of the past and records of the expunged: start a new file when they are most of it. */
    if (fstat(box->index.fd, &st) == 0 && st.st_size > COMPACT_BYTES &&
        (uint64_t) st.st_size > 4096 * (uint64_t) (unmapped(box) ? box->block_count : map_count(box->items)))
        save_offsets(box);
    if (box->index.fd < 0)
        return;
    str_init(&out, INDEX_ITEMS_BYTES);
    for (uint32_t i = 0; i < box->count; i++) /* by uid: reading it back then sorts nothing */
        if (!box->view[i]->ghost && box->view[i]->mail.uid && ++count)
            put_item(&out, box->view[i]);
    for (uint32_t i = 0; unmapped(box) && i < box->block_count; i++)
        if (!box->block[i].in_view && ++count)
            put_item(&out, &box->block[i]);
    for (size_t at = 0; map_next(box->items, &at, &key, &value);)
        if (((struct item *) value)->mail.uid && !((struct item *) value)->in_view && ++count)
            put_item(&out, value);
    good = !str_over(&out) && index_append(&box->index, box->index_fd, INDEX_ITEMS, str_slice(&out), &items_at) == 0;
    str_free(&out);
    str_init(&out, INDEX_RECORD_BYTES);
    if (good)
        put_head(box, &out, count, items_at);
    if (good && index_append(&box->index, box->index_fd, INDEX_SNAPSHOT, str_slice(&out), &at_offset) == 0) {
        box->index_stale = false;
        box->index_kept = true;
    }
    str_free(&out);
}

/* One of the index's items; *p moves behind it. A mail user can write them: nothing is taken that could do more harm
 * than show a message wrongly. */
static bool get_item(struct mailbox *box, struct item *it, char **p, const char *end)
{
    struct packed_item k;

    if ((size_t) (end - *p) < sizeof k)
        return false;
    memcpy(&k, *p, sizeof k);
    char *name = *p + sizeof k;
    size_t name_bytes = le16toh(k.name_bytes), keys_bytes = le16toh(k.keys_bytes), base = le16toh(k.base_len);
    if (name_bytes < 2 || name_bytes > FILE_NAME_BYTES + 1 || keys_bytes > UIDLIST_LINE_BYTES ||
        (size_t) (end - name) < name_bytes + keys_bytes || memchr(name, '\0', name_bytes) != name + name_bytes - 1 ||
        memchr(name, '/', name_bytes) || base == 0 || base >= name_bytes || (name[base] != ':' && name[base] != '\0'))
        return false;
    char *keys = name + name_bytes;
    if (keys_bytes && (memchr(keys, '\0', keys_bytes) != keys + keys_bytes - 1 || memchr(keys, '\n', keys_bytes)))
        return false;
    *p = keys + keys_bytes;
    *it = (struct item){
        .mail = { .uid = le32toh(k.uid),
                  .flags = k.flags & MAIL_SETTABLE,
                  .modseq = le64toh(k.modseq),
                  .keywords = le64toh(k.keywords) },
        .name = name,
        .keys = keys_bytes ? keys : NULL,
        .base_len = (uint16_t) base,
        .in_block = true,
        .name_lent = true,
        .keys_lent = true,
        .unchecked = (k.state & UNCHECKED) != 0,
        .physical = le64toh(k.physical),
        .virtual = le64toh(k.virtual),
        .date = (int64_t) le64toh((uint64_t) k.date),
        .cache = le64toh(k.cache),
    };
    item_place(box, it, k.state & PRESENT, k.state & IN_NEW);
    if (it->in_new)
        it->mail.flags |= MAIL_RECENT;
    box->waste += !it->present;
    if (it->present)
        view_add(box, it);
    return it->mail.uid > 0;
}

static bool get_items(struct mailbox *box, size_t len)
{
    char *p = box->texts, *end = box->texts + len;
    uint32_t last = 0;

    for (uint32_t i = 0; i < box->block_count; i++) {
        if (!get_item(box, &box->block[i], &p, end) || box->block[i].mail.uid >= box->uids.next_uid)
            return false;
        if (box->block[i].present && box->block[i].mail.uid <= last)
            return false;
        if (box->block[i].present)
            last = box->block[i].mail.uid;
    }
    return p == end;
}

static void forget_all(struct mailbox *box)
{
    message_flush(box);
    box->count = box->recent = box->in_new = 0;
    map_clear(box->items);
    free(box->block);
    free(box->texts);
    box->block = NULL;
    box->texts = NULL;
    box->block_count = 0;
    box->dormant = box->mapped = box->index_kept = false;
    memset(&box->uids, 0, sizeof box->uids);
    memset(&box->dovecot, 0, sizeof box->dovecot);
    box->cur = box->new = (struct dir_state){ .mtime_ns = -1 };
    for (size_t k = FILE_KEYWORDS; k < STORE_KEYWORDS_MAX; k++) {
        free(box->keywords[k]);
        box->keywords[k] = NULL;
    }
}

enum store_why snapshot_load(struct mailbox *box)
{
    struct mailbox_summary now;
    size_t len = 0;

    if (!box->dormant)
        return STORE_OK;
    box->dormant = false;
    if (index_fetch_items(&box->index, box->items_at, &box->texts, &len) == 0 &&
        box->block_count <= len / sizeof(struct packed_item)) {
        box->block = mem_array(box->block_count + 1u, sizeof *box->block);
        if (get_items(box, len)) {
            snapshot_tail(box);
            summarize(box, &now);
            if (memcmp(&now, &box->summary, sizeof now) == 0)
                return STORE_OK;
        }
    }
    log_warn("%s: %s is damaged: made anew", box->path, INDEX_NAME);
    (void) unlinkat(box->index_fd, INDEX_NAME, 0);
    index_close(&box->index);
    forget_all(box);
    return store_fail(box->store, STORE_DAMAGED, "%s: the index is damaged", box->path);
}

/* All but the items. */
static bool get_head(struct mailbox *box, struct slice payload)
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
    box->summary.count = (uint32_t) index_get(&r, 4);
    box->summary.recent = (uint32_t) index_get(&r, 4);
    box->summary.unseen = (uint32_t) index_get(&r, 4);
    box->summary.first_unseen = (uint32_t) index_get(&r, 4);
    box->to_move = box->summary.recent > 0; /* by a session that only read */
    box->block_count = (uint32_t) index_get(&r, 4);
    box->items_at = index_get(&r, 8);
    if (r.bad || r.p != r.end || header.len >= sizeof box->uids.header || memchr(header.p, '\n', header.len))
        return false;
    memcpy(box->uids.header, header.p, header.len);
    box->uids.header[header.len] = '\0';
    return box->uids.uid_validity && (box->uids.version == 1 || box->uids.version == 3) &&
           box->uids.last_uid < box->uids.next_uid && box->summary.count <= box->block_count &&
           box->block_count <= STORE_MESSAGES_MAX;
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
    if ((it = map_get(view_items(box), m.base)) == NULL && (it = item_new(box, m.base)) == NULL)
        return;
    it->cache = offset;
    if (it->virtual == FILE_SIZE_UNKNOWN && (it->physical == FILE_SIZE_UNKNOWN || it->physical == m.physical))
        it->virtual = m.virtual;
}

static void on_record(void *ctx, enum index_type type, uint64_t offset, struct slice payload)
{
    if (type == INDEX_MESSAGE)
        on_message(ctx, offset, payload);
}

static void on_snapshot(void *ctx, enum index_type type, uint64_t offset, struct slice payload)
{
    struct mailbox *box = ctx;

    (void) offset;
    if (type == INDEX_SNAPSHOT && get_head(box, payload) && uidlist_matches(box))
        box->dormant = box->index_kept = true;
    else
        forget_all(box);
}

void snapshot_open(struct mailbox *box)
{
    if (index_open(&box->index, box->index_fd, false) < 0)
        return;
    (void) index_read_snapshot(&box->index, on_snapshot, box);
    if (!box->dormant)
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
