/*
 * part - see part.h
 *
 * The parser counts bytes, CRLF bytes and lines from the start of the message; a part's sizes are differences of
 * these counts. A line is decided at its first LOOK_BYTES bytes, so no line needs to be held whole.
 *
 * Callers     lib/store, lib/deliver, imapd
 * Invariants  at most MIME_PARTS_MAX parts and MIME_DEPTH_MAX levels; one header's first MIME_HEADER_BYTES are read
 *             the innermost of the longest matching boundaries counts, as a prefix of the line
 * Source      RFC 2046 5.1.1 (boundaries), 5.1.5 (digest), 5.2.1 (message/rfc822)
 */
#include "proto/mime/part.h"
#include "proto/mime/lex.h"

#include <stddef.h>
#include <strings.h>

enum { BOUNDARY_BYTES = 80, LOOK_BYTES = 2 + BOUNDARY_BYTES + 2 };

struct boundary {
    struct mime_part *part;
    size_t len;
    char text[BOUNDARY_BYTES];
};
struct mime_parser {
    struct arena *arena;
    struct mime_part *root, *now; /* now: whose header or body the bytes belong to */
    enum { IN_HEADER, IN_BODY, AFTER_BOUNDARY } state;
    struct mime_size at, before_end; /* counts so far; counts before the last line end */
    struct mime_size header_start, body_start[MIME_DEPTH_MAX + 1];
    struct mime_part *open[MIME_DEPTH_MAX + 1]; /* from the root to now */
    size_t depth;                               /* of now: index in open */
    struct boundary boundaries[MIME_DEPTH_MAX];
    size_t boundary_count, part_count;
    struct str header;
    char look[LOOK_BYTES];
    size_t look_len;
    bool in_line; /* the line's start was decided */
    bool last_cr;
};

static struct mime_size minus(struct mime_size a, struct mime_size b)
{
    if (a.physical < b.physical)
        return (struct mime_size){ 0 };
    return (struct mime_size){ a.physical - b.physical, a.virtual - b.virtual, a.lines - b.lines };
}

static void begin_header(struct mime_parser *p)
{
    p->state = IN_HEADER;
    p->header_start = p->at;
    p->now->start = p->at.physical;
    str_reset(&p->header);
}

static void new_part(struct mime_parser *p, struct mime_part *parent)
{
    struct mime_part *part = arena_alloc(p->arena, sizeof *part), **tail = &parent->child;

    while (*tail)
        tail = &(*tail)->next;
    *tail = part;
    part->parent = parent;
    p->part_count++;
    p->now = p->open[++p->depth] = part;
}

struct mime_parser *mime_parser_new(struct arena *a)
{
    struct mime_parser *p = arena_alloc(a, sizeof *p);

    p->arena = a;
    p->root = p->now = p->open[0] = arena_alloc(a, sizeof *p->root);
    p->part_count = 1;
    str_init(&p->header, MIME_HEADER_BYTES);
    begin_header(p);
    return p;
}

static const char *text_of(struct slice v, struct arena *a)
{
    struct str s;
    const char *text;

    str_init(&s, 0);
    mime_unfold(&s, v);
    text = arena_strndup(a, s.p, s.len);
    str_free(&s);
    return text;
}

static void read_encoding(struct mime_part *part, struct slice value, struct arena *a)
{
    struct str token;
    struct lex lx;

    str_init(&token, MIME_NAME_BYTES);
    lex_init(&lx, value);
    if (lex_skip(&lx) > 0 && lex_token(&lx, &token) == 0 && token.len)
        part->encoding = arena_strndup(a, token.p, token.len);
    str_free(&token);
}

static void read_languages(struct mime_part *part, struct slice value, struct arena *a)
{
    const char *found[MIME_PARAMS_MAX + 1] = { NULL };
    struct str atom;
    struct lex lx;
    size_t n = 0;

    str_init(&atom, MIME_NAME_BYTES);
    lex_init(&lx, value);
    if (lex_skip(&lx) > 0) {
        while (n < MIME_PARAMS_MAX && lex_atom(&lx, &atom) >= 0) {
            found[n++] = arena_strndup(a, atom.p, atom.len);
            str_reset(&atom);
            if (lx.p >= lx.end || *lx.p != ',')
                break;
            lx.p++;
            (void) lex_skip(&lx);
        }
    }
    if (n) {
        part->languages = arena_alloc(a, (n + 1) * sizeof *part->languages);
        memcpy(part->languages, found, n * sizeof *found);
    }
    str_free(&atom);
}

static void read_field(struct mime_parser *p, struct mime_part *part, const struct mime_field *f, bool *typed)
{
    static const struct {
        const char *name;
        size_t at;
    } texts[] = { { "Content-ID", offsetof(struct mime_part, id) },
                  { "Content-Description", offsetof(struct mime_part, description) },
                  { "Content-MD5", offsetof(struct mime_part, md5) },
                  { "Content-Location", offsetof(struct mime_part, location) } };

    if (part->envelope)
        mime_envelope_field(part->envelope, f, p->arena);
    if (!slice_casestarts(f->name, "Content-"))
        return;
    if (slice_caseeq(f->name, "Content-Type") && !*typed) {
        (void) mime_content_type(f->value, p->arena, &part->type);
        *typed = true;
    } else if (slice_caseeq(f->name, "Content-Disposition") && part->disposition.params == NULL) {
        (void) mime_disposition(f->value, p->arena, &part->disposition);
    } else if (slice_caseeq(f->name, "Content-Transfer-Encoding") && part->encoding == NULL) {
        read_encoding(part, f->value, p->arena);
    } else if (slice_caseeq(f->name, "Content-Language") && part->languages == NULL) {
        read_languages(part, f->value, p->arena);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char **at = (const char **) (void *) ((char *) part + texts[i].at);
        if (slice_caseeq(f->name, texts[i].name) && *at == NULL)
            *at = text_of(f->value, p->arena);
    }
}

static void set_kind(struct mime_part *part, size_t depth)
{
    const char *type = part->type.type;

    if (strcasecmp(type, "text") == 0) {
        part->kind = MIME_TEXT;
    } else if (strcasecmp(type, "multipart") == 0 && *part->type.subtype) {
        part->kind = MIME_MULTIPART;
    } else if (strcasecmp(type, "message") == 0 && strcasecmp(part->type.subtype, "rfc822") == 0) {
        part->kind = MIME_MESSAGE;
    }
    if (depth >= MIME_DEPTH_MAX - 1 && (part->kind == MIME_MULTIPART || part->kind == MIME_MESSAGE)) {
        part->kind = MIME_LEAF;
        part->type.type = "application";
        part->type.subtype = "octet-stream";
    }
}

static void add_boundary(struct mime_parser *p, struct mime_part *part)
{
    for (const struct mime_param *m = part->type.params; m; m = m->next) {
        if (strcasecmp(m->name, "boundary") != 0)
            continue;
        struct boundary *b = &p->boundaries[p->boundary_count++];
        b->part = part;
        b->len = strlen(m->value);
        if (b->len > BOUNDARY_BYTES)
            b->len = BOUNDARY_BYTES;
        memcpy(b->text, m->value, b->len);
        return;
    }
}

/* The header of now is complete: what kind of part is it, and what comes next? */
static void end_header(struct mime_parser *p)
{
    struct mime_part *part = p->now;
    struct slice rest = str_slice(&p->header);
    struct mime_field f;
    bool typed = false;

    part->header = minus(p->at, p->header_start);
    p->body_start[p->depth] = p->at;
    p->state = IN_BODY;
    if (part->parent == NULL || part->parent->kind == MIME_MESSAGE)
        part->envelope = arena_alloc(p->arena, sizeof *part->envelope);
    while (mime_field_next(&rest, &f))
        read_field(p, part, &f, &typed);
    if (!typed) {
        bool digest = part->parent && part->parent->kind == MIME_MULTIPART &&
                      strcasecmp(part->parent->type.subtype, "digest") == 0;
        part->type = digest ? (struct mime_typed){ .type = "message", .subtype = "rfc822" }
                            : (struct mime_typed){ .type = "text", .subtype = "plain" };
    }
    set_kind(part, p->depth);
    if (part->kind == MIME_MULTIPART) {
        add_boundary(p, part);
    } else if (part->kind == MIME_MESSAGE && p->part_count < MIME_PARTS_MAX) {
        new_part(p, part);
        begin_header(p);
    }
}

/* Ends all open parts below `depth`. */
static void close_to(struct mime_parser *p, size_t depth, struct mime_size end)
{
    if (p->state == IN_HEADER) {
        end = p->at;
        end_header(p);
        while (p->state == IN_HEADER) /* message/rfc822 without a byte of its own */
            end_header(p);
    }
    if (end.physical <
        p->body_start[p->depth].physical) /* an empty body: its header's line end is not the boundary's */
        end = p->body_start[p->depth];
    while (p->depth > depth) {
        p->now->body = minus(end, p->body_start[p->depth]);
        p->now = p->open[--p->depth];
    }
    p->now = p->open[depth];
}

static struct boundary *match(struct mime_parser *p, const char *line, size_t len)
{
    struct boundary *best = NULL;

    if (p->boundary_count == 0 || len < 2 || line[0] != '-' || line[1] != '-')
        return NULL;
    for (size_t i = p->boundary_count; i-- > 0;) {
        struct boundary *b = &p->boundaries[i];
        if (b->len <= len - 2 && memcmp(line + 2, b->text, b->len) == 0 && (best == NULL || b->len > best->len))
            best = b;
    }
    return best;
}

/* A boundary line: the parts inside it end. */
static void at_boundary(struct mime_parser *p, struct boundary *b, const char *line, size_t len)
{
    struct mime_part *part = b->part;
    bool closing = len >= b->len + 4 && line[2 + b->len] == '-' && line[3 + b->len] == '-';
    size_t depth = p->depth;

    while (p->open[depth] != part)
        depth--;
    close_to(p, depth, p->before_end);
    p->boundary_count = (size_t) (b - p->boundaries) + (closing ? 0 : 1);
    p->state = IN_BODY;
    if (!closing && p->part_count < MIME_PARTS_MAX)
        p->state = AFTER_BOUNDARY; /* a part begins on the next line, if there is one */
}

/* Counts bytes of a line; whole lines end in LF. */
static void count(struct mime_parser *p, const char *s, size_t len)
{
    bool lf = len && s[len - 1] == '\n';
    bool cr = lf && (len > 1 ? s[len - 2] == '\r' : p->last_cr);

    if (lf) {
        p->before_end = p->at;
        p->before_end.physical += len - 1;
        p->before_end.virtual += len - 1;
        if (cr) {
            p->before_end.physical--;
            p->before_end.virtual --;
        }
    }
    p->at.physical += len;
    p->at.virtual += len + (lf && !cr);
    p->at.lines += lf;
    if (len)
        p->last_cr = s[len - 1] == '\r';
}

/* The start of a line, as much as was wanted of it, has arrived. */
static void begin_line(struct mime_parser *p, const char *s, size_t len)
{
    struct boundary *b = match(p, s, len);
    bool empty = (len == 1 && s[0] == '\n') || (len == 2 && s[0] == '\r' && s[1] == '\n');

    if (b)
        at_boundary(p, b, s, len);
    else if (p->state == IN_HEADER && !empty)
        str_add(&p->header, s, len);
    count(p, s, len);
    if (b == NULL && p->state == IN_HEADER && empty)
        end_header(p);
    p->in_line = s[len - 1] != '\n';
}

static void end_line(struct mime_parser *p)
{
    p->in_line = false;
    if (p->state == AFTER_BOUNDARY) {
        new_part(p, p->now);
        begin_header(p);
    }
}

static void start_of_line(struct mime_parser *p, const char *s, size_t len)
{
    begin_line(p, s, len);
    if (!p->in_line)
        end_line(p);
}

/* Collects the start of a line from several feeds; answers how many bytes it took. */
static size_t collect(struct mime_parser *p, const char *s, size_t len)
{
    size_t want = LOOK_BYTES - p->look_len, n = len < want ? len : want;
    const char *lf = memchr(s, '\n', n);

    if (lf)
        n = (size_t) (lf - s) + 1;
    memcpy(p->look + p->look_len, s, n);
    p->look_len += n;
    if (lf || p->look_len == LOOK_BYTES) {
        start_of_line(p, p->look, p->look_len);
        p->look_len = 0;
    }
    return n;
}

void mime_parser_feed(struct mime_parser *p, const void *bytes, size_t len)
{
    const char *s = bytes;

    while (len) {
        const char *lf = memchr(s, '\n', len);
        size_t n = lf ? (size_t) (lf - s) + 1 : len;
        if (p->in_line) {
            if (p->state == IN_HEADER)
                str_add(&p->header, s, n);
            count(p, s, n);
            if (lf)
                end_line(p);
        } else if (p->look_len || (!lf && n < LOOK_BYTES)) {
            n = collect(p, s, len);
        } else {
            start_of_line(p, s, n);
        }
        s += n;
        len -= n;
    }
}

struct mime_part *mime_parser_end(struct mime_parser *p)
{
    if (p->look_len)
        start_of_line(p, p->look, p->look_len);
    if (p->state == AFTER_BOUNDARY)
        p->state = IN_BODY;
    close_to(p, 0, p->at);
    p->root->body = minus(p->at, p->body_start[0]);
    str_free(&p->header);
    return p->root;
}

struct mime_part *mime_parse(struct slice message, struct arena *a)
{
    struct mime_parser *p = mime_parser_new(a);

    mime_parser_feed(p, message.p, message.len);
    return mime_parser_end(p);
}

/* Number n inside a part: a child of a multipart, of a message what its inner message holds. */
static struct mime_part *numbered(struct mime_part *part, uint64_t n)
{
    if (part->kind == MIME_MESSAGE && part->child) {
        part = part->child;
        if (part->kind != MIME_MULTIPART)
            return n == 1 ? part : NULL;
    }
    if (part->kind != MIME_MULTIPART)
        return NULL;
    for (part = part->child; part && --n > 0;)
        part = part->next;
    return part;
}

struct mime_part *mime_part_find(struct mime_part *root, struct slice section)
{
    struct mime_part *part = root;
    struct slice number;
    uint64_t n;
    bool first = true;

    if (section.len == 0)
        return root;
    while (slice_split(&section, '.', &number)) {
        if (slice_u64(number, MIME_PARTS_MAX, &n) < 0 || n == 0)
            return NULL;
        if (first && root->kind != MIME_MULTIPART)
            part = n == 1 ? root : NULL;
        else
            part = numbered(part, n);
        if (part == NULL)
            return NULL;
        first = false;
    }
    return part;
}
