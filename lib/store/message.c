/*
 * message - see message.h
 *
 * Callers     imapd, pop3d
 * Invariants  a record of the index is used only when it names the message's base name and the file's size
 * Errors      enum store_why
 */
#include "store/message.h"
#include "base/mem.h"
#include "proto/mime/imap.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { READ_BYTES = 65536, HEADER_KEPT_BYTES = 1 << 18, BATCH_BYTES = 1 << 16 };

struct message_file {
    int fd;
    uint64_t physical, virtual;
    uint64_t at, end, skip; /* the range that is being read */
    char *buf;              /* READ_BYTES; NULL until something is read */
    size_t from, len;       /* what of buf is not handed out */
    bool cr;                /* the byte before buf[from] was CR */
    bool lf_due;            /* a CR was given for a bare LF, the LF comes next */
};

/* The buffer of the file closed last: a range of messages is read through one. */
static char *spare_buf;

static char *buf_get(void)
{
    char *p = spare_buf;

    spare_buf = NULL;
    return p ? p : mem_array(READ_BYTES, 1);
}

static void buf_put(char *p)
{
    free(spare_buf);
    spare_buf = p;
}

void message_flush(struct mailbox *box)
{
    uint64_t at;
    bool good;

    if (box->gathered_count == 0)
        return;
    good = (box->index.fd >= 0 || index_open(&box->index, box->index_fd, true) == 0) &&
           index_append_batch(&box->index, box->index_fd, str_slice(&box->batch), &at) == 0;
    for (size_t i = 0; i < box->gathered_count; i++) {
        struct gathered *g = &box->gathered[i];
        g->item->gathered = false;
        g->item->cache = good ? at + g->at : 0;
    }
    box->gathered_count = 0;
    str_reset(&box->batch);
}

/* One lock and one write for many: to list a large mailbox for the first time would take them for each message. */
void message_gather(struct mailbox *box, struct item *it, struct slice record)
{
    if (box->batch.p == NULL)
        str_init(&box->batch, STR_UNLIMITED);
    if (it->gathered || box->batch.len >= BATCH_BYTES)
        message_flush(box);
    if (box->gathered_count == box->gathered_room) {
        box->gathered_room = box->gathered_room ? box->gathered_room * 2 : 64;
        box->gathered = mem_grow(box->gathered, box->gathered_room, sizeof *box->gathered);
    }
    box->gathered[box->gathered_count++] = (struct gathered){ it, box->batch.len };
    it->gathered = true;
    index_gather(&box->batch, record);
}

bool mailbox_wants_rest(const struct mailbox *box) { return box->gathered_count > 0; }
void mailbox_rest(struct mailbox *box) { message_flush(box); }

/* The record, where the index has it. */
static int fetch_record(struct mailbox *box, struct item *it, struct slice *out)
{
    if (it->gathered) {
        const struct gathered *last = &box->gathered[box->gathered_count - 1];
        if (last->item == it) {
            *out = index_gathered(str_slice(&box->batch), last->at);
            return 0;
        }
        message_flush(box);
    }
    return it->cache ? index_fetch(&box->index, it->cache, INDEX_MESSAGE, out) : -1;
}

void message_trim(struct mailbox *box)
{
    message_flush(box);
    if (box->batch.p)
        str_free(&box->batch);
    free(box->gathered);
    box->gathered = NULL;
    box->gathered_room = 0;
    free(spare_buf);
    spare_buf = NULL;
    index_trim(&box->index);
}

static int open_item(struct mailbox *box, struct item *it)
{
    for (int tries = 0; tries < 3; tries++) {
        int fd = openat(it->in_new ? box->new_fd : box->cur_fd, it->name,
                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd >= 0 || errno != ENOENT || scan_refind(box, it) < 0)
            return fd;
    }
    return -1;
}

static enum store_why opened(struct mailbox *box, struct item *it, int *fd, struct stat *st)
{
    *fd = it->ghost ? -1 : open_item(box, it);
    if (*fd < 0) {
        if (!it->ghost && errno != ENOENT)
            return store_fail_errno(box->store, "open a message of", box->path);
        item_gone(box, it);
        return STORE_EXPUNGED;
    }
    if (fstat(*fd, st) < 0 || !S_ISREG(st->st_mode)) {
        close(*fd);
        return store_fail(box->store, STORE_FAILED, "%s/%s: not a file", box->path, it->name);
    }
    item_learn(box, it, st);
    return STORE_OK;
}

/* Reads and parses the file. The index learns what was found; *record holds it, empty when it is too large to keep.
 */
static enum store_why parse(struct mailbox *box, struct item *it, struct str *record, struct arena *a,
                            struct mime_part **root)
{
    struct mime_parser *p;
    struct stat st = { 0 };
    struct str header;
    uint64_t got = 0;
    char *buf;
    ssize_t n;
    int fd;
    enum store_why why = opened(box, it, &fd, &st);

    if (why)
        return why;
    buf = buf_get();
    str_init(&header, HEADER_KEPT_BYTES);
    p = mime_parser_new(a);
    while ((n = read(fd, buf, READ_BYTES)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        got += (uint64_t) n;
        mime_parser_feed(p, buf, (size_t) n);
        size_t room = HEADER_KEPT_BYTES - header.len;
        str_add(&header, buf, (size_t) n < room ? (size_t) n : room);
        if (got == (uint64_t) st.st_size && n < READ_BYTES) /* all: nobody writes to a message */
            break;
    }
    *root = mime_parser_end(p);
    close(fd);
    buf_put(buf);
    it->virtual = (*root)->header.virtual + (*root)->body.virtual;
    box->index_stale = true;
    if (n < 0) {
        why = store_fail_errno(box->store, "read a message of", box->path);
    } else {
        if ((*root)->header.physical <= header.len)
            index_message_make(record, item_base(it), *root,
                               slice_sub(str_slice(&header), 0, (*root)->header.physical));
        if (record->len && box->index_fd >= 0)
            message_gather(box, it, str_slice(record));
    }
    str_free(&header);
    return why;
}

/* The index's record of a message; made where there is none. *root only when the message had to be parsed. */
static enum store_why record_of(struct mailbox *box, struct item *it, struct str *record, struct index_message *m,
                                struct arena *a, struct mime_part **root)
{
    struct slice kept;

    *root = NULL;
    if (fetch_record(box, it, &kept) == 0 && index_message_get(kept, m) && slice_same(m->base, item_base(it)) &&
        (it->physical == FILE_SIZE_UNKNOWN || it->physical == m->physical)) {
        it->virtual = m->virtual;
        return STORE_OK;
    }
    enum store_why why = parse(box, it, record, a, root);
    if (why == STORE_OK && !index_message_get(str_slice(record), m))
        *m = (struct index_message){ .base = { NULL, 0 } };
    return why;
}

typedef enum store_why (*answer_fn)(const struct index_message *, struct mime_part *root, void *arg);

/* Finds the record and lets fn answer from it; m->base.p is NULL when only the tree is there. */
static enum store_why answer(struct mailbox *box, uint32_t seq, answer_fn fn, void *arg)
{
    struct item *it = view_item(box, seq);
    struct index_message m;
    struct mime_part *root;
    struct arena *a;
    struct str record;
    enum store_why why;

    if (it == NULL)
        return STORE_EXPUNGED;
    a = arena_new();
    str_init(&record, INDEX_RECORD_BYTES);
    if ((why = record_of(box, it, &record, &m, a, &root)) == STORE_OK)
        why = fn(&m, root, arg);
    str_free(&record);
    arena_free(&a);
    return why;
}

enum store_why message_size(struct mailbox *box, uint32_t seq, uint64_t *bytes)
{
    struct item *it = view_item(box, seq);
    struct index_message m;
    struct mime_part *root;
    struct arena *a;
    struct str record;
    enum store_why why = STORE_OK;

    if (it == NULL)
        return STORE_EXPUNGED;
    item_check(box, it);
    if (it->virtual == FILE_SIZE_UNKNOWN) {
        a = arena_new();
        str_init(&record, INDEX_RECORD_BYTES);
        why = record_of(box, it, &record, &m, a, &root);
        str_free(&record);
        arena_free(&a);
    }
    *bytes = it->virtual;
    return why;
}

enum store_why message_date(struct mailbox *box, uint32_t seq, int64_t *seconds)
{
    struct item *it = view_item(box, seq);
    struct stat st = { 0 };
    int fd;

    if (it == NULL)
        return STORE_EXPUNGED;
    if (it->date == DATE_UNKNOWN) {
        if (!it->ghost && fstatat(it->in_new ? box->new_fd : box->cur_fd, it->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            item_learn(box, it, &st);
        } else {
            enum store_why why = opened(box, it, &fd, &st);
            if (why)
                return why;
            close(fd);
        }
    }
    *seconds = it->date;
    return STORE_OK;
}

/* Value of a key of the uidlist's record, as text in the item; NULL: none. */
static const char *record_key(struct item *it, char key, char *out, size_t room)
{
    struct slice rest = slice_of(it->keys ? it->keys : ""), word;

    while (slice_word(&rest, " ", &word))
        if (*word.p == key && word.len > 1 && word.len < room) {
            memcpy(out, word.p + 1, word.len - 1);
            out[word.len - 1] = '\0';
            return out;
        }
    return NULL;
}

const char *message_guid(struct mailbox *box, uint32_t seq)
{
    struct item *it = view_item(box, seq);

    if (it == NULL)
        return "";
    if (record_key(it, 'G', box->scratch, sizeof box->scratch) == NULL) {
        memcpy(box->scratch, it->name, it->base_len);
        box->scratch[it->base_len] = '\0';
    }
    return box->scratch;
}

const char *message_pop3_uidl(struct mailbox *box, uint32_t seq)
{
    struct item *it = view_item(box, seq);

    return it ? record_key(it, 'P', box->scratch, sizeof box->scratch) : NULL;
}

static enum store_why give_envelope(const struct index_message *m, struct mime_part *root, void *arg)
{
    if (m->base.p)
        str_addslice(arg, m->envelope);
    else if (root)
        mime_imap_envelope(root->envelope, arg);
    return STORE_OK;
}

enum store_why message_envelope(struct mailbox *box, uint32_t seq, struct str *out)
{
    return answer(box, seq, give_envelope, out);
}

struct structure_arg {
    bool extended;
    struct str *out;
};

static enum store_why give_structure(const struct index_message *m, struct mime_part *root, void *p)
{
    struct structure_arg *arg = p;

    if (m->base.p == NULL && root)
        mime_imap_structure(root, arg->extended, arg->out);
    else if (arg->extended)
        str_addslice(arg->out, m->structure);
    else if (mime_imap_body(m->structure, arg->out) < 0)
        return STORE_FAILED;
    return STORE_OK;
}

enum store_why message_structure(struct mailbox *box, uint32_t seq, bool extended, struct str *out)
{
    struct structure_arg arg = { extended, out };

    return answer(box, seq, give_structure, &arg);
}

struct parts_arg {
    struct arena *arena;
    struct mime_part **out;
    struct str packed;
};

static enum store_why give_parts(const struct index_message *m, struct mime_part *root, void *p)
{
    struct parts_arg *arg = p;

    if (m->base.p) {
        *arg->out = mime_part_unpack(m->parts, arg->arena);
    } else if (root) { /* the tree goes with its arena: hand a copy on */
        mime_part_pack(root, &arg->packed);
        *arg->out = mime_part_unpack(str_slice(&arg->packed), arg->arena);
    }
    return *arg->out ? STORE_OK : STORE_FAILED;
}

enum store_why message_parts(struct mailbox *box, uint32_t seq, struct arena *a, struct mime_part **out)
{
    struct parts_arg arg = { .arena = a, .out = out };
    enum store_why why;

    str_init(&arg.packed, STR_UNLIMITED);
    why = answer(box, seq, give_parts, &arg);
    str_free(&arg.packed);
    return why;
}

static bool wanted(struct slice name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_caseeq(name, names[i]))
            return true;
    return false;
}

static void pick_fields(struct slice header, const char *const *names, size_t n, struct str *out)
{
    struct mime_field f;

    while (mime_field_next(&header, &f)) {
        if (!wanted(f.name, names, n))
            continue;
        for (size_t i = 0; i < f.whole.len; i++) {
            if (f.whole.p[i] == '\n' && (i == 0 || f.whole.p[i - 1] != '\r'))
                str_addc(out, '\r');
            str_addc(out, f.whole.p[i]);
        }
        if (f.whole.len && f.whole.p[f.whole.len - 1] != '\n')
            str_adds(out, "\r\n");
    }
}

struct fields_arg {
    const char *const *names;
    size_t n;
    struct str *out;
    bool done;
};

static enum store_why give_fields(const struct index_message *m, struct mime_part *root, void *p)
{
    struct fields_arg *arg = p;

    (void) root;
    if (m->base.p) {
        pick_fields(m->fields, arg->names, arg->n, arg->out);
        arg->done = true;
    }
    return STORE_OK;
}

/* From the file itself: fields the index does not keep. */
static enum store_why fields_of_file(struct mailbox *box, uint32_t seq, struct fields_arg *arg)
{
    struct item *it = view_item(box, seq);
    struct str header;
    struct stat st = { 0 };
    char buf[4096];
    ssize_t n;
    int fd;
    enum store_why why = opened(box, it, &fd, &st);

    if (why)
        return why;
    str_init(&header, MIME_HEADER_BYTES);
    while (!str_over(&header) && (n = read(fd, buf, sizeof buf)) > 0) {
        size_t had = header.len > 3 ? header.len - 3 : 0;
        str_add(&header, buf, (size_t) n);
        if (memmem(header.p + had, header.len - had, "\n\n", 2) ||
            memmem(header.p + had, header.len - had, "\n\r\n", 3))
            break;
    }
    close(fd);
    pick_fields(str_slice(&header), arg->names, arg->n, arg->out);
    str_free(&header);
    return STORE_OK;
}

enum store_why message_fields(struct mailbox *box, uint32_t seq, const char *const *names, size_t n, struct str *out)
{
    struct fields_arg arg = { names, n, out, false };
    bool kept = true;
    enum store_why why;

    if (view_item(box, seq) == NULL)
        return STORE_EXPUNGED;
    for (size_t i = 0; i < n; i++)
        kept &= index_has_field(slice_of(names[i]));
    if (kept && ((why = answer(box, seq, give_fields, &arg)) || arg.done))
        return why;
    return fields_of_file(box, seq, &arg);
}

enum store_why message_open(struct mailbox *box, uint32_t seq, struct message_file **out)
{
    struct item *it = view_item(box, seq);
    struct stat st = { 0 };
    uint64_t virtual;
    enum store_why why;
    int fd;

    *out = NULL;
    if (it == NULL)
        return STORE_EXPUNGED;
    if ((why = opened(box, it, &fd, &st)))
        return why;
    if ((why = message_size(box, seq, &virtual))) {
        close(fd);
        return why;
    }
    *out = mem_new(sizeof **out);
    (*out)->fd = fd;
    (*out)->physical = (uint64_t) st.st_size;
    (*out)->virtual = virtual;
    message_range(*out, 0, (*out)->physical, 0);
    return STORE_OK;
}

void message_close(struct message_file **f)
{
    if (*f == NULL)
        return;
    close((*f)->fd);
    if ((*f)->buf)
        buf_put((*f)->buf);
    free(*f);
    *f = NULL;
}

void message_range(struct message_file *f, uint64_t from, uint64_t len, uint64_t skip)
{
    f->at = from < f->physical ? from : f->physical;
    f->end = len < f->physical - f->at ? f->at + len : f->physical;
    f->from = f->len = 0;
    f->cr = f->lf_due = false;
    f->skip = skip;
    if (message_is_crlf(f)) {
        f->at = skip < f->end - f->at ? f->at + skip : f->end;
        f->skip = 0;
    }
}

static ssize_t fill(struct message_file *f)
{
    size_t want = f->end - f->at < READ_BYTES ? (size_t) (f->end - f->at) : READ_BYTES;
    ssize_t n;

    if (want == 0)
        return 0;
    if (f->buf == NULL)
        f->buf = buf_get();
    do
        n = pread(f->fd, f->buf, want, (off_t) f->at);
    while (n < 0 && errno == EINTR);
    f->from = 0;
    f->len = n > 0 ? (size_t) n : 0;
    f->at += f->len;
    return n;
}

/* The next piece of the CRLF view, at most `most` bytes: part of a line, or the CR before a bare LF. 0: nothing is
 * buffered. */
static size_t next_piece(struct message_file *f, uint64_t most, const char **p)
{
    size_t len = f->len - f->from;
    const char *lf;

    if (f->lf_due) {
        f->lf_due = f->cr = false;
        *p = "\n";
        return 1;
    }
    if (len == 0)
        return 0;
    *p = f->buf + f->from;
    if (len > most)
        len = (size_t) most;
    if (**p == '\n' && !f->cr) {
        f->from++;
        f->lf_due = most < 2;
        *p = "\r\n";
        return most < 2 ? 1 : 2;
    }
    lf = memchr(*p + 1, '\n', len - 1); /* a LF at *p has its CR */
    if (lf && lf[-1] == '\r')
        lf++; /* and this one goes with its own */
    if (lf)
        len = (size_t) (lf - *p);
    f->from += len;
    f->cr = (*p)[len - 1] == '\r';
    return len;
}

ssize_t message_read(struct message_file *f, void *buf, size_t len)
{
    char *out = buf;
    size_t n = 0;

    while (n < len) {
        const char *p;
        size_t got = next_piece(f, f->skip + (len - n), &p);

        if (got == 0) {
            ssize_t more = fill(f);
            if (more < 0)
                return n ? (ssize_t) n : -1;
            if (more == 0)
                break;
            continue;
        }
        size_t skipped = got < f->skip ? got : (size_t) f->skip;
        f->skip -= skipped;
        memcpy(out + n, p + skipped, got - skipped);
        n += got - skipped;
    }
    return (ssize_t) n;
}

uint64_t message_physical_bytes(const struct message_file *f) { return f->physical; }
uint64_t message_virtual_bytes(const struct message_file *f) { return f->virtual; }
bool message_is_crlf(const struct message_file *f) { return f->physical == f->virtual; }
int message_fd(const struct message_file *f) { return f->fd; }
