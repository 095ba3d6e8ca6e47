/*
 * assign - UIDs for messages that have none: lines behind the uidlist's others, or the whole list made anew
 *
 * Callers     store/scan.c, store/first.c, store/save.c
 * Invariants  under the uidlist's lock, after catching up with it; a UID counts once its line is on disk
 *             records of files that are gone stay until they are a quarter of the list: giving one UID costs the same
 *             in any mailbox
 * Errors      enum store_why; assign_rewrite -1 with errno
 */
#include "base/mem.h"
#include "base/time.h"
#include "store/internal.h"

#include <stdlib.h>

enum { WASTE_SECONDS = 3600, WASTE_RECORDS = 100 };

static int by_uid(const void *a, const void *b)
{
    const struct item *x = *(struct item *const *) a, *y = *(struct item *const *) b;

    return x->mail.uid < y->mail.uid ? -1 : x->mail.uid > y->mail.uid;
}

/* May the record go? Not one that another process wrote a moment ago, its file perhaps still on the way. */
static bool is_waste(const struct item *it)
{
    return !it->present && (it->told_gone || time_now() - it->born > WASTE_SECONDS);
}

/* Looks only when as many lost their file as could make a difference: giving one UID costs the same in any mailbox. */
static bool mostly_waste(struct mailbox *box)
{
    struct slice key;
    void *value;
    size_t waste = 0;

    if (box->waste <= WASTE_RECORDS)
        return false;
    box->waste = 0;
    for (size_t at = 0; map_next(view_items(box), &at, &key, &value);)
        waste += ((struct item *) value)->mail.uid && is_waste(value);
    return waste > WASTE_RECORDS && waste > map_count(view_items(box)) / 4;
}

/* Writes the whole list. */
int assign_rewrite(struct mailbox *box)
{
    struct item **all = mem_array(map_count(view_items(box)) + 1, sizeof(void *));
    struct slice key;
    struct str lines;
    void *value;
    size_t n = 0;
    int ret;

    for (size_t at = 0; map_next(view_items(box), &at, &key, &value);)
        if (((struct item *) value)->mail.uid && !is_waste(value))
            all[n++] = value;
    qsort(all, n, sizeof(void *), by_uid);
    str_init(&lines, STR_UNLIMITED);
    for (size_t i = 0; i < n; i++)
        uidlist_line(&lines, all[i]->mail.uid, slice_of(all[i]->keys ? all[i]->keys : ""), item_base(all[i]));
    ret = uidlist_rewrite(&box->uids, box->control_fd, str_slice(&lines));
    str_free(&lines);
    free(all);
    return ret;
}

enum store_why assign_uids(struct mailbox *box, struct item **items, size_t n)
{
    uint32_t first = box->uids.next_uid;
    struct str lines;
    int ret;

    if (n == 0)
        return STORE_OK;
    if (n >= UINT32_MAX - first)
        return store_fail(box->store, STORE_FAILED, "%s: out of UIDs", box->path);
    str_init(&lines, STR_UNLIMITED);
    for (size_t i = 0; i < n; i++) {
        items[i]->mail.uid = box->uids.next_uid++;
        items[i]->listed = box->listing;
        items[i]->told_gone = false;
        uidlist_line(&lines, items[i]->mail.uid, slice_of(items[i]->keys ? items[i]->keys : ""), item_base(items[i]));
    }
    ret = box->uids.version == 3 && !mostly_waste(box)
              ? uidlist_append(&box->uids, box->control_fd, str_slice(&lines), -1)
              : assign_rewrite(box);
    str_free(&lines);
    if (ret < 0) {
        enum store_why why = store_fail_errno(box->store, "write uidlist of", box->path);
        for (size_t i = 0; i < n; i++)
            items[i]->mail.uid = 0;
        box->uids.next_uid = first;
        return why;
    }
    box->uids.last_uid = box->uids.next_uid - 1;
    box->index_stale = true;
    return STORE_OK;
}
