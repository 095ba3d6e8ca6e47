/*
 * addr list - the addresses of To, From, Cc and their like
 *
 * Callers     sendmail -t, cleanup (header rewriting), lib/proto/mime (ENVELOPE), bounce
 * Invariants  pure; every byte is looked at a bounded number of times; at most ADDR_LIST_ITEMS items
 *             nothing is fatal: what is no address is skipped to the next comma and `malformed` is set
 * Source      RFC 5322 3.4, 4.4; RFC 6532; RFC 6854 (groups in From)
 */
#include "proto/addr/addr.h"
#include "proto/addr/internal.h"

enum { COMMENT_DEPTH = 64 };

/* Length of a comment at in[at] with its parentheses; an open one takes the rest. */
static size_t comment_len(struct slice in, size_t at)
{
    size_t depth = 0, from = at;

    for (; at < in.len; at++) {
        if (in.p[at] == '\\')
            at++;
        else if (in.p[at] == '(' && depth < COMMENT_DEPTH)
            depth++;
        else if (in.p[at] == ')' && --depth == 0)
            return at + 1 - from;
    }
    return in.len - from;
}

static size_t quoted_len(struct slice in, size_t at)
{
    size_t from = at++;

    for (; at < in.len; at++) {
        if (in.p[at] == '\\')
            at++;
        else if (in.p[at] == '"')
            return at + 1 - from;
    }
    return in.len - from;
}

/* Skips blanks and comments; the last comment is noted. */
static size_t skip_cfws(struct slice in, size_t at, struct slice *comment)
{
    for (;;) {
        while (at < in.len && ascii_isspace(in.p[at]))
            at++;
        if (at >= in.len || in.p[at] != '(')
            return at;
        size_t len = comment_len(in, at);
        if (comment != NULL)
            *comment = slice_sub(in, at, len);
        at += len;
    }
}

/* An addr-spec in which comments and folding may stand between the words (RFC 5322 4.4): reads its meaning. */
static bool spec_text(struct slice in, struct str *internal)
{
    size_t at = 0, before = internal->len;
    bool domain = false, any = false;

    while (at < in.len) {
        char c;

        at = skip_cfws(in, at, NULL);
        if (at >= in.len)
            break;
        c = in.p[at];
        if (c == '"' && !domain) {
            ptrdiff_t len = addr_quoted_string(slice_sub(in, at, in.len), internal);

            if (len < 0)
                goto bad;
            at += (size_t) len;
        } else if (c == '[' && domain) {
            ptrdiff_t len = slice_find(slice_sub(in, at, in.len), ']');

            if (len < 0 || memchr(in.p + at, '@', (size_t) len))
                goto bad;
            str_add(internal, in.p + at, (size_t) len + 1);
            at += (size_t) len + 1;
        } else if (c == '@' && any && !domain) {
            domain = true;
            str_addc(internal, c);
            at++;
        } else if (c == '.' || addr_is_atext((unsigned char) c)) {
            str_addc(internal, c);
            at++;
        } else {
            goto bad;
        }
        any = true;
    }
    if (!domain && memchr(internal->p + before, '@', internal->len - before))
        goto bad;
    if (internal->len > before && internal->p[internal->len - 1] != '@' && internal->len - before <= ADDR_BYTES)
        return true;
bad:
    str_cut(internal, before);
    return false;
}

/* "<...>" at in[at]: sets where the addr-spec stands. Answers what it takes, 0 when it does not end. */
static size_t angle(struct slice in, size_t at, struct addr_item *item, struct str *internal, bool *malformed)
{
    size_t from = at++, start = at, end;
    struct slice spec;

    for (end = at; end < in.len && in.p[end] != '>';) {
        if (in.p[end] == '"')
            end += quoted_len(in, end);
        else if (in.p[end] == '(')
            end += comment_len(in, end);
        else if (in.p[end] == '<')
            break;
        else
            end++;
    }
    if (end >= in.len || in.p[end] != '>')
        return 0;
    start = skip_cfws(in, start, NULL);
    if (start < end && in.p[start] == '@') { /* an obsolete route: "@a,@b:" */
        ptrdiff_t colon = slice_find(slice_sub(in, start, end - start), ':');

        if (colon >= 0)
            start = skip_cfws(in, start + (size_t) colon + 1, NULL);
    }
    while (start > end)
        start = end;
    spec = slice_trim(slice_sub(in, start, end - start));
    item->angle = true;
    item->at = spec.len ? (size_t) (spec.p - in.p) : end;
    item->len = spec.len;
    if (spec.len && !spec_text(spec, internal))
        *malformed = true;
    return end + 1 - from;
}

struct scan {                /* one list element, up to its comma */
    size_t start, words_end; /* the phrase or addr-spec read so far */
    bool any;
    struct slice comment;
};

static bool finish_bare(struct addr_list *list, struct scan *s, struct addr_item *item, struct str *internal)
{
    struct slice spec = slice_sub(list->in, s->start, s->words_end - s->start);

    if (!s->any)
        return false;
    if (!spec_text(spec, internal)) {
        list->malformed = true;
        return false;
    }
    *item = (struct addr_item){ .kind = ADDR_MAILBOX, .at = s->start, .len = spec.len, .name = s->comment };
    return true;
}

static struct slice phrase(const struct addr_list *list, const struct scan *s)
{
    return s->any ? slice_trim(slice_sub(list->in, s->start, s->words_end - s->start)) : s->comment;
}

/* After ">" : a comment may follow, anything else up to the comma is skipped. */
static void after_angle(struct addr_list *list, struct addr_item *item)
{
    struct slice in = list->in, comment = { 0 };

    list->at = skip_cfws(in, list->at, &comment);
    if (item->name.len == 0 && comment.len)
        item->name = comment;
    while (list->at < in.len && in.p[list->at] != ',' && in.p[list->at] != ';') {
        list->malformed = true;
        list->at += in.p[list->at] == '"'   ? quoted_len(in, list->at)
                    : in.p[list->at] == '(' ? comment_len(in, list->at)
                                            : 1;
    }
}

/* One element; false when it held nothing. */
static bool element(struct addr_list *list, struct addr_item *item, struct str *internal)
{
    struct slice in = list->in;
    struct scan s = { 0 };

    for (;;) {
        size_t at = list->at = skip_cfws(in, list->at, &s.comment), len;
        char c = at < in.len ? in.p[at] : ',';

        if (c == ',' || (c == ';' && list->in_group))
            return finish_bare(list, &s, item, internal); /* the separator is left for the caller */
        if (c == '<') {
            *item = (struct addr_item){ .kind = ADDR_MAILBOX, .name = phrase(list, &s) };
            len = angle(in, at, item, internal, &list->malformed);
            if (len == 0) {
                list->malformed = true;
                list->at++;
                continue;
            }
            list->at += len;
            after_angle(list, item);
            if (item->len && internal->len == 0)
                return false; /* unreadable inside <> */
            return true;
        }
        if (c == ':' && !list->in_group && s.any) {
            *item = (struct addr_item){ .kind = ADDR_GROUP, .name = phrase(list, &s), .at = s.start };
            item->len = s.words_end - s.start;
            list->in_group = true;
            list->at++;
            return true;
        }
        if (!s.any)
            s.start = at;
        s.any = true;
        len = c == '"' ? quoted_len(in, at) : 1;
        list->at += len;
        s.words_end = list->at;
    }
}

bool addr_list_next(struct addr_list *list, struct addr_item *item, struct str *internal)
{
    while (list->at < list->in.len && list->items < ADDR_LIST_ITEMS) {
        char c = list->in.p[list->at];

        str_reset(internal);
        if (c == ',') {
            list->at++;
            continue;
        }
        if (c == ';' && list->in_group) {
            *item = (struct addr_item){ .kind = ADDR_GROUP_END, .at = list->at };
            list->in_group = false;
            list->at++;
            list->items++;
            return true;
        }
        if (element(list, item, internal)) {
            list->items++;
            return true;
        }
    }
    return false;
}

void addr_name_text(struct str *out, struct slice name)
{
    bool comment = name.len > 1 && name.p[0] == '(' && name.p[name.len - 1] == ')', gap = false;
    size_t from = out->len;

    if (comment)
        name = slice_sub(name, 1, name.len - 2);
    for (size_t i = 0; i < name.len; i++) {
        if (ascii_isspace(name.p[i])) {
            gap = true;
            continue;
        }
        if (gap && out->len > from)
            str_addc(out, ' ');
        gap = false;
        if (name.p[i] == '"' && !comment) {
            size_t len = quoted_len(name, i);

            for (size_t k = i + 1; k < i + len && k < name.len; k++) {
                if (name.p[k] == '"' && k == i + len - 1)
                    break;
                if (name.p[k] == '\\' && k + 1 < i + len)
                    k++;
                if (k < name.len && name.p[k] != '\r' && name.p[k] != '\n')
                    str_addc(out, name.p[k]);
            }
            i += len - 1;
        } else if (name.p[i] == '(' && !comment) {
            i += comment_len(name, i) - 1;
        } else {
            if (name.p[i] == '\\' && i + 1 < name.len)
                i++;
            str_addc(out, name.p[i]);
        }
    }
}
