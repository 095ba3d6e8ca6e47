/*
 * extra - keywords beyond the letters: shared with Dovecot by way of dovecot.index.log
 *
 * Callers     store/scan.c (every sync), store/mailbox.c and store/save.c (changes)
 * Invariants  while there is such a log it is what counts: the state in the view is what it said as far as read, and
 *             a change is answered only after it is in the log; our index keeps the same only as a cache
 *             locks are taken in Dovecot's order: the uidlist's, then the log's
 * Errors      a log that is not one we know is left alone, and said once: our index is all there is then
 */
#include "base/log.h"
#include "base/mem.h"
#include "store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t letters = (1ull << FILE_KEYWORDS) - 1;

struct learning {
    struct mailbox *box;
    struct dovecot_index at; /* read so far */
    uint64_t *bits;          /* of the view's messages; NULL: nothing was said yet */
    uint64_t known;          /* keywords of which all is said */
    uint32_t limit;          /* messages from this UID on may come into the view yet */
    bool whole;
    bool beyond; /* something was said of those */
    bool again;  /* the next sync begins anew */
};

static void begin(struct learning *l, bool whole)
{
    struct mailbox *box = l->box;

    l->whole |= whole;
    if (l->bits == NULL)
        l->bits = mem_array(box->count + 1u, sizeof *l->bits);
    for (uint32_t i = 0; i < box->count; i++)
        l->bits[i] = whole ? 0 : box->view[i]->mail.keywords & ~letters;
    l->known = whole ? 0 : ~letters;
}

/* The bit of a keyword; 0: a letter stands for it, or there is no room. */
static uint64_t bit_of(struct learning *l, struct slice name, bool make)
{
    char text[STORE_KEYWORD_BYTES + 1];

    if (name.p == NULL || name.len > STORE_KEYWORD_BYTES || memchr(name.p, '\0', name.len))
        return 0;
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    int k = mailbox_keyword_valid(text) ? keywords_extra(l->box, text, make) : -1;
    return k < FILE_KEYWORDS ? 0 : 1ull << k;
}

static void on_event(void *ctx, enum dovecot_event event, struct slice name, uint32_t first, uint32_t last)
{
    struct learning *l = ctx;
    struct mailbox *box = l->box;
    uint64_t bit = ~letters;

    if (mailbox_load(box)) /* damaged: the next sync says so */
        return;
    if (event == DOVECOT_START || l->bits == NULL)
        begin(l, event == DOVECOT_START);
    if (event == DOVECOT_START)
        return;
    l->beyond |= last >= l->limit;
    uint32_t seq = first ? mailbox_seq_from(box, first) : 0;
    bool any = seq && seq <= box->count && box->view[seq - 1]->mail.uid <= last;
    if (event != DOVECOT_RESET && (bit = bit_of(l, name, any && event == DOVECOT_ADD)) == 0)
        return;
    l->known |= bit;
    for (; any && seq <= box->count && box->view[seq - 1]->mail.uid <= last; seq++)
        l->bits[seq - 1] = event == DOVECOT_ADD ? l->bits[seq - 1] | bit : l->bits[seq - 1] & ~bit;
}

static void settle(struct learning *l)
{
    struct mailbox *box = l->box;
    bool same = l->at.uid_validity == box->uids.uid_validity;

    for (uint32_t i = 0; same && l->bits && i < box->count; i++) {
        struct item *it = box->view[i];
        uint64_t now = (it->mail.keywords & ~l->known) | (l->bits[i] & l->known);
        if (now == it->mail.keywords || (l->whole && it->mail.uid >= l->at.next_uid))
            continue;
        it->mail.keywords = now;
        it->mail.modseq = mailbox_next_modseq(box);
        if (it->in_view)
            item_changed(box, it);
    }
    box->index_stale |= memcmp(&box->dovecot, &l->at, sizeof l->at) != 0;
    box->dovecot = l->at;
    if (l->again)
        memset(&box->dovecot, 0, sizeof box->dovecot);
    free(l->bits);
}

void extra_sync(struct mailbox *box)
{
    struct learning l = { .box = box, .at = box->dovecot, .limit = scan_uid_limit(box) };

    if (box->index_fd < 0)
        return;
    if (dovecot_index_read(&l.at, box->index_fd, l.limit, on_event, &l) == 0) {
        /* All from the beginning knows no limit. Where the uidlist has more by now, it is read once more. */
        if (l.beyond && (l.limit < box->uids.next_uid || !scan_list_unchanged(box)))
            l.again = true;
        settle(&l);
        return;
    }
    int error = errno;
    free(l.bits);
    if (error != ENOENT && !box->dovecot_told)
        log_warn("%s: dovecot.index.log cannot be used: %s; keywords beyond %d are kept by us alone", box->path,
                 strerror(error), FILE_KEYWORDS);
    box->dovecot_told |= error != ENOENT;
}

static void ignore(void *ctx, enum dovecot_event event, struct slice name, uint32_t first, uint32_t last)
{
    (void) ctx, (void) event, (void) name, (void) first, (void) last;
}

bool extra_validity(struct mailbox *box)
{
    struct dovecot_index x = { 0 };

    if (dovecot_index_read(&x, box->index_fd, UINT32_MAX, ignore, NULL) < 0 || x.uid_validity == 0 ||
        x.next_uid > UINT32_MAX - STORE_MESSAGES_MAX)
        return false;
    box->uids.uid_validity = x.uid_validity;
    box->uids.next_uid = x.next_uid;
    return true;
}

void extra_skip_given(struct mailbox *box)
{
    struct dovecot_index x = box->dovecot;

    if (dovecot_index_read(&x, box->index_fd, UINT32_MAX, ignore, NULL) == 0 &&
        x.uid_validity == box->uids.uid_validity && x.next_uid > box->uids.next_uid &&
        x.next_uid - box->uids.next_uid < STORE_MESSAGES_MAX)
        box->uids.next_uid = x.next_uid;
}

struct uids {
    uint32_t *uid, from;
    size_t n, room;
};

static void gather(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    struct uids *u = ctx;

    (void) keys, (void) name;
    if (uid < u->from)
        return;
    if (u->n == u->room) {
        u->room = u->room ? u->room * 2 : 64;
        u->uid = mem_grow(u->uid, u->room, sizeof *u->uid);
    }
    u->uid[u->n++] = uid;
}

/* Dovecot takes a message below its next UID that its index does not hold for one that came back: all up to the last
 * are put in. */
static int put_messages(const struct mailbox *box, struct dovecot_index *x, struct str *out)
{
    struct uids u = { .from = x->next_uid };
    struct uidlist list = { 0 };
    bool whole;
    int ret = uidlist_read(&list, box->control_fd, &whole, gather, &u);

    if (ret == 0)
        dovecot_index_put_messages(out, u.uid, u.n);
    if (ret == 0 && u.n)
        x->next_uid = u.uid[u.n - 1] + 1;
    free(u.uid);
    return ret;
}

static void put_changes(const struct mailbox *box, const struct extra_change *c, size_t n, struct str *out)
{
    struct uid_range *ranges = mem_array(n + 1, sizeof *ranges);

    for (int k = FILE_KEYWORDS; k < STORE_KEYWORDS_MAX; k++)
        for (int add = 0; add < 2; add++) {
            size_t used = 0;
            for (size_t i = 0; i < n; i++) {
                if (!((add ? c[i].add : c[i].remove) >> k & 1))
                    continue;
                if (used && ranges[used - 1].last + 1 == c[i].uid)
                    ranges[used - 1].last++;
                else
                    ranges[used++] = (struct uid_range){ c[i].uid, c[i].uid };
            }
            if (used && box->keywords[k])
                dovecot_index_put_keyword(out, add, box->keywords[k], ranges, used);
        }
    free(ranges);
}

enum store_why extra_changed(struct mailbox *box, const struct extra_change *c, size_t n)
{
    struct dovecot_index end = box->dovecot;
    struct extra_change *all = NULL;
    enum store_why why = STORE_OK;
    struct str out;
    uint32_t highest = 0;
    int fd, ret = 0;

    if (n == 0)
        return STORE_OK;
    if ((fd = dovecot_index_lock(box->index_fd, box->uids.uid_validity)) < 0)
        return store_fail_errno(box->store, "lock dovecot.index.log of", box->path);
    /* What it holds that we have not read is for the next sync: ours stands behind it. Of another UIDVALIDITY, Dovecot
     * will throw it away. */
    if (dovecot_index_read(&end, box->index_fd, UINT32_MAX, ignore, NULL) < 0 ||
        end.uid_validity != box->uids.uid_validity) {
        close(fd);
        return STORE_OK;
    }
    if (end.next_uid <= 1 && box->count) { /* made just now, or Dovecot's was deleted: it gets all that we know */
        all = mem_array(box->count, sizeof *all);
        for (n = 0; n < box->count; n++)
            all[n] = (struct extra_change){ box->view[n]->mail.uid, box->view[n]->mail.keywords & ~letters, 0 };
        c = all;
    }
    for (size_t i = 0; i < n; i++)
        highest = c[i].uid > highest ? c[i].uid : highest;
    str_init(&out, STR_UNLIMITED);
    if (highest >= end.next_uid)
        ret = put_messages(box, &end, &out);
    put_changes(box, c, n, &out);
    bool all_read = box->dovecot.file_seq == end.file_seq && box->dovecot.offset == end.offset;
    if (ret < 0 || dovecot_index_append(&end, fd, str_slice(&out)) < 0)
        why = store_fail_errno(box->store, "write dovecot.index.log of", box->path);
    else if (all_read)
        box->dovecot = end;
    box->index_stale |= all_read;
    str_free(&out);
    free(all);
    close(fd);
    return why;
}
