/*
 * copy - messages from one mailbox to another: hard links where the file system allows
 *
 * Callers     imapd (COPY, MOVE)
 * Invariants  all or none: what was linked goes again when a step fails; a moved message is removed from its old
 *             place only after its new UID is on disk: a crash leaves two, never none
 *             each gets a base name of its own: the target may hold the old one with whatever flags behind it (Dovecot
 *             keeps it in copies); what was moved keeps its GUID, in the uidlist
 * Errors      enum store_why; messages that are gone are left out
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/internal.h"
#include "store/journal.h"
#include "store/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* File systems without hard links, and the limit of links. */
static int copy_bytes(int from_dir, const char *from, int box_fd, int to_dir, const char *to)
{
    enum { PIECE_BYTES = 65536 };
    char *buf = mem_new(PIECE_BYTES);
    struct stat st;
    struct str tmp;
    ssize_t n = 0;
    int keep, out = -1, in = openat(from_dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (in < 0) {
        free(buf);
        return -1;
    }
    str_init(&tmp, 1024);
    str_adds(&tmp, "tmp/");
    file_name_new(&tmp, FILE_SIZE_UNKNOWN, FILE_SIZE_UNKNOWN);
    out = openat(box_fd, tmp.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    while (out >= 0 && (n = file_read_all(in, buf, PIECE_BYTES)) > 0)
        if (file_write_all(out, buf, (size_t) n) < 0) {
            n = -1;
            break;
        }
    if (out >= 0 && n == 0 && fstat(in, &st) == 0) {
        struct timespec times[2] = { st.st_atim, st.st_mtim };
        (void) futimens(out, times);
        /* renamed, then synced: the other order leaves the message in tmp/ after a power cut */
        n = renameat(box_fd, tmp.p, to_dir, to);
        if (n == 0 && store_sync_fd(out, false) < 0) {
            (void) unlinkat(to_dir, to, 0);
            n = -1;
        }
    }
    keep = errno;
    close(in);
    if (out >= 0)
        close(out);
    if (out < 0 || n < 0)
        (void) unlinkat(box_fd, tmp.p, 0);
    str_free(&tmp);
    free(buf);
    errno = keep;
    return out < 0 || n < 0 ? -1 : 0;
}

/* The keyword bits of a message, as the target's letters. make: those the target does not know; takes its lock. */
static enum store_why translate(struct mailbox *from, uint64_t bits, struct mailbox *to, bool make, uint64_t *out)
{
    const char *names[STORE_KEYWORDS_MAX + 1];
    size_t n = 0;
    enum store_why why;

    for (size_t k = 0; k < STORE_KEYWORDS_MAX; k++)
        if (bits & 1ull << k && from->keywords[k])
            names[n++] = from->keywords[k];
    names[n] = NULL;
    why = keywords_bits(to, names, make, out);
    return why == STORE_LIMIT ? STORE_OK : why; /* those that fit */
}

static char *target_name(struct mailbox *from, struct item *it, uint64_t keywords, bool *in_new)
{
    struct str base, name;

    str_init(&base, 1024);
    str_init(&name, 1024);
    item_check(from, it);
    file_name_new(&base, it->physical, it->virtual);
    *in_new = *in_new && it->in_new && keywords == 0 && (it->mail.flags & MAIL_SETTABLE) == 0;
    if (*in_new)
        str_addslice(&name, str_slice(&base));
    else
        file_name_build(&name, str_slice(&base), it->mail.flags & MAIL_SETTABLE,
                        (uint32_t) (keywords & ((1u << FILE_KEYWORDS) - 1)), (struct slice){ NULL, 0 });
    str_free(&base);
    return str_take(&name);
}

/* 0: linked; 1: the message is gone; -1. */
static int link_one(struct mailbox *from, struct item *it, struct mailbox *to, const struct arrival *a)
{
    int dir = a->in_new ? to->new_fd : to->cur_fd;

    for (int tries = 0; tries < 3; tries++) {
        int src = it->in_new ? from->new_fd : from->cur_fd;
        if (linkat(src, it->name, dir, a->name, 0) == 0) {
            scan_changed(to, a->in_new, NULL, a->name);
            return 0;
        }
        if ((errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EACCES) &&
            copy_bytes(src, it->name, to->fd, dir, a->name) == 0)
            return 0;
        if (errno != ENOENT)
            return -1;
        if (scan_refind(from, it) < 0)
            return 1;
    }
    return 1;
}

struct copying {
    struct mailbox *from, *to;
    struct item **items;
    struct arrival *arrivals;
    size_t count;
    bool move, same; /* same: into the mailbox that they come from: the view learns of them without a scan */
};

/* The key of the uidlist that keeps a moved message's GUID; NULL: it cannot stand there. */
static char *guid_key(struct mailbox *from, const struct item *it)
{
    const char *guid = message_guid(from, mailbox_seq(from, it->mail.uid));

    for (const char *p = guid; *p; p++)
        if (!ascii_isprint(*p) || *p == ' ')
            return NULL;
    return mem_printf("G%s", guid);
}

/* The target learns of it; the index gets its record under the new name, so that the copy need not be parsed again. */
static void tell(struct copying *c, const struct item *it, const struct arrival *a)
{
    struct index_message m = { 0 };
    struct file_name f;
    struct slice old;
    struct str record;

    str_init(&record, INDEX_RECORD_BYTES);
    if (it->cache && index_fetch(&c->from->index, it->cache, INDEX_MESSAGE, &old) == 0 &&
        index_message_get(old, &m) && file_name_parse(a->name, &f)) {
        m.base = f.base;
        index_message_put(&record, &m);
        if (str_over(&record))
            str_reset(&record);
    }
    if (c->same)
        save_show(c->to, a, it->mail.flags & MAIL_SETTABLE, it->mail.keywords, str_slice(&record));
    else if (record.len)
        index_add_message(&c->to->index, c->to->index_fd, str_slice(&record));
    str_free(&record);
}

static enum store_why link_all(struct copying *c, const uint32_t *seqs, size_t n)
{
    enum store_why why;
    uint64_t keywords;

    for (size_t i = 0; i < n; i++) {
        struct item *it = view_item(c->from, seqs[i]);
        struct arrival *a = &c->arrivals[c->count];
        if (it == NULL || it->mail.gone)
            continue;
        if ((why = translate(c->from, it->mail.keywords, c->to, false, &keywords)))
            return why;
        *a = (struct arrival){ .in_new = !c->same, .extra = keywords >> FILE_KEYWORDS << FILE_KEYWORDS };
        a->name = target_name(c->from, it, keywords, &a->in_new);
        a->keys = c->move ? guid_key(c->from, it) : NULL;
        int ret = link_one(c->from, it, c->to, a);
        if (ret == 0) {
            c->items[c->count++] = it;
            continue;
        }
        free(a->name);
        free(a->keys);
        if (ret < 0)
            return store_fail_errno(c->to->store, "copy into", c->to->path);
        item_gone(c->from, it);
    }
    return STORE_OK;
}

static void finish(struct copying *c, struct arena *a, struct mailbox_copied *out)
{
    out->uid_validity = c->to->uids.uid_validity;
    out->count = c->count;
    out->from = arena_alloc(a, (c->count + 1) * sizeof *out->from);
    out->to = arena_alloc(a, (c->count + 1) * sizeof *out->to);
    for (size_t i = 0; i < c->count; i++) {
        out->from[i] = c->items[i]->mail.uid;
        out->to[i] = c->arrivals[i].uid;
        tell(c, c->items[i], &c->arrivals[i]);
    }
}

static void undo(struct copying *c)
{
    together_break(c->to);
    for (size_t i = 0; i < c->count; i++)
        (void) unlinkat(c->arrivals[i].in_new ? c->to->new_fd : c->to->cur_fd, c->arrivals[i].name, 0);
}

static enum store_why remove_moved(struct copying *c)
{
    uint32_t *seqs = mem_array(c->count + 1, sizeof *seqs);
    enum store_why why;

    for (size_t i = 0; i < c->count; i++)
        seqs[i] = mailbox_seq(c->from, c->items[i]->mail.uid);
    why = mailbox_remove(c->from, seqs, c->count);
    free(seqs);
    return why;
}

/* Keywords are made before the uidlist is locked: both use one lock. */
static enum store_why make_keywords(struct copying *c, const uint32_t *seqs, size_t n)
{
    uint64_t all = 0, bits;

    for (size_t i = 0; i < n; i++) {
        const struct mail *m = mailbox_mail(c->from, seqs[i]);
        all |= m && !m->gone ? m->keywords : 0;
    }
    return translate(c->from, all, c->to, true, &bits);
}

/* The sync of the uidlist makes new names durable, too, where one journal of the file system has both; what they name
 * already is, but for what a journal of ours alone has. */
static enum store_why sync_links(const struct copying *c)
{
    if (c->to->local && !c->to->apart && !journal_there(c->from->fd))
        return STORE_OK;
    return store_syncfs(c->to->fd) < 0 ? store_fail_errno(c->to->store, "sync the file system of", c->to->path)
                                       : STORE_OK;
}

enum store_why mailbox_copy(struct mailbox *from, const uint32_t *seqs, size_t n, const char *name, bool move,
                            struct arena *a, struct mailbox_copied *out)
{
    struct copying c = { .from = from, .move = move };
    enum store_why why;

    *out = (struct mailbox_copied){ 0 };
    if (move && from->read_only)
        return STORE_READ_ONLY;
    c.same = save_same(from, name);
    c.to = from;
    if (!c.same && (why = save_target(from->store, name, &c.to)))
        return why;
    message_flush(from);
    c.items = mem_array(n + 1, sizeof(void *));
    c.arrivals = mem_array(n + 1, sizeof *c.arrivals);
    if ((why = make_keywords(&c, seqs, n)) == STORE_OK &&
        (why = c.same ? save_lock_open(c.to) : save_lock(c.to)) == STORE_OK) {
        bool quiet = c.same && scan_before(from, false);
        int64_t was = scan_mtime(c.to->cur_fd);
        why = link_all(&c, seqs, n);
        if (c.same)
            scan_after(from, false, quiet);
        else
            together_publish(c.to, was, scan_mtime(c.to->cur_fd), true);
        if (why == STORE_OK && c.count)
            why = sync_links(&c);
        if (why == STORE_OK && c.count)
            why = save_assign(c.to, c.arrivals, c.count, -1);
        if (why)
            undo(&c);
        if (why == STORE_OK)
            finish(&c, a, out);
        scan_unlock(c.to);
    }
    if (why == STORE_OK) {
        if (move)
            why = remove_moved(&c);
    }
    for (size_t i = 0; i < c.count; i++) {
        free(c.arrivals[i].name);
        free(c.arrivals[i].keys);
    }
    free(c.arrivals);
    free(c.items);
    if (!c.same)
        mailbox_close(&c.to);
    return why;
}
