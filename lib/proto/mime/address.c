/*
 * address - see address.h
 *
 * Callers     mime/envelope.c, imapd
 * Invariants  pure; forward only, but for one step back where a phrase turns out to be an address; bounded by
 *             MIME_ADDRESSES_MAX and the length of the value
 * Errors      none: what is missing is named MISSING_MAILBOX, MISSING_DOMAIN, INVALID_ROUTE or SYNTAX_ERROR, the
 *             words clients of Dovecot know
 * Source      RFC 5322 3.4, 4.4
 */
#include "proto/mime/address.h"
#include "proto/mime/lex.h"

struct reader {
    struct lex lx;
    struct arena *arena;
    struct str word, comment;
    struct mime_address now; /* the address being read */
    struct mime_address *first, **tail;
    size_t count;
};

static const char *keep(struct reader *r) { return arena_strndup(r->arena, r->word.p, r->word.len); }

static void add(struct reader *r)
{
    struct mime_address *a;

    if (r->count++ < MIME_ADDRESSES_MAX) {
        a = arena_alloc(r->arena, sizeof *a);
        *a = r->now;
        *r->tail = a;
        r->tail = &a->next;
    }
    r->now = (struct mime_address){ 0 };
}

static void add_filled(struct reader *r)
{
    if (r->now.mailbox == NULL)
        r->now.mailbox = "MISSING_MAILBOX";
    if (r->now.host == NULL || *r->now.host == '\0')
        r->now.host = "MISSING_DOMAIN";
    add(r);
}

/* Atoms with dots wherever they are. */
static int loose_dots(struct reader *r)
{
    int ret = -1;

    do {
        while (*r->lx.p == '.') {
            str_addc(&r->word, '.');
            if (++r->lx.p >= r->lx.end)
                return 0;
            ret = 1;
        }
        if (*r->lx.p == '@')
            break;
        ret = lex_atom(&r->lx, &r->word);
    } while (ret > 0 && *r->lx.p == '.');
    return ret;
}

static int local_part(struct reader *r)
{
    int ret;

    str_reset(&r->word);
    ret = *r->lx.p == '"' ? lex_quoted(&r->lx, &r->word) : loose_dots(r);
    if (ret >= 0)
        r->now.mailbox = keep(r);
    return ret;
}

static int domain(struct reader *r)
{
    int ret;

    str_reset(&r->word);
    if ((ret = lex_domain(&r->lx, &r->word)) >= 0)
        r->now.host = keep(r);
    return ret;
}

/* "@a,@b" before the colon of a source route. */
static int route(struct reader *r)
{
    int ret;

    str_reset(&r->word);
    while (r->lx.p < r->lx.end && *r->lx.p == '@') {
        if (r->word.len)
            str_addc(&r->word, ',');
        str_addc(&r->word, '@');
        if ((ret = lex_domain(&r->lx, &r->word)) <= 0)
            return ret;
        while (lex_skip(&r->lx) > 0 && *r->lx.p == ',')
            r->lx.p++;
    }
    if (r->lx.p >= r->lx.end)
        return 0;
    r->now.route = keep(r);
    return 1;
}

static int angle(struct reader *r)
{
    r->lx.p++;
    if (lex_skip(&r->lx) <= 0)
        return -1;
    if (*r->lx.p == '@') {
        if (route(r) > 0 && *r->lx.p == ':') {
            r->lx.p++;
        } else {
            r->now.route = "INVALID_ROUTE";
            if (r->lx.p >= r->lx.end)
                return -1;
        }
        if (lex_skip(&r->lx) <= 0)
            return -1;
    }
    if (*r->lx.p != '>') {
        if (local_part(r) <= 0)
            return -1;
        if (*r->lx.p == '@' && domain(r) <= 0)
            return -1;
    }
    if (*r->lx.p != '>')
        return -1;
    r->lx.p++;
    return lex_skip(&r->lx);
}

/* "Name <address>". -1: it is something else. */
static int name_addr(struct reader *r)
{
    str_reset(&r->word);
    if (lex_phrase(&r->lx, &r->word) <= 0 || *r->lx.p != '<')
        return -1;
    r->now.name = r->word.len ? keep(r) : NULL;
    if (angle(r) < 0)
        r->now.host = "SYNTAX_ERROR";
    return r->lx.p < r->lx.end ? 1 : 0;
}

/* A word without "@" and without a comment is a mailbox when it stands alone, else a display name. */
static int lone_word(struct reader *r, bool quoted)
{
    size_t had;

    str_addc(&r->word, ' ');
    had = r->word.len;
    (void) lex_phrase(&r->lx, &r->word);
    if (r->word.len != had || (quoted && r->now.mailbox)) {
        if (r->word.len == had)
            str_cut(&r->word, had - 1);
        r->now.name = keep(r);
        r->now.mailbox = NULL;
    }
    return -1;
}

static int addr_spec(struct reader *r)
{
    bool quoted = *r->lx.p == '"', has_domain = false;
    int ret;

    str_reset(&r->comment);
    ret = local_part(r);
    if (ret != 0 && r->lx.p < r->lx.end && *r->lx.p == '@') {
        has_domain = true;
        ret = domain(r);
    }
    if (r->comment.len)
        r->now.name = arena_strndup(r->arena, r->comment.p, r->comment.len);
    else if (!has_domain)
        return lone_word(r, quoted);
    return ret;
}

static int mailbox(struct reader *r)
{
    const char *start = r->lx.p;
    int ret = name_addr(r);

    if (ret < 0) {
        r->lx.p = start;
        ret = addr_spec(r);
    }
    add_filled(r);
    return ret;
}

static int group(struct reader *r)
{
    int ret;

    str_reset(&r->word);
    if (lex_phrase(&r->lx, &r->word) <= 0 || *r->lx.p != ':')
        return -1;
    r->lx.p++;
    ret = lex_skip(&r->lx);
    r->now.mailbox = keep(r);
    add(r);
    if (ret > 0 && *r->lx.p != ';') {
        for (;;) {
            (void) mailbox(r);
            if (r->lx.p >= r->lx.end || *r->lx.p != ',')
                break;
            r->lx.p++;
            if (lex_skip(&r->lx) <= 0) {
                ret = -1;
                break;
            }
        }
    }
    if (ret >= 0 && r->lx.p < r->lx.end && *r->lx.p == ';') {
        r->lx.p++;
        ret = lex_skip(&r->lx);
    } else {
        ret = -1;
    }
    add(r);
    return ret == 0 ? 0 : 1;
}

static void address_list(struct reader *r)
{
    const char *start;
    int ret;

    while (r->count < MIME_ADDRESSES_MAX) {
        start = r->lx.p;
        if ((ret = group(r)) < 0) {
            r->lx.p = start;
            ret = mailbox(r);
        }
        if (ret == 0 || r->lx.p >= r->lx.end || *r->lx.p != ',')
            break;
        r->lx.p++;
        if ((ret = lex_skip(&r->lx)) <= 0) {
            if (ret < 0)
                add_filled(r);
            break;
        }
    }
}

struct mime_address *mime_addresses(struct slice value, struct arena *arena)
{
    struct reader r = { .arena = arena };

    str_init(&r.word, 0);
    str_init(&r.comment, 0);
    lex_init(&r.lx, value);
    r.lx.comment = &r.comment;
    r.tail = &r.first;
    if (lex_skip(&r.lx) > 0)
        address_list(&r);
    str_free(&r.word);
    str_free(&r.comment);
    return r.first;
}
