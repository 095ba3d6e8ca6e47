/* What $name and its relatives expand to; a new bug is a new row. */
#include "conf/expand.h"

#include <assert.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
} names[] = {
    { "a", "A" }, { "b", "$a$a" }, { "empty", "" }, { "loop", "x$loop" }, { "level", "3.6" }, { "n", "10" }
};

static const char *lookup(void *ctx, const char *name)
{
    (void) ctx;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].text;
    return NULL;
}

static const struct {
    const char *in, *out; /* NULL: an error */
} cases[] = {
    { "plain", "plain" },
    { "", "" },
    { "$a-$b.", "A-AA." },
    { "${a}x$(b)", "AxAA" },
    { "$$a$$", "$a$" },
    { "$unknown|", "|" },
    { "${a?yes}", "yes" },
    { "${empty?yes}", "" },
    { "${empty:no}${unknown:none}", "nonone" },
    { "${a:no}", "" },
    { "${a?{yes}:{no}}", "yes" },
    { "${empty?{yes}:{no}}", "no" },
    { "${a ? {yes} : {no}}", "yes" },
    { "${a?{$b}:{$loop}}", "AA" },
    { "${a?x y }", "x y " },
    { "${{$a} == {A} ? {same} : {other}}", "same" },
    { "${{$a} != {A} ? {same} : {other}}", "other" },
    { "${{9} < {$n}?{less}:{more}}", "less" },  /* numbers */
    { "${{9x} < {$n}?{less}:{more}}", "more" }, /* strings */
    { "${{a}=={a}}", "bool" },
    { "${{a}=={b}}", "" },
    { "${{$level} <level {2} ? {subnet} : {host}}", "host" },
    { "${{3.2} <level {3.10} ? {yes}:{no}}", "yes" },
    { "${{3.6.1} >level {3.6}:{no}}", "" },
    { "${{$level} >=level {3.6} ? {${a?{in}:{out}}}}", "in" },
    { "$loop", NULL },
    { "a$", NULL },
    { "${a", NULL },
    { "$(a", NULL },
    { "${}", NULL },
    { "${a!x}", NULL },
    { "${{a} ~ {b}?x}", NULL },
    { "${{a} == b?x}", NULL },
    { "${{1..} <level {2}?x}", NULL },
    { "${a?{x}y}", NULL },
};

int main(void)
{
    struct expand e = { .lookup = lookup, .recursive = true };
    int bad = 0;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out;
        struct err err;
        str_init(&out, EXPAND_BYTES);
        int rc = expand_text(&e, slice_of(cases[i].in), &out, &err);
        if ((rc == 0) != (cases[i].out != NULL) || (rc == 0 && strcmp(out.p, cases[i].out) != 0)) {
            printf("%s: got %s\n", cases[i].in, rc ? err.text : out.p);
            bad++;
        }
        str_free(&out);
    }
    assert(expand_level(SLICE("3.6")) < expand_level(SLICE("3.11")));
    assert(expand_level(SLICE("3.6")) == expand_level(SLICE("3.6.0")));
    assert(expand_level(SLICE("3.6.0.1")) == -1 && expand_level(SLICE("x")) == -1 && expand_level(SLICE("")) == -1);
    return bad ? 1 : 0;
}
