/* print - how postconf shows values and services */
#include "base/mem.h"
#include "conf/param.h"
#include "internal.h"

#include <stdio.h>

static const char blanks[] = " \t\r\n";
/* where each column of master.cf begins */
static const size_t column_of[MASTERCF_FIELDS] = { 0, 11, 17, 25, 33, 41, 49, 57 };

void print_words(unsigned mode, struct str *out, size_t column, struct slice text)
{
    struct slice word;
    bool first = column == 0;

    while (slice_word(&text, blanks, &word)) {
        if (mode & MODE_FOLD && !first && column + 1 + word.len > FOLD_COLUMNS) {
            str_printf(out, "\n%*s", FOLD_INDENT, "");
            column = FOLD_INDENT;
        } else if (!first) {
            str_addc(out, ' ');
            column++;
        }
        str_addslice(out, word);
        column += word.len;
        first = false;
    }
}

void print_pair(unsigned mode, const char *name, const char *value)
{
    struct str line;

    if (mode & MODE_HIDE_VALUE) {
        puts(name);
        return;
    }
    str_init(&line, STR_UNLIMITED);
    if (!(mode & MODE_HIDE_NAME))
        str_printf(&line, "%s =", name);
    print_words(mode, &line, line.len, slice_of(value));
    puts(line.p);
    str_free(&line);
}

/* An argument that is an option with its own line when folded: -o and its value. */
static size_t option_words(const struct mastercf_service *s, size_t at)
{
    return strcmp(s->argv[at], "-o") == 0 && at + 1 < s->argc ? 2 : 1;
}

void print_service(unsigned mode, const struct mastercf_service *s, struct str *out)
{
    size_t start = out->len, column;
    bool options = true; /* before the first argument that is none */

    for (size_t i = 0; i < MASTERCF_FIELDS; i++) {
        while (i && (out->len - start < column_of[i] || out->p[out->len - 1] != ' '))
            str_addc(out, ' ');
        str_adds(out, s->field[i]);
    }
    column = out->len - start;
    for (size_t i = 0, words; i < s->argc; i += words) {
        size_t before = out->len;
        words = option_words(s, i);
        options = options && s->argv[i][0] == '-';
        if (mode & MODE_FOLD && options) {
            str_printf(out, "\n%*s%s", FOLD_INDENT, "", s->raw_argv[i]);
            if (words == 2)
                str_printf(out, " %s", s->raw_argv[i + 1]);
            column = FOLD_COLUMNS;
            continue;
        }
        for (size_t w = 0; w < words; w++) {
            print_words(mode, out, column + 1, slice_of(s->raw_argv[i + w])); /* one column less than in main.cf */
            struct slice added = slice_sub(str_slice(out), before, out->len);
            ptrdiff_t lf = slice_rfind(added, '\n');
            column = lf < 0 ? column + added.len : added.len - (size_t) lf - 1;
            before = out->len;
        }
    }
}
