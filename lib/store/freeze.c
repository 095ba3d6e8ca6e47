/*
 * freeze - a view as bytes, and what has changed since
 *
 * What a client knows of its mailbox: the keywords by name, and runs of messages whose UIDs follow one another and
 * whose flags and keywords are the same. A mailbox of many messages has few such runs.
 *
 * Callers     imapd, around hibernation
 * Invariants  numbers are written seven bits a byte, the low ones first, the high bit on all but the last
 *             the bytes come back from a process that the user's own may have lied to: each number is checked
 */
#include "base/mem.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

enum { FREEZE_VERSION = 1, NUMBER_BYTES = 10 };

static void put(struct str *out, uint64_t n)
{
    for (; n >= 128; n >>= 7)
        str_addc(out, (char) (n | 128));
    str_addc(out, (char) n);
}

static bool get(struct slice *in, uint64_t *n)
{
    *n = 0;
    for (unsigned i = 0; i < NUMBER_BYTES && i < in->len; i++) {
        uint64_t byte = (unsigned char) in->p[i];
        *n |= (byte & 127) << (7 * i);
        if (byte < 128) {
            *in = slice_sub(*in, i + 1, in->len);
            return true;
        }
    }
    return false;
}

int mailbox_freeze(struct mailbox *box, size_t max, struct str *out)
{
    size_t names = mailbox_keyword_count(box), from = out->len;
    uint32_t last = 0;

    if (mailbox_load(box))
        return -1;
    put(out, FREEZE_VERSION);
    put(out, box->uids.uid_validity);
    put(out, names);
    for (size_t k = 0; k < names; k++) {
        const char *name = mailbox_keyword(box, k);
        size_t len = name ? strlen(name) : 0;
        put(out, len);
        str_add(out, name, len);
    }
    for (uint32_t i = 0, n; i < box->count; i += n) {
        const struct mail *first = &box->view[i]->mail;
        for (n = 0; i + n < box->count; n++) {
            const struct item *it = box->view[i + n];
            if (it->mail.gone || it->ghost || it->changed)
                return -1; /* the client is still to be told something */
            if (it->mail.uid != first->uid + n || it->mail.flags != first->flags ||
                it->mail.keywords != first->keywords)
                break;
        }
        put(out, first->uid - last);
        put(out, n);
        put(out, first->flags);
        put(out, first->keywords);
        last = first->uid + n - 1;
        if (out->len - from > max)
            return -1;
    }
    return str_over(out) ? -1 : 0;
}

struct run {
    uint32_t uid, count; /* count 0: behind the last */
    uint8_t flags;
    uint64_t keywords; /* bits of the mailbox as it is now */
};
struct frozen {
    struct slice rest;
    uint32_t last; /* UID */
    uint64_t bit[STORE_KEYWORDS_MAX];
    bool bad;
};

static bool read_names(struct mailbox *box, struct frozen *f, bool *same)
{
    uint64_t names, len;

    if (!get(&f->rest, &names) || names > STORE_KEYWORDS_MAX)
        return false;
    *same = names == mailbox_keyword_count(box);
    for (size_t k = 0; k < names; k++) {
        if (!get(&f->rest, &len) || len > f->rest.len)
            return false;
        struct slice name = slice_sub(f->rest, 0, (size_t) len);
        f->rest = slice_sub(f->rest, (size_t) len, f->rest.len);
        for (size_t now = 0; now < mailbox_keyword_count(box); now++) {
            const char *have = mailbox_keyword(box, now);
            if (len == 0 || have == NULL || !slice_eq(name, have))
                continue;
            f->bit[k] = (uint64_t) 1 << now;
            *same = *same && now == k;
        }
        if (len && f->bit[k] == 0)
            *same = false;
    }
    return true;
}

static struct run next_run(struct frozen *f)
{
    struct run r = { 0 };
    uint64_t step, count, flags, keywords;

    if (f->rest.len == 0)
        return r;
    if (!get(&f->rest, &step) || !get(&f->rest, &count) || !get(&f->rest, &flags) || !get(&f->rest, &keywords) ||
        step == 0 || step > UINT32_MAX - f->last || count == 0 || count > UINT32_MAX - f->last - step + 1 ||
        flags > UINT8_MAX) {
        f->bad = true;
        return r;
    }
    r.uid = f->last + (uint32_t) step;
    r.count = (uint32_t) count;
    r.flags = (uint8_t) flags;
    for (size_t k = 0; k < STORE_KEYWORDS_MAX; k++)
        if (keywords >> k & 1)
            r.keywords |= f->bit[k];
    f->last = r.uid + r.count - 1;
    return r;
}

/* One message that the client knows: still there, perhaps with other flags, or gone. */
static void compare(struct mailbox *box, const struct run *r, uint32_t uid, uint32_t *at, struct str *gone,
                    uint32_t known)
{
    struct item *it = *at < box->count ? box->view[*at] : NULL;

    if (it == NULL || it->mail.uid != uid) {
        struct mailbox_event e = { MAILBOX_EXPUNGE, known, uid };
        str_add(gone, (const char *) &e, sizeof e);
        return;
    }
    if (r->flags & MAIL_RECENT) /* in this session, which goes on */
        item_recent(box, it);
    it->changed = it->mail.flags != r->flags || it->mail.keywords != r->keywords;
    ++*at;
}

static void tell(struct mailbox *box, const struct str *gone, uint32_t known, bool names)
{
    const struct mailbox_event *expunged = (const void *) gone->p;
    size_t count = gone->len / sizeof *expunged;

    box->changes.count = 0;
    if (!names)
        view_event(box, MAILBOX_KEYWORDS, 0, 0);
    for (size_t i = count; i > 0; i--)
        view_event(box, MAILBOX_EXPUNGE, expunged[i - 1].seq, expunged[i - 1].uid);
    if (box->count != known - count)
        view_event(box, MAILBOX_EXISTS, box->count, 0);
    box->told_recent = mailbox_recent(box);
    if (box->count != known)
        view_event(box, MAILBOX_RECENT_COUNT, box->told_recent, 0);
    for (uint32_t i = 0; i < box->count; i++) {
        if (i < known - count && box->view[i]->changed)
            view_event(box, MAILBOX_FLAGS, i + 1, box->view[i]->mail.uid);
        box->view[i]->changed = false;
    }
}

enum store_why mailbox_thaw(struct mailbox *box, struct slice frozen, const struct mailbox_changes **out)
{
    struct frozen f = { .rest = frozen };
    uint64_t version, uid_validity;
    uint32_t at = 0, known = 0;
    struct str gone;
    bool same_names;

    *out = &box->changes;
    if (!get(&f.rest, &version) || version != FREEZE_VERSION || !get(&f.rest, &uid_validity) ||
        uid_validity != box->uids.uid_validity || !read_names(box, &f, &same_names))
        return store_fail(box->store, STORE_DAMAGED, "%s: is not the mailbox it was", box->name);
    str_init(&gone, STR_UNLIMITED); /* events of messages that were there: as many as the frozen runs may hold */
    for (struct run r; (r = next_run(&f)).count;)
        for (uint32_t i = 0; i < r.count && !f.bad; i++) {
            /* A message in between that the client has never seen cannot be told: numbers follow UIDs. */
            f.bad = ++known > STORE_MESSAGES_MAX || f.last >= box->uids.next_uid ||
                    (at < box->count && box->view[at]->mail.uid < r.uid + i);
            if (!f.bad)
                compare(box, &r, r.uid + i, &at, &gone, known);
        }
    if (!f.bad)
        tell(box, &gone, known, same_names);
    str_free(&gone);
    return f.bad ? store_fail(box->store, STORE_DAMAGED, "%s: is not the mailbox it was", box->name) : STORE_OK;
}
