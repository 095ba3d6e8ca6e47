/* fetch_test - what a FETCH asks for, told by the labels of its items */
#include "proto/imap/fetch.h"

#include <assert.h>
#include <stdio.h>

int main(void)
{
    static const struct {
        const char *in, *out; /* labels, '!' before those that set \Seen; NULL: refused */
    } rows[] = {
        { "FLAGS", "FLAGS" },
        { "(flags UID)", "FLAGS UID" },
        { "ALL", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE" },
        { "fast", "FLAGS INTERNALDATE RFC822.SIZE" },
        { "FULL", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY" },
        { "(FLAGS FLAGS)", "FLAGS" },
        { "BODY[]", "!BODY[]" },
        { "BODY.PEEK[]", "BODY[]" },
        { "body.peek[header.fields (Subject \"x y\")]", "BODY[HEADER.FIELDS (SUBJECT \"X Y\")]" },
        { "BODY[1.2.HEADER.FIELDS.NOT (a)]<0.100>", "!BODY[1.2.HEADER.FIELDS.NOT (A)]<0>" },
        { "BODY[1.MIME]", "!BODY[1.MIME]" },
        { "BODY[TEXT]<5.4>", "!BODY[TEXT]<5>" },
        { "BODY[1]", "!BODY[1]" },
        { "(BODY BODYSTRUCTURE)", "BODY BODYSTRUCTURE" },
        { "(RFC822 RFC822.HEADER RFC822.TEXT RFC822.SIZE)", "!RFC822 RFC822.HEADER !RFC822.TEXT RFC822.SIZE" },
        { "BODY[MIME]", NULL },
        { "BODY[1.]", NULL },
        { "BODY[0]", NULL },
        { "BODY[1", NULL },
        { "BODY[HEADER.FIELDS]", NULL },
        { "BODY[HEADER.FIELDS ()]", NULL },
        { "BODY[]<5>", NULL },
        { "BODY[]<5.0>", NULL },
        { "BODY[]<4294967296.1>", NULL },
        { "BODY.PEEK", NULL },
        { "BODYSTRUCTURE[]", NULL },
        { "EMAILID", NULL },
        { "(FLAGS", NULL },
        { "()", NULL },
        { "FLAGS UID", NULL },
        { "(ALL)", NULL },
        { "BODY[1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1]", NULL },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_new();
        struct imap_arg a;
        struct imap_fetch f;
        struct str out;

        imap_arg_init(&a, slice_of(rows[i].in), arena);
        int rc = imap_fetch_parse(&a, &f);
        str_init(&out, 1000);
        for (size_t k = 0; rc == 0 && k < f.count; k++)
            str_printf(&out, "%s%s%s", k ? " " : "", f.items[k].peek ? "" : "!", f.items[k].label);
        if ((rc == 0) != (rows[i].out != NULL) || (rc == 0 && strcmp(out.p, rows[i].out) != 0))
            fprintf(stderr, "row %zu: %s -> %s (%s)\n", i, rows[i].in, out.p, a.error), assert(0);
        assert((rc == 0) == (a.error == NULL));
        str_free(&out);
        arena_free(&arena);
    }
    return 0;
}
