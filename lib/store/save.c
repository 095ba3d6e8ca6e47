/*
 * save - the messages of an APPEND, as they come
 *
 * One message that a journal is open for is held while it is small: its file is made while the disk writes the journal.
 * All others go to files in tmp/ as they come.
 *
 * Callers     store/mailbox.h (imapd), store/copy.c
 * Invariants  a file is whole before it leaves tmp/
 * Errors      enum store_why
 */
#include "store/save.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SAVE_HEADER_BYTES = 1 << 16 };

enum store_why save_target(struct store *st, const char *name, struct mailbox **out)
{
    char *path = store_path(st, name);
    struct mailbox *box;
    enum store_why why = STORE_OK;

    *out = NULL;
    if (path == NULL)
        return store_fail(st, STORE_BAD_NAME, "not a mailbox name");
    box = mailbox_handle(st, path, name, false);
    if (!mailbox_is_open(box))
        why = errno == ENOENT || errno == ENOTDIR ? store_fail(st, STORE_NONEXISTENT, "%s: no such mailbox", name)
                                                  : store_fail_errno(st, "open", path);
    else if (keywords_read(box) < 0)
        why = store_fail_errno(st, "read dovecot-keywords of", path);
    free(path);
    if (why)
        mailbox_close(&box);
    *out = box;
    return why;
}

static void free_saved(struct saved *s)
{
    free(s->to.name);
    free(s->tmp);
    free(s->record);
}

bool save_same(struct mailbox *box, const char *name)
{
    struct stat mine, now;

    return box && !box->read_only && mailbox_named(box, name) && store_stat_mail(box->store, box->path, &now) == 0 &&
           fstat(box->fd, &mine) == 0 && mine.st_ino == now.st_ino && mine.st_dev == now.st_dev;
}

enum store_why mailbox_save_begin(struct store *st, const char *name, struct mailbox *selected,
                                  struct mailbox_save **out)
{
    bool same = save_same(selected, name);
    struct mailbox *box = selected;
    enum store_why why = same ? mailbox_load(selected) : save_target(st, name, &box);

    *out = NULL;
    if (why)
        return why;
    *out = mem_new(sizeof **out);
    (*out)->box = box;
    (*out)->selected = same;
    (*out)->fd = (*out)->last_fd = -1;
    str_init(&(*out)->header, SAVE_HEADER_BYTES);
    str_init(&(*out)->buffer, STR_UNLIMITED);
    str_init(&(*out)->held, SAVE_HELD_BYTES);
    return STORE_OK;
}

/* A file in tmp/, which is made where somebody has removed it; -1: none, and *tmp is NULL. */
static int create(struct mailbox_save *s, char **tmp)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    struct str path;
    int fd;

    str_init(&path, 1024);
    str_adds(&path, "tmp/");
    file_name_new(&path, FILE_SIZE_UNKNOWN, FILE_SIZE_UNKNOWN);
    fd = openat(s->box->fd, path.p, flags, 0600);
    if (fd < 0 && errno == ENOENT && mkdirat(s->box->fd, "tmp", 0700) == 0)
        fd = openat(s->box->fd, path.p, flags, 0600);
    if (fd < 0) {
        int keep = errno;
        str_free(&path);
        errno = keep;
    }
    *tmp = fd < 0 ? NULL : str_take(&path);
    return fd;
}

static int set_date(int fd, int64_t date)
{
    const struct timespec times[2] = { { .tv_sec = (time_t) date }, { .tv_sec = (time_t) date } };

    return date == MAILBOX_SAVE_NOW ? 0 : futimens(fd, times);
}

enum store_why save_write_out(struct mailbox_save *s)
{
    const char *what = "create a file in tmp of";
    int keep;

    if (!s->whole)
        return STORE_OK;
    s->whole = false;
    s->last_fd = create(s, &s->done[0].tmp);
    if (s->last_fd >= 0) {
        what = "write to tmp of";
        if (file_write_all(s->last_fd, s->held.p, s->held.len) == 0 && set_date(s->last_fd, s->date) == 0)
            return STORE_OK;
        keep = errno;
        close(s->last_fd);
        s->last_fd = -1;
        errno = keep;
    }
    return store_fail_errno(s->box->store, what, s->box->path);
}

/* Only the last file stays open: its commit is that of the UIDs. */
enum store_why save_sync_last(struct mailbox_save *s)
{
    enum store_why why = save_write_out(s);

    if (s->last_fd < 0)
        return why;
    if (store_sync_fd(s->last_fd, false) < 0)
        why = store_fail_errno(s->box->store, "sync in tmp of", s->box->path);
    close(s->last_fd);
    s->last_fd = -1;
    return why;
}

static enum store_why begin_file(struct mailbox_save *s)
{
    s->fd = create(s, &s->now.tmp);
    return s->fd < 0 ? store_fail_errno(s->box->store, "create a file in tmp of", s->box->path) : STORE_OK;
}

enum store_why mailbox_save_start(struct mailbox_save *s, uint8_t flags, const char *const *keywords, int64_t date)
{
    enum store_why why;

    if (s->count == SAVE_MESSAGES_MAX)
        return store_fail(s->box->store, STORE_LIMIT, "more than %d messages at once", SAVE_MESSAGES_MAX);
    if ((why = save_sync_last(s)) || (why = keywords_bits(s->box, keywords, true, &s->keywords)))
        return why;
    str_reset(&s->held);
    s->holds = s->count == 0 && journal_ready(s->box->fd);
    if (!s->holds && (why = begin_file(s)))
        return why;
    s->flags = flags & MAIL_SETTABLE;
    s->date = date;
    s->physical = 0;
    s->cr = false;
    str_reset(&s->header);
    s->arena = arena_new();
    s->parser = mime_parser_new(s->arena);
    return STORE_OK;
}

static enum store_why write_file(struct mailbox_save *s, const char *p, size_t len)
{
    if (file_write_all(s->fd, p, len) < 0)
        return store_fail_errno(s->box->store, "write to tmp of", s->box->path);
    return STORE_OK;
}

/* Too large to be held any longer. */
static enum store_why let_go(struct mailbox_save *s)
{
    enum store_why why = begin_file(s);

    s->holds = false;
    return why || s->held.len == 0 ? why : write_file(s, s->held.p, s->held.len);
}

static enum store_why put(struct mailbox_save *s, const char *p, size_t len)
{
    enum store_why why = STORE_OK;

    if (len == 0)
        return STORE_OK;
    mime_parser_feed(s->parser, p, len);
    if (!str_over(&s->header))
        str_add(&s->header, p, len < SAVE_HEADER_BYTES - s->header.len ? len : SAVE_HEADER_BYTES - s->header.len);
    s->physical += len;
    if (s->holds && len > SAVE_HELD_BYTES - s->held.len)
        why = let_go(s);
    if (s->holds)
        str_add(&s->held, p, len);
    else if (why == STORE_OK)
        why = write_file(s, p, len);
    return why;
}

enum store_why mailbox_save_write(struct mailbox_save *s, const void *bytes, size_t len)
{
    const char *p = bytes;

    str_reset(&s->buffer);
    for (size_t i = 0; i < len; i++) {
        if (s->cr && p[i] != '\n')
            str_addc(&s->buffer, '\r');
        s->cr = p[i] == '\r';
        if (!s->cr)
            str_addc(&s->buffer, p[i]);
    }
    return put(s, s->buffer.p, s->buffer.len);
}

static void drop_current(struct mailbox_save *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        (void) unlinkat(s->box->fd, s->now.tmp, 0);
    }
    s->fd = -1;
    s->holds = false;
    s->parser = NULL;
    arena_free(&s->arena);
    free_saved(&s->now);
    s->now = (struct saved){ 0 };
}

/* Name, place and index record of the message just written. */
static void describe(struct mailbox_save *s, const struct mime_part *root)
{
    struct str base, name, record;
    struct slice head = str_slice(&s->header);
    uint64_t letters = s->keywords & ((1ull << FILE_KEYWORDS) - 1);

    str_init(&base, 1024);
    str_init(&name, 1024);
    str_init(&record, INDEX_RECORD_BYTES);
    file_name_new(&base, s->physical, root->header.virtual + root->body.virtual);
    /* Who has the mailbox selected would move it from new/ to cur/ at once. */
    s->now.to.in_new = s->flags == 0 && s->keywords == 0 && !s->selected;
    s->now.to.extra = s->keywords & ~letters;
    s->now.flags = s->flags;
    s->now.keywords = s->keywords;
    if (s->now.to.in_new)
        str_addslice(&name, str_slice(&base));
    else
        file_name_build(&name, str_slice(&base), s->flags, (uint32_t) letters, (struct slice){ NULL, 0 });
    s->now.to.name = str_take(&name);
    if (root->header.physical <= head.len)
        index_message_make(&record, str_slice(&base), root, slice_sub(head, 0, root->header.physical));
    s->now.record_len = record.len;
    s->now.record = str_take(&record);
    str_free(&base);
}

enum store_why mailbox_save_finish(struct mailbox_save *s)
{
    enum store_why why = s->cr ? put(s, "\r", 1) : STORE_OK;

    if (why == STORE_OK && !s->holds && set_date(s->fd, s->date) < 0)
        why = store_fail_errno(s->box->store, "set the date in tmp of", s->box->path);
    if (why == STORE_OK)
        describe(s, mime_parser_end(s->parser));
    if (why) {
        (void) mime_parser_end(s->parser);
        drop_current(s);
        return why;
    }
    s->last_fd = s->fd;
    s->fd = -1;
    s->whole = s->holds;
    s->holds = false;
    s->parser = NULL;
    arena_free(&s->arena);
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 4;
        s->done = mem_grow(s->done, s->room, sizeof *s->done);
    }
    s->done[s->count++] = s->now;
    s->now = (struct saved){ 0 };
    return STORE_OK;
}

void mailbox_save_cancel(struct mailbox_save **ps)
{
    struct mailbox_save *s = *ps;

    if (s == NULL)
        return;
    if (s->parser)
        (void) mime_parser_end(s->parser);
    drop_current(s);
    if (s->last_fd >= 0)
        close(s->last_fd);
    for (size_t i = 0; i < s->count; i++) {
        if (s->done[i].tmp)
            (void) unlinkat(s->box->fd, s->done[i].tmp, 0);
        free_saved(&s->done[i]);
    }
    free(s->done);
    str_free(&s->header);
    str_free(&s->buffer);
    str_free(&s->held);
    if (!s->selected)
        mailbox_close(&s->box);
    free(s);
    *ps = NULL;
}
