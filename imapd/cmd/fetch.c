/*
 * imapd/cmd/fetch - FETCH
 *
 * Invariants  a message that is gone is left out, and the tagged OK says EXPUNGEISSUED: nothing a session has seen
 *             makes FETCH fail
 *             \Seen is stored before the text is sent, and shown in the same reply
 *             of the items, those that are short go first, then texts, each in the order asked for, as Dovecot
 *             answers
 * Source      RFC 3501 6.4.5, 7.4.2
 */
#include "base/log.h"
#include "base/time.h"
#include "cmd/cmd.h"
#include "section.h"

enum { SHORT_AT_ONCE = 64 }; /* replies without a text, between two looks at the clock */

struct fetch {
    struct imapd_session *s;
    struct imap_fetch what;
    bool sets_seen;
    bool skipped;        /* a message was gone */
    struct arena *arena; /* of the message at hand */
};

/* Numbers, flags and dates go first; what may be long follows in the order asked for. */
static bool is_short(const struct imap_fetch_item *item)
{
    return item->what == IMAP_FETCH_UID || item->what == IMAP_FETCH_FLAGS || item->what == IMAP_FETCH_INTERNALDATE ||
           item->what == IMAP_FETCH_SIZE;
}

static enum store_why short_item(struct fetch *f, const struct imap_fetch_item *item, uint32_t seq)
{
    struct imapd_session *s = f->s;
    const struct mail *m = mailbox_mail(s->box, seq);
    char date[TIME_TEXT_BYTES];
    enum store_why why = STORE_OK;
    uint64_t size;
    int64_t seconds;

    if (item->what == IMAP_FETCH_UID) {
        str_adds(&s->out, "UID ");
        str_addu(&s->out, m->uid);
    } else if (item->what == IMAP_FETCH_FLAGS) {
        imapd_add_flags(s, &s->out, m);
    } else if (item->what == IMAP_FETCH_SIZE) {
        if ((why = message_size(s->box, seq, &size)) == STORE_OK) {
            str_adds(&s->out, "RFC822.SIZE ");
            str_addu(&s->out, size);
        }
    } else if ((why = message_date(s->box, seq, &seconds)) == STORE_OK) {
        time_imap((time_t) seconds, time_local_zone_minutes((time_t) seconds), date);
        str_printf(&s->out, "INTERNALDATE \"%s\"", date);
    }
    return why;
}

/* ENVELOPE, BODY, BODYSTRUCTURE: text of the index, as it is printed. */
static enum store_why described(struct imapd_message *m, const struct imap_fetch_item *item,
                                struct imapd_section *out)
{
    struct str text;
    enum store_why why;

    str_init(&text, IMAPD_REPLY_BYTES);
    if (item->what == IMAP_FETCH_ENVELOPE)
        why = message_envelope(m->box, m->seq, &text);
    else
        why = message_structure(m->box, m->seq, item->what == IMAP_FETCH_BODYSTRUCTURE, &text);
    *out = (struct imapd_section){ .text = slice_make(arena_strndup(m->arena, text.p, text.len), text.len),
                                   .bytes = text.len };
    str_free(&text);
    return why;
}

static bool mark_seen(struct fetch *f, uint32_t seq)
{
    static const struct mail_change seen = { .how = MAIL_ADD, .flags = MAIL_SEEN, .silent = true };
    enum store_why why;

    if (!f->sets_seen || mailbox_mail(f->s->box, seq)->flags & MAIL_SEEN)
        return false;
    why = mailbox_store(f->s->box, &seq, 1, &seen);
    if (why != STORE_OK && why != STORE_EXPUNGED)
        log_warn("imap(%s)<%s>: cannot set \\Seen: %s", f->s->user, f->s->id, store_error(f->s->store));
    return why == STORE_OK;
}

static enum store_why find_long_items(struct fetch *f, struct imapd_message *m, struct imapd_section *sections)
{
    enum store_why why = STORE_OK;

    for (size_t i = 0; i < f->what.count && why == STORE_OK; i++) {
        const struct imap_fetch_item *item = &f->what.items[i];

        if (item->what == IMAP_FETCH_SECTION)
            why = imapd_section_find(m, item, &sections[i]);
        else if (!is_short(item))
            why = described(m, item, &sections[i]);
    }
    return why;
}

static enum store_why short_items(struct fetch *f, uint32_t seq, bool seen)
{
    struct imapd_session *s = f->s;
    enum store_why why = STORE_OK;
    bool has_flags = false;
    const char *blank = "";

    str_adds(&s->out, "* ");
    str_addu(&s->out, seq);
    str_adds(&s->out, " FETCH (");
    for (size_t i = 0; i < f->what.count && why == STORE_OK; i++) {
        const struct imap_fetch_item *item = &f->what.items[i];

        if (!is_short(item))
            continue;
        has_flags |= item->what == IMAP_FETCH_FLAGS;
        str_adds(&s->out, blank);
        why = short_item(f, item, seq);
        blank = " ";
    }
    if (why == STORE_OK && seen && !has_flags) {
        str_adds(&s->out, blank);
        imapd_add_flags(s, &s->out, mailbox_mail(s->box, seq));
    }
    return why;
}

/* The reply stands in s->out up to the first text; from there on bytes go out as they are read. */
static int send_reply(struct fetch *f, struct imapd_message *m, const struct imapd_section *sections)
{
    struct imapd_session *s = f->s;
    bool first = s->out.p[s->out.len - 1] == '(';

    for (size_t i = 0; i < f->what.count; i++) {
        const struct imap_fetch_item *item = &f->what.items[i];

        if (is_short(item))
            continue;
        str_printf(&s->out, "%s%s ", first ? "" : " ", item->label);
        first = false;
        if (item->what == IMAP_FETCH_SECTION) {
            str_printf(&s->out, "{%llu}\r\n", (unsigned long long) sections[i].bytes);
            s->body_fetched++;
        }
        stream_write(s->io, s->out.p, s->out.len);
        str_reset(&s->out);
        if (imapd_section_send(m, &sections[i], s->io) != 0)
            return -1;
    }
    str_addc(&s->out, ')');
    imapd_untagged(s);
    return 0;
}

static enum store_why one(struct fetch *f, uint32_t seq, struct imapd_section *sections)
{
    struct imapd_session *s = f->s;
    struct imapd_message m = { .box = s->box, .seq = seq, .arena = f->arena };
    enum store_why why = find_long_items(f, &m, sections);

    if (why == STORE_OK)
        why = short_items(f, seq, mark_seen(f, seq));
    if (why == STORE_OK && !str_over(&s->out)) {
        if (send_reply(f, &m, sections) != 0) {
            if (stream_error(s->io) == 0)
                log_error("imap(%s)<%s>: %s: UID %u is shorter than its index says", s->user, s->id,
                          mailbox_name(s->box), mailbox_mail(s->box, seq)->uid);
            s->ended = "A message could not be read to its end";
            s->state = IMAPD_LOGOUT;
        }
    }
    str_reset(&s->out);
    imapd_message_close(&m);
    arena_reset(f->arena);
    return why;
}

static int read_items(struct fetch *f, struct imap_arg *a)
{
    struct imap_fetch asked;
    size_t n = 0;

    if (imap_fetch_parse(a, &asked) != 0)
        return -1;
    f->what.items = arena_alloc(a->arena, (asked.count + 1) * sizeof *f->what.items);
    if (f->s->uid)
        f->what.items[n++] = (struct imap_fetch_item){ .what = IMAP_FETCH_UID, .peek = true, .label = "UID" };
    for (size_t i = 0; i < asked.count; i++) {
        if (f->s->uid && asked.items[i].what == IMAP_FETCH_UID)
            continue;
        f->sets_seen |= !asked.items[i].peek;
        f->what.items[n++] = asked.items[i];
    }
    f->what.count = n;
    return 0;
}

/* False: the session ends, or the answer says why. */
static bool all(struct fetch *f, const uint32_t *seqs, size_t n, struct imapd_section *sections)
{
    struct imapd_session *s = f->s;
    enum store_why why = STORE_OK;
    bool long_items = false;

    for (size_t i = 0; i < f->what.count; i++)
        long_items |= !is_short(&f->what.items[i]);
    for (size_t i = 0; i < n && (why == STORE_OK || why == STORE_EXPUNGED); i++) {
        why = one(f, seqs[i], sections);
        if (s->ended || stream_error(s->io))
            return false;
        f->skipped |= why == STORE_EXPUNGED;
        if (long_items || i % SHORT_AT_ONCE == 0)
            fiber_slice();
    }
    message_trim(s->box);
    if (why == STORE_OK || why == STORE_EXPUNGED)
        return true;
    imapd_answer_why(s, why, mailbox_name(s->box), NULL);
    return false;
}

void imapd_cmd_fetch(struct imapd_session *s, struct imap_arg *a)
{
    struct fetch f = { .s = s };
    struct imap_set set;
    struct imapd_section *sections;
    uint32_t *seqs;
    size_t n;

    if (imap_set_parse(a, &set) != 0 || imap_arg_space(a) != 0 || read_items(&f, a) != 0 ||
        imapd_resolve(s, a, &set, &seqs, &n) != 0)
        return;
    f.sets_seen &= !mailbox_read_only(s->box);
    sections = arena_alloc(s->arena, f.what.count * sizeof *sections);
    f.arena = arena_new();
    bool done = all(&f, seqs, n, sections);
    arena_free(&f.arena);
    if (done)
        imapd_answer(s,
                     f.skipped ? "OK [EXPUNGEISSUED] Some messages were already expunged." : "OK Fetch completed.");
}
