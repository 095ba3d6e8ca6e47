/*
 * command - the small IMAP parser of login
 *
 * Callers     see command.h
 */
#include "command.h"

static bool tag_char(char c) { return ascii_isprint(c) && strchr(" (){%*\"\\+", c) == NULL; }
static bool astring_char(char c) { return ascii_isprint(c) && strchr(" (){%*\"\\", c) == NULL; }

enum literal command_literal(struct slice line, size_t *bytes)
{
    enum literal kind = LITERAL_SYNC;
    uint64_t n;
    ptrdiff_t open;

    if (line.len < 3 || line.p[line.len - 1] != '}' || (open = slice_rfind(line, '{')) < 0)
        return LITERAL_NONE;
    struct slice number = slice_sub(line, (size_t) open + 1, line.len - (size_t) open - 2);
    if (number.len > 0 && number.p[number.len - 1] == '+') {
        kind = LITERAL_NOSYNC;
        number.len--;
    }
    for (size_t i = 0; i < number.len; i++)
        if (!ascii_isdigit(number.p[i]))
            return LITERAL_NONE;
    if (number.len == 0)
        return LITERAL_NONE;
    if (slice_u64(number, COMMAND_LITERAL_BYTES, &n) != 0)
        return LITERAL_TOO_LONG;
    *bytes = (size_t) n;
    return kind;
}

int command_parse(struct slice text, struct command *out)
{
    size_t at = 0;

    *out = (struct command){ SLICE(""), SLICE(""), SLICE("") };
    while (at < text.len && tag_char(text.p[at]))
        at++;
    if (at == 0 || at > COMMAND_TAG_BYTES)
        return -1;
    out->tag = slice_sub(text, 0, at);
    if (at == text.len || text.p[at] != ' ')
        return -1;
    text = slice_sub(text, at + 1, text.len);
    for (at = 0; at < text.len && ascii_isalpha(text.p[at]);)
        at++;
    out->name = slice_sub(text, 0, at);
    if (at == 0 || (at < text.len && text.p[at] != ' '))
        return -1;
    if (at < text.len)
        out->rest = slice_sub(text, at + 1, text.len);
    return 0;
}

/* One string at the front of *rest. */
static int astring(struct slice *rest, struct slice *out)
{
    size_t at = 0, bytes;

    if (rest->len > 0 && rest->p[0] == '"') {
        char *to = (char *) (uintptr_t) rest->p; /* the buffer is the caller's to change */
        size_t len = 0;
        for (at = 1; at < rest->len && rest->p[at] != '"'; at++) {
            if (rest->p[at] == '\\' && ++at == rest->len)
                return -1;
            if (rest->p[at] == '\r' || rest->p[at] == '\n' || rest->p[at] == '\0')
                return -1;
            to[len++] = rest->p[at];
        }
        if (at == rest->len)
            return -1;
        *out = slice_make(to, len);
        *rest = slice_sub(*rest, at + 1, rest->len);
        return 0;
    }
    if (rest->len > 0 && rest->p[0] == '{') {
        ptrdiff_t end = slice_find(*rest, '\n');
        if (end < 2 || rest->p[end - 1] != '\r')
            return -1;
        enum literal kind = command_literal(slice_sub(*rest, 0, (size_t) end - 1), &bytes);
        if ((kind != LITERAL_SYNC && kind != LITERAL_NOSYNC) || rest->len - (size_t) end - 1 < bytes)
            return -1;
        *out = slice_sub(*rest, (size_t) end + 1, bytes);
        *rest = slice_sub(*rest, (size_t) end + 1 + bytes, rest->len);
        return memchr(out->p, '\0', out->len) ? -1 : 0;
    }
    while (at < rest->len && astring_char(rest->p[at]))
        at++;
    *out = slice_sub(*rest, 0, at);
    *rest = slice_sub(*rest, at, rest->len);
    return at > 0 ? 0 : -1;
}

int command_args(struct command *c, struct slice arg[COMMAND_ARGS], size_t *count)
{
    struct slice rest = c->rest;

    *count = 0;
    if (rest.len == 0)
        return 0;
    for (;;) {
        if (*count == COMMAND_ARGS || astring(&rest, &arg[*count]) != 0)
            return -1;
        ++*count;
        if (rest.len == 0)
            return 0;
        if (rest.p[0] != ' ')
            return -1;
        rest = slice_sub(rest, 1, rest.len);
    }
}
