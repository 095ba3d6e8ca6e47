/*
 * lines - joins physical lines, and takes words and braces apart; the grammar that every configuration file shares
 */
#include "conf/lines.h"

void lines_init(struct lines *l, struct slice text)
{
    *l = (struct lines){ .rest = text.p ? text : SLICE("") };
    str_init(&l->line, STR_UNLIMITED);
}

void lines_fini(struct lines *l) { str_free(&l->line); }

static bool blank_or_comment(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_isspace(s.p[i]))
            return s.p[i] == '#';
    return true;
}

bool lines_next(struct lines *l, struct slice *line)
{
    str_reset(&l->line);
    while (l->rest.len) {
        ptrdiff_t lf = slice_find(l->rest, '\n');
        struct slice physical = slice_sub(l->rest, 0, lf < 0 ? l->rest.len : (size_t) lf);

        l->rest = slice_sub(l->rest, physical.len + (lf >= 0), l->rest.len);
        l->number++;
        if (l->line.len == 0)
            l->first = l->number;
        if (!blank_or_comment(physical))
            str_addslice(&l->line, physical);
        if (l->line.len && l->rest.len && l->rest.p[0] != '#' && !ascii_isspace(l->rest.p[0]))
            break;
    }
    *line = str_slice(&l->line);
    return l->line.len != 0;
}

size_t lines_balanced(struct slice text, char open, char close)
{
    size_t depth = 0;

    if (text.len == 0 || text.p[0] != open)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == open)
            depth++;
        else if (text.p[i] == close && --depth == 0)
            return i + 1;
    }
    return 0;
}

bool lines_word(struct slice *rest, const char *separators, struct slice *word)
{
    size_t depth = 0, n;

    while (rest->len && rest->p[0] && strchr(separators, rest->p[0]))
        rest->p++, rest->len--;
    if (rest->len == 0)
        return false;
    for (n = 0; n < rest->len; n++) {
        char c = rest->p[n];
        if (c == '{')
            depth++;
        else if (c == '}' && depth)
            depth--;
        else if (depth == 0 && c && strchr(separators, c))
            break;
    }
    *word = slice_sub(*rest, 0, n);
    *rest = slice_sub(*rest, n, rest->len);
    return true;
}

int lines_unbrace(struct slice *word, const char **why)
{
    const char *reason = NULL;
    size_t n;

    if (word->len == 0 || word->p[0] != '{')
        reason = "missing '{'";
    else if ((n = lines_balanced(*word, '{', '}')) == 0)
        reason = "missing '}'";
    else if (slice_trim(slice_sub(*word, n, word->len)).len)
        reason = "syntax error after '}'";
    else
        *word = slice_trim(slice_sub(*word, 1, n - 2));
    if (why)
        *why = reason;
    return reason ? -1 : 0;
}

int lines_pair(struct slice line, struct slice *name, struct slice *value, const char **why)
{
    size_t n = 0;
    struct slice rest;

    line = slice_trim(line);
    while (n < line.len && line.p[n] != '=' && !ascii_isspace(line.p[n]))
        n++;
    *name = slice_sub(line, 0, n);
    rest = slice_trim(slice_sub(line, n, line.len));
    if (n == 0) {
        *why = "missing attribute name";
        return -1;
    }
    if (rest.len == 0 || rest.p[0] != '=') {
        *why = "missing '=' after attribute name";
        return -1;
    }
    *value = slice_trim(slice_sub(rest, 1, rest.len));
    return 0;
}
