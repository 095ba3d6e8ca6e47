/*
 * imapd/cmd/search - SEARCH
 *
 * Invariants  what costs little is asked first: flags and numbers, then dates and sizes, headers, bodies
 *             a message that is gone matches nothing
 * Source      RFC 3501 6.4.4
 */
#include "proto/imap/search.h"
#include "base/time.h"
#include "cmd/cmd.h"
#include "match.h"
#include "proto/mime/decode.h"

enum { DAY_SECONDS = 86400, NO_KEYWORD = STORE_KEYWORDS_MAX };

struct search {
    struct imapd_session *s;
    struct mime_charset *charset;
    enum store_why why; /* what no message can answer for */
};

static int cost(const struct imap_search *n)
{
    int most = 0;

    switch (n->what) {
    case IMAP_SEARCH_BODY:
    case IMAP_SEARCH_TEXT: return 3;
    case IMAP_SEARCH_HEADER:
    case IMAP_SEARCH_SENTBEFORE:
    case IMAP_SEARCH_SENTON:
    case IMAP_SEARCH_SENTSINCE: return 2;
    case IMAP_SEARCH_BEFORE:
    case IMAP_SEARCH_ON:
    case IMAP_SEARCH_SINCE:
    case IMAP_SEARCH_LARGER:
    case IMAP_SEARCH_SMALLER: return 1;
    case IMAP_SEARCH_AND:
    case IMAP_SEARCH_OR:
    case IMAP_SEARCH_NOT:
        for (const struct imap_search *c = n->child; c; c = c->next) {
            int one = cost(c);
            most = one > most ? one : most;
        }
        return most;
    case IMAP_SEARCH_ALL:
    case IMAP_SEARCH_FLAGS:
    case IMAP_SEARCH_KEYWORD:
    case IMAP_SEARCH_SEQUENCE:
    case IMAP_SEARCH_UID: break;
    }
    return 0;
}

static void cheapest_first(struct imap_search *n)
{
    struct imap_search *sorted = NULL, *next;

    for (struct imap_search *c = n->child; c; c = next) {
        struct imap_search **at = &sorted;

        next = c->next;
        while (*at && cost(*at) <= cost(c))
            at = &(*at)->next;
        c->next = *at;
        *at = c;
    }
    n->child = sorted;
}

static uint64_t keyword_number(struct search *x, struct slice name)
{
    for (size_t k = 0; k < mailbox_keyword_count(x->s->box); k++) {
        if (slice_caseeq(name, mailbox_keyword(x->s->box, k)))
            return k;
    }
    return NO_KEYWORD;
}

/* A key in the client's charset, folded for comparing. */
static struct slice fold(struct search *x, struct slice text)
{
    struct str utf8, key;
    struct slice out;

    str_init(&utf8, STR_UNLIMITED); /* the command bounds it */
    str_init(&key, STR_UNLIMITED);
    mime_charset_feed(x->charset, text, true, &utf8);
    imapd_match_key(str_slice(&utf8), &key);
    out = slice_make(arena_strndup(x->s->arena, key.p, key.len), key.len);
    str_free(&utf8);
    str_free(&key);
    return out;
}

static void prepare(struct search *x, struct imap_search *n)
{
    struct mailbox *box = x->s->box;
    uint32_t count = mailbox_count(box);

    switch (n->what) {
    case IMAP_SEARCH_AND: cheapest_first(n); break;
    case IMAP_SEARCH_SEQUENCE: imap_set_resolve(&n->set, count); break;
    case IMAP_SEARCH_UID: imap_set_resolve(&n->set, count ? mailbox_mail(box, count)->uid : 0); break;
    case IMAP_SEARCH_KEYWORD: n->number = keyword_number(x, n->text); break;
    case IMAP_SEARCH_HEADER:
        n->name = slice_of(arena_strndup(x->s->arena, n->name.p, n->name.len));
        n->text = fold(x, n->text);
        break;
    case IMAP_SEARCH_BODY:
    case IMAP_SEARCH_TEXT: n->text = fold(x, n->text); break;
    default: break;
    }
    for (struct imap_search *c = n->child; c; c = c->next)
        prepare(x, c);
}

static int64_t day_of(int64_t seconds)
{
    int64_t day = seconds / DAY_SECONDS - (seconds % DAY_SECONDS < 0);
    return day * DAY_SECONDS;
}

/* RFC 3501: dates "disregarding time and timezone": the day as the zone at hand shows it. */
static enum store_why arrival_day(struct search *x, uint32_t seq, int64_t *day)
{
    int64_t seconds;
    enum store_why why = message_date(x->s->box, seq, &seconds);

    if (why == STORE_OK)
        *day = day_of(seconds + time_local_zone_minutes((time_t) seconds) * 60);
    return why;
}

static enum store_why sent_day(struct search *x, uint32_t seq, int64_t *day, bool *known)
{
    static const char *const name = "DATE";
    struct mime_field field;
    struct str text;
    int64_t seconds;
    int zone;
    enum store_why why;

    str_init(&text, MIME_HEADER_BYTES);
    why = message_fields(x->s->box, seq, &name, 1, &text);
    *known = why == STORE_OK && mime_field_find(str_slice(&text), name, &field) &&
             mime_date(field.value, &seconds, &zone);
    if (*known)
        *day = day_of(seconds + zone * 60);
    str_free(&text);
    return why;
}

static bool leaf(struct search *x, const struct imap_search *n, uint32_t seq)
{
    struct mailbox *box = x->s->box;
    const struct mail *m = mailbox_mail(box, seq);
    enum store_why why = STORE_OK;
    bool found = false, known = true;
    uint64_t size = 0;
    int64_t day = 0;

    switch (n->what) {
    case IMAP_SEARCH_ALL: return true;
    case IMAP_SEARCH_FLAGS: return (m->flags & n->flags_on) == n->flags_on && !(m->flags & n->flags_off);
    case IMAP_SEARCH_KEYWORD: return n->number != NO_KEYWORD && m->keywords >> n->number & 1;
    case IMAP_SEARCH_SEQUENCE: return imap_set_has(&n->set, seq);
    case IMAP_SEARCH_UID: return imap_set_has(&n->set, m->uid);
    case IMAP_SEARCH_BEFORE:
    case IMAP_SEARCH_ON:
    case IMAP_SEARCH_SINCE: why = arrival_day(x, seq, &day); break;
    case IMAP_SEARCH_SENTBEFORE:
    case IMAP_SEARCH_SENTON:
    case IMAP_SEARCH_SENTSINCE: why = sent_day(x, seq, &day, &known); break;
    case IMAP_SEARCH_LARGER:
    case IMAP_SEARCH_SMALLER: why = message_size(box, seq, &size); break;
    case IMAP_SEARCH_HEADER: why = imapd_match_header(box, seq, n->name.p, n->text, &found); break;
    case IMAP_SEARCH_BODY: why = imapd_match_text(box, seq, false, n->text, &found); break;
    case IMAP_SEARCH_TEXT: why = imapd_match_text(box, seq, true, n->text, &found); break;
    case IMAP_SEARCH_AND:
    case IMAP_SEARCH_OR:
    case IMAP_SEARCH_NOT: break;
    }
    if (why != STORE_OK || !known) {
        if (why != STORE_OK && why != STORE_EXPUNGED)
            x->why = why;
        return false;
    }
    switch (n->what) {
    case IMAP_SEARCH_BEFORE:
    case IMAP_SEARCH_SENTBEFORE: return day < n->day;
    case IMAP_SEARCH_ON:
    case IMAP_SEARCH_SENTON: return day == n->day;
    case IMAP_SEARCH_SINCE:
    case IMAP_SEARCH_SENTSINCE: return day >= n->day;
    case IMAP_SEARCH_LARGER: return size > n->number;
    case IMAP_SEARCH_SMALLER: return size < n->number;
    default: return found;
    }
}

/* Depth is bounded by IMAP_SEARCH_DEPTH. */
static bool matches(struct search *x, const struct imap_search *n, uint32_t seq)
{
    if (n->what == IMAP_SEARCH_NOT)
        return !matches(x, n->child, seq);
    if (n->what != IMAP_SEARCH_AND && n->what != IMAP_SEARCH_OR)
        return leaf(x, n, seq);
    for (const struct imap_search *c = n->child; c; c = c->next) {
        bool one = matches(x, c, seq);
        if (one == (n->what == IMAP_SEARCH_OR))
            return one;
    }
    return n->what == IMAP_SEARCH_AND;
}

void imapd_cmd_search(struct imapd_session *s, struct imap_arg *a)
{
    struct search x = { .s = s };
    struct imap_search_program program;
    uint32_t count = mailbox_count(s->box);
    const char *charset = NULL;

    if (imap_search_parse(a, &program) != 0)
        return;
    if (program.charset.p)
        charset = arena_strndup(s->arena, program.charset.p, program.charset.len);
    if (charset && !mime_charset_known(charset)) {
        imapd_answer(s, "NO [BADCHARSET] Unknown charset");
        return;
    }
    x.charset = mime_charset_open(charset);
    prepare(&x, program.root);
    mime_charset_close(&x.charset);
    str_adds(&s->out, "* SEARCH");
    for (uint32_t seq = 1; seq <= count && x.why == STORE_OK; seq++) {
        if (!mailbox_mail(s->box, seq)->gone && matches(&x, program.root, seq)) {
            str_addc(&s->out, ' ');
            str_addu(&s->out, s->uid ? mailbox_mail(s->box, seq)->uid : seq);
        }
        fiber_slice();
    }
    message_trim(s->box);
    if (x.why != STORE_OK) {
        str_reset(&s->out);
        imapd_answer_why(s, x.why, mailbox_name(s->box), NULL);
        return;
    }
    imapd_untagged(s);
    imapd_answer(s, "OK Search completed.");
}
