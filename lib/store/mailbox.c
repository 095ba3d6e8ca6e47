/*
 * mailbox - see mailbox.h: opening, closing, flags, expunge
 *
 * Callers     imapd, pop3d, lib/deliver
 * Invariants  a flag is stored by renaming the file: what the client was told is what the directory says
 * Errors      enum store_why
 */
#include "store/mailbox.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/dotlock.h"
#include "store/internal.h"
#include "store/journal.h"
#include "store/message.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEEP_MESSAGES = 1000, TMP_CHECK_SECONDS = 7 * 86400, TMP_OLD_SECONDS = 36 * 3600 };

static int open_dir(int at, const char *path)
{
    return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* Once a week: files of deliveries that died. */
static void clean_tmp(struct mailbox *box)
{
    int64_t now = time_now();
    struct dirent *e;
    struct stat st;
    int fd;
    DIR *dir;

    if (now - box->tmp_checked < TMP_CHECK_SECONDS && now >= box->tmp_checked)
        return;
    box->tmp_checked = now;
    box->index_stale = true;
    if ((fd = open_dir(box->fd, "tmp")) < 0)
        return;
    if ((dir = fdopendir(fd)) == NULL) {
        close(fd);
        return;
    }
    while ((e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.' && fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            now - st.st_atime > TMP_OLD_SECONDS && now - st.st_ctime > TMP_OLD_SECONDS)
            (void) unlinkat(fd, e->d_name, 0);
    closedir(dir);
}

static bool on_another(int fd, int other)
{
    struct stat a, b;

    return fd != other && (fstat(fd, &a) < 0 || fstat(other, &b) < 0 || a.st_dev != b.st_dev);
}

/* What a journal holds comes first. Where it cannot, the mailbox is not open, and not because there is none. */
static int restore(struct mailbox *box)
{
    if (journal_restore(box->fd, box->control_fd, strcmp(box->path, ".") ? box->path : box->store->root) == 0)
        return 0;
    int keep = errno == ENOENT || errno == ENOTDIR ? EIO : errno;
    close(box->cur_fd);
    box->cur_fd = -1;
    errno = keep;
    return -1;
}

/* Some may have been lost in a copy, or never made. errno of what is missing, or 0. */
static int open_parts(struct mailbox *box)
{
    static const char *const parts[] = { "tmp", "new", "cur" };
    int unmade = ENOENT;

    for (size_t i = 0; i < 3; i++)
        if (mkdirat(box->fd, parts[i], 0700) < 0 && errno != EEXIST)
            unmade = errno;
    if ((box->cur_fd = open_dir(box->fd, "cur")) >= 0 && (box->new_fd = open_dir(box->fd, "new")) >= 0)
        return 0;
    return errno == ENOENT ? unmade : errno;
}

struct mailbox *mailbox_handle(struct store *st, const char *path, const char *name, bool read_only)
{
    struct mailbox *box = mem_new(sizeof *box);
    int why;

    box->store = st;
    box->name = mem_strdup(name);
    box->path = mem_strdup(path);
    box->read_only = read_only;
    box->items = map_new(STORE_MESSAGES_MAX, item_free);
    box->cur = box->new = (struct dir_state){ .mtime_ns = -1 };
    box->index.fd = box->cur_fd = box->new_fd = -1;
    box->fd = box->control_fd = box->index_fd = store_open_mail(st, path);
    if (box->fd >= 0 && (!st->places.fs || strcmp(path, ".") == 0 || store_is_mailbox(st, path))) {
        why = open_parts(box);
        box->local = file_one_journal(box->fd);
        if (st->places.control_fd > 0)
            box->control_fd = store_open_elsewhere(st, st->places.control_fd, path);
        if (why == 0 && box->control_fd < 0)
            why = errno;
        box->apart = on_another(box->fd, box->control_fd);
        if (st->places.index_fd > 0)
            box->index_fd = store_open_elsewhere(st, st->places.index_fd, path);
        if (st->places.no_index)
            box->index_fd = -1;
        if (!mailbox_is_open(box))
            errno = why;
        else if (restore(box) == 0)
            together_join(box);
    } else if (box->fd >= 0) {
        errno = ENOENT;
    }
    return box;
}

bool mailbox_is_open(const struct mailbox *box)
{
    return box->fd >= 0 && box->cur_fd >= 0 && box->new_fd >= 0 && box->control_fd >= 0;
}

enum store_why mailbox_open_path(struct store *st, const char *path, const char *name, bool read_only,
                                 struct mailbox **out)
{
    const struct mailbox_changes *changes;
    struct mailbox *box = mailbox_handle(st, path, name, read_only);
    enum store_why why;

    *out = NULL;
    if (!mailbox_is_open(box)) {
        why = errno == ENOENT || errno == ENOTDIR ? store_fail(st, STORE_NONEXISTENT, "%s: no such mailbox", name)
                                                  : store_fail_errno(st, "open", path);
        mailbox_close(&box);
        return why;
    }
    box->viewed = true;
    snapshot_open(box);
    scan_doubt(box, true);
    scan_doubt(box, false);
    if (!read_only)
        clean_tmp(box);
    if ((why = mailbox_sync(box, false, &changes)) != STORE_OK) {
        mailbox_close(&box);
        return why;
    }
    box->changes.count = 0;
    box->shown = true;
    *out = box;
    return STORE_OK;
}

enum store_why mailbox_load(struct mailbox *box)
{
    struct mailbox_summary told = box->summary;
    enum store_why why;

    if (!box->dormant)
        return STORE_OK;
    if ((why = snapshot_load(box)))
        return why;
    box->told_count = told.count;
    box->told_recent = told.recent;
    return STORE_OK;
}

enum store_why mailbox_open(struct store *st, const char *name, bool read_only, struct mailbox **out)
{
    enum store_why why = mailbox_open_lazily(st, name, read_only, out);

    if (why || *out == NULL || mailbox_load(*out) == STORE_OK)
        return why;
    mailbox_close(out);
    return mailbox_open_lazily(st, name, read_only, out); /* without the index, which was damaged */
}

enum store_why mailbox_open_lazily(struct store *st, const char *name, bool read_only, struct mailbox **out)
{
    char *path = store_path(st, name);
    enum store_why why;

    *out = NULL;
    if (path == NULL)
        return store_fail(st, STORE_BAD_NAME, "not a mailbox name");
    why = mailbox_open_path(st, path, name, read_only, out);
    if (why == STORE_NONEXISTENT && store_exists(st, name) == STORE_NOSELECT)
        why = STORE_NOSELECT;
    free(path);
    return why;
}

bool mailbox_unkept(const struct mailbox *box)
{
    return box->viewed && !box->index_kept && box->index_stale && box->count >= KEEP_MESSAGES;
}

void mailbox_keep(struct mailbox *box) { snapshot_save(box); }

void mailbox_close(struct mailbox **pbox)
{
    struct mailbox *box = *pbox;

    if (box == NULL)
        return;
    message_trim(box);
    together_leave(box);
    if (box->viewed && box->index_stale && box->fd >= 0 && mailbox_load(box) == STORE_OK)
        snapshot_save(box);
    for (uint32_t i = 0; i < box->count; i++)
        if (box->view[i]->ghost)
            item_free(box->view[i]);
    map_free(&box->items);
    for (uint32_t i = 0; box->block && i < box->block_count; i++)
        item_free(&box->block[i]);
    free(box->block);
    free(box->texts);
    for (size_t k = 0; k < STORE_KEYWORDS_MAX; k++)
        free(box->keywords[k]);
    index_close(&box->index);
    if (box->cur_fd >= 0)
        close(box->cur_fd);
    if (box->new_fd >= 0)
        close(box->new_fd);
    if (box->control_fd >= 0 && box->control_fd != box->fd)
        close(box->control_fd);
    if (box->index_fd >= 0 && box->index_fd != box->fd)
        close(box->index_fd);
    if (box->fd >= 0)
        close(box->fd);
    free(box->view);
    free(box->pending);
    free(box->awaited);
    free(box->changes.events);
    free(box->name);
    free(box->path);
    free(box);
    *pbox = NULL;
}

bool mailbox_unsettled(const struct mailbox *box) { return box->cur.dirty || box->new.dirty; }
bool mailbox_named(const struct mailbox *box, const char *name)
{
    char *path = store_path(box->store, name);
    bool same = path && strcmp(path, box->path) == 0;

    free(path);
    return same;
}

const char *mailbox_name(const struct mailbox *box) { return box->name; }
bool mailbox_read_only(const struct mailbox *box) { return box->read_only; }
int mailbox_directory(const struct mailbox *box, bool in_new)
{
    return openat(in_new ? box->new_fd : box->cur_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

uint32_t mailbox_uid_validity(const struct mailbox *box) { return box->uids.uid_validity; }
uint32_t mailbox_uid_next(const struct mailbox *box) { return box->uids.next_uid; }

static int rename_item(struct mailbox *box, struct item *it, uint8_t flags, uint64_t keywords)
{
    struct file_name f;
    struct str name;
    int ret = -1;

    str_init(&name, 1024);
    for (int tries = 0; tries < 3 && ret < 0; tries++) {
        if (!file_name_parse(it->name, &f))
            break;
        str_reset(&name);
        file_name_build(&name, f.base, flags, (uint32_t) (keywords & ((1u << FILE_KEYWORDS) - 1)), f.info);
        if (name.len > FILE_NAME_BYTES) {
            errno = ENAMETOOLONG;
            break;
        }
        if (!it->in_new && strcmp(name.p, it->name) == 0)
            ret = 0;
        else if ((ret = scan_rename(box, it, name.p)) < 0 && (errno != ENOENT || scan_refind(box, it) < 0))
            break;
    }
    str_free(&name);
    return ret;
}

/* One message. Another session's file changes since the last sync are built upon, not undone. */
static enum store_why store_one(struct mailbox *box, struct item *it, const struct mail_change *c, uint64_t bits,
                                struct extra_change *more)
{
    uint8_t mine = c->flags & MAIL_SETTABLE, flags;
    uint64_t keywords;

    flags = (uint8_t) (c->how == MAIL_SET   ? mine
                       : c->how == MAIL_ADD ? it->mail.flags | mine
                                            : it->mail.flags & ~mine);
    flags &= MAIL_SETTABLE;
    keywords = c->how == MAIL_SET ? bits : c->how == MAIL_ADD ? it->mail.keywords | bits : it->mail.keywords & ~bits;
    if (flags == (it->mail.flags & MAIL_SETTABLE) && keywords == it->mail.keywords)
        return STORE_OK;
    if (rename_item(box, it, flags, keywords) < 0) {
        if (errno == ENOENT) {
            item_gone(box, it);
            return STORE_OK;
        }
        return store_fail_errno(box->store, "rename in", box->path);
    }
    uint64_t differ = (keywords ^ it->mail.keywords) >> FILE_KEYWORDS << FILE_KEYWORDS;
    *more = (struct extra_change){ it->mail.uid, keywords & differ, it->mail.keywords & differ };
    it->mail.flags = (uint8_t) ((it->mail.flags & MAIL_RECENT) | flags);
    it->mail.keywords = keywords;
    it->mail.modseq = mailbox_next_modseq(box);
    it->changed = false;
    if (!c->silent)
        item_changed(box, it);
    return STORE_OK;
}

enum store_why mailbox_store(struct mailbox *box, const uint32_t *seqs, size_t n, const struct mail_change *c)
{
    struct extra_change *extra;
    enum store_why why;
    bool quiet_cur, quiet_new;
    uint64_t bits;
    size_t more = 0;

    if (box->read_only)
        return STORE_READ_ONLY;
    if ((why = keywords_bits(box, c->keywords, c->how != MAIL_REMOVE, &bits)))
        return why;
    if ((box->lock_fd = together_lock(box)) < 0) /* who scans must not miss what is renamed */
        return store_fail_errno(box->store, "lock", box->path);
    extra = mem_array(n + 1, sizeof *extra);
    quiet_cur = scan_before(box, false);
    quiet_new = scan_before(box, true);
    for (size_t i = 0; i < n && why == STORE_OK; i++) {
        struct item *it = view_item(box, seqs[i]);
        extra[more] = (struct extra_change){ 0 };
        if (it && !it->mail.gone)
            why = store_one(box, it, c, bits, &extra[more]);
        more += extra[more].add || extra[more].remove;
    }
    scan_after(box, false, quiet_cur);
    scan_after(box, true, quiet_new);
    enum store_why told = extra_changed(box, extra, more);
    scan_unlock(box);
    free(extra);
    return why ? why : told;
}

static enum store_why remove_one(struct mailbox *box, struct item *it)
{
    for (int tries = 0; tries < 3; tries++) {
        if (unlinkat(it->in_new ? box->new_fd : box->cur_fd, it->name, 0) == 0) {
            scan_changed(box, it->in_new, it->name, NULL);
            break;
        }
        if (errno != ENOENT)
            return store_fail_errno(box->store, "remove from", box->path);
        if (scan_refind(box, it) < 0)
            break;
    }
    item_gone(box, it);
    (void) mailbox_next_modseq(box);
    return STORE_OK;
}

static enum store_why remove_some(struct mailbox *box, const uint32_t *seqs, size_t n, bool only_deleted)
{
    bool quiet_cur, quiet_new;
    enum store_why why = STORE_OK;

    if (box->read_only)
        return STORE_READ_ONLY;
    quiet_cur = scan_before(box, false);
    quiet_new = scan_before(box, true);
    for (size_t i = 0; i < (seqs ? n : box->count) && why == STORE_OK; i++) {
        struct item *it = view_item(box, seqs ? seqs[i] : (uint32_t) i + 1);
        if (it && !it->mail.gone && (!only_deleted || (it->mail.flags & MAIL_DELETED)))
            why = remove_one(box, it);
    }
    scan_after(box, false, quiet_cur);
    scan_after(box, true, quiet_new);
    return why;
}

enum store_why mailbox_expunge(struct mailbox *box, const uint32_t *seqs, size_t n)
{
    return remove_some(box, seqs, n, true);
}

enum store_why mailbox_remove(struct mailbox *box, const uint32_t *seqs, size_t n)
{
    return remove_some(box, seqs, n, false);
}
