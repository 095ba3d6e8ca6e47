/* downgrade_test - what Debian's Postfix 3.7 sends to a host without 8BITMIME; pieces of every small size give the same */
#include "proto/mime/downgrade.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define V   "MIME-Version: 1.0\n"
#define CTE "Content-Transfer-Encoding: "
#define QP  CTE "quoted-printable\n"
#define X10 "xxxxxxxxxx"
#define X70 X10 X10 X10 X10 X10 X10 X10

static const struct {
    const char *name, *in, *out;
} cases[] = {
    { "text",
      V CTE "8bit\n\nGr\xc3\xbc\xc3\x9f"
            "e = gut\n.dot\nblank \ntab\t\n\n",
      V QP "\nGr=C3=BC=C3=9Fe =3D gut\n.dot\nblank=20\ntab=09\n\n" },
    { "soft line ends", CTE "8bit\n\n" X70 "\xe4z\n" X70 "xxx\n" X70 "xxxx\n" X70 "xx \n" X70 "xxx \n",
      QP "\n" X70 "=E4=\nz\n" X70 "xxx\n" X70 "xxx=\nx\n" X70 "xx=20\n" X70 "xxx=\n=20\n" },
    { "declared 7bit", CTE "7bit\n\n\xe4 = \n", CTE "7bit\n\n\xe4 = \n" },
    { "nothing declared", "Subject: x\n\n\xe4 = \n", "Subject: x\n\n\xe4 = \n" },
    { "folded, commented, first", "Content-transfer-encoding :\n 8BIT (so)\nSubject: x\n\n\xe4=\n",
      "Subject: x\n" QP "\n=E4=3D\n" },
    { "the last field counts", CTE "7bit\n" CTE "8bit\n\n\xe4\n", CTE "7bit\n" QP "\n=E4\n" },
    { "another last field", CTE "8bit\n" CTE "7bit\n\n\xe4\n", CTE "7bit\n\n\xe4\n" },
    { "unknown", CTE "x-odd\n\n\xe4\n", CTE "x-odd\n\n\xe4\n" },
    { "binary", CTE "binary\n\n\x01\xff\x7f\n", QP "\n=01=FF=7F\n" },
    { "multipart",
      "Content-Type: multipart/mixed; boundary=\"b b\"\n" CTE "8bit\n\npreamble \xe4 = \n--b b\n" CTE
      "8bit\nX: 1\n\n\xe4 = \nend\n--b b\n\n\xe4 = \n"
      "--b b\n" CTE "binary\n\n\xff\n\n--b b--\nepilogue \xe4 = \n",
      "Content-Type: multipart/mixed; boundary=\"b b\"\n" CTE "7bit\n\npreamble \xe4 = \n--b b\nX: 1\n" QP
      "\n=E4 =3D=20\nend\n--b b\n\n\xe4 = \n"
      "--b b\n" QP "\n=FF\n\n--b b--\nepilogue \xe4 = \n" },
    { "nested",
      "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=aa\n" CTE
      "8bit\n\n--aa\n" CTE "8bit\n\n\xe4\n--aa--\n\xe4\n--a\n" CTE "8bit\n\n\xe4\n--a--\n",
      "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=aa\n" CTE
      "7bit\n\n--aa\n" QP "\n=E4\n--aa--\n\xe4\n--a\n" QP "\n=E4\n--a--\n" },
    { "message", "Content-Type: message/rfc822\n" CTE "8bit\n\nSubject: in\n" CTE "8bit\n\n\xe4\n",
      "Content-Type: message/rfc822\n" CTE "7bit\n\nSubject: in\n" QP "\n=E4\n" },
    { "no end of line", CTE "8bit\n\n\xe4 ", QP "\n=E4=20" },
    { "empty body", CTE "8bit\n\n", QP "\n" },
    { "header only", "A: b\n" CTE "8bit\n", "A: b\n" QP },
    { "header only, no end of line", "A: b\n" CTE "8bit", "A: b\n" QP },
    { "header cut behind it", CTE "8bit\nA: b", "A: b\n" QP },
    { "part without an empty line", "Content-Type: multipart/mixed; boundary=a\n\n--a\n" CTE "8bit\n--a--\n",
      "Content-Type: multipart/mixed; boundary=a\n\n--a\n" QP "--a--\n" },
    { "nothing", "", "" },
};

static void put(void *ctx, struct slice piece, bool ends)
{
    str_addslice(ctx, piece);
    if (ends)
        str_addc(ctx, '\n');
}

/* Lines in pieces of at most `size` bytes; a line's end comes with its last piece, or alone behind it. */
static void run(struct slice in, size_t size, bool end_alone, struct str *out)
{
    struct arena *a = arena_new();
    struct mime_downgrade *d = mime_downgrade_new(a, mime_parse(in, a), put, out);

    while (in.len > 0) {
        ptrdiff_t end = slice_find(in, '\n');
        size_t line = end < 0 ? in.len : (size_t) end, n = line < size ? line : size;
        bool ends = end >= 0 && n == line && !(end_alone && n > 0);

        mime_downgrade_feed(d, slice_sub(in, 0, n), ends);
        in = slice_sub(in, n + ends, in.len);
    }
    mime_downgrade_end(d);
    arena_free(&a);
}

static void test_long_field(void)
{
    struct str in, out;

    str_init(&in, 0);
    str_init(&out, 0);
    str_adds(&in, CTE "\n");
    for (int i = 0; i < 200; i++)
        str_adds(&in, " (a comment that goes on and on)\n");
    str_adds(&in, " 8bit\n\n\xe4\n");
    for (size_t size = 1; size < 100; size += 7) {
        str_reset(&out);
        run(str_slice(&in), size, false, &out);
        assert(slice_same(str_slice(&out), str_slice(&in)));
    }
    str_free(&in);
    str_free(&out);
}

int main(void)
{
    struct str out;
    int bad = 0;

    str_init(&out, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t size = 1; size <= 100; size++) {
            str_reset(&out);
            run(slice_of(cases[i].in), size, size % 2 != 0, &out);
            if (slice_eq(str_slice(&out), cases[i].out))
                continue;
            fprintf(stderr, "%s, pieces of %zu:\n%s\nwanted:\n%s\n", cases[i].name, size, out.p, cases[i].out);
            bad = 1;
            break;
        }
    }
    str_free(&out);
    test_long_field();
    return bad;
}
