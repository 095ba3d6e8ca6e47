/*
 * settings - see settings.h
 */
#include "conf/settings.h"
#include "base/log.h"

struct reading {
    const char *file;
    int line; /* of the setting at hand, its first */
};

/* Cuts off a comment: "#" outside of quotes. */
static struct slice uncomment(const struct reading *r, struct slice line, int number)
{
    char quote = 0;

    for (size_t i = 0; i < line.len; i++) {
        char c = line.p[i];
        if (c == '\\' && quote) {
            i++;
        } else if (quote) {
            quote = c == quote ? 0 : quote;
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c == '#') {
            if (i > 0 && !ascii_isspace(line.p[i - 1]))
                log_warn("%s line %d: Ambiguous '#' character in line, treating it as comment. Add a space before it "
                         "to remove this warning.",
                         r->file, number);
            return slice_sub(line, 0, i);
        }
    }
    return line;
}

/* The next logical line, without blanks around it; *number runs over physical lines. */
static bool next_line(struct reading *r, struct slice *rest, int *number, struct str *line)
{
    struct slice one;

    str_reset(line);
    while (slice_split(rest, '\n', &one)) {
        bool more;

        ++*number;
        one = slice_trim(one);
        if (one.len == 0 || *one.p == '#')
            continue;
        one = slice_trim(uncomment(r, one, *number));
        more = one.len && one.p[one.len - 1] == '\\';
        if (more)
            one = slice_trim(slice_sub(one, 0, one.len - 1));
        if (line->len == 0)
            r->line = *number;
        else
            str_addc(line, ' ');
        str_addslice(line, one);
        if (!more && line->len)
            return true;
    }
    return line->len > 0;
}

/* "text" and 'text' as a whole are unescaped. */
static const char *unquoted(struct arena *a, struct slice value)
{
    struct str out;
    const char *text;

    if (value.len < 2 || (*value.p != '"' && *value.p != '\'') || value.p[value.len - 1] != *value.p)
        return arena_strndup(a, value.p, value.len);
    value = slice_sub(value, 1, value.len - 2);
    str_init(&out, SETTINGS_LINE_BYTES);
    for (size_t i = 0; i < value.len; i++) {
        if (value.p[i] == '\\' && i + 1 < value.len)
            i++;
        str_addc(&out, value.p[i]);
    }
    text = arena_strndup(a, out.p, out.len);
    str_free(&out);
    return text;
}

int settings_read(const char *file, struct slice text, struct arena *a,
                  int (*fn)(void *ctx, int line, struct slice name, const char *value), void *ctx, struct err *err)
{
    struct reading r = { .file = file };
    struct slice rest = text;
    struct str line;
    int number = 0, rc = 0;

    str_init(&line, SETTINGS_LINE_BYTES);
    while (rc == 0 && next_line(&r, &rest, &number, &line)) {
        struct slice all = str_slice(&line), name, value;
        const char *why = NULL;
        size_t n = 0;

        while (n < all.len && all.p[n] != '=' && !ascii_isspace(all.p[n]))
            n++;
        name = slice_sub(all, 0, n);
        value = slice_trim(slice_sub(all, n, all.len));
        if (str_over(&line))
            why = "the line is too long";
        else if (memchr(all.p, 0, all.len))
            why = "the line holds a NUL byte";
        else if (value.len == 0 || *value.p != '=')
            why = "Expecting '='";
        rc = why ? err_set(err, 0, NULL, "%s line %d: %s", file, r.line, why)
                 : fn(ctx, r.line, name, unquoted(a, slice_trim(slice_sub(value, 1, value.len))));
    }
    mem_wipe(line.p, line.len);
    str_free(&line);
    return rc;
}
