/* imapd/match - searching inside messages. Contract: match.h */
#include "match.h"
#include "event/event.h"
#include "proto/mime/decode.h"

enum { CHUNK_BYTES = 8192, HEADER_BYTES = 1 << 20, FIELDS_BYTES = 1 << 20 };

struct match {
    struct message_file *file;
    struct arena *arena;
    struct slice key;
    bool headers;
    struct str tail, folded; /* folded text not yet told to lack the key; scratch */
};

static bool holds(struct slice text, struct slice key)
{
    return key.len == 0 || (text.len >= key.len && memmem(text.p, text.len, key.p, key.len));
}

void imapd_match_key(struct slice utf8, struct str *key) { mime_casemap(utf8, key); }

/* A value as it is read: unfolded, words decoded, folded in case. */
static bool value_holds(struct slice value, struct slice key)
{
    struct str plain, words, folded;
    bool found;

    str_init(&plain, FIELDS_BYTES);
    str_init(&words, STR_UNLIMITED); /* grows from `plain`, by a bounded factor */
    str_init(&folded, STR_UNLIMITED);
    mime_unfold(&plain, value);
    mime_decode_words(slice_trim(str_slice(&plain)), &words);
    mime_casemap(str_slice(&words), &folded);
    found = holds(str_slice(&folded), key);
    str_free(&plain);
    str_free(&words);
    str_free(&folded);
    return found;
}

enum store_why imapd_match_header(struct mailbox *box, uint32_t seq, const char *name, struct slice key, bool *found)
{
    struct str fields;
    struct mime_field field;
    struct slice rest;
    enum store_why why;

    *found = false;
    str_init(&fields, FIELDS_BYTES);
    why = message_fields(box, seq, &name, 1, &fields);
    rest = str_slice(&fields);
    while (why == STORE_OK && !*found && rest.len && mime_field_next(&rest, &field))
        *found = field.name.len && value_holds(field.value, key);
    str_free(&fields);
    return why;
}

/* More text of one part; what may be the beginning of the key is kept for the next piece. */
static bool feed(struct match *m, struct slice utf8)
{
    bool found;

    str_reset(&m->folded);
    mime_casemap(utf8, &m->folded);
    str_addslice(&m->tail, str_slice(&m->folded));
    found = holds(str_slice(&m->tail), m->key);
    if (m->tail.len >= m->key.len)
        str_drop(&m->tail, m->tail.len - (m->key.len - 1));
    return found;
}

static enum store_why read_header(struct match *m, const struct mime_part *part, struct str *out)
{
    char chunk[CHUNK_BYTES];
    ssize_t n;

    message_range(m->file, part->start, part->header.physical, 0);
    while ((n = message_read(m->file, chunk, sizeof chunk)) > 0 && !str_over(out))
        str_add(out, chunk, (size_t) n);
    return n < 0 ? STORE_FAILED : STORE_OK;
}

static void encoding_and_charset(struct match *m, struct slice header, enum mime_encoding *encoding,
                                 const char **charset)
{
    struct mime_field field;
    struct mime_typed type;

    *encoding = MIME_IDENTITY;
    *charset = NULL;
    if (mime_field_find(header, "Content-Transfer-Encoding", &field)) {
        struct slice name = slice_trim(field.value);
        *encoding = mime_encoding_of(arena_strndup(m->arena, name.p, name.len));
    }
    if (mime_field_find(header, "Content-Type", &field) && mime_content_type(field.value, m->arena, &type))
        *charset = mime_param_get(&type, "charset", m->arena);
}

static enum store_why search_body(struct match *m, const struct mime_part *part, struct slice header, bool *found)
{
    struct mime_decoder decoder;
    struct mime_charset *charset;
    struct str bytes, utf8;
    enum mime_encoding encoding;
    const char *name;
    char chunk[CHUNK_BYTES];
    ssize_t n;

    encoding_and_charset(m, header, &encoding, &name);
    mime_decoder_init(&decoder, encoding);
    charset = mime_charset_open(name);
    str_init(&bytes, STR_UNLIMITED); /* both hold what one chunk became */
    str_init(&utf8, STR_UNLIMITED);
    str_reset(&m->tail);
    message_range(m->file, part->start + part->header.physical, part->body.physical, 0);
    do {
        n = message_read(m->file, chunk, sizeof chunk);
        str_reset(&bytes);
        str_reset(&utf8);
        if (n > 0)
            mime_decoder_feed(&decoder, slice_make(chunk, (size_t) n), &bytes);
        else
            mime_decoder_end(&decoder, &bytes);
        mime_charset_feed(charset, str_slice(&bytes), n <= 0, &utf8);
        *found = feed(m, str_slice(&utf8));
        fiber_slice();
    } while (n > 0 && !*found);
    str_free(&bytes);
    str_free(&utf8);
    mime_charset_close(&charset);
    return n < 0 ? STORE_FAILED : STORE_OK;
}

static bool search_header(struct match *m, struct slice header)
{
    struct mime_field field;
    struct str line;
    bool found = false;

    str_init(&line, STR_UNLIMITED);
    while (!found && header.len && mime_field_next(&header, &field)) {
        str_reset(&line);
        str_addslice(&line, field.name);
        str_adds(&line, ":");
        str_addslice(&line, field.value);
        found = value_holds(str_slice(&line), m->key);
    }
    str_free(&line);
    return found;
}

/* The tree in order; the depth is the parser's, so no recursion grows with the message. */
static const struct mime_part *following(const struct mime_part *p)
{
    if (p->child)
        return p->child;
    while (p && p->next == NULL)
        p = p->parent;
    return p ? p->next : NULL;
}

static enum store_why search_part(struct match *m, const struct mime_part *part, bool *found)
{
    bool enclosed = part->parent && part->parent->kind == MIME_MESSAGE;
    struct str header;
    enum store_why why;

    str_init(&header, HEADER_BYTES);
    why = read_header(m, part, &header);
    if (why == STORE_OK && (m->headers || enclosed))
        *found = search_header(m, str_slice(&header));
    if (why == STORE_OK && !*found && part->kind == MIME_TEXT)
        why = search_body(m, part, str_slice(&header), found);
    str_free(&header);
    return why;
}

enum store_why imapd_match_text(struct mailbox *box, uint32_t seq, bool headers, struct slice key, bool *found)
{
    struct match m = { .key = key, .headers = headers, .arena = arena_new() };
    struct mime_part *root = NULL;
    enum store_why why = STORE_OK;

    *found = key.len == 0;
    str_init(&m.tail, STR_UNLIMITED); /* a key and one chunk */
    str_init(&m.folded, STR_UNLIMITED);
    if (!*found)
        why = message_parts(box, seq, m.arena, &root);
    if (why == STORE_OK && root)
        why = message_open(box, seq, &m.file);
    for (const struct mime_part *p = root; why == STORE_OK && p && !*found; p = following(p))
        why = search_part(&m, p, found);
    if (m.file)
        message_close(&m.file);
    if (why != STORE_OK)
        *found = false;
    str_free(&m.tail);
    str_free(&m.folded);
    arena_free(&m.arena);
    return why;
}
