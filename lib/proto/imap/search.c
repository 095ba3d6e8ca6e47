/* search - keys of SEARCH; the table is the grammar, recursion is bounded by IMAP_SEARCH_DEPTH. Contract: search.h */
#include "proto/imap/search.h"

/* How the words behind a key read. */
enum operands { NOTHING, STRING, HEADER_NAME_STRING, KEYWORD_NAME, DATE, NUMBER, UIDS, ONE_KEY, TWO_KEYS };

static const struct {
    const char *name;
    enum imap_search_what what;
    enum operands operands;
    unsigned flags_on, flags_off;
    const char *header;
    bool negated;
} keys[] = {
    { "ALL", IMAP_SEARCH_ALL, NOTHING, 0, 0, NULL, false },
    { "ANSWERED", IMAP_SEARCH_FLAGS, NOTHING, IMAP_ANSWERED, 0, NULL, false },
    { "DELETED", IMAP_SEARCH_FLAGS, NOTHING, IMAP_DELETED, 0, NULL, false },
    { "DRAFT", IMAP_SEARCH_FLAGS, NOTHING, IMAP_DRAFT, 0, NULL, false },
    { "FLAGGED", IMAP_SEARCH_FLAGS, NOTHING, IMAP_FLAGGED, 0, NULL, false },
    { "RECENT", IMAP_SEARCH_FLAGS, NOTHING, IMAP_RECENT, 0, NULL, false },
    { "SEEN", IMAP_SEARCH_FLAGS, NOTHING, IMAP_SEEN, 0, NULL, false },
    { "UNANSWERED", IMAP_SEARCH_FLAGS, NOTHING, 0, IMAP_ANSWERED, NULL, false },
    { "UNDELETED", IMAP_SEARCH_FLAGS, NOTHING, 0, IMAP_DELETED, NULL, false },
    { "UNDRAFT", IMAP_SEARCH_FLAGS, NOTHING, 0, IMAP_DRAFT, NULL, false },
    { "UNFLAGGED", IMAP_SEARCH_FLAGS, NOTHING, 0, IMAP_FLAGGED, NULL, false },
    { "UNSEEN", IMAP_SEARCH_FLAGS, NOTHING, 0, IMAP_SEEN, NULL, false },
    { "NEW", IMAP_SEARCH_FLAGS, NOTHING, IMAP_RECENT, IMAP_SEEN, NULL, false },
    { "OLD", IMAP_SEARCH_FLAGS, NOTHING, 0, IMAP_RECENT, NULL, false },
    { "BCC", IMAP_SEARCH_HEADER, STRING, 0, 0, "BCC", false },
    { "CC", IMAP_SEARCH_HEADER, STRING, 0, 0, "CC", false },
    { "FROM", IMAP_SEARCH_HEADER, STRING, 0, 0, "FROM", false },
    { "SUBJECT", IMAP_SEARCH_HEADER, STRING, 0, 0, "SUBJECT", false },
    { "TO", IMAP_SEARCH_HEADER, STRING, 0, 0, "TO", false },
    { "HEADER", IMAP_SEARCH_HEADER, HEADER_NAME_STRING, 0, 0, NULL, false },
    { "BODY", IMAP_SEARCH_BODY, STRING, 0, 0, NULL, false },
    { "TEXT", IMAP_SEARCH_TEXT, STRING, 0, 0, NULL, false },
    { "KEYWORD", IMAP_SEARCH_KEYWORD, KEYWORD_NAME, 0, 0, NULL, false },
    { "UNKEYWORD", IMAP_SEARCH_KEYWORD, KEYWORD_NAME, 0, 0, NULL, true },
    { "BEFORE", IMAP_SEARCH_BEFORE, DATE, 0, 0, NULL, false },
    { "ON", IMAP_SEARCH_ON, DATE, 0, 0, NULL, false },
    { "SINCE", IMAP_SEARCH_SINCE, DATE, 0, 0, NULL, false },
    { "SENTBEFORE", IMAP_SEARCH_SENTBEFORE, DATE, 0, 0, NULL, false },
    { "SENTON", IMAP_SEARCH_SENTON, DATE, 0, 0, NULL, false },
    { "SENTSINCE", IMAP_SEARCH_SENTSINCE, DATE, 0, 0, NULL, false },
    { "LARGER", IMAP_SEARCH_LARGER, NUMBER, 0, 0, NULL, false },
    { "SMALLER", IMAP_SEARCH_SMALLER, NUMBER, 0, 0, NULL, false },
    { "UID", IMAP_SEARCH_UID, UIDS, 0, 0, NULL, false },
    { "NOT", IMAP_SEARCH_NOT, ONE_KEY, 0, 0, NULL, false },
    { "OR", IMAP_SEARCH_OR, TWO_KEYS, 0, 0, NULL, false },
};

struct parse {
    struct imap_arg *a;
    size_t keys;
};

static struct imap_search *one_key(struct parse *p, unsigned depth);

static struct imap_search *node(struct parse *p, enum imap_search_what what)
{
    struct imap_search *n;

    if (++p->keys > IMAP_SEARCH_KEYS) {
        imap_arg_fail(p->a, "Too many search keys.");
        return NULL;
    }
    n = arena_alloc(p->a->arena, sizeof *n);
    n->what = what;
    return n;
}

static struct imap_search *negate(struct parse *p, struct imap_search *child)
{
    struct imap_search *n = node(p, IMAP_SEARCH_NOT);

    if (n)
        n->child = child;
    return n;
}

/* search-key *(SP search-key), up to ')' or the end. */
static struct imap_search *all_of(struct parse *p, unsigned depth, bool list)
{
    struct imap_search *n = node(p, IMAP_SEARCH_AND), **tail;

    if (n == NULL)
        return NULL;
    tail = &n->child;
    while (imap_arg_peek(p->a) == ' ')
        p->a->p++;
    for (;;) {
        if ((*tail = one_key(p, depth)) == NULL)
            return NULL;
        tail = &(*tail)->next;
        if (list && imap_arg_char(p->a, ')'))
            return n;
        if (!list && imap_arg_end(p->a))
            return n;
        if (imap_arg_space(p->a) != 0)
            return NULL;
        if (list && imap_arg_char(p->a, ')'))
            return n;
    }
}

static int read_operands(struct parse *p, enum operands kind, struct imap_search *n, unsigned depth)
{
    struct imap_arg *a = p->a;

    if (kind == NOTHING)
        return 0;
    if (imap_arg_space(a) != 0)
        return -1;
    switch (kind) {
    case HEADER_NAME_STRING:
        if (imap_arg_astring(a, &n->name) != 0 || imap_arg_space(a) != 0)
            return -1;
        return imap_arg_astring(a, &n->text);
    case STRING: return imap_arg_astring(a, &n->text);
    case KEYWORD_NAME: return imap_arg_atom(a, &n->text);
    case DATE: return imap_arg_date(a, &n->day);
    case NUMBER: return imap_arg_number(a, UINT64_MAX, &n->number);
    case UIDS: return imap_set_parse(a, &n->set);
    case ONE_KEY: return (n->child = one_key(p, depth + 1)) ? 0 : -1;
    case TWO_KEYS:
        if ((n->child = one_key(p, depth + 1)) == NULL || imap_arg_space(a) != 0)
            return -1;
        return (n->child->next = one_key(p, depth + 1)) ? 0 : -1;
    case NOTHING: break;
    }
    return 0;
}

static struct imap_search *one_key(struct parse *p, unsigned depth)
{
    struct imap_arg *a = p->a;
    struct imap_search *n;

    if (depth >= IMAP_SEARCH_DEPTH) {
        imap_arg_fail(a, "Search keys are nested too deeply.");
        return NULL;
    }
    if (imap_arg_char(a, '('))
        return all_of(p, depth + 1, true);
    if (ascii_isdigit(imap_arg_peek(a)) || imap_arg_peek(a) == '*') {
        n = node(p, IMAP_SEARCH_SEQUENCE);
        return n && imap_set_parse(a, &n->set) == 0 ? n : NULL;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!imap_arg_word(a, keys[i].name))
            continue;
        if ((n = node(p, keys[i].what)) == NULL)
            return NULL;
        n->flags_on = keys[i].flags_on;
        n->flags_off = keys[i].flags_off;
        n->name = slice_of(keys[i].header);
        if (read_operands(p, keys[i].operands, n, depth) != 0)
            return NULL;
        return keys[i].negated ? negate(p, n) : n;
    }
    struct slice word = { NULL, 0 };
    const char *error = "Missing search parameters.";
    if (!imap_arg_end(a) && imap_arg_atom(a, &word) == 0)
        error = arena_printf(a->arena, "Unknown argument %.*s", (int) word.len, word.p);
    imap_arg_fail(a, error);
    return NULL;
}

int imap_search_parse(struct imap_arg *a, struct imap_search_program *out)
{
    struct parse p = { .a = a };

    *out = (struct imap_search_program){ .charset = { NULL, 0 } };
    if (imap_arg_word(a, "CHARSET") &&
        (imap_arg_space(a) != 0 || imap_arg_astring(a, &out->charset) != 0 || imap_arg_space(a) != 0))
        return -1;
    out->root = all_of(&p, 0, false);
    return out->root ? 0 : -1;
}
