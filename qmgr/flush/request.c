/* request - "name NUL value NUL" pairs, ended by a NUL in a name's place; contract in request.h */
#include "request.h"

#include <string.h>

static bool keep(char *out, size_t size, struct slice value)
{
    if (value.len >= size)
        return false;
    memcpy(out, value.p, value.len);
    out[value.len] = '\0';
    return true;
}

static enum flush_what what_of(struct slice word)
{
    static const struct {
        const char *word;
        enum flush_what what;
    } words[] = { { "send_file", FLUSH_SEND_FILE },
                  { "send_site", FLUSH_SEND_SITE },
                  { "add", FLUSH_NOTHING },
                  { "refresh", FLUSH_NOTHING },
                  { "purge", FLUSH_NOTHING } };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_eq(word, words[i].word))
            return words[i].what;
    return FLUSH_UNKNOWN;
}

static bool take(struct slice name, struct slice value, struct flush_request *out)
{
    if (slice_eq(name, "request"))
        out->what = what_of(value);
    else if (slice_eq(name, "queue_id"))
        return keep(out->queue_id, sizeof out->queue_id, value);
    else if (slice_eq(name, "site"))
        return keep(out->site, sizeof out->site, value);
    else
        return false;
    return true;
}

/* A text with its NUL; false when the NUL has not come yet. */
static bool text(struct slice *bytes, struct slice *out)
{
    const char *end = bytes->len ? memchr(bytes->p, 0, bytes->len) : NULL;

    if (end == NULL)
        return false;
    *out = slice_make(bytes->p, (size_t) (end - bytes->p));
    *bytes = slice_sub(*bytes, out->len + 1, bytes->len);
    return true;
}

int flush_request_parse(struct slice bytes, struct flush_request *out)
{
    int too_long = bytes.len > FLUSH_REQUEST_BYTES ? -1 : 0;
    struct slice name, value;

    *out = (struct flush_request){ 0 };
    while (text(&bytes, &name)) {
        if (name.len == 0)
            return too_long ? -1 : 1;
        if (!text(&bytes, &value))
            return too_long;
        if (!take(name, value, out))
            return -1;
    }
    return too_long;
}
