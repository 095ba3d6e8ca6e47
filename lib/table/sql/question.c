/*
 * question - the lexical structure of SQL decides how a value is written; contract in question.h
 *
 * Invariants  template text is the administrator's and copied as it stands, but for the strings that become "?"
 * Source      MariaDB: String Literals, Identifier Names, Comment Syntax
 */
#include "table/sql/question.h"

struct writer {
    struct sql_mix *mix;
    struct slice in;
    size_t at;   /* in template text */
    size_t next; /* value */
    struct str out;
    struct slice *param;
    size_t params;
    bool marks;       /* the template has a "?" of its own outside of strings */
    const char *fail; /* why the question cannot be asked */
};

/* What may stand before a string that becomes a parameter; after anything else it may be an alias or have a type. */
static const char *const words_before[] = {
    "and", "between", "case", "distinct", "div",   "else",   "having", "in",   "like",  "mod", "not",
    "on",  "or",      "then", "regexp",   "rlike", "select", "set",    "when", "where", "xor",
};

/* Behind these a name stands, which is no value: what is a word may be one. */
static const char *const words_before_names[] = { "by", "call", "from", "into", "join", "table", "update" };

void sql_mix_init(struct sql_mix *m, struct arena *a)
{
    *m = (struct sql_mix){ .arena = a };
    str_init(&m->text, SQL_TEXT_BYTES);
}

void sql_mix_value(struct sql_mix *m, struct slice value)
{
    if (m->count == SQL_VALUES) {
        m->over = true;
        return;
    }
    if (m->value == NULL)
        m->value = arena_alloc(m->arena, SQL_VALUES * sizeof *m->value);
    m->value[m->count++] = (struct sql_value){ m->text.len,
                                               { arena_strndup(m->arena, value.p, value.len), value.len } };
}

static bool word_char(char c) { return ascii_isalnum(c) || c == '_' || c == '$' || (unsigned char) c >= 128; }
static bool name_char(char c) { return word_char(c) || c == '.' || c == '@'; }

/* Is a value due at this place of the template? */
static bool value_here(const struct writer *w, size_t at)
{
    return w->next < w->mix->count && w->mix->value[w->next].at == at;
}

static bool value_within(const struct writer *w, size_t end)
{
    return w->next < w->mix->count && w->mix->value[w->next].at <= end;
}

/* The same for a place further on. */
static bool value_at(const struct writer *w, size_t at)
{
    size_t i = w->next;

    while (i < w->mix->count && w->mix->value[i].at < at)
        i++;
    return i < w->mix->count && w->mix->value[i].at == at;
}

static char char_at(const struct writer *w, size_t at) { return at < w->in.len ? w->in.p[at] : '\0'; }

static void copy_to(struct writer *w, size_t end)
{
    str_add(&w->out, w->in.p + w->at, end - w->at);
    w->at = end;
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_isalnum(s.p[i]) && s.p[i] != '_')
            return false;
    return s.len > 0;
}

static bool is_number(struct slice s)
{
    uint64_t n;

    return slice_u64(s, UINT64_MAX, &n) == 0;
}

static void put_parameter(struct writer *w, struct slice value)
{
    if (w->params == SQL_PARAMS) {
        w->fail = "it has too many parameters";
        return;
    }
    w->param[w->params++] = value;
    str_addc(&w->out, '?');
}

/* The last word of the text that is written already, blanks behind it left out. */
static struct slice last_word(const struct writer *w)
{
    struct slice text = slice_trim(str_slice(&w->out));
    size_t n = 0;

    while (n < text.len && word_char(text.p[text.len - 1 - n]))
        n++;
    return slice_sub(text, text.len - n, n);
}

static bool is_one_of(struct slice word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_caseeq(word, words[i]))
            return true;
    return false;
}
#define ONE_OF(word, words) is_one_of(word, words, sizeof(words) / sizeof *(words))

/* Outside of strings. */
static void put_bare(struct writer *w)
{
    struct slice value = w->mix->value[w->next++].text;
    char before = w->out.len ? w->out.p[w->out.len - 1] : ' ', after = char_at(w, w->at);
    bool part = name_char(before) || before == '?' || before == '`' || name_char(after) || after == '`' ||
                after == '\'' || after == '"' || value_here(w, w->at);

    if (is_number(value) || (is_plain(value) && (part || ONE_OF(last_word(w), words_before_names))))
        str_addslice(&w->out, value);
    else if (part)
        w->fail = "what is asked for cannot be part of a name or number in it";
    else
        put_parameter(w, value);
}

/* The offset behind the string or name that begins at `from`, 0: it does not end. Backslashes count in strings only. */
static size_t quoted_end(const struct writer *w, size_t from)
{
    char quote = w->in.p[from];

    for (size_t i = from + 1; i < w->in.len; i++)
        if (w->in.p[i] == '\\' && quote != '`')
            i++;
        else if (w->in.p[i] == quote && (char_at(w, i + 1) != quote || value_at(w, i + 1)))
            return i + 1; /* a doubled quote is one, unless a value stands in between */
        else if (w->in.p[i] == quote)
            i++;
    return 0;
}

/* The last word or sign before the string: the text that is written already. */
static bool may_be_parameter(const struct writer *w, size_t end)
{
    struct slice before = str_slice(&w->out);

    if (value_at(w, end) || (before.len && word_char(before.p[before.len - 1])))
        return false; /* N'...', _utf8'...' */
    while (end < w->in.len && ascii_isspace(w->in.p[end]))
        end++;
    if (char_at(w, end) == '\'' || char_at(w, end) == '"')
        return false;
    while (before.len && ascii_isspace(before.p[before.len - 1]))
        before.len--;
    if (before.len == 0 || slice_caseends(before, "*/"))
        return false;
    if (strchr("=<>(,+-*/|&!", before.p[before.len - 1]))
        return true;
    return ONE_OF(last_word(w), words_before);
}

/* The text of the string: doubled quotes are one. */
static void put_string_parameter(struct writer *w, size_t end)
{
    char quote = w->in.p[w->at++];
    struct str text;

    str_init(&text, SQL_TEXT_BYTES);
    for (;;) {
        while (value_here(w, w->at))
            str_addslice(&text, w->mix->value[w->next++].text);
        if (w->at >= end - 1)
            break;
        if (w->in.p[w->at] == quote)
            w->at++;
        str_addc(&text, w->in.p[w->at++]);
    }
    w->at = end;
    if (str_over(&text))
        w->fail = "it is too long";
    put_parameter(w, slice_make(arena_strndup(w->mix->arena, text.p, text.len), text.len));
    str_free(&text);
}

/* A double quote within double quotes is doubled: that holds in strings and, under ANSI_QUOTES, in names. */
static void put_escaped(struct writer *w, char quote)
{
    struct slice rest = w->mix->value[w->next++].text, part;
    bool first = true;

    if (quote != '"') {
        sql_pool_escape(&w->out, rest);
        return;
    }
    while (slice_split(&rest, '"', &part)) {
        str_adds(&w->out, first ? "" : "\"\"");
        sql_pool_escape(&w->out, part);
        first = false;
    }
}

/* A string as it stands, with its values escaped. */
static void put_string(struct writer *w, size_t end)
{
    char quote = w->in.p[w->at];

    copy_to(w, w->at + 1);
    while (w->at < end && !w->fail) {
        bool escape = w->in.p[w->at] == '\\';

        if (value_here(w, w->at))
            put_escaped(w, quote);
        else if (escape && value_here(w, w->at + 1))
            w->fail = "a backslash stands right before what is asked for";
        else
            copy_to(w, w->at + (escape && w->at + 1 < end ? 2 : 1));
    }
}

static void put_backquoted(struct writer *w, size_t end)
{
    copy_to(w, w->at + 1);
    while (w->at < end) {
        if (!value_here(w, w->at)) {
            copy_to(w, w->at + 1);
            continue;
        }
        struct slice value = w->mix->value[w->next++].text;
        for (size_t i = 0; i < value.len; i++) {
            if (value.p[i] == '`')
                str_addc(&w->out, '`');
            str_addc(&w->out, value.p[i]);
        }
    }
}

static void put_quoted(struct writer *w)
{
    size_t end = quoted_end(w, w->at);

    if (end == 0)
        w->fail = "a quoted string does not end";
    else if (!value_within(w, end - 1))
        copy_to(w, end);
    else if (w->in.p[w->at] == '`')
        put_backquoted(w, end);
    else if (memchr(w->in.p + w->at, '\\', end - w->at) == NULL && may_be_parameter(w, end))
        put_string_parameter(w, end);
    else
        put_string(w, end);
}

/* The offset behind a comment that begins here, past the end when it is not closed; 0: it is none. What MariaDB runs is no
 * comment. */
static size_t comment_end(struct writer *w)
{
    const char *close = "\n";
    struct slice rest = slice_sub(w->in, w->at, w->in.len);
    size_t n = 2;

    if (slice_starts(rest, "/*"))
        close = "*/";
    else if (rest.p[0] == '#')
        n = 1;
    else if (!slice_starts(rest, "--") || (rest.len > 2 && (unsigned char) rest.p[2] > ' ' && rest.p[2] != 127))
        return 0;
    if (slice_starts(rest, "/*!") || slice_starts(rest, "/*M!")) {
        if (value_within(w, w->at + (rest.p[2] == '!' ? 2 : 3)))
            w->fail = "what is asked for stands inside of \"/*!\"";
        return 0;
    }
    while (n < rest.len && !slice_starts(slice_sub(rest, n, rest.len), close))
        n++;
    return n < rest.len ? w->at + n + strlen(close) : w->in.len + 1;
}

static void put_comment(struct writer *w, size_t end)
{
    copy_to(w, end < w->in.len ? end : w->in.len);
    while (value_within(w, end - 1))
        w->next++;
}

/* Where the text that means nothing to us ends. */
static size_t plain_end(const struct writer *w)
{
    size_t stop = w->next < w->mix->count ? w->mix->value[w->next].at : w->in.len, end = w->at + 1;

    while (end < stop && end < w->in.len && strchr("'\"`/-#?", w->in.p[end]) == NULL)
        end++;
    return end;
}

static void write_all(struct writer *w)
{
    size_t end;

    while (!w->fail) {
        if (value_here(w, w->at)) {
            put_bare(w);
            continue;
        }
        if (w->at >= w->in.len)
            break;
        char c = w->in.p[w->at];
        if (c == '\'' || c == '"' || c == '`') {
            put_quoted(w);
        } else if ((c == '/' || c == '-' || c == '#') && (end = comment_end(w)) > 0) {
            put_comment(w, end);
        } else {
            w->marks = w->marks || c == '?';
            copy_to(w, plain_end(w));
        }
    }
}

void sql_mix_free(struct sql_mix *m) { str_free(&m->text); }

int sql_mix_finish(struct sql_mix *m, struct sql_question *out, struct err *err)
{
    struct writer w = { .mix = m, .in = str_slice(&m->text) };

    *out = (struct sql_question){ .text = "" };
    w.param = m->count ? arena_alloc(m->arena, SQL_PARAMS * sizeof *w.param) : NULL;
    str_init(&w.out, SQL_TEXT_BYTES);
    if (m->over || str_over(&m->text))
        w.fail = "it is too long";
    else
        write_all(&w);
    if (!w.fail && str_over(&w.out))
        w.fail = "it is too long";
    if (!w.fail && w.params && w.marks)
        w.fail = "a \"?\" stands outside of quotes";
    if (!w.fail && memchr(w.out.p, 0, w.out.len))
        w.fail = "it holds a NUL byte";
    if (!w.fail)
        *out = (struct sql_question){ .text = arena_strndup(m->arena, w.out.p, w.out.len),
                                      .params = w.params,
                                      .param = w.param };
    str_free(&w.out);
    sql_mix_free(m);
    return w.fail ? err_set(err, 0, NULL, "the query cannot be made: %s", w.fail) : 0;
}
