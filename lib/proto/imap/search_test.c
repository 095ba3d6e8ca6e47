/* search_test - SEARCH programs, printed again as a tree */
#include "proto/imap/search.h"

#include <assert.h>
#include <stdio.h>

static void show(const struct imap_search *n, struct str *out)
{
    static const char *const names[] = { "all",    "and",     "or",     "not",   "flags", "keyword", "seq",
                                         "uid",    "bef",     "on",     "since", "sbef",  "son",     "ssince",
                                         "larger", "smaller", "header", "body",  "text" };

    str_printf(out, "%s", names[n->what]);
    if (n->what == IMAP_SEARCH_FLAGS)
        str_printf(out, " +%u-%u", n->flags_on, n->flags_off);
    if (n->name.p)
        str_printf(out, " %.*s", (int) n->name.len, n->name.p);
    if (n->text.p)
        str_printf(out, " \"%.*s\"", (int) n->text.len, n->text.p);
    if (n->number)
        str_printf(out, " %llu", (unsigned long long) n->number);
    if (n->day)
        str_printf(out, " %lld", (long long) (n->day / 86400));
    if (n->child) {
        str_adds(out, "(");
        for (const struct imap_search *c = n->child; c; c = c->next) {
            show(c, out);
            str_adds(out, c->next ? "," : ")");
        }
    }
}

int main(void)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        { "ALL", "and(all)" },
        { "UNSEEN NEW", "and(flags +0-8,flags +32-8)" },
        { "CHARSET UTF-8 SUBJECT {5}\r\ncaf\xc3\xa9", "and(header SUBJECT \"caf\xc3\xa9\")" },
        { "NOT DELETED OR FROM a@b FROM zz", "and(not(flags +4-0),or(header FROM \"a@b\",header FROM \"zz\"))" },
        { "UNKEYWORD $Kw KEYWORD x", "and(not(keyword \"$Kw\"),keyword \"x\")" },
        { "(OR (SEEN FLAGGED) 1:3) UID 5", "and(and(or(and(flags +8-0,flags +2-0),seq)),uid)" },
        { "HEADER X-Y \"\"", "and(header X-Y \"\")" },
        { "SENTSINCE 16-Jul-1996 SENTBEFORE \"18-Jul-1996\"", "and(ssince 9693,sbef 9695)" },
        { "LARGER 100 SMALLER 200", "and(larger 100,smaller 200)" },
        { "BODY \"8bit\" TEXT x", "and(body \"8bit\",text \"x\")" },
        { "", NULL },
        { "FOO", NULL },
        { "NOT", NULL },
        { "OR SEEN", NULL },
        { "(SEEN", NULL },
        { "()", NULL },
        { "SEEN)", NULL },
        { "SUBJECT", NULL },
        { "LARGER x", NULL },
        { "ON yesterday", NULL },
        { "CHARSET UTF-8", NULL },
        { "NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT "
          "NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT SEEN",
          NULL },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_new();
        struct imap_arg a;
        struct imap_search_program program;
        struct str out;

        imap_arg_init(&a, slice_of(rows[i].in), arena);
        int rc = imap_search_parse(&a, &program);
        str_init(&out, 10000);
        if (rc == 0)
            show(program.root, &out);
        if ((rc == 0) != (rows[i].out != NULL) || (rc == 0 && strcmp(out.p, rows[i].out) != 0))
            fprintf(stderr, "row %zu: %s -> %s (%s)\n", i, rows[i].in, out.p, a.error ? a.error : ""), assert(0);
        str_free(&out);
        arena_free(&arena);
    }
    return 0;
}
