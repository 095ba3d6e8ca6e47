/* source - key and value of each logical line; quotes keep blanks in a key */
#include "table/source.h"
#include "base/log.h"
#include "conf/lines.h"

enum { SHOWN_BYTES = 100 };

static int shown(struct slice s) { return (int) (s.len > SHOWN_BYTES ? SHOWN_BYTES : s.len); }

static bool usable(const char *file, int number, struct slice line)
{
    if (memchr(line.p, 0, line.len))
        log_warn("%s, line %d: the line holds a NUL byte -- ignoring this line", file, number);
    else if (ascii_isspace(line.p[0]))
        log_warn("%s, line %d: logical line must not start with whitespace", file, number);
    else if (!utf8_valid(line))
        log_warn("%s, line %d: non-UTF-8 input \"%.*s\" -- ignoring this line", file, number, shown(line), line.p);
    else
        return true;
    return false;
}

/* Length of the key: up to the first blank that is not quoted; *quoted: a quote was left open. */
static size_t key_length(struct slice line, bool *quoted)
{
    size_t n;

    *quoted = false;
    for (n = 0; n < line.len; n++) {
        if (line.p[n] == '\\' && n + 1 < line.len)
            n++;
        else if (line.p[n] == '"')
            *quoted = !*quoted;
        else if (ascii_isspace(line.p[n]) && !*quoted)
            break;
    }
    return n;
}

size_t source_postmap(const char *file, struct slice text, source_fn fn, void *ctx)
{
    struct lines lines;
    struct slice line, key, value;
    size_t skipped = 0;
    bool quoted;

    lines_init(&lines, text);
    while (lines_next(&lines, &line)) {
        if (!usable(file, lines.first, line)) {
            skipped++;
            continue;
        }
        key = slice_sub(line, 0, key_length(line, &quoted));
        value = slice_trim(slice_sub(line, key.len, line.len));
        if (quoted) {
            log_warn("%s, line %d: unbalanced '\"' in '%.*s' -- ignoring this line", file, lines.first, shown(line),
                     line.p);
            skipped++;
        } else if (key.len == 0 || value.len == 0) {
            log_warn("%s, line %d: expected format: key whitespace value", file, lines.first);
            skipped++;
        } else {
            if (key.p[key.len - 1] == ':')
                log_warn("%s, line %d: record is in \"key: value\" format; is this an alias file?", file,
                         lines.first);
            fn(ctx, key, value, lines.first);
        }
    }
    lines_fini(&lines);
    return skipped;
}

/* The name of an alias, without quotes, appended to *name; answers what it took, 0 when there is no name and colon.
 */
static size_t alias_name(struct slice line, struct str *name)
{
    size_t n = 0;

    if (line.p[0] == '"') {
        for (n = 1; n < line.len && line.p[n] != '"'; n++) {
            if (line.p[n] == '\\' && n + 1 < line.len)
                n++;
            str_addc(name, line.p[n]);
        }
        if (n++ == line.len)
            return 0;
    } else {
        while (n < line.len && line.p[n] != ':')
            n++;
        str_addslice(name, slice_trim(slice_sub(line, 0, n)));
    }
    while (n < line.len && ascii_isspace(line.p[n]))
        n++;
    return n < line.len && line.p[n] == ':' && name->len ? n + 1 : 0;
}

size_t source_aliases(const char *file, struct slice text, source_fn fn, void *ctx)
{
    struct lines lines;
    struct slice line, value;
    struct str name;
    size_t skipped = 0, used;

    str_init(&name, STR_UNLIMITED);
    lines_init(&lines, text);
    while (lines_next(&lines, &line)) {
        str_reset(&name);
        if (!usable(file, lines.first, line)) {
            skipped++;
            continue;
        }
        used = alias_name(line, &name);
        value = slice_trim(slice_sub(line, used, line.len));
        if (used == 0 || value.len == 0) {
            log_warn("%s, line %d: need name:value pair", file, lines.first);
            skipped++;
        } else if (slice_find(str_slice(&name), '@') >= 0) {
            log_warn("%s, line %d: name must be local", file, lines.first);
            skipped++;
        } else {
            fn(ctx, str_slice(&name), value, lines.first);
        }
    }
    lines_fini(&lines);
    str_free(&name);
    return skipped;
}
