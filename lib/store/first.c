/*
 * first - the first look at a Maildir that nobody has listed: all of cur/ gets UIDs at once
 *
 * What scan.c does for each file - an item, its texts, its place in the map - is most of the work in a large Maildir.
 * Here the names are read, put in order of arrival and made into one block of items, as a snapshot's are: the map is
 * made when somebody asks for it, and who goes through the messages by UID goes through memory in order.
 *
 * Callers     store/scan.c
 * Invariants  under the uidlist's lock; only where no item is known and the uidlist is empty; a Maildir with anything
 *             in it that is not plain (mail in new/, what is no file, two files of one base name) is left to scan.c
 * Errors      enum store_why
 */
#include "base/mem.h"
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct name {
    uint64_t seconds, micros;
    const char *p;
    uint16_t len, base_len;
};
struct names {
    struct str text; /* each with its NUL */
    struct name *list;
    size_t count, room;
    bool plain;
};

static void add_name(struct names *all, const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    const char *colon = memchr(e->d_name, ':', len);
    struct name n = { .len = (uint16_t) len, .base_len = (uint16_t) (colon ? (size_t) (colon - e->d_name) : len) };

    if (e->d_type != DT_REG || n.base_len == 0 || len > FILE_NAME_BYTES || all->count == STORE_MESSAGES_MAX) {
        all->plain = false;
        return;
    }
    file_name_arrival(e->d_name, &n.seconds, &n.micros);
    if (all->count == all->room) {
        all->room = all->room ? all->room * 2 : 1024;
        all->list = mem_grow(all->list, all->room, sizeof *all->list);
    }
    all->list[all->count++] = n;
    str_add(&all->text, e->d_name, len + 1);
}

/* all: NULL: is it empty? false: it is not plain, or cannot be read. */
static bool read_names(struct mailbox *box, bool in_new, struct names *all)
{
    int fd = openat(box->fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    bool plain = true;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    scan_begin(box, in_new, fd);
    while (plain && (errno = 0, e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        sum_add(box, in_new, e->d_name);
        if (all)
            add_name(all, e);
        plain = all && all->plain;
    }
    plain = plain && errno == 0;
    closedir(dir);
    return plain;
}

static int by_arrival(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order;

    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? -1 : 1;
    if (x->micros != y->micros)
        return x->micros < y->micros ? -1 : 1;
    order = memcmp(x->p, y->p, x->base_len < y->base_len ? x->base_len : y->base_len);
    return order ? order : (int) x->base_len - (int) y->base_len;
}

/* By arrival; false: two files of one base name. */
static bool put_in_order(struct names *all)
{
    const char *p = all->text.p;

    for (size_t i = 0; i < all->count; p += all->list[i++].len + 1)
        all->list[i].p = p;
    qsort(all->list, all->count, sizeof *all->list, by_arrival);
    for (size_t i = 1; i < all->count; i++)
        if (by_arrival(&all->list[i - 1], &all->list[i]) == 0)
            return false;
    return true;
}

static bool make_items(struct mailbox *box, const struct names *all)
{
    uint64_t modseq = mailbox_next_modseq(box);
    struct file_name f;
    char *text;

    box->block = mem_array(all->count, sizeof *box->block);
    box->texts = text = mem_array(all->text.len, 1);
    for (size_t i = 0; i < all->count; i++) {
        const struct name *n = &all->list[i];
        struct item *it = &box->block[i];
        memcpy(text, n->p, n->len + 1u);
        if (!file_name_parse(text, &f))
            return false;
        *it = (struct item){
            .mail = { .flags = f.flags, .keywords = f.keywords, .modseq = modseq },
            .name = text,
            .base_len = n->base_len,
            .in_block = true,
            .name_lent = true,
            .keys_lent = true,
            .listed = box->listing,
            .scan = box->scan,
            .physical = f.physical,
            .virtual = f.virtual,
            .unchecked = f.physical != FILE_SIZE_UNKNOWN,
            .date = DATE_UNKNOWN,
        };
        text += n->len + 1;
        box->block_count++;
        item_place(box, it, true, false);
        view_add(box, it);
    }
    return true;
}

static void forget(struct mailbox *box)
{
    free(box->block);
    free(box->texts);
    box->block = NULL;
    box->texts = NULL;
    box->block_count = box->count = 0;
    box->cur.mtime_ns = box->new.mtime_ns = -1;
}

enum store_why first_look(struct mailbox *box)
{
    struct names all = { .plain = true };
    enum store_why why = STORE_OK;
    bool good = false;

    if (box->block || map_count(box->items) || box->uids.version != 3 || box->uids.last_uid)
        return STORE_OK;
    str_init(&all.text, STR_UNLIMITED);
    if (read_names(box, true, NULL) && read_names(box, false, &all) && all.count && put_in_order(&all) &&
        make_items(box, &all)) {
        extra_skip_given(box);
        why = assign_uids(box, box->view, box->count);
        good = why == STORE_OK;
    }
    if (!good)
        forget(box);
    str_free(&all.text);
    free(all.list);
    return why;
}
