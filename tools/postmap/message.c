/* message - the lines of a message as keys; contract in message.h */
#include "message.h"
#include "base/mem.h"
#include "proto/mime/part.h"

struct walk {
    struct slice text;
    size_t at; /* bytes done */
    unsigned keys;
    void (*fn)(void *ctx, const char *key);
    void *ctx;
    struct str key;
};

static size_t line_end(const struct walk *w, size_t from)
{
    const char *lf = memchr(w->text.p + from, '\n', w->text.len - from);

    return lf ? (size_t) (lf - w->text.p) + 1 : w->text.len;
}

/* Without the last line end. */
static void tell(struct walk *w, size_t from, size_t to)
{
    if (to > from && w->text.p[to - 1] == '\n')
        to--;
    str_reset(&w->key);
    str_add(&w->key, w->text.p + from, to - from);
    w->fn(w->ctx, w->key.p);
}

static void body(struct walk *w, size_t end)
{
    while (w->at < end) {
        size_t next = line_end(w, w->at);

        if (w->keys & MESSAGE_BODY)
            tell(w, w->at, next);
        w->at = next;
    }
}

static bool blank(char c) { return c == ' ' || c == '\t'; }

static void header(struct walk *w, size_t end)
{
    while (w->at < end) {
        size_t next = line_end(w, w->at);

        if (next - w->at <= 1) { /* the empty line */
            body(w, next);
            return;
        }
        while (next < end && blank(w->text.p[next]))
            next = line_end(w, next);
        if (w->keys & MESSAGE_HEADERS)
            tell(w, w->at, next);
        w->at = next;
    }
}

/* Parts come in the order of the message. */
static void walk(struct walk *w, const struct mime_part *part)
{
    for (; part; part = part->next) {
        body(w, part->start);
        header(w, part->start + part->header.physical);
        if (w->keys & MESSAGE_MIME)
            walk(w, part->child);
    }
}

void message_keys(struct slice text, unsigned keys, void (*fn)(void *ctx, const char *key), void *ctx)
{
    struct walk w = { .text = text, .keys = keys, .fn = fn, .ctx = ctx };
    struct arena *arena = arena_new();

    str_init(&w.key, STR_UNLIMITED);
    walk(&w, mime_parse(text, arena));
    body(&w, text.len);
    str_free(&w.key);
    arena_free(&arena);
}
